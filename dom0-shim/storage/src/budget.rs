//! How much memory written sectors may take, and whose.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::{Cell, RefCell};

use crate::disk::Failure;

/// Bytes that RAM disks and overlays share.
///
/// What is written by guests ends up in Dom0's heap, so that it is bounded: a guest that
/// fills it gets errors, and Dom0 goes on.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    /// Bytes of each owner who has some.
    owners: RefCell<BTreeMap<String, u64>>,
}

/// What one owner takes from a budget: never more than is left for the others. Alone it has half
/// of it, the next one half of the rest; so one who writes without end leaves something.
#[derive(Clone, Debug)]
pub struct Account(Rc<Owner>);

#[derive(Debug)]
struct Owner {
    budget: Rc<Budget>,
    name: String,
}

/// Bytes of an account.
#[derive(Debug)]
pub(crate) struct Share {
    account: Account,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes), owners: RefCell::default() })
    }

    /// Bytes that nobody has.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// What `owner` takes from it. Accounts of the same owner are one.
    #[must_use]
    pub fn account(self: &Rc<Self>, owner: &str) -> Account {
        Account(Rc::new(Owner { budget: Rc::clone(self), name: owner.to_string() }))
    }

    fn has(&self, owner: &str) -> u64 {
        self.owners.borrow().get(owner).copied().unwrap_or(0)
    }

    fn set(&self, owner: &str, bytes: u64, left: u64) {
        self.left.set(left);
        let mut owners = self.owners.borrow_mut();
        match (bytes, owners.get_mut(owner)) {
            (0, _) => drop(owners.remove(owner)),
            (_, Some(has)) => *has = bytes,
            (_, None) => drop(owners.insert(owner.to_string(), bytes)),
        }
    }
}

impl Account {
    /// Takes `bytes` until the share is dropped.
    pub(crate) fn take(&self, bytes: u64) -> Result<Share, Failure> {
        let Owner { budget, name } = &*self.0;
        let left = budget.left.get().checked_sub(bytes).ok_or(Failure::Full)?;
        let has = budget.has(name).saturating_add(bytes);
        if has > left {
            return Err(Failure::Full);
        }
        budget.set(name, has, left);
        Ok(Share { account: self.clone(), bytes })
    }

    /// One that can take so many bytes.
    #[cfg(test)]
    pub(crate) fn of(bytes: u64) -> Self {
        Budget::new(2 * bytes).account("demo")
    }

    /// Bytes that it can take.
    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        let Owner { budget, name } = &*self.0;
        budget.left().saturating_sub(budget.has(name)) / 2
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Owner { budget, name } = &*self.account.0;
        let has = budget.has(name).saturating_sub(self.bytes);
        budget.set(name, has, budget.left.get().saturating_add(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(10);
        let account = budget.account("demo");
        let share = account.take(4).unwrap();
        assert_eq!(account.take(2).unwrap_err(), Failure::Full);
        assert_eq!((budget.left(), account.left()), (6, 1));
        drop(share);
        assert_eq!((budget.left(), budget.owners.borrow().len()), (10, 0));
    }

    #[test]
    fn nobody_takes_more_than_is_left_for_others() {
        let budget = Budget::new(1000);
        let shares = ["a", "b", "a", "c"].map(|owner| {
            let account = budget.account(owner);
            core::iter::from_fn(|| account.take(1).ok()).collect::<alloc::vec::Vec<_>>()
        });
        assert_eq!(shares.each_ref().map(|shares| shares.len()), [500, 250, 0, 125]);
        drop(shares);
        assert_eq!(budget.left(), 1000);
    }
}
