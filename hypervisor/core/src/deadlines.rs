//! Deadlines of one pcpu, earliest first.
//!
//! A binary heap in which each element knows its place, so that one that is no
//! longer wanted leaves at once: every operation costs at most the logarithm of
//! how many wait.

use core::ops::Deref;

use alloc::vec::Vec;

/// An element that remembers where in a [`Deadlines`] it is.
pub trait Placed {
    /// Its place; `None` outside.
    fn place(&self) -> Option<usize>;
    /// Notes its place. Called by [`Deadlines`] only.
    fn set_place(&self, place: Option<usize>);
}

/// Elements with a deadline each.
#[derive(Debug)]
pub struct Deadlines<T> {
    heap: Vec<(u64, T)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deadlines<T> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { heap: Vec::new() }
    }

    /// The earliest deadline.
    #[must_use]
    #[inline]
    pub fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|&(at, _)| at)
    }
}

impl<T: Deref<Target: Placed>> Deadlines<T> {
    /// Adds `element`, which is in no other set.
    pub fn insert(&mut self, at: u64, element: T) {
        let last = self.heap.len();
        element.set_place(Some(last));
        self.heap.push((at, element));
        self.rise(last);
    }

    /// Takes the element that says it is at `place`.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let last = self.heap.len().checked_sub(1).filter(|&last| place <= last)?;
        self.swap(place, last);
        let (_, element) = self.heap.pop()?;
        element.set_place(None);
        if place < last {
            self.sink(place);
            self.rise(place);
        }
        Some(element)
    }

    /// Takes the earliest element if its deadline has come by `now`.
    pub fn take_due(&mut self, now: u64) -> Option<T> {
        self.earliest().filter(|&at| at <= now).and_then(|_| self.remove(0))
    }

    fn deadline(&self, place: usize) -> u64 {
        self.heap.get(place).map_or(u64::MAX, |&(at, _)| at)
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        self.heap.swap(one, other);
        for place in [one, other] {
            if let Some((_, element)) = self.heap.get(place) {
                element.set_place(Some(place));
            }
        }
    }

    fn rise(&mut self, mut place: usize) {
        while let Some(parent) = place.checked_sub(1).map(|n| n / 2)
            && self.deadline(place) < self.deadline(parent)
        {
            self.swap(place, parent);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let child = if self.deadline(left + 1) < self.deadline(left) { left + 1 } else { left };
            if self.deadline(child) >= self.deadline(place) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::rc::Rc;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Item {
        id: usize,
        place: Cell<Option<usize>>,
    }

    impl Placed for Item {
        fn place(&self) -> Option<usize> {
            self.place.get()
        }

        fn set_place(&self, place: Option<usize>) {
            self.place.set(place);
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Due(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..100_u64).prop_map(Step::Insert),
            (0..64_usize).prop_map(Step::Remove),
            (0..100_u64).prop_map(Step::Due),
        ]
    }

    fn config() -> ProptestConfig {
        ProptestConfig {
            cases: if cfg!(miri) { 8 } else { 256 },
            failure_persistence: None,
            ..Default::default()
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn it_is_a_sorted_list(steps in prop::collection::vec(step(), 0..128)) {
            let mut heap = Deadlines::new();
            let mut model: Vec<(u64, Rc<Item>)> = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(at) => {
                        let item = Rc::new(Item { id, place: Cell::new(None) });
                        heap.insert(at, Rc::clone(&item));
                        model.push((at, item));
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let (_, item) = model.swap_remove(index % model.len());
                        let removed = item.place().and_then(|place| heap.remove(place));
                        prop_assert_eq!(removed.map(|item| item.id), Some(item.id));
                        prop_assert_eq!(item.place(), None);
                    }
                    Step::Remove(_) => prop_assert!(heap.remove(0).is_none()),
                    Step::Due(now) => {
                        let first = model.iter().map(|&(at, _)| at).min().filter(|&at| at <= now);
                        let taken = heap.take_due(now);
                        prop_assert_eq!(taken.is_some(), first.is_some());
                        if let Some(taken) = taken {
                            let index = model.iter().position(|(_, item)| item.id == taken.id);
                            let (at, _) = model.swap_remove(index.ok_or(TestCaseError::fail("unknown"))?);
                            prop_assert_eq!(Some(at), first);
                        }
                    }
                }
                prop_assert_eq!(heap.earliest(), model.iter().map(|&(at, _)| at).min());
                prop_assert!(heap.heap.iter().enumerate().all(|(place, (_, item))| item.place() == Some(place)));
            }
        }
    }
}
