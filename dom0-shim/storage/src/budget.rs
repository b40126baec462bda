//! How much memory written sectors may take.

use alloc::rc::Rc;
use core::cell::Cell;

use crate::disk::Failure;

/// Bytes that RAM disks and overlays share.
///
/// What is written by guests ends up in Dom0's heap, so that it is bounded: a guest that
/// fills it gets errors, and Dom0 goes on.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes) })
    }

    /// Bytes that nobody has.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes `bytes` until the share is dropped.
    pub(crate) fn take(self: &Rc<Self>, bytes: u64) -> Result<Share, Failure> {
        let left = self.left.get().checked_sub(bytes).ok_or(Failure::Full)?;
        self.left.set(left);
        Ok(Share { budget: Rc::clone(self), bytes })
    }
}

/// Bytes of a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Rc<Budget>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let left = &self.budget.left;
        left.set(left.get().saturating_add(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(10);
        let share = budget.take(7).unwrap();
        assert_eq!(budget.take(4).unwrap_err(), Failure::Full);
        assert_eq!(budget.left(), 3);
        drop(share);
        assert_eq!(budget.left(), 10);
    }
}
