//! The machine's memory map: what the firmware reports, made unambiguous.
//!
//! Firmware hands over a list (INT 15h E820, or the multiboot2 memory-map tag
//! made from it) that may be unsorted, overlap itself and run past the address
//! space. [`MemoryMap`] holds the same facts as sorted, disjoint, merged regions:
//!
//! ```text
//!  firmware   |--------- RAM ---------|      |- RAM -|- RAM -|
//!                 |- reserved -|
//!  map        |RAM|- reserved -|- RAM-|      |----- RAM -----|
//! ```
//!
//! Key types: [`Entry`] (claim of the firmware), [`Region`], [`MemoryMap`].
//! The frame allocator is fed from [`MemoryMap::usable_minus`].

use core::fmt;

use arrayvec::ArrayVec;

use crate::addr::{HostPhysAddr, Mfn, PAGE_SIZE, PhysRange};

/// Most regions that a map may have after normalisation; 24 bytes each.
pub const MAX_REGIONS: usize = 256;

/// What a region of physical memory is good for (ACPI "Address Range Types"),
/// from the least to the most restrictive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RegionKind {
    /// `AddressRangeMemory`: free for the operating system.
    Ram,
    /// `AddressRangeACPI`: RAM once the ACPI tables in it have been read.
    AcpiReclaimable,
    /// `AddressRangeNVS`: to be kept over a sleep.
    AcpiNvs,
    /// `AddressRangeReserved`: taken by the system.
    Reserved,
    /// A type that this code does not know, to be treated as reserved.
    Other(u32),
    /// `AddressRangeUnusable`: memory with errors.
    Bad,
}

impl RegionKind {
    /// The kind behind an E820 or multiboot2 type number.
    #[must_use]
    pub const fn from_type(raw: u32) -> Self {
        match raw {
            1 => Self::Ram,
            2 => Self::Reserved,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Bad,
            other => Self::Other(other),
        }
    }

    /// That number.
    #[must_use]
    pub const fn to_type(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiReclaimable => 3,
            Self::AcpiNvs => 4,
            Self::Bad => 5,
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram => f.write_str("usable"),
            Self::AcpiReclaimable => f.write_str("ACPI data"),
            Self::AcpiNvs => f.write_str("ACPI NVS"),
            Self::Reserved => f.write_str("reserved"),
            Self::Other(raw) => write!(f, "type {raw}"),
            Self::Bad => f.write_str("unusable"),
        }
    }
}

/// One line of the firmware's list, unchecked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// First byte.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
    /// What the firmware says it is.
    pub kind: RegionKind,
}

impl Entry {
    /// The bytes of the entry that can exist, if any: those below 2^52.
    fn clipped(self) -> Option<Region> {
        let end = self.base.saturating_add(self.len).min(HostPhysAddr::LIMIT);
        let range = PhysRange::new(self.base, end)?;
        (!range.is_empty()).then_some(Region { range, kind: self.kind })
    }
}

/// Bytes of one kind. Displayed in the form of Xen's boot log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Where; never empty.
    pub range: PhysRange,
    /// What.
    pub kind: RegionKind,
}

impl Region {
    const fn holds(&self, byte: u64) -> bool {
        self.range.start() <= byte && byte < self.range.end()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A region is never empty, so its end is at least 1.
        let last = self.range.end().saturating_sub(1);
        write!(f, "[{:016x}, {last:016x}] ({})", self.range.start(), self.kind)
    }
}

/// The firmware's list does not fit [`MAX_REGIONS`] regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRegions;

impl fmt::Display for TooManyRegions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory map: more than {MAX_REGIONS} regions")
    }
}

/// Sorted, disjoint regions; neighbours that touch differ in kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryMap {
    regions: ArrayVec<Region, MAX_REGIONS>,
}

impl MemoryMap {
    /// Normalises the firmware's list: where entries overlap, the more
    /// restrictive kind wins; bytes from 2^52 on do not exist.
    ///
    /// The list is walked once per boundary in it, which saves a second buffer:
    /// 6 KiB matter on the boot stack, and lists have tens of entries.
    ///
    /// # Errors
    /// [`TooManyRegions`] if the result has more than [`MAX_REGIONS`] regions.
    pub fn from_entries<I>(entries: I) -> Result<Self, TooManyRegions>
    where
        I: IntoIterator<Item = Entry>,
        I::IntoIter: Clone,
    {
        let claims = entries.into_iter().filter_map(Entry::clipped);
        let mut map = Self::default();
        let mut start = 0;
        while let Some(end) = next_boundary(claims.clone(), start) {
            let kind = claims.clone().filter(|claim| claim.holds(start)).map(|claim| claim.kind).max();
            if let (Some(kind), Some(range)) = (kind, PhysRange::new(start, end)) {
                map.append(Region { range, kind })?;
            }
            start = end;
        }
        Ok(map)
    }

    /// Adds a region behind all others, merging it with the last where it can.
    fn append(&mut self, region: Region) -> Result<(), TooManyRegions> {
        if let Some(last) = self.regions.last_mut()
            && last.kind == region.kind
            && last.range.end() == region.range.start()
            && let Some(joined) = PhysRange::new(last.range.start(), region.range.end())
        {
            last.range = joined;
            return Ok(());
        }
        self.regions.try_push(region).map_err(|_| TooManyRegions)
    }

    /// The regions in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Region> {
        self.regions.iter()
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn usable_bytes(&self) -> u64 {
        // Disjoint and below 2^52, so the sum cannot overflow.
        self.ram().map(PhysRange::len).fold(0, u64::saturating_add)
    }

    /// The last frame that is RAM throughout.
    #[must_use]
    pub fn highest_ram_frame(&self) -> Option<Mfn> {
        let last = self.ram().rev().map(PhysRange::round_in).find(|range| !range.is_empty())?;
        Mfn::new(last.end() / PAGE_SIZE - 1)
    }

    /// Whole frames of RAM that no range in `reserved` touches, as maximal
    /// ranges in ascending order. `reserved` may be unsorted and overlap itself.
    pub fn usable_minus(&self, reserved: &[PhysRange]) -> impl Iterator<Item = PhysRange> {
        self.ram().flat_map(move |ram| Gaps { rest: ram.round_in(), reserved })
    }

    /// `len` bytes (rounded up to whole frames) of RAM, aligned to `align` (a
    /// power of two), that end at or below `below` and that no range in
    /// `reserved` touches.
    ///
    /// The highest such place is taken: memory that 32-bit DMA can reach is
    /// worth more to the domains than to the hypervisor.
    #[must_use]
    pub fn find_free(&self, len: u64, align: u64, below: u64, reserved: &[PhysRange]) -> Option<PhysRange> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).filter(|&len| len != 0)?;
        let align = align.is_power_of_two().then_some(align.max(PAGE_SIZE))?;
        let top_of = |gap: PhysRange| {
            let start = gap.end().min(below).checked_sub(len)? & !(align - 1);
            (start >= gap.start()).then(|| PhysRange::from_len(start, len)).flatten()
        };
        self.usable_minus(reserved).filter_map(top_of).last()
    }

    fn ram(&self) -> impl DoubleEndedIterator<Item = PhysRange> {
        self.regions.iter().filter(|region| region.kind == RegionKind::Ram).map(|region| region.range)
    }
}

/// The first place past `position` where a claim starts or ends.
fn next_boundary(claims: impl Iterator<Item = Region>, position: u64) -> Option<u64> {
    claims
        .flat_map(|claim| [claim.range.start(), claim.range.end()])
        .filter(|&boundary| boundary > position)
        .min()
}

/// What is left of a range of whole frames without the reserved ones.
struct Gaps<'a> {
    rest: PhysRange,
    reserved: &'a [PhysRange],
}

impl Iterator for Gaps<'_> {
    type Item = PhysRange;

    fn next(&mut self) -> Option<PhysRange> {
        // Each round passes the end of at least one reserved range.
        while !self.rest.is_empty() {
            let Some(obstacle) = self.first_obstacle() else {
                return Some(self.take_until(self.rest.end(), self.rest.end()));
            };
            let gap = self.take_until(obstacle.start(), obstacle.end());
            if !gap.is_empty() {
                return Some(gap);
            }
        }
        None
    }
}

impl Gaps<'_> {
    fn first_obstacle(&self) -> Option<PhysRange> {
        self.reserved
            .iter()
            .filter(|range| !range.is_empty())
            .map(|range| range.round_out())
            .filter(|range| range.overlaps(self.rest))
            .min_by_key(|range| range.start())
    }

    /// Cuts off and returns what lies before `gap_end`, and goes on at `resume`.
    fn take_until(&mut self, gap_end: u64, resume: u64) -> PhysRange {
        let (start, end) = (self.rest.start(), self.rest.end());
        self.rest = PhysRange::new(resume.min(end), end).unwrap_or_default();
        PhysRange::new(start, gap_end.max(start)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    const fn entry(base: u64, len: u64, kind: RegionKind) -> Entry {
        Entry { base, len, kind }
    }

    fn map(entries: &[Entry]) -> MemoryMap {
        MemoryMap::from_entries(entries.iter().copied()).unwrap()
    }

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(start, end).unwrap()
    }

    /// A PC with 64 MiB as SeaBIOS or the Bochs BIOS reports it.
    fn small_pc() -> MemoryMap {
        map(&[
            entry(0, 0x9_fc00, RegionKind::Ram),
            entry(0x9_fc00, 0x400, RegionKind::Reserved),
            entry(0xf_0000, 0x1_0000, RegionKind::Reserved),
            entry(0x10_0000, 0x3ef_0000, RegionKind::Ram),
            entry(0x3ff_0000, 0x1_0000, RegionKind::AcpiReclaimable),
            entry(0xfffc_0000, 0x4_0000, RegionKind::Reserved),
        ])
    }

    #[test]
    fn regions_print_like_the_boot_log_of_xen() {
        let lines: Vec<_> = small_pc().iter().map(Region::to_string).collect();
        assert_eq!(lines[0], "[0000000000000000, 000000000009fbff] (usable)");
        assert_eq!(lines[4], "[0000000003ff0000, 0000000003ffffff] (ACPI data)");
        let kinds = [RegionKind::Bad, RegionKind::AcpiNvs, RegionKind::from_type(12)];
        assert_eq!(kinds.map(|k| k.to_string()), ["unusable", "ACPI NVS", "type 12"]);
    }

    #[test]
    fn totals_count_ram_only() {
        assert_eq!(small_pc().usable_bytes(), 0x9_fc00 + 0x3ef_0000);
        assert_eq!(small_pc().highest_ram_frame(), Mfn::new(0x3fef));
        assert_eq!(map(&[]).highest_ram_frame(), None);
        // Half a frame is no frame.
        assert_eq!(map(&[entry(0, 0x800, RegionKind::Ram)]).highest_ram_frame(), None);
    }

    #[test]
    fn every_type_number_has_a_kind() {
        use RegionKind as K;
        let kinds = [1, 2, 3, 4, 5, 0, 6].map(K::from_type);
        let expected =
            [K::Ram, K::Reserved, K::AcpiReclaimable, K::AcpiNvs, K::Bad, K::Other(0), K::Other(6)];
        assert_eq!(kinds, expected);
        assert_eq!(kinds.map(K::to_type), [1, 2, 3, 4, 5, 0, 6]);
    }

    #[test]
    fn entries_that_leave_the_address_space_are_clipped() {
        let limit = HostPhysAddr::LIMIT;
        let m = map(&[
            entry(limit - 0x1000, u64::MAX, RegionKind::Ram),
            entry(limit, 0x1000, RegionKind::Ram),
            entry(u64::MAX, u64::MAX, RegionKind::Ram),
            entry(0x5000, 0, RegionKind::Bad),
        ]);
        let regions: Vec<_> = m.iter().map(|r| r.range).collect();
        assert_eq!(regions, [range(limit - 0x1000, limit)]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "walks 257 entries 514 times")]
    fn too_many_regions_are_an_error_and_touching_ones_are_not() {
        let apart = |n: u64| (0..n).map(|i| entry(i * 0x2000, 0x1000, RegionKind::Ram));
        assert_eq!(MemoryMap::from_entries(apart(256)).map(|m| m.iter().count()), Ok(256));
        assert_eq!(MemoryMap::from_entries(apart(257)), Err(TooManyRegions));
        let touching = (0..300).map(|i| entry(i * 0x1000, 0x1000, RegionKind::Ram));
        assert_eq!(MemoryMap::from_entries(touching).map(|m| m.iter().count()), Ok(1));
    }

    #[test]
    fn free_places_are_taken_from_the_top() {
        let m = small_pc();
        let image = range(0x10_0000, 0x20_0123);
        assert_eq!(m.find_free(0x1800, 1, u64::MAX, &[image]), Some(range(0x3fe_e000, 0x3ff_0000)));
        assert_eq!(m.find_free(0x1000, 0x20_0000, u64::MAX, &[]), Some(range(0x3e0_0000, 0x3e0_1000)));
        assert_eq!(m.find_free(0x1000, 0x1000, 0x10_0000, &[]), Some(range(0x9_e000, 0x9_f000)));
        assert_eq!(m.find_free(0x1000, 0x1000, 0x20_1fff, &[image]), Some(range(0x9_e000, 0x9_f000)));
    }

    #[test]
    fn impossible_places_are_not_found() {
        let m = small_pc();
        assert_eq!(m.find_free(0x1000, 0x1000, 0xfff, &[]), None);
        assert_eq!(m.find_free(0, 0x1000, u64::MAX, &[]), None);
        assert_eq!(m.find_free(0x1000, 3, u64::MAX, &[]), None);
        assert_eq!(m.find_free(u64::MAX, 0x1000, u64::MAX, &[]), None);
        assert_eq!(m.find_free(0x1000, 1 << 63, u64::MAX, &[range(0, 0x1000)]), None);
    }

    // The model: one cell per KiB, painted entry by entry.
    const UNIT: u64 = 0x400;
    const CELLS: usize = if cfg!(miri) { 32 } else { 96 };
    type Model = [Option<RegionKind>; CELLS];

    fn cell(byte: u64) -> usize {
        usize::try_from(byte / UNIT).unwrap()
    }

    fn paint(entries: &[Entry]) -> Model {
        let mut cells: Model = [None; CELLS];
        for e in entries {
            let first = cell(e.base);
            let last = (first + cell(e.len)).min(CELLS);
            for cell in &mut cells[first..last] {
                *cell = (*cell).max(Some(e.kind));
            }
        }
        cells
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let one = (0..CELLS as u64, 0..CELLS as u64, 1..7_u32).prop_map(|(base, len, kind)| {
            let len = len.min(CELLS as u64 - base);
            entry(base * UNIT, len * UNIT, RegionKind::from_type(kind))
        });
        prop::collection::vec(one, 0..12)
    }

    fn reservations() -> impl Strategy<Value = Vec<PhysRange>> {
        let end = CELLS as u64 * UNIT;
        let one = (0..end, 0..end / 8).prop_map(move |(start, len)| range(start, (start + len).min(end)));
        prop::collection::vec(one, 0..6)
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 2 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn the_map_equals_the_painted_model(entries in entries()) {
            let m = map(&entries);
            let mut cells: Model = [None; CELLS];
            for r in m.iter() {
                for cell in &mut cells[cell(r.range.start())..cell(r.range.end())] {
                    prop_assert_eq!(cell.replace(r.kind), None);
                }
            }
            prop_assert_eq!(cells, paint(&entries));
            for pair in m.regions.windows(2) {
                prop_assert!(pair[0].range.end() <= pair[1].range.start());
                prop_assert!(pair[0].range.end() < pair[1].range.start() || pair[0].kind != pair[1].kind);
            }
        }

        #[test]
        fn usable_frames_equal_the_model(entries in entries(), reserved in reservations()) {
            let m = map(&entries);
            let cells = paint(&entries);
            let free = |frame: u64| {
                let bytes = range(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
                let ram = (0..4).all(|i| cells[cell(frame * 4 * UNIT) + i] == Some(RegionKind::Ram));
                ram && !reserved.iter().any(|r| r.overlaps(bytes))
            };
            let mut expected = (0..CELLS as u64 / 4).filter(|&f| free(f));
            let mut previous_end = None;
            for gap in m.usable_minus(&reserved) {
                prop_assert!(!gap.is_empty() && Some(gap.start()) > previous_end);
                previous_end = Some(gap.end());
                for frame in gap.start() / PAGE_SIZE..gap.end() / PAGE_SIZE {
                    prop_assert_eq!(expected.next(), Some(frame));
                }
            }
            prop_assert_eq!(expected.next(), None);
        }

        #[test]
        fn a_found_place_is_free_and_none_means_none(
            entries in entries(), reserved in reservations(), frames in 1..5_u64, shift in 12..15_u32,
            below in 0..CELLS as u64 * UNIT,
        ) {
            let m = map(&entries);
            let len = frames * PAGE_SIZE;
            let fits = |start: u64| {
                let place = range(start, start + len);
                place.end() <= below && m.usable_minus(&reserved).any(|gap| gap.contains(place))
            };
            let expected = (0..CELLS as u64 * UNIT).step_by(1 << shift).filter(|&start| fits(start)).last();
            let found = m.find_free(len, 1 << shift, below, &reserved);
            prop_assert_eq!(found.map(PhysRange::start), expected);
        }

        #[test]
        fn any_list_is_accepted_or_refused(
            raw in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..20)
        ) {
            let entries = raw.iter().map(|&(b, l, k)| entry(b, l, RegionKind::from_type(k)));
            let m = MemoryMap::from_entries(entries).unwrap();
            prop_assert!(m.usable_bytes() <= HostPhysAddr::LIMIT);
        }
    }
}
