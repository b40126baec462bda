//! Sets of pcpus.

use core::fmt;

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
    pub const fn insert(&mut self, pcpu: PcpuId) {
        self.0[pcpu.index() / 64] |= 1 << (pcpu.index() % 64);
    }

    /// Takes `pcpu` out.
    pub const fn remove(&mut self, pcpu: PcpuId) {
        self.0[pcpu.index() / 64] &= !(1 << (pcpu.index() % 64));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The set as words, pcpu 0 in bit 0 of the first.
    #[must_use]
    #[inline]
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Those in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        both
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
    pub fn iter(&self) -> impl Iterator<Item = PcpuId> + '_ {
        (0..MAX_PCPUS).filter_map(PcpuId::new).filter(|&pcpu| self.contains(pcpu))
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
    }

    #[test]
    fn bytes_have_pcpu_0_in_their_lowest_bit() {
        let set = PcpuSet::from_bytes(&[0b101, 0x80]);
        assert!(set.iter().eq([0, 2, 15].into_iter().map(pcpu)));
        assert_eq!(PcpuSet::from_bytes(&set.to_bytes()), set);
        assert_eq!(PcpuSet::from_bytes(&[0xff; 64]), PcpuSet::ALL);
    }
}
