//! Waiting for devices.

use event_listener::Event;
use futures_lite::future;

use crate::{Interrupt, Machine};

const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000 * MICROSECOND;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// Looks that are made at once: each takes about a microsecond on a PCI bus.
const QUICK_LOOKS: u32 = 10;
/// Time between looks after that, ns.
const BETWEEN_LOOKS: u64 = 100 * MICROSECOND;
/// When no interrupt comes for so long, somebody looks.
const LOST: u64 = 200 * MILLISECOND;

/// Answers a device's interrupts, for ever.
pub(crate) async fn serve<I: Interrupt>(interrupt: &I, answer: impl Fn()) {
    loop {
        interrupt.raised().await;
        answer();
        interrupt.done();
        // A line that nobody takes back must not keep the others from running.
        future::yield_now().await;
    }
}

/// Waits until `take` finds something. It looks at once, and each time that `event` is told.
pub(crate) async fn when<T>(event: &Event, mut take: impl FnMut() -> Option<T>) -> T {
    loop {
        // Before the look: what is told in between is not missed.
        let told = event.listen();
        if let Some(found) = take() {
            return found;
        }
        told.await;
    }
}

/// Likewise, at most `ns`; `None` then. Where nothing is told for a while, `look` does what the
/// interrupt would have done: it may be lost.
pub(crate) async fn when_within<M: Machine, T>(
    machine: &M,
    ns: u64,
    event: &Event,
    mut take: impl FnMut() -> Option<T>,
    look: impl Fn(),
) -> Option<T> {
    let deadline = machine.now_ns().saturating_add(ns);
    loop {
        let told = event.listen();
        if let Some(found) = take() {
            return Some(found);
        }
        if machine.now_ns() >= deadline {
            return None;
        }
        if within(machine, LOST, told).await.is_none() {
            look();
        }
    }
}

/// Waits for `future`, at most `ns`; `None` then.
async fn within<M: Machine, T>(machine: &M, ns: u64, future: impl Future<Output = T>) -> Option<T> {
    let limit = async {
        machine.sleep_ns(ns).await;
        None
    };
    future::or(async { Some(future.await) }, limit).await
}

/// Looks until `look` finds something, at most `ns`; `None` then. It is for what takes
/// microseconds, and for devices that cannot interrupt yet.
pub(crate) async fn until<M: Machine, T>(
    machine: &M,
    ns: u64,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    for _ in 0..QUICK_LOOKS {
        if let Some(found) = look() {
            return Some(found);
        }
    }
    let deadline = machine.now_ns().saturating_add(ns);
    loop {
        // The time first: who is kept from running looks once more.
        let late = machine.now_ns() >= deadline;
        if let Some(found) = look() {
            return Some(found);
        }
        if late {
            return None;
        }
        machine.sleep_ns(BETWEEN_LOOKS).await;
    }
}
