//! Numbers that look random and are the same in each run: SplitMix64 (Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators").

/// A generator; any seed will do.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An index of something that has so many.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(crate) fn u16(&mut self) -> u16 {
        let [a, b, ..] = self.next().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// A value that is more often wrong than chance would make it: ends of ranges among others.
    pub(crate) fn odd(&mut self) -> u64 {
        const ENDS: [u64; 10] = [0, 1, 7, 8, 11, 12, 0xffff, 0xffff_ffff, u64::MAX - 7, u64::MAX];
        match self.below(4) {
            0 => ENDS[self.index(ENDS.len())],
            1 => self.below(64),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }
}
