//! The Internet checksum (RFC 1071).

use core::ops::Add;

/// A sum of 16-bit words in ones' complement, in the byte order of memory: the sum does not
/// depend on it (RFC 1071, section 2 (B)), so no word is turned around.
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Sums up bytes; an odd one in the end counts as if a zero followed.
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        // Halves of 32 bits: a frame has too few of them to overflow the sum.
        let halves = |word: &[u8; 8]| {
            let word = u64::from_le_bytes(*word);
            (word & 0xffff_ffff).wrapping_add(word >> 32)
        };
        Self(words.iter().fold(halves(&last), |sum, word| sum.wrapping_add(halves(word))))
    }

    /// The sum as a checksum field has it when the rest is still to be added.
    pub fn partial(self) -> [u8; 2] {
        self.fold().to_le_bytes()
    }

    /// The checksum.
    pub fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_le_bytes()
    }

    fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(u64::from(self.fold()).wrapping_add(u64::from(other.fold())))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::Sum;

    /// Word by word, as RFC 1071, section 4.1 has it.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_rfcs_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).partial(), [0xdd, 0xf2]);
        assert_eq!(Sum::of(&bytes).checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn carries_of_a_long_frame_are_not_lost() {
        let bytes = vec![0xff; 65550];
        assert_eq!(Sum::of(&bytes).checksum(), naive(&bytes).to_be_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn is_the_sum_word_by_word(bytes: Vec<u8>, at in 0_usize..64) {
            prop_assert_eq!(Sum::of(&bytes).checksum(), naive(&bytes).to_be_bytes());
            let (head, tail) = bytes.split_at((at & !1).min(bytes.len() & !1));
            prop_assert_eq!((Sum::of(head) + Sum::of(tail)).checksum(), naive(&bytes).to_be_bytes());
        }
    }
}
