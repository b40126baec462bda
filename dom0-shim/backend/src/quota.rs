//! How many pages of front ends are mapped, and whose.
//!
//! ```text
//!   all pages:  needed by d1 | needed by d2 | kept for d1 | kept for d2 | free ... | RESERVED
//! ```
//!
//! A domain has at most as many as are left: alone it has half of them, the next one half of the
//! rest. So there always is something left for the next, however many there are. What is kept
//! because it is faster leaves [`RESERVED`] pages for what is needed, and is given back when
//! others want as much.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use xen_abi::RawDomid;

use crate::ring::MAX_PAGES;

/// Pages for what is needed: 32 of the largest rings.
pub const RESERVED: usize = 32 * MAX_PAGES;

/// What pages are mapped for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Use {
    /// Nothing goes without them: rings.
    Needed,
    /// They are used again and again; copies would do.
    Kept,
}

/// Pages that can be mapped.
#[derive(Debug)]
pub struct Quota {
    free: Cell<usize>,
    shares: RefCell<BTreeMap<(RawDomid, Use), usize>>,
}

/// Pages of a domain's; given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    quota: Rc<Quota>,
    domain: RawDomid,
    usage: Use,
    pages: usize,
}

impl Quota {
    /// So many pages, which nobody has.
    #[must_use]
    pub fn new(pages: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(pages), shares: RefCell::default() })
    }

    /// Takes pages for a domain; `None` where it would have more than its share.
    pub fn take(self: &Rc<Self>, domain: RawDomid, usage: Use, pages: usize) -> Option<Share> {
        let free = self.free.get().checked_sub(pages)?;
        let has = self.has(domain, usage).checked_add(pages)?;
        if has > Self::most(usage, free) {
            return None;
        }
        self.free.set(free);
        self.shares.borrow_mut().insert((domain, usage), has);
        Some(Share { quota: Rc::clone(self), domain, usage, pages })
    }

    /// Whether more pages are kept for a domain than it could have now.
    #[must_use]
    pub fn keeps_too_many(&self, domain: RawDomid) -> bool {
        self.has(domain, Use::Kept) > Self::most(Use::Kept, self.free.get())
    }

    /// Lets so many more pages be mapped.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_free(&self, pages: usize) {
        self.free.set(pages);
    }

    /// Most pages of a domain where so many are free.
    fn most(usage: Use, free: usize) -> usize {
        match usage {
            Use::Needed => free,
            Use::Kept => free.saturating_sub(RESERVED),
        }
    }

    fn has(&self, domain: RawDomid, usage: Use) -> usize {
        self.shares.borrow().get(&(domain, usage)).copied().unwrap_or(0)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Self { quota, domain, usage, pages } = self;
        quota.free.set(quota.free.get().saturating_add(*pages));
        let left = quota.has(*domain, *usage).saturating_sub(*pages);
        let mut shares = quota.shares.borrow_mut();
        match left {
            0 => shares.remove(&(*domain, *usage)),
            _ => shares.insert((*domain, *usage), left),
        };
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Takes single pages until there are no more.
    fn all(quota: &Rc<Quota>, domain: RawDomid, usage: Use) -> Vec<Share> {
        core::iter::from_fn(|| quota.take(domain, usage, 1)).collect()
    }

    #[test]
    fn a_domain_has_no_more_than_it_leaves() {
        let quota = Quota::new(1000);
        let first = all(&quota, 1, Use::Needed);
        let second = all(&quota, 2, Use::Needed);
        assert_eq!((first.len(), second.len()), (500, 250));
        assert!(quota.take(3, Use::Needed, 126).is_none());
        assert!(quota.take(3, Use::Needed, 125).is_some());
        drop(first);
        assert_eq!(all(&quota, 2, Use::Needed).len(), 250);
        drop(second);
        assert_eq!((quota.free.get(), quota.shares.borrow().len()), (1000, 0));
    }

    #[test]
    fn what_is_kept_leaves_pages_for_what_is_needed() {
        let quota = Quota::new(RESERVED + 100);
        let kept: Vec<_> = (0..40).map(|domain| all(&quota, domain, Use::Kept)).collect();
        assert_eq!(kept[0].len(), 50);
        assert!(quota.free.get() >= RESERVED);
        for domain in 0..60 {
            let ring = quota.take(domain, Use::Needed, 4);
            core::mem::forget(ring.expect("each has room for a ring"));
        }
    }

    /// Who has too many gives back, as they are used, until all have the same.
    #[test]
    fn what_is_kept_is_given_back_when_others_want_it() {
        let quota = Quota::new(RESERVED + 400);
        let mut shares = vec![vec![], vec![], vec![]];
        for _ in 0..400 {
            for (domain, kept) in (0..).zip(&mut shares) {
                match quota.take(domain, Use::Kept, 1) {
                    Some(share) => kept.push(share),
                    None if quota.keeps_too_many(domain) => drop(kept.pop()),
                    None => {}
                }
            }
        }
        let kept: Vec<_> = shares.iter().map(Vec::len).collect();
        assert!(kept.iter().all(|kept| (99..=101).contains(kept)), "{kept:?}");
    }

    proptest! {
        #[test]
        fn pages_are_neither_lost_nor_made(
            steps in proptest::collection::vec((0_u16..5, any::<bool>(), 0_usize..40, any::<u8>()), 0..200),
        ) {
            let quota = Quota::new(RESERVED + 200);
            let mut shares: Vec<Share> = vec![];
            for (domain, kept, pages, gone) in steps {
                let usage = if kept { Use::Kept } else { Use::Needed };
                shares.extend(quota.take(domain, usage, pages));
                if !shares.is_empty() && gone & 1 != 0 {
                    drop(shares.swap_remove(usize::from(gone) % shares.len()));
                }
                let taken: usize = shares.iter().map(|share| share.pages).sum();
                prop_assert_eq!(taken + quota.free.get(), RESERVED + 200);
                // Whoever has nothing gets something.
                prop_assert!(quota.take(9, Use::Needed, 16).is_some() || quota.free.get() < 32);
            }
        }
    }
}
