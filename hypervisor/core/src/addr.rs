//! Addresses and frame numbers: one type each, so that none passes for another.
//!
//! ```text
//!  GuestVirtAddr  what an instruction of a guest names (linear address)
//!       |  the guest's page tables               pt_walk
//!  GuestPhysAddr  what the guest takes for its bus
//!  Gfn            a 4-KiB frame of it          (guest frame number)
//!       |  the domain's p2m                      ept
//!  HostPhysAddr   what the machine's address bus sees
//!  Mfn            a 4-KiB frame of it          (machine frame number)
//! ```

use core::fmt;

// Host and target are x86-64 (or as wide): sizes of memory fit either type.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// `value` as an index or a length; no bits are lost.
#[must_use]
pub const fn to_usize(value: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "as wide, by the assertion above")]
    {
        value as usize
    }
}

/// Bytes in a frame, as a length in memory.
pub const PAGE_LEN: usize = to_usize(PAGE_SIZE);
/// Bytes in a frame (SDM "Paging": the smallest page size).
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bits of an address that select the byte in its frame.
pub const PAGE_SHIFT: u32 = 12;
/// SDM "CPUID—CPU Identification", leaf 80000008H: MAXPHYADDR is at most 52.
const MAX_PHYS_BITS: u32 = 52;

/// A physical address of the machine, below 2^52.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct HostPhysAddr(u64);

impl HostPhysAddr {
    /// One past the largest address.
    pub const LIMIT: u64 = 1 << MAX_PHYS_BITS;

    /// The address `raw`, or `None` from 2^52 on.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw < Self::LIMIT { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The frame that holds this byte.
    #[must_use]
    pub const fn mfn(self) -> Mfn {
        Mfn(self.0 >> PAGE_SHIFT)
    }

    /// Offset of this byte in its frame.
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// The address `bytes` further on.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }
}

impl fmt::Display for HostPhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for HostPhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPhysAddr({:#x})", self.0)
    }
}

/// A machine frame number: a 4-KiB frame of physical memory, below 2^40.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Mfn(u64);

impl Mfn {
    /// The frame numbered `raw`, or `None` from 2^40 on.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw < HostPhysAddr::LIMIT >> PAGE_SHIFT { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn start(self) -> HostPhysAddr {
        HostPhysAddr(self.0 << PAGE_SHIFT)
    }

    /// The frame `frames` further on.
    #[must_use]
    pub const fn checked_add(self, frames: u64) -> Option<Self> {
        match self.0.checked_add(frames) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }
}

impl fmt::Display for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mfn({:#x})", self.0)
    }
}

/// A physical address of a guest, below 2^52.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct GuestPhysAddr(u64);

impl GuestPhysAddr {
    /// One past the largest address.
    pub const LIMIT: u64 = 1 << MAX_PHYS_BITS;

    /// The address `raw`, or `None` from 2^52 on.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw < Self::LIMIT { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The frame that holds this byte.
    #[must_use]
    pub const fn gfn(self) -> Gfn {
        Gfn(self.0 >> PAGE_SHIFT)
    }

    /// Offset of this byte in its frame.
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// The address `bytes` further on.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }
}

impl fmt::Display for GuestPhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for GuestPhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestPhysAddr({:#x})", self.0)
    }
}

/// A guest frame number: a 4-KiB frame of a guest's physical memory, below 2^40.
///
/// Only the domain's p2m turns it into an [`Mfn`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Gfn(u64);

impl Gfn {
    /// The frame numbered `raw`, or `None` from 2^40 on.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw < GuestPhysAddr::LIMIT >> PAGE_SHIFT { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn start(self) -> GuestPhysAddr {
        GuestPhysAddr(self.0 << PAGE_SHIFT)
    }

    /// The frame `frames` further on.
    #[must_use]
    pub const fn checked_add(self, frames: u64) -> Option<Self> {
        match self.0.checked_add(frames) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }
}

impl fmt::Display for Gfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Gfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gfn({:#x})", self.0)
    }
}

/// A linear address of a guest: 64 bits as the guest gave them, canonical or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct GuestVirtAddr(u64);

impl GuestVirtAddr {
    /// The address `raw`.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether bits 63:47 are all the same (SDM "Canonical Addressing", 48 bits).
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        (self.0 << 16) as i64 >> 16 == self.0 as i64
    }

    /// Offset of this byte in its 4-KiB page.
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// The address `bytes` further on, or `None` past the last.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }
}

impl fmt::Display for GuestVirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for GuestVirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestVirtAddr({:#x})", self.0)
    }
}

/// A half-open range of physical memory, in bytes: `start..end`, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PhysRange {
    start: u64,
    end: u64,
}

impl PhysRange {
    /// No bytes, at address 0.
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    /// `start..end`, or `None` if it runs backwards or leaves the address space.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start <= end && end <= HostPhysAddr::LIMIT { Some(Self { start, end }) } else { None }
    }

    /// `len` bytes from `start`, or `None` if they leave the address space.
    #[must_use]
    pub const fn from_len(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Self::new(start, end),
            None => None,
        }
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes in the range.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether no byte is in the range.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// Whether every byte of `other` is in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The smallest range of whole frames that covers this one.
    #[must_use]
    pub const fn round_out(self) -> Self {
        // LIMIT is a multiple of the page size, so the end cannot pass it.
        Self { start: self.start & !(PAGE_SIZE - 1), end: (self.end + (PAGE_SIZE - 1)) & !(PAGE_SIZE - 1) }
    }

    /// The largest range of whole frames inside this one, possibly empty.
    #[must_use]
    pub const fn round_in(self) -> Self {
        let start = (self.start + (PAGE_SIZE - 1)) & !(PAGE_SIZE - 1);
        let end = self.end & !(PAGE_SIZE - 1);
        if start < end { Self { start, end } } else { Self { start, end: start } }
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_at_52_bits() {
        assert!(HostPhysAddr::new(HostPhysAddr::LIMIT - 1).is_some());
        assert_eq!(HostPhysAddr::new(HostPhysAddr::LIMIT), None);
        assert_eq!(HostPhysAddr(HostPhysAddr::LIMIT - 1).checked_add(1), None);
        assert_eq!(Mfn::new((1 << 40) - 1).and_then(|m| m.checked_add(1)), None);
    }

    #[test]
    fn an_address_splits_into_frame_and_offset() {
        let a = HostPhysAddr(0x1234_5678);
        assert_eq!((a.mfn(), a.page_offset()), (Mfn(0x12345), 0x678));
        assert_eq!(a.mfn().start().get(), 0x1234_5000);
    }

    #[test]
    fn guest_addresses_have_the_same_limits() {
        assert_eq!(GuestPhysAddr::new(GuestPhysAddr::LIMIT), None);
        assert_eq!(GuestPhysAddr(GuestPhysAddr::LIMIT - 1).checked_add(1), None);
        assert_eq!(Gfn::new((1 << 40) - 1).and_then(|g| g.checked_add(1)), None);
        let a = GuestPhysAddr(0x1234_5678);
        assert_eq!((a.gfn(), a.page_offset()), (Gfn(0x12345), 0x678));
        assert_eq!(a.gfn().start().get(), 0x1234_5000);
    }

    #[test]
    fn canonical_addresses_repeat_bit_47() {
        let canonical = |raw| GuestVirtAddr::new(raw).is_canonical();
        assert!(canonical(0x0000_7fff_ffff_ffff) && canonical(0xffff_8000_0000_0000) && canonical(u64::MAX));
        assert!(
            !canonical(0x0000_8000_0000_0000) && !canonical(0xffff_7fff_ffff_ffff) && !canonical(1 << 63)
        );
        assert_eq!(GuestVirtAddr::new(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn ranges_round_to_frames() {
        let r = PhysRange::new(0x1001, 0x2fff).unwrap();
        assert_eq!(r.round_out(), PhysRange::new(0x1000, 0x3000).unwrap());
        assert!(r.round_in().is_empty());
        assert_eq!(
            PhysRange::new(0xfff, 0x2001).unwrap().round_in(),
            PhysRange::new(0x1000, 0x2000).unwrap()
        );
    }

    #[test]
    fn empty_ranges_overlap_nothing() {
        let empty = PhysRange::new(5, 5).unwrap();
        let full = PhysRange::new(0, 10).unwrap();
        assert!(!empty.overlaps(full) && !full.overlaps(empty));
        assert_eq!(PhysRange::new(2, 1), None);
        assert_eq!(PhysRange::from_len(u64::MAX, 2), None);
    }
}
