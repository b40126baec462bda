//! Runs a test's futures.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use futures_util::future::poll_fn;

/// Far more than a test needs.
const ROUNDS: usize = 1_000_000;

/// Polls a future until it is done. Nothing comes from outside: one that waits forever is
/// seen, and does not hang the test.
///
/// # Panics
///
/// If the future waits forever.
pub fn play<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..ROUNDS {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the test waits for something that never comes");
}

/// Lets all others run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|_| match core::mem::replace(&mut yielded, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
