//! Waiting for a time, by the singleshot timer of the first vcpu.

use alloc::collections::BTreeMap;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use spin::{Mutex, Once};
use xen_abi::errno::Errno;
use xen_abi::vcpu::{VcpuOp, VcpuSetSingleshotTimer};
use xen_abi::xen::Virq;

use crate::channels::Channel;
use crate::{clock, hypercall};

struct Sleepers {
    /// By time, and by number where the times are the same.
    wakers: BTreeMap<(u64, u64), Waker>,
    next: u64,
    /// The time that the timer is set to.
    armed: Option<u64>,
}

static SLEEPERS: Mutex<Sleepers> = Mutex::new(Sleepers { wakers: BTreeMap::new(), next: 0, armed: None });
/// Its events end the wait of [`crate::tasks`].
static TIMER: Once<Channel> = Once::new();

/// Gets the timer's event channel; before that nobody sleeps.
///
/// # Errors
///
/// What the hypervisor says.
pub fn init() -> Result<(), Errno> {
    TIMER.try_call_once(|| Channel::virq(Virq::Timer)).map(drop)
}

/// Nanoseconds since the machine started, as the PV clock tells.
#[must_use]
pub fn now_ns() -> u64 {
    clock::pv_ns(0)
}

/// Waits for `ns` nanoseconds.
pub async fn sleep_ns(ns: u64) {
    Sleep { deadline: now_ns().saturating_add(ns), number: None }.await;
}

/// Waits for `future`, at most `ns` nanoseconds; `None` then.
pub async fn within<F: Future>(ns: u64, future: F) -> Option<F::Output> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep_ns(ns)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Wakes those whose time has come.
pub(crate) fn wake() {
    let mut sleepers = SLEEPERS.lock();
    if sleepers.wakers.is_empty() {
        return;
    }
    let now = now_ns();
    while let Some(first) = sleepers.wakers.first_entry().filter(|first| first.key().0 <= now) {
        first.remove().wake();
    }
}

/// Whether the timer fired since it was armed.
pub(crate) fn has_fired() -> bool {
    TIMER.get().is_some_and(Channel::has_fired)
}

/// Sets the timer to the first time that somebody waits for.
pub(crate) fn arm() {
    let mut sleepers = SLEEPERS.lock();
    if TIMER.get().is_some_and(Channel::take) {
        sleepers.armed = None;
    }
    let Some((first, _)) = sleepers.wakers.keys().next().copied() else { return };
    if sleepers.armed != Some(first) {
        let mut argument = VcpuSetSingleshotTimer { timeout_abs_ns: first, flags: 0, _pad: 0 };
        let set = hypercall::vcpu_op(VcpuOp::SetSingleshotTimer, 0, &mut argument);
        sleepers.armed = set.is_ok().then_some(first);
    }
}

struct Sleep {
    deadline: u64,
    /// Its number among the sleepers.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now_ns() >= self.deadline {
            return Poll::Ready(());
        }
        let mut sleepers = SLEEPERS.lock();
        let number = self.number.unwrap_or(sleepers.next);
        if self.number.is_none() {
            sleepers.next += 1;
        }
        self.number = Some(number);
        sleepers.wakers.insert((self.deadline, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            SLEEPERS.lock().wakers.remove(&(self.deadline, number));
        }
    }
}
