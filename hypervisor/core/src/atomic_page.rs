//! A page that the hypervisor shares with a guest, word by word.
//!
//! The guest's vcpus change the words at any time, so each access is one atomic operation
//! on one word of one size, and what it returns is a claim of the guest. [`At8`], [`At32`] and
//! [`At64`] are places that lie in the page for certain; implementations need no further check.
//!
//! All operations are sequentially consistent but plain loads and stores, which acquire and
//! release: what was stored before is visible to whoever sees the store.

use core::ops::Deref;

use crate::addr::PAGE_SIZE;

/// Place of a byte in a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct At8(u16);

/// Place of a 32-bit word in a page: a multiple of 4 below the page's size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct At32(u16);

/// Place of a 64-bit word in a page: a multiple of 8 below the page's size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct At64(u16);

/// The highest place of a word of `size` bytes, whose other bits are those that a place may have.
#[expect(clippy::cast_possible_truncation, reason = "below the page's size")]
const fn last(size: u64) -> u16 {
    (PAGE_SIZE - size) as u16
}

impl At8 {
    /// The byte at `offset`, if it is in the page.
    #[must_use]
    pub const fn new(offset: u64) -> Option<Self> {
        if offset < PAGE_SIZE { Some(Self::masked(offset)) } else { None }
    }

    /// The byte at `offset` taken modulo the page's size, as [`At32::masked`].
    #[expect(clippy::cast_possible_truncation, reason = "masked first")]
    #[must_use]
    pub const fn masked(offset: u64) -> Self {
        Self((offset & last(1) as u64) as u16)
    }

    /// Its place.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.0 as usize
    }
}

impl At32 {
    /// The word at byte `offset`, if it is one.
    #[must_use]
    pub const fn new(offset: u64) -> Option<Self> {
        if offset & !(last(4) as u64) == 0 { Some(Self::masked(offset)) } else { None }
    }

    /// The word at byte `offset` taken modulo the page's size and rounded down: for offsets that the caller
    /// knows to be right, and for a bound that also holds under speculation.
    #[expect(clippy::cast_possible_truncation, reason = "masked first")]
    #[must_use]
    pub const fn masked(offset: u64) -> Self {
        Self((offset & last(4) as u64) as u16)
    }

    /// Its byte in the page.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.0 as usize
    }
}

impl At64 {
    /// The word at byte `offset`, if it is one.
    #[must_use]
    pub const fn new(offset: u64) -> Option<Self> {
        if offset & !(last(8) as u64) == 0 { Some(Self::masked(offset)) } else { None }
    }

    /// The word at byte `offset` taken modulo the page's size and rounded down, as [`At32::masked`].
    #[expect(clippy::cast_possible_truncation, reason = "masked first")]
    #[must_use]
    pub const fn masked(offset: u64) -> Self {
        Self((offset & last(8) as u64) as u16)
    }

    /// Its byte in the page.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.0 as usize
    }
}

/// A shared page of 4 KiB.
pub trait AtomicPage {
    /// Reads a byte.
    fn load8(&self, at: At8) -> u8;
    /// Sets `bits`; returns what was there.
    fn fetch_or8(&self, at: At8, bits: u8) -> u8;
    /// Reads a word.
    fn load32(&self, at: At32) -> u32;
    /// Writes a word.
    fn store32(&self, at: At32, value: u32);
    /// Sets `bits`; returns what was there.
    fn fetch_or32(&self, at: At32, bits: u32) -> u32;
    /// Keeps only `bits`; returns what was there.
    fn fetch_and32(&self, at: At32, bits: u32) -> u32;
    /// Writes `new` if `current` is there; otherwise says what is.
    ///
    /// # Errors
    ///
    /// What is there, if it is not `current`.
    fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32>;
    /// Reads a word.
    fn load64(&self, at: At64) -> u64;
    /// Sets `bits`; returns what was there.
    fn fetch_or64(&self, at: At64, bits: u64) -> u64;
    /// Keeps only `bits`; returns what was there.
    fn fetch_and64(&self, at: At64, bits: u64) -> u64;
}

impl<T: Deref<Target: AtomicPage>> AtomicPage for T {
    fn load8(&self, at: At8) -> u8 {
        (**self).load8(at)
    }

    fn fetch_or8(&self, at: At8, bits: u8) -> u8 {
        (**self).fetch_or8(at, bits)
    }

    fn load32(&self, at: At32) -> u32 {
        (**self).load32(at)
    }

    fn store32(&self, at: At32, value: u32) {
        (**self).store32(at, value);
    }

    fn fetch_or32(&self, at: At32, bits: u32) -> u32 {
        (**self).fetch_or32(at, bits)
    }

    fn fetch_and32(&self, at: At32, bits: u32) -> u32 {
        (**self).fetch_and32(at, bits)
    }

    fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32> {
        (**self).compare_exchange32(at, current, new)
    }

    fn load64(&self, at: At64) -> u64 {
        (**self).load64(at)
    }

    fn fetch_or64(&self, at: At64, bits: u64) -> u64 {
        (**self).fetch_or64(at, bits)
    }

    fn fetch_and64(&self, at: At64, bits: u64) -> u64 {
        (**self).fetch_and64(at, bits)
    }
}

/// A page for host tests. Its words of different sizes do not overlap as on the machine: as in every
/// real structure, each word is only ever accessed in one size.
#[cfg(test)]
pub(crate) mod testing {
    use super::{At8, At32, At64, AtomicPage};
    use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
    use std::boxed::Box;
    use std::iter;

    #[derive(Debug)]
    pub(crate) struct HostPage {
        bytes: Box<[AtomicU8]>,
        words: Box<[AtomicU32]>,
        doubles: Box<[AtomicU64]>,
    }

    impl HostPage {
        pub(crate) fn new() -> Self {
            Self {
                bytes: iter::repeat_with(AtomicU8::default).take(4096).collect(),
                words: iter::repeat_with(AtomicU32::default).take(1024).collect(),
                doubles: iter::repeat_with(AtomicU64::default).take(512).collect(),
            }
        }

        pub(crate) fn byte(&self, at: At8) -> &AtomicU8 {
            &self.bytes[at.offset()]
        }

        fn word(&self, at: At32) -> &AtomicU32 {
            &self.words[at.offset() / 4]
        }

        fn double(&self, at: At64) -> &AtomicU64 {
            &self.doubles[at.offset() / 8]
        }
    }

    impl AtomicPage for HostPage {
        fn load8(&self, at: At8) -> u8 {
            self.byte(at).load(Ordering::Acquire)
        }

        fn fetch_or8(&self, at: At8, bits: u8) -> u8 {
            self.byte(at).fetch_or(bits, Ordering::SeqCst)
        }

        fn load32(&self, at: At32) -> u32 {
            self.word(at).load(Ordering::Acquire)
        }

        fn store32(&self, at: At32, value: u32) {
            self.word(at).store(value, Ordering::Release);
        }

        fn fetch_or32(&self, at: At32, bits: u32) -> u32 {
            self.word(at).fetch_or(bits, Ordering::SeqCst)
        }

        fn fetch_and32(&self, at: At32, bits: u32) -> u32 {
            self.word(at).fetch_and(bits, Ordering::SeqCst)
        }

        fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32> {
            self.word(at).compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
        }

        fn load64(&self, at: At64) -> u64 {
            self.double(at).load(Ordering::Acquire)
        }

        fn fetch_or64(&self, at: At64, bits: u64) -> u64 {
            self.double(at).fetch_or(bits, Ordering::SeqCst)
        }

        fn fetch_and64(&self, at: At64, bits: u64) -> u64 {
            self.double(at).fetch_and(bits, Ordering::SeqCst)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_aligned_and_inside() {
        assert_eq!(At32::new(4092).map(At32::offset), Some(4092));
        for outside in [1, 2, 4094, 4096, u64::MAX - 3] {
            assert_eq!(At32::new(outside), None, "{outside}");
        }
        assert_eq!(At64::new(4088).map(At64::offset), Some(4088));
        for outside in [4, 4092, 4096, 1 << 32] {
            assert_eq!(At64::new(outside), None, "{outside}");
        }
        assert_eq!((At8::new(4095).map(At8::offset), At8::new(4096)), (Some(4095), None));
        assert_eq!(At32::masked(4096 + 7).offset(), 4);
        assert_eq!(At64::masked(u64::MAX).offset(), 4088);
    }
}
