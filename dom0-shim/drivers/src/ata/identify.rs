//! What a drive says of itself: the answer to IDENTIFY DEVICE (ATA/ATAPI-6, 8.15).

use alloc::format;
use alloc::string::String;

/// Words of the answer.
pub(crate) const WORDS: usize = 256;

/// Sectors that 28-bit addresses reach.
const LBA28_SECTORS: u64 = 1 << 28;
/// Sectors that 48-bit addresses reach.
const LBA48_SECTORS: u64 = 1 << 48;

/// A drive, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Model, as the drive writes it; ASCII only.
    pub model: String,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of the medium's own blocks.
    pub block_bytes: u32,
    /// Whether it takes 48-bit addresses.
    pub lba48: bool,
    /// Whether it transfers by DMA.
    pub dma: bool,
    /// How its write cache is written to the medium.
    pub flush: Flush,
}

/// How a drive's write cache is written to the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// FLUSH CACHE EXT.
    Ext,
    /// FLUSH CACHE.
    Plain,
    /// There is none: what is written is on the medium.
    NoCache,
}

impl Identity {
    /// Reads the answer.
    ///
    /// # Errors
    ///
    /// In words, when it is no disk that can be used.
    pub fn parse(words: &[u16; WORDS]) -> Result<Self, String> {
        let bit = |word: usize, bit: u32| words[word] >> bit & 1 != 0;
        // Words 83, 84, 86, 87 and 106 count only if bits 15:14 of one of them are 01.
        let valid = |word: usize| words[word] >> 14 == 1;
        if bit(0, 15) {
            return Err("it is no disk".into());
        }
        if !bit(49, 9) {
            return Err("it has no linear addresses: too old to be used".into());
        }
        let lba48 = valid(83) && bit(83, 10);
        let low = number(words, 60, 2);
        let (sectors, limit) =
            if lba48 { (number(words, 100, 4).max(low), LBA48_SECTORS) } else { (low, LBA28_SECTORS) };
        if sectors == 0 || sectors > limit {
            return Err(format!("it says that it has {sectors} sectors"));
        }
        if valid(106) && bit(106, 12) {
            return Err("its sectors are longer than 512 bytes".into());
        }
        Ok(Self {
            model: model(words),
            sectors,
            block_bytes: if valid(106) && bit(106, 13) { 512 << (words[106] & 15).min(15) } else { 512 },
            lba48,
            dma: bit(49, 8),
            flush: if lba48 && bit(83, 13) {
                Flush::Ext
            } else if valid(83) && bit(83, 12) || bit(85, 5) {
                Flush::Plain
            } else {
                Flush::NoCache
            },
        })
    }
}

/// A number of `count` words from `first` on, the lowest first.
fn number(words: &[u16; WORDS], first: usize, count: usize) -> u64 {
    words.iter().skip(first).take(count).rev().fold(0, |sum, word| sum << 16 | u64::from(*word))
}

/// The model number: two characters in a word, the first one in the upper byte.
fn model(words: &[u16; WORDS]) -> String {
    let bytes = words[27..47].iter().flat_map(|word| word.to_be_bytes());
    let text: String = bytes.map(char::from).map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    text.trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> [u16; WORDS] {
        let mut words = [0; WORDS];
        words[49] = 1 << 9 | 1 << 8;
        words[60..62].copy_from_slice(&[0x4000, 0x0001]);
        words[27] = u16::from_be_bytes(*b"QE");
        words[28] = u16::from_be_bytes(*b"MU");
        words
    }

    #[test]
    fn small_drive_has_28_bit_addresses() {
        let identity = Identity::parse(&answer()).unwrap();
        assert_eq!(identity.sectors, 0x1_4000);
        assert_eq!(identity.block_bytes, 512);
        assert_eq!(identity.flush, Flush::NoCache);
        assert!(identity.dma && !identity.lba48);
        assert_eq!(identity.model, "QEMU");
    }

    #[test]
    fn large_drive_has_48_bit_addresses_and_long_blocks() {
        let mut words = answer();
        words[83] = 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10;
        words[100..104].copy_from_slice(&[1, 0, 1, 0]);
        words[106] = 1 << 14 | 1 << 13 | 3;
        let identity = Identity::parse(&words).unwrap();
        assert_eq!((identity.sectors, identity.block_bytes), (0x1_0000_0001, 4096));
        assert_eq!((identity.lba48, identity.flush), (true, Flush::Ext));
    }

    #[test]
    fn cache_is_flushed_though_the_command_is_not_announced() {
        let mut words = answer();
        words[85] = 1 << 5;
        assert_eq!(Identity::parse(&words).unwrap().flush, Flush::Plain);
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        assert_eq!(Identity::parse(&[u16::MAX; WORDS]), Err("it is no disk".into()));
        assert!(Identity::parse(&[0; WORDS]).unwrap_err().contains("linear"));
        let mut words = answer();
        words[60..62].fill(0);
        assert!(Identity::parse(&words).unwrap_err().contains("0 sectors"));
        words[60..62].fill(u16::MAX);
        assert!(Identity::parse(&words).unwrap_err().contains("4294967295 sectors"));
        words = answer();
        words[106] = 1 << 14 | 1 << 12;
        assert!(Identity::parse(&words).unwrap_err().contains("longer than 512"));
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_a_disk_or_refused(words in proptest::collection::vec(proptest::num::u16::ANY, WORDS)) {
            if let Ok(identity) = Identity::parse(&words.try_into().unwrap()) {
                assert!((1..=LBA48_SECTORS).contains(&identity.sectors));
                assert!(identity.block_bytes.is_power_of_two() && identity.block_bytes >= 512);
            }
        }
    }
}
