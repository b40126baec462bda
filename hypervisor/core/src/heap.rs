//! Elements in the order of a key, the least first.
//!
//! A binary heap in which each element knows its place, so that one that is no
//! longer wanted leaves at once: every operation costs at most the logarithm of
//! how many wait.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// An element that remembers where in a [`Heap`] it is.
pub trait Placed {
    /// Its place; `None` outside.
    fn place(&self) -> Option<usize>;
    /// Notes its place. Called by [`Heap`] only.
    fn set_place(&self, place: Option<usize>);
}

impl<T: Placed> Placed for Arc<T> {
    fn place(&self) -> Option<usize> {
        (**self).place()
    }

    fn set_place(&self, place: Option<usize>) {
        (**self).set_place(place);
    }
}

/// Elements with a key each.
#[derive(Debug)]
pub struct Heap<K, T> {
    heap: Vec<(K, T)>,
}

impl<K, T> Default for Heap<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T> Heap<K, T> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { heap: Vec::new() }
    }

    /// The elements: the least first, the others in no order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, T)> {
        self.heap.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<K: Copy, T> Heap<K, T> {
    /// The least key.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<K> {
        self.heap.first().map(|&(key, _)| key)
    }

    /// Gives each element the key that `change` makes of its own. `change` keeps the order of keys.
    pub fn rekey(&mut self, change: impl Fn(K) -> K) {
        self.heap.iter_mut().for_each(|(key, _)| *key = change(*key));
    }
}

impl<K: Ord + Copy, T: Placed> Heap<K, T> {
    /// Adds `element`, which is in no other heap.
    pub fn insert(&mut self, key: K, element: T) {
        let last = self.heap.len();
        element.set_place(Some(last));
        self.heap.push((key, element));
        self.rise(last);
    }

    /// Takes the element that says it is at `place`.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        self.remove_entry(place).map(|(_, element)| element)
    }

    /// As [`Heap::remove`], with its key.
    pub fn remove_entry(&mut self, place: usize) -> Option<(K, T)> {
        let last = self.heap.len().checked_sub(1).filter(|&last| place <= last)?;
        self.swap(place, last);
        let (key, element) = self.heap.pop()?;
        element.set_place(None);
        if place < last {
            self.sink(place);
            self.rise(place);
        }
        Some((key, element))
    }

    /// Takes the least element if its key is `limit` at most.
    pub fn take_due(&mut self, limit: K) -> Option<T> {
        self.first().filter(|&key| key <= limit).and_then(|_| self.remove(0))
    }

    /// The key at `place`; `None` past the end.
    fn key(&self, place: usize) -> Option<K> {
        self.heap.get(place).map(|&(key, _)| key)
    }

    /// Whether what is at `one` belongs above what is at `other`. Nothing belongs below everything.
    fn precedes(&self, one: usize, other: usize) -> bool {
        match (self.key(one), self.key(other)) {
            (Some(one), Some(other)) => one < other,
            (one, _) => one.is_some(),
        }
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
            && self.precedes(place, parent)
        {
            self.swap(place, parent);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let child = if self.precedes(left + 1, left) { left + 1 } else { left };
            if !self.precedes(child, place) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const NOWHERE: usize = usize::MAX;

    #[derive(Debug)]
    struct Item {
        id: usize,
        place: AtomicUsize,
    }

    impl Placed for Item {
        fn place(&self) -> Option<usize> {
            Some(self.place.load(Ordering::Relaxed)).filter(|&place| place != NOWHERE)
        }

        fn set_place(&self, place: Option<usize>) {
            self.place.store(place.unwrap_or(NOWHERE), Ordering::Relaxed);
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
            let mut heap = Heap::new();
            let mut model: Vec<(u64, Arc<Item>)> = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(at) => {
                        let item = Arc::new(Item { id, place: AtomicUsize::new(NOWHERE) });
                        heap.insert(at, Arc::clone(&item));
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
                prop_assert_eq!(heap.first(), model.iter().map(|&(at, _)| at).min());
                prop_assert!(heap.heap.iter().enumerate().all(|(place, (_, item))| item.place() == Some(place)));
            }
        }
    }
}
