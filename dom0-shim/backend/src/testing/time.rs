//! Time that passes when a test says so.

use core::cell::Cell;

use event_listener::Event;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Clock {
    now: Cell<u64>,
    passed: Event,
}

impl Clock {
    pub(super) fn now_ns(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn advance(&self, ns: u64) {
        self.now.set(self.now.get().saturating_add(ns));
        self.passed.notify(usize::MAX);
    }

    pub(super) async fn sleep(&self, ns: u64) {
        let end = self.now.get().saturating_add(ns);
        while self.now.get() < end {
            self.passed.listen().await;
        }
    }
}
