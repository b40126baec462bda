//! Asynchronous tasks on the first vcpu, which sleeps while none of them can go on.
//!
//! The executor is `edge-executor`'s; here is what turns it. See [`crate::channels`],
//! [`crate::interrupts`] and [`crate::timer`] for what tasks wait for.

use core::future::poll_fn;
use core::task::Poll;

use crate::{channels, interrupts, timer, trap};

/// Tasks of one vcpu.
pub type Executor<'a> = edge_executor::LocalExecutor<'a, edge_executor::UnboundQueue>;

/// Runs the tasks on this vcpu, the first one, and sleeps while they wait.
///
/// [`channels::init`] and [`timer::init`] come before it.
pub fn run(executor: &Executor<'_>) -> ! {
    loop {
        channels::wake();
        interrupts::wake();
        timer::wake();
        if !executor.try_tick() {
            idle();
        }
    }
}

/// Waits for an event, unless one has come since the last look.
fn idle() {
    timer::arm();
    trap::disable();
    if !channels::any_awaited() && !interrupts::any_awaited() && !timer::has_fired() {
        trap::wait();
    }
    trap::enable();
}

/// Lets the other tasks run first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
