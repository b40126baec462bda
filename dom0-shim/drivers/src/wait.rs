//! Waiting for devices, with a limit.

use futures_lite::future;

use crate::Machine;

const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000 * MICROSECOND;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// Looks that are made at once: each takes about a microsecond on a PCI bus.
const QUICK_LOOKS: u32 = 10;
/// Time between looks after that, ns.
const BETWEEN_LOOKS: u64 = 100 * MICROSECOND;

/// Waits for `future`, at most `ns`; `None` then.
pub(crate) async fn within<M: Machine, T>(
    machine: &M,
    ns: u64,
    future: impl Future<Output = T>,
) -> Option<T> {
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
