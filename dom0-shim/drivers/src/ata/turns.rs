//! One command at a time.

use async_lock::{Mutex, MutexGuard};

use super::Error;

/// The turns of those who have commands. Those who wait longest come first.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

/// What is known between two commands.
#[derive(Default)]
struct State {
    unfinished: bool,
    dead: bool,
}

/// A turn. A command that is not said to have ended when this is dropped is unfinished.
pub(crate) struct Turn<'a>(MutexGuard<'a, State>);

impl Turns {
    /// Waits until no other command is under way.
    pub(crate) async fn next(&self) -> Turn<'_> {
        Turn(self.0.lock().await)
    }
}

impl Turn<'_> {
    /// Whether a command was begun and not seen to its end.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.0.unfinished
    }

    /// Whether the drive did not come back the last time: those who wait behind are not to wait
    /// as long again.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead
    }

    /// What came of bringing the drive back.
    pub(crate) fn recovered(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.0.dead = result.is_err();
        result
    }

    /// A command begins.
    pub(crate) fn begin(&mut self) {
        self.0.unfinished = true;
    }

    /// It has ended.
    pub(crate) fn end(&mut self) {
        self.0.unfinished = false;
    }
}
