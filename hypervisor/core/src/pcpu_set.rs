//! Sets of pcpus.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::id::{MAX_PCPUS, PcpuId};

const WORDS: usize = MAX_PCPUS / 64;

/// A set of pcpus: where a vcpu may run, where translations may be cached.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PcpuSet([u64; WORDS]);

impl PcpuSet {
    /// Every pcpu that there can be.
    pub const ALL: Self = Self([u64::MAX; WORDS]);
    /// None.
    pub const NONE: Self = Self([0; WORDS]);

    /// Whether `pcpu` is one of them.
    #[must_use]
    #[inline]
    pub const fn contains(&self, pcpu: PcpuId) -> bool {
        self.0[pcpu.index() / 64] >> (pcpu.index() % 64) & 1 != 0
    }

    /// Adds `pcpu`.
    #[inline]
    pub const fn insert(&mut self, pcpu: PcpuId) {
        self.0[pcpu.index() / 64] |= 1 << (pcpu.index() % 64);
    }

    /// Takes `pcpu` out.
    #[inline]
    pub const fn remove(&mut self, pcpu: PcpuId) {
        self.0[pcpu.index() / 64] &= !(1 << (pcpu.index() % 64));
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// The set as words, pcpu 0 in bit 0 of the first.
    #[must_use]
    #[inline]
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Those in both sets.
    #[must_use]
    #[inline]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        both
    }

    /// Whether `pcpu` is its only member.
    #[must_use]
    #[inline]
    pub fn is_only(&self, pcpu: PcpuId) -> bool {
        let mut others = *self;
        others.remove(pcpu);
        others.is_empty() && self.contains(pcpu)
    }

    /// The first member whose index is `index` or more.
    #[must_use]
    #[inline]
    pub fn next_from(&self, index: usize) -> Option<PcpuId> {
        let (first, bit) = (index / 64, index % 64);
        let mut mask = u64::MAX << bit;
        for (place, word) in self.0.iter().enumerate().skip(first) {
            let found = word & mask;
            if found != 0 {
                return PcpuId::new(place * 64 + usize::try_from(found.trailing_zeros()).ok()?);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Those in either set.
    #[must_use]
    #[inline]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = *self;
        all.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        all
    }

    /// Those that are not in `other`.
    #[must_use]
    #[inline]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = *self;
        rest.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        rest
    }

    /// The lowest `bits` bits of the set as bytes, pcpu 0 in bit 0 of the first:
    /// `struct xenctl_bitmap` of `domctl.h`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MAX_PCPUS / 8] {
        let mut bytes = [0; MAX_PCPUS / 8];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The set whose bits are in `bytes`; what lies beyond them is not in it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut set = Self::NONE;
        let all = (0..MAX_PCPUS).filter_map(PcpuId::new);
        let named = all.filter(|pcpu| {
            bytes.get(pcpu.index() / 8).is_some_and(|byte| byte >> (pcpu.index() % 8) & 1 != 0)
        });
        named.for_each(|pcpu| set.insert(pcpu));
        set
    }

    /// Its members, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = PcpuId> + use<> {
        let (set, mut next) = (*self, 0);
        core::iter::from_fn(move || {
            let pcpu = set.next_from(next)?;
            next = pcpu.index() + 1;
            Some(pcpu)
        })
    }
}

/// A set of pcpus that is changed without a lock, member by member.
#[derive(Debug)]
pub struct AtomicPcpuSet([AtomicU64; WORDS]);

impl AtomicPcpuSet {
    /// The set of the members of `set`.
    #[must_use]
    pub const fn new(set: PcpuSet) -> Self {
        let [a, b, c, d] = set.0;
        Self([AtomicU64::new(a), AtomicU64::new(b), AtomicU64::new(c), AtomicU64::new(d)])
    }

    /// Whether `pcpu` is one of them.
    #[inline]
    pub fn contains(&self, pcpu: PcpuId) -> bool {
        self.0[pcpu.index() / 64].load(Ordering::SeqCst) >> (pcpu.index() % 64) & 1 != 0
    }

    /// Adds `pcpu`.
    #[inline]
    pub fn insert(&self, pcpu: PcpuId) {
        self.0[pcpu.index() / 64].fetch_or(1 << (pcpu.index() % 64), Ordering::SeqCst);
    }

    /// Takes `pcpu` out; says whether it was in.
    #[inline]
    pub fn remove(&self, pcpu: PcpuId) -> bool {
        let (word, bit) = (&self.0[pcpu.index() / 64], 1 << (pcpu.index() % 64));
        word.load(Ordering::SeqCst) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Whether another one than `pcpu` is in.
    #[inline]
    pub fn has_others(&self, pcpu: PcpuId) -> bool {
        let mut set = self.load();
        set.remove(pcpu);
        !set.is_empty()
    }

    /// Has the members of `set` from now on, word by word.
    pub fn store(&self, set: &PcpuSet) {
        self.0.iter().zip(set.0).for_each(|(word, value)| word.store(value, Ordering::SeqCst));
    }

    /// The members, word by word.
    #[inline]
    pub fn load(&self) -> PcpuSet {
        let mut set = PcpuSet::NONE;
        set.0.iter_mut().zip(&self.0).for_each(|(value, word)| *value = word.load(Ordering::SeqCst));
        set
    }
}

impl FromIterator<PcpuId> for PcpuSet {
    fn from_iter<I: IntoIterator<Item = PcpuId>>(pcpus: I) -> Self {
        pcpus.into_iter().fold(Self::NONE, |mut set, pcpu| {
            set.insert(pcpu);
            set
        })
    }
}

impl fmt::Debug for PcpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcpu(index: usize) -> PcpuId {
        PcpuId::new(index).unwrap()
    }

    #[test]
    fn members_are_those_inserted() {
        let mut set: PcpuSet = [0, 63, 64, 255].into_iter().map(pcpu).collect();
        assert!([0, 63, 64, 255].into_iter().all(|n| set.contains(pcpu(n))));
        assert!(!set.contains(pcpu(1)));
        set.remove(pcpu(64));
        assert!(set.iter().eq([0, 63, 255].into_iter().map(pcpu)));
        assert!(PcpuSet::NONE.is_empty() && !set.is_empty());
        assert_eq!(set.intersection(&PcpuSet::ALL), set);
        let other: PcpuSet = [1, 63].into_iter().map(pcpu).collect();
        assert!(set.union(&other).iter().eq([0, 1, 63, 255].into_iter().map(pcpu)));
    }

    #[test]
    fn bytes_have_pcpu_0_in_their_lowest_bit() {
        let set = PcpuSet::from_bytes(&[0b101, 0x80]);
        assert!(set.iter().eq([0, 2, 15].into_iter().map(pcpu)));
        assert_eq!(PcpuSet::from_bytes(&set.to_bytes()), set);
        assert_eq!(PcpuSet::from_bytes(&[0xff; 64]), PcpuSet::ALL);
    }
}
