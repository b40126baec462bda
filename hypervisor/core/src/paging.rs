//! The hypervisor's own page tables: 4-level paging (SDM "4-Level Paging and
//! 5-Level Paging"), built and inspected through [`TableMemory`], so that a host
//! test can look at every entry.
//!
//! ```text
//!   bit  63   XD            51..12  frame (or next table)
//!        8    global         7      page size (PDPT, PD)
//!        4..3 PCD, PWT       1      writable       0 present
//! ```
//!
//! Rights stand in the leaf only: tables are writable and executable, so one
//! entry tells the whole truth about a page.

use bitflags::bitflags;

use crate::addr::{HostPhysAddr, Mfn, PAGE_SHIFT, PAGE_SIZE, PhysRange, to_usize};

/// Entries in a table.
pub const ENTRIES: usize = 512;
const INDEX_BITS: u32 = 9;
const LEVELS: u32 = 4;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = 1 << 3 | 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Where page tables lie.
pub trait TableMemory {
    /// Entry `index` (below [`ENTRIES`]) of the table in frame `table`.
    fn read(&self, table: Mfn, index: usize) -> u64;
    /// Writes that entry.
    fn write(&mut self, table: Mfn, index: usize, entry: u64);
    /// A frame for a new table, all entries zero.
    fn allocate(&mut self) -> Option<Mfn>;
}

bitflags! {
    /// What may be done with a page, beyond reading it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// Data may be written.
        const WRITE = 1 << 0;
        /// Code may be fetched.
        const EXECUTE = 1 << 1;
        /// Device registers: memory type UC (PAT entry 3).
        const UNCACHED = 1 << 2;
        /// Valid in every address space: survives a write to CR3.
        const GLOBAL = 1 << 3;
    }
}

/// Size of a page, which is the level of the table that maps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageSize {
    /// 4 KiB.
    Size4K,
    /// 2 MiB.
    Size2M,
    /// 1 GiB: `CPUID.80000001H:EDX.Page1GB`.
    Size1G,
}

impl PageSize {
    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    const fn shift(self) -> u32 {
        match self {
            Self::Size4K => PAGE_SHIFT,
            Self::Size2M => PAGE_SHIFT + INDEX_BITS,
            Self::Size1G => PAGE_SHIFT + 2 * INDEX_BITS,
        }
    }

    const fn of_level(level: u32) -> Option<Self> {
        match level {
            1 => Some(Self::Size4K),
            2 => Some(Self::Size2M),
            3 => Some(Self::Size1G),
            _ => None,
        }
    }
}

/// Why a range was not mapped. Pages before the failing one stay mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No frame for another table.
    OutOfFrames,
    /// A page of the range is mapped already.
    AlreadyMapped,
    /// An address is not on a page boundary, or the range wraps.
    Misaligned,
}

/// A mapped page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// First virtual address.
    pub virt: u64,
    /// First physical address.
    pub phys: u64,
    /// How much is mapped.
    pub size: PageSize,
    /// What may be done.
    pub rights: Rights,
}

/// A tree of page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageTables {
    root: Mfn,
    largest: PageSize,
}

impl PageTables {
    /// The tree whose PML4 is in frame `root`, which uses pages up to `largest`.
    #[must_use]
    pub const fn new(root: Mfn, largest: PageSize) -> Self {
        Self { root, largest }
    }

    /// Frame of the PML4, as CR3 wants it.
    #[must_use]
    pub const fn root(self) -> Mfn {
        self.root
    }

    /// Maps `phys` at `virt` with the largest pages that fit.
    ///
    /// # Errors
    ///
    /// See [`MapError`].
    pub fn map<M: TableMemory>(
        self,
        memory: &mut M,
        virt: u64,
        phys: PhysRange,
        rights: Rights,
    ) -> Result<(), MapError> {
        let small = PageSize::Size4K.bytes() - 1;
        if (virt | phys.start() | phys.end()) & small != 0 || virt.checked_add(phys.len()).is_none() {
            return Err(MapError::Misaligned);
        }
        let mut done = 0;
        while done < phys.len() {
            let (virt, from) = (virt + done, phys.start() + done);
            let size = self.fitting(virt, from, phys.len() - done);
            self.map_page(memory, virt, from, size, rights)?;
            done += size.bytes();
        }
        Ok(())
    }

    fn fitting(self, virt: u64, phys: u64, len: u64) -> PageSize {
        [PageSize::Size1G, PageSize::Size2M]
            .into_iter()
            .filter(|&size| size <= self.largest)
            .find(|size| (virt | phys) & (size.bytes() - 1) == 0 && size.bytes() <= len)
            .unwrap_or(PageSize::Size4K)
    }

    fn map_page<M: TableMemory>(
        self,
        memory: &mut M,
        virt: u64,
        phys: u64,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), MapError> {
        let mut table = self.root;
        for level in (1..=LEVELS).rev() {
            let index = index(virt, level);
            let entry = memory.read(table, index);
            if PageSize::of_level(level) == Some(size) {
                if entry & PRESENT != 0 {
                    return Err(MapError::AlreadyMapped);
                }
                memory.write(table, index, leaf_entry(phys, size, rights));
                return Ok(());
            }
            table = if entry & PRESENT == 0 {
                let new = memory.allocate().ok_or(MapError::OutOfFrames)?;
                memory.write(table, index, new.start().get() | PRESENT | WRITABLE);
                new
            } else if entry & LARGE != 0 && level < LEVELS {
                return Err(MapError::AlreadyMapped);
            } else {
                frame(entry)
            };
        }
        Ok(())
    }

    /// The page that holds the address `virt`.
    pub fn lookup<M: TableMemory>(self, memory: &M, virt: u64) -> Option<Leaf> {
        let mut table = self.root;
        for level in (1..=LEVELS).rev() {
            let entry = memory.read(table, index(virt, level));
            if entry & PRESENT == 0 {
                return None;
            }
            if let Some(size) = leaf_size(entry, level) {
                return Some(leaf(virt & !(size.bytes() - 1), entry, size));
            }
            table = frame(entry);
        }
        None
    }

    /// Calls `visit` for every mapped page, in the order of their addresses.
    pub fn for_each<M: TableMemory>(self, memory: &M, visit: &mut impl FnMut(Leaf)) {
        walk(memory, self.root, LEVELS, 0, visit);
    }
}

/// At most how many tables, the PML4 included, [`PageTables::map`] takes for
/// `ranges`, each at a virtual address that differs from the physical one by a
/// multiple of 512 GiB.
pub fn tables_for(ranges: impl Iterator<Item = PhysRange>, largest: PageSize) -> u64 {
    ranges
        .filter(|range| !range.is_empty())
        .map(|range| tables_of(range, largest))
        .fold(1, u64::saturating_add)
}

fn tables_of(range: PhysRange, largest: PageSize) -> u64 {
    // Of the pages of `size` that the range touches, each takes a table unless it
    // is mapped as a whole; then only those at the two ends may.
    let divided = |size: PageSize| {
        let touched = touched(range, size.shift());
        if size <= largest { touched.min(2) } else { touched }
    };
    divided(PageSize::Size2M) + divided(PageSize::Size1G) + touched(range, level_shift(LEVELS))
}

/// How many blocks of 2^`shift` bytes a range, not empty, touches.
const fn touched(range: PhysRange, shift: u32) -> u64 {
    ((range.end() - 1) >> shift) - (range.start() >> shift) + 1
}

/// A part of the address space that is given out piece by piece, for good.
#[derive(Debug)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// The addresses `start..end`, on page boundaries.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    /// Room for `pages` (whole frames), so placed that 2-MiB pages fit where
    /// they can, and with an unmapped page behind. `None` if there is too little.
    pub fn take(&mut self, pages: PhysRange) -> Option<u64> {
        let large = PageSize::Size2M.bytes();
        let start = if pages.len() < large {
            self.next
        } else {
            self.next.checked_next_multiple_of(large)?.checked_add(pages.start() % large)?
        };
        let next = start.checked_add(pages.len())?.checked_add(PAGE_SIZE)?;
        if next > self.end {
            return None;
        }
        self.next = next;
        Some(start)
    }
}

fn walk<M: TableMemory>(memory: &M, table: Mfn, level: u32, base: u64, visit: &mut impl FnMut(Leaf)) {
    for i in 0..ENTRIES {
        let entry = memory.read(table, i);
        if entry & PRESENT == 0 {
            continue;
        }
        let virt = canonical(base | (i as u64) << level_shift(level));
        match leaf_size(entry, level) {
            Some(size) => visit(leaf(virt, entry, size)),
            None if level > 1 => walk(memory, frame(entry), level - 1, virt, visit),
            None => {}
        }
    }
}

const fn level_shift(level: u32) -> u32 {
    PAGE_SHIFT + (level - 1) * INDEX_BITS
}

const fn index(virt: u64, level: u32) -> usize {
    to_usize(virt >> level_shift(level)) & (ENTRIES - 1)
}

/// Bit 47 repeated upwards (SDM "Canonical Addressing").
const fn canonical(virt: u64) -> u64 {
    ((virt << 16) as i64 >> 16) as u64
}

fn frame(entry: u64) -> Mfn {
    HostPhysAddr::new(entry & FRAME).unwrap_or_default().mfn()
}

fn leaf_size(entry: u64, level: u32) -> Option<PageSize> {
    PageSize::of_level(level).filter(|&size| size == PageSize::Size4K || entry & LARGE != 0)
}

fn leaf_entry(phys: u64, size: PageSize, rights: Rights) -> u64 {
    let bit = |right, bits| if rights.contains(right) { bits } else { 0 };
    phys | PRESENT
        | bit(Rights::WRITE, WRITABLE)
        | bit(Rights::UNCACHED, UNCACHED)
        | bit(Rights::GLOBAL, GLOBAL)
        | if size == PageSize::Size4K { 0 } else { LARGE }
        | if rights.contains(Rights::EXECUTE) { 0 } else { NO_EXECUTE }
}

fn leaf(virt: u64, entry: u64, size: PageSize) -> Leaf {
    let mut rights = Rights::empty();
    rights.set(Rights::WRITE, entry & WRITABLE != 0);
    rights.set(Rights::EXECUTE, entry & NO_EXECUTE == 0);
    rights.set(Rights::UNCACHED, entry & UNCACHED == UNCACHED);
    rights.set(Rights::GLOBAL, entry & GLOBAL != 0);
    Leaf { virt, phys: entry & FRAME & !(size.bytes() - 1), size, rights }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    struct Tables {
        entries: BTreeMap<(u64, usize), u64>,
        next: u64,
        limit: u64,
    }

    impl Tables {
        fn new(limit: u64) -> Self {
            Self { entries: BTreeMap::new(), next: 1, limit }
        }
    }

    impl TableMemory for Tables {
        fn read(&self, table: Mfn, index: usize) -> u64 {
            self.entries.get(&(table.get(), index)).copied().unwrap_or(0)
        }

        fn write(&mut self, table: Mfn, index: usize, entry: u64) {
            assert!(index < ENTRIES);
            self.entries.insert((table.get(), index), entry);
        }

        fn allocate(&mut self) -> Option<Mfn> {
            self.next += 1;
            if self.next > self.limit { None } else { Mfn::new(self.next) }
        }
    }

    const ROOT: Mfn = match Mfn::new(1) {
        Some(root) => root,
        None => unreachable!(),
    };
    const HIGH: u64 = 0xffff_8000_0000_0000;

    fn tables(largest: PageSize) -> PageTables {
        PageTables::new(ROOT, largest)
    }

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(start, end).unwrap()
    }

    fn leaves(tables: PageTables, memory: &Tables) -> Vec<Leaf> {
        let mut all = Vec::new();
        tables.for_each(memory, &mut |leaf| all.push(leaf));
        all
    }

    #[test]
    fn the_largest_pages_that_fit_are_used() {
        let (mut memory, pt) = (Tables::new(64), tables(PageSize::Size1G));
        pt.map(&mut memory, HIGH, range(0, (2 << 30) + (2 << 20) + 0x3000), Rights::WRITE).unwrap();
        let sizes: Vec<_> = leaves(pt, &memory).iter().map(|l| l.size).collect();
        use PageSize::{Size1G, Size2M, Size4K};
        assert_eq!(sizes, [Size1G, Size1G, Size2M, Size4K, Size4K, Size4K]);
    }

    #[test]
    fn one_gib_pages_are_left_alone_where_the_cpu_has_none() {
        let (mut memory, pt) = (Tables::new(64), tables(PageSize::Size2M));
        pt.map(&mut memory, HIGH, range(0, 1 << 30), Rights::WRITE).unwrap();
        assert_eq!(leaves(pt, &memory).len(), 512);
    }

    #[test]
    fn lookup_finds_what_was_mapped_with_its_rights() {
        let (mut memory, pt) = (Tables::new(64), tables(PageSize::Size2M));
        let rights = Rights::EXECUTE | Rights::GLOBAL;
        pt.map(&mut memory, 0xffff_ffff_8020_0000, range(0x50_0000, 0x50_2000), rights).unwrap();
        let leaf = pt.lookup(&memory, 0xffff_ffff_8020_1234).unwrap();
        assert_eq!(
            leaf,
            Leaf { virt: 0xffff_ffff_8020_1000, phys: 0x50_1000, size: PageSize::Size4K, rights }
        );
        assert_eq!(pt.lookup(&memory, 0xffff_ffff_8020_2000), None);
    }

    #[test]
    fn nothing_is_mapped_twice() {
        let (mut memory, pt) = (Tables::new(64), tables(PageSize::Size2M));
        pt.map(&mut memory, HIGH, range(0, 2 << 20), Rights::WRITE).unwrap();
        let again = pt.map(&mut memory, HIGH + 0x1000, range(0x1000, 0x2000), Rights::empty());
        assert_eq!(again, Err(MapError::AlreadyMapped));
        pt.map(&mut memory, HIGH + (4 << 20), range(0x1000, 0x2000), Rights::empty()).unwrap();
        let over = pt.map(&mut memory, HIGH + (4 << 20), range(0, 2 << 20), Rights::empty());
        assert_eq!(over, Err(MapError::AlreadyMapped));
    }

    #[test]
    fn bad_requests_are_errors() {
        let (mut memory, pt) = (Tables::new(3), tables(PageSize::Size2M));
        let odd = pt.map(&mut memory, HIGH + 1, range(0, 0x1000), Rights::empty());
        assert_eq!(odd, Err(MapError::Misaligned));
        let wrap = pt.map(&mut memory, u64::MAX - 0xfff, range(0, 0x2000), Rights::empty());
        assert_eq!(wrap, Err(MapError::Misaligned));
        let full = pt.map(&mut memory, HIGH, range(0, 0x1000), Rights::empty());
        assert_eq!(full, Err(MapError::OutOfFrames));
    }

    #[test]
    fn a_window_places_large_devices_for_large_pages() {
        let mut window = Window::new(HIGH + 0x1000, HIGH + (64 << 20));
        assert_eq!(window.take(range(0xfee0_0000, 0xfee0_1000)), Some(HIGH + 0x1000));
        assert_eq!(window.take(range(0xfec0_0000, 0xfec0_1000)), Some(HIGH + 0x3000));
        assert_eq!(window.take(range(0xe010_0000, 0xe080_0000)), Some(HIGH + 0x30_0000));
        assert_eq!(window.take(range(0, 64 << 20)), None);
        assert_eq!(window.take(range(0, HostPhysAddr::LIMIT)), None);
        assert_eq!(window.take(range(0, 0x1000)), Some(HIGH + 0xa0_1000));
        assert_eq!(Window::new(u64::MAX - 0xfff, u64::MAX).take(range(0, 0x1000)), None);
    }

    #[test]
    fn tables_are_counted_for_large_and_for_sparse_memory() {
        let four_tib = || [range(0, 4 << 40)].into_iter();
        assert_eq!(tables_for(four_tib(), PageSize::Size1G), 1 + 2 + 2 + 8);
        assert_eq!(tables_for(four_tib(), PageSize::Size2M), 1 + 2 + 4096 + 8);
        assert_eq!(tables_for([range(1 << 45, (1 << 45) + 0x1000)].into_iter(), PageSize::Size2M), 1 + 3);
        assert_eq!(tables_for([PhysRange::EMPTY].into_iter(), PageSize::Size2M), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn enough_tables_are_counted(
            cuts in prop::collection::vec(0..0x18_0000_u64, 2..12), largest in 0..3_usize, at in 0..3_u64,
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let largest = [PageSize::Size4K, PageSize::Size2M, PageSize::Size1G][largest];
            // Some ranges of a few frames, else 4-KiB pages would take for ever.
            let frames = if largest == PageSize::Size4K { 0x600 } else { 0x18_0000 };
            let start = |cut: u64| ((at << 26) + cut % frames) * PAGE_SIZE;
            let mut ends: Vec<_> = cuts.iter().map(|&cut| start(cut)).collect();
            ends.sort_unstable();
            let ranges: Vec<_> = ends.chunks_exact(2).map(|pair| range(pair[0], pair[1])).collect();
            let bound = tables_for(ranges.iter().copied(), largest);
            // Frame 1 is the PML4, the first that is given out frame 2.
            let (mut memory, pt) = (Tables::new(bound), tables(largest));
            for &piece in &ranges {
                pt.map(&mut memory, HIGH + piece.start(), piece, Rights::WRITE).unwrap();
            }
        }
    }

    #[test]
    fn uncached_pages_select_the_uc_entry_of_the_pat() {
        let entry = leaf_entry(0xfee0_0000, PageSize::Size4K, Rights::WRITE | Rights::UNCACHED);
        assert_eq!(entry, 0x8000_0000_fee0_001b);
    }
}
