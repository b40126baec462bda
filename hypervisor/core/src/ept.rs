//! The p2m of a domain: from guest frames to machine frames, as the EPT that the
//! CPU walks (SDM "The Extended Page-Table Mechanism (EPT)").
//!
//! ```text
//!          level   one entry    47..39   38..30   29..21   20..12   of the
//!  PML4      4      512 GiB       |                                 guest-
//!  PDPT      3        1 GiB       +------> |                        physical
//!  PD        2        2 MiB                +------> |               address
//!  PT        1        4 KiB                         +------> page
//! ```
//!
//! Key types: [`Ept`] (the tree), [`Extent`] (what an operation is about),
//! [`Page`] (what stands behind a frame), [`Flush`] (what is owed afterwards).
//! [`crate::pt_walk`] yields the guest-physical addresses that are looked up here.
//!
//! # Who may look, and when
//!
//! Writers hold the domain's p2m lock. The CPU, and any pcpu that looks up, walk
//! at the same time without it. They never see garbage, because
//!
//! * [`TableMemory::write`] is one aligned 64-bit store with release order, and
//!   [`TableMemory::read`] one such load;
//! * a table is complete before an entry names it, so that one store puts a new
//!   subtree, or the parts of a split page, in place;
//! * an entry goes straight from one valid state to the next: what an operation
//!   does not change is translated as before at every moment;
//! * a table that nothing names any more goes to [`EptMemory::release`], which
//!   keeps it untouched until every pcpu has flushed. A pcpu flushes between two
//!   exits, thus never in the middle of a look-up.
//!
//! A looker-up may find what was true a moment ago. Before a frame that was taken
//! out is given to anyone else, the flush must be done.
//!
//! # What may fail
//!
//! Only the want of frames for tables, and a request that is wrong. Frames are
//! taken before anything is changed, so after an error all is as it was.

mod entry;
mod teardown;
#[cfg(test)]
mod tests;

use core::fmt;

use arrayvec::ArrayVec;

use entry::{Content, Entry};
pub use entry::{PageType, RamCaching, Rights};
pub use teardown::{Progress, Teardown};

use crate::addr::{Gfn, Mfn, to_usize};
use crate::frame::Order;
use crate::paging::{ENTRIES, TableMemory};

/// Binary logarithm of [`ENTRIES`].
const INDEX_BITS: u32 = 9;
/// One past the last frame that four levels reach.
const FRAMES: u64 = 1 << (4 * INDEX_BITS);

/// Where the tables lie, and where they go.
pub trait EptMemory: TableMemory {
    /// Takes back a table. A CPU may be reading it until the flush that the
    /// operation asks for is done: only then may the frame be written or reused.
    fn release(&mut self, table: Mfn);
}

/// `2^order` guest frames from a multiple of that: what an operation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    gfn: Gfn,
    order: Order,
}

impl Extent {
    /// The extent from `gfn` on, or `None` if `gfn` is no multiple of its length
    /// or lies where four levels do not reach (from 2^36 on).
    #[must_use]
    pub const fn new(gfn: Gfn, order: Order) -> Option<Self> {
        if is_aligned(gfn.get(), order) && gfn.get() < FRAMES { Some(Self { gfn, order }) } else { None }
    }

    /// First frame.
    #[must_use]
    pub const fn gfn(self) -> Gfn {
        self.gfn
    }

    /// Binary logarithm of its length.
    #[must_use]
    pub const fn order(self) -> Order {
        self.order
    }
}

const fn is_aligned(frame: u64, order: Order) -> bool {
    frame & (order.frames() - 1) == 0
}

/// What stands behind a guest frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The machine frame; of an extent, the first.
    pub mfn: Mfn,
    /// What it is.
    pub kind: PageType,
    /// What the guest may do; never more than [`PageType::most`].
    pub rights: Rights,
}

/// A page of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// First guest frame.
    pub gfn: Gfn,
    /// Its size: 4 KiB, 2 MiB or 1 GiB.
    pub order: Order,
    /// What stands there.
    pub page: Page,
}

/// Answer of [`Ept::lookup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Something stands behind the frame.
    Mapped {
        /// What, with the machine frame of just this guest frame.
        page: Page,
        /// Size of the page that it is part of.
        order: Order,
    },
    /// Nothing does: an access is the device model's, or a mistake.
    Hole {
        /// All of the aligned block of this size around the frame is empty.
        order: Order,
    },
}

impl Lookup {
    /// The page, if there is one.
    #[must_use]
    pub const fn page(self) -> Option<Page> {
        match self {
            Self::Mapped { page, .. } => Some(page),
            Self::Hole { .. } => None,
        }
    }
}

/// What is owed to the CPUs after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "until INVEPT, CPUs may use what was taken away"]
pub enum Flush {
    /// Nothing: no CPU can remember anything that is no longer so.
    Nothing,
    /// INVEPT, single-context, on each pcpu that may have used the EPTP, before
    /// a frame or a table that was taken out is reused.
    Invept,
}

impl Flush {
    /// What is owed after both changes.
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => Self::Nothing,
            _ => Self::Invept,
        }
    }

    const fn if_needed(needed: bool) -> Self {
        if needed { Self::Invept } else { Self::Nothing }
    }
}

/// No frame for another table; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfTables;

/// [`Ept::map`] refuses; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No frame for another table.
    OutOfTables,
    /// Something stands in the extent already.
    AlreadyMapped,
    /// The machine frame is no multiple of the extent's length.
    Misaligned,
}

impl From<OutOfTables> for MapError {
    fn from(_: OutOfTables) -> Self {
        Self::OutOfTables
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfTables => "no memory for EPT tables",
            Self::AlreadyMapped => "guest frame in use",
            Self::Misaligned => "machine frame not aligned",
        })
    }
}

/// Large EPT pages that the CPU offers (`IA32_VMX_EPT_VPID_CAP`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LargePages {
    /// 2 MiB.
    Size2M,
    /// 2 MiB and 1 GiB.
    Size1G,
}

/// Whether the CPU keeps accessed and dirty flags. If so, it counts its reads of
/// the guest's page tables as writes (SDM "Accessed and Dirty Flags for EPT").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessedDirty {
    /// It leaves them alone.
    Off,
    /// It sets them (`IA32_VMX_EPT_VPID_CAP[21]`).
    On,
}

/// Value of the VMCS field EPTP (SDM "Extended-Page-Table Pointer (EPTP)"), also
/// the operand by which INVEPT knows the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Eptp(u64);

impl Eptp {
    const MEMORY_TYPE_WB: u64 = 6;
    const FOUR_LEVELS: u64 = (4 - 1) << 3;
    const ACCESSED_DIRTY: u64 = 1 << 6;

    const fn new(root: Mfn, flags: AccessedDirty) -> Self {
        let flags = match flags {
            AccessedDirty::Off => 0,
            AccessedDirty::On => Self::ACCESSED_DIRTY,
        };
        Self(root.start().get() | flags | Self::FOUR_LEVELS | Self::MEMORY_TYPE_WB)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A tree of EPT paging structures. The value holds no more than its address:
/// whoever may change the tree holds the domain's p2m lock and so the memory.
#[derive(PartialEq, Eq, Debug)]
pub struct Ept {
    root: Mfn,
    large: LargePages,
    ram: RamCaching,
}

impl Ept {
    /// An empty tree.
    ///
    /// # Errors
    ///
    /// No frame for the root.
    pub fn new<M: EptMemory>(
        memory: &mut M,
        large: LargePages,
        ram: RamCaching,
    ) -> Result<Self, OutOfTables> {
        Ok(Self { root: memory.allocate().ok_or(OutOfTables)?, large, ram })
    }

    /// How a VMCS names the tree.
    #[must_use]
    pub const fn eptp(&self, flags: AccessedDirty) -> Eptp {
        Eptp::new(self.root, flags)
    }

    /// What stands behind `gfn`.
    #[inline]
    pub fn lookup<M: TableMemory>(&self, memory: &M, gfn: Gfn) -> Lookup {
        if gfn.get() >= FRAMES {
            return Lookup::Hole { order: Order::ONE_GIB };
        }
        let slot = self.find(memory, gfn, Level::Pt);
        let order = slot.level.order();
        // The part of nothing is nothing: no need to ask first.
        match slot.entry.part(slot.level.offset(gfn), slot.level).content() {
            Content::Page(page) => Lookup::Mapped { page, order },
            _ => Lookup::Hole { order },
        }
    }

    /// Puts `page` and the frames after it into the empty `extent`, with the
    /// largest pages that fit. The caller vouches for the machine frames: an
    /// address past MAXPHYADDR would be an EPT misconfiguration.
    ///
    /// # Errors
    ///
    /// See [`MapError`].
    pub fn map<M: EptMemory>(&self, memory: &mut M, extent: Extent, page: Page) -> Result<Flush, MapError> {
        if !is_aligned(page.mfn.get(), extent.order) {
            return Err(MapError::Misaligned);
        }
        let run = Run::new(extent, self.largest());
        let entry = Entry::page(page, run.level, self.ram);
        let slot = self.find(memory, extent.gfn, run.level);
        match slot.entry.content() {
            Content::Page(_) => Err(MapError::AlreadyMapped),
            Content::Empty if slot.level == run.level && run.count == 1 => {
                memory.write(slot.table, slot.index, entry.raw());
                Ok(Flush::Nothing)
            }
            Content::Empty if slot.level > run.level => {
                hang(memory, &slot, extent.gfn, run.level, |memory, table, level| {
                    if level == run.level {
                        run.entries(entry).for_each(|(index, entry)| memory.write(table, index, entry.raw()));
                    }
                })?;
                Ok(Flush::Nothing)
            }
            _ if !run.indices().all(|index| is_vacant(memory, read(memory, slot.table, index))) => {
                Err(MapError::AlreadyMapped)
            }
            _ => Ok(run.entries(entry).fold(Flush::Nothing, |flush, (index, entry)| {
                flush.and(replace_vacant(memory, slot.table, index, entry))
            })),
        }
    }

    /// Empties `extent`, telling `gone` what stood there. Their frames may be
    /// reused once the flush is done.
    ///
    /// # Errors
    ///
    /// No frame for a table to split a larger page.
    pub fn unmap<M: EptMemory>(
        &self,
        memory: &mut M,
        extent: Extent,
        gone: &mut impl FnMut(Mapping),
    ) -> Result<Flush, OutOfTables> {
        self.edit(memory, extent, &mut |mapping, _| {
            gone(mapping);
            Entry::EMPTY
        })
    }

    /// Gives each page in `extent` the type and the rights that `change` says;
    /// holes stay holes.
    ///
    /// # Errors
    ///
    /// No frame for a table to split a larger page.
    pub fn change<M: EptMemory>(
        &self,
        memory: &mut M,
        extent: Extent,
        change: impl Fn(Page) -> (PageType, Rights),
    ) -> Result<Flush, OutOfTables> {
        let changed = |page: Page, level| {
            let (kind, rights) = change(page);
            Entry::page(Page { mfn: page.mfn, kind, rights }, level, self.ram)
        };
        // A page larger than the extent is only split if there is a reason.
        let slot = self.find(memory, extent.gfn, Level::Pt);
        if let Content::Page(page) = slot.entry.content()
            && slot.level.order() > extent.order
            && changed(page, slot.level) == slot.entry
        {
            return Ok(Flush::Nothing);
        }
        self.edit(memory, extent, &mut |mapping, level| changed(mapping.page, level))
    }

    /// Merges what surrounds `gfn`: a table of 512 pages that lie side by side
    /// becomes one large page, an empty table a hole.
    pub fn coalesce<M: EptMemory>(&self, memory: &mut M, gfn: Gfn) -> Flush {
        let mut flush = Flush::Nothing;
        if gfn.get() >= FRAMES {
            return flush;
        }
        for level in [Level::Pd, Level::Pdpt, Level::Pml4] {
            let slot = self.find(memory, gfn, level);
            let Content::Table(table) = slot.entry.content() else { continue };
            let Some(merged) = self.merged(memory, table, level) else { break };
            memory.write(slot.table, slot.index, merged.raw());
            memory.release(table);
            flush = Flush::Invept;
        }
        flush
    }

    /// The one entry of `level` that says the same as all of `table`.
    fn merged<M: TableMemory>(&self, memory: &M, table: Mfn, level: Level) -> Option<Entry> {
        let first = read(memory, table, 0);
        let below = level.below()?;
        let all = |expected: &dyn Fn(u64) -> Entry| {
            (0..ENTRIES).zip(0..).all(|(index, i)| read(memory, table, index) == expected(i))
        };
        match first.content() {
            Content::Empty => all(&|_| Entry::EMPTY).then_some(Entry::EMPTY),
            Content::Page(page) if level <= self.largest() && is_aligned(page.mfn.get(), level.order()) => {
                all(&|i| first.part(i * below.frames(), below)).then(|| first.part(0, level))
            }
            _ => None,
        }
    }

    /// Every page from `from` on, in order. One look-up for each entry that is
    /// passed, nothing kept in between: the tree may change meanwhile.
    pub fn mapped<M: TableMemory>(&self, memory: &M, from: Gfn) -> impl Iterator<Item = Mapping> {
        let mut next = from.get();
        core::iter::from_fn(move || {
            while next < FRAMES {
                let gfn = Gfn::new(next)?;
                let slot = self.find(memory, gfn, Level::Pt);
                let first = next - slot.level.offset(gfn);
                next = first + slot.level.frames();
                if let Content::Page(page) = slot.entry.content() {
                    return Some(Mapping { gfn: Gfn::new(first)?, order: slot.level.order(), page });
                }
            }
            None
        })
    }

    /// Cuts off the first 512 GiB in which there are tables, or says that the tree is
    /// empty. What was cut off may be taken down once every pcpu on which a vcpu ran
    /// has done INVEPT; from the cut on the guest finds a hole there.
    pub fn cut<M: EptMemory>(&self, memory: &mut M) -> Option<Teardown> {
        (0..ENTRIES).zip((0..).step_by(to_usize(Level::Pml4.frames()))).find_map(|(index, gfn)| {
            let Content::Table(table) = read(memory, self.root, index).content() else { return None };
            memory.write(self.root, index, Entry::EMPTY.raw());
            Some(Teardown::new(table, gfn))
        })
    }

    /// Releases the root of a tree that is empty and that nobody uses any more.
    pub fn release<M: EptMemory>(&self, memory: &mut M) {
        memory.release(self.root);
    }

    /// Replaces each page in `extent` by what `change` says. A page larger than
    /// the extent is split first.
    fn edit<M: EptMemory>(
        &self,
        memory: &mut M,
        extent: Extent,
        change: &mut impl FnMut(Mapping, Level) -> Entry,
    ) -> Result<Flush, OutOfTables> {
        let run = Run::new(extent, Level::Pdpt);
        let mut slot = self.find(memory, extent.gfn, run.level);
        if slot.level > run.level {
            if slot.entry == Entry::EMPTY {
                return Ok(Flush::Nothing);
            }
            split(memory, &slot, extent.gfn, run.level)?;
            slot = self.find(memory, extent.gfn, run.level);
        }
        let mut flush = Flush::Nothing;
        for (index, gfn) in run.indices().zip(run.gfns()) {
            flush = flush.and(edit_entry(memory, slot.table, index, run.level, gfn, change));
        }
        Ok(flush)
    }

    /// The entry that decides about `gfn`, or the one of `level` on the way there.
    #[inline]
    fn find<M: TableMemory>(&self, memory: &M, gfn: Gfn, level: Level) -> Slot {
        let mut slot = Slot::new(memory, self.root, gfn, Level::Pml4);
        // A list, not a count: unrolled, all shifts are constants.
        for below in [Level::Pdpt, Level::Pd, Level::Pt] {
            match slot.entry.as_table() {
                Some(table) if level <= below => slot = Slot::new(memory, table, gfn, below),
                _ => break,
            }
        }
        slot
    }

    const fn largest(&self) -> Level {
        match self.large {
            LargePages::Size2M => Level::Pd,
            LargePages::Size1G => Level::Pdpt,
        }
    }
}

/// Edits one entry, or each page below it.
fn edit_entry<M: EptMemory>(
    memory: &mut M,
    table: Mfn,
    index: usize,
    level: Level,
    gfn: u64,
    change: &mut impl FnMut(Mapping, Level) -> Entry,
) -> Flush {
    let entry = read(memory, table, index);
    match (entry.content(), Gfn::new(gfn), level.below()) {
        (Content::Page(page), Some(gfn), _) => {
            let new = change(Mapping { gfn, order: level.order(), page }, level);
            if new != entry {
                memory.write(table, index, new.raw());
            }
            Flush::if_needed(entry.outlasts(new))
        }
        (Content::Table(table), _, Some(below)) => (0..ENTRIES)
            .zip((gfn..).step_by(to_usize(below.frames())))
            .fold(Flush::Nothing, |flush, (index, gfn)| {
                flush.and(edit_entry(memory, table, index, below, gfn, change))
            }),
        _ => Flush::Nothing,
    }
}

/// Replaces the page in `slot` by tables down to `level` that say the same, with
/// the full way down for `gfn` only.
fn split<M: EptMemory>(memory: &mut M, slot: &Slot, gfn: Gfn, level: Level) -> Result<(), OutOfTables> {
    hang(memory, slot, gfn, level, |memory, table, level| {
        let step = level.frames();
        let first = slot.level.offset(gfn) & !(step * ENTRIES as u64 - 1);
        for index in 0..ENTRIES {
            let part = slot.entry.part(first + index as u64 * step, level);
            memory.write(table, index, part.raw());
        }
    })
}

/// Hangs new tables below `slot`, one for each level down to `level` on the way to
/// `gfn`. `fill` fills each; the tree changes by one store, at the end.
fn hang<M: EptMemory>(
    memory: &mut M,
    slot: &Slot,
    gfn: Gfn,
    level: Level,
    mut fill: impl FnMut(&mut M, Mfn, Level),
) -> Result<(), OutOfTables> {
    let levels = [Level::Pt, Level::Pd, Level::Pdpt];
    let levels = levels.into_iter().filter(|&new| level <= new && new < slot.level);
    let mut below = None;
    for (level, table) in levels.clone().zip(allocate(memory, levels.count())?) {
        fill(memory, table, level);
        if let Some(below) = below {
            memory.write(table, level.index(gfn), Entry::table(below).raw());
        }
        below = Some(table);
    }
    if let Some(below) = below {
        memory.write(slot.table, slot.index, Entry::table(below).raw());
    }
    Ok(())
}

/// `count` tables, at most 3, or none.
fn allocate<M: EptMemory>(memory: &mut M, count: usize) -> Result<ArrayVec<Mfn, 3>, OutOfTables> {
    let mut tables = ArrayVec::new();
    for _ in 0..count {
        match memory.allocate() {
            Some(table) => tables.push(table),
            None => {
                tables.into_iter().for_each(|table| memory.release(table));
                return Err(OutOfTables);
            }
        }
    }
    Ok(tables)
}

/// Whether no page hangs below `entry`.
fn is_vacant<M: TableMemory>(memory: &M, entry: Entry) -> bool {
    match entry.content() {
        Content::Empty => true,
        Content::Page(_) => false,
        Content::Table(table) => (0..ENTRIES).all(|index| is_vacant(memory, read(memory, table, index))),
    }
}

/// Writes `entry` over one below which no page hangs.
fn replace_vacant<M: EptMemory>(memory: &mut M, table: Mfn, index: usize, entry: Entry) -> Flush {
    let old = read(memory, table, index).content();
    memory.write(table, index, entry.raw());
    let Content::Table(vacant) = old else { return Flush::Nothing };
    release(memory, vacant);
    Flush::Invept
}

/// Releases a table, which nothing names any more and which is vacant, with all
/// below it.
fn release<M: EptMemory>(memory: &mut M, table: Mfn) {
    for index in 0..ENTRIES {
        if let Content::Table(below) = read(memory, table, index).content() {
            release(memory, below);
        }
    }
    memory.release(table);
}

#[inline]
fn read<M: TableMemory>(memory: &M, table: Mfn, index: usize) -> Entry {
    Entry::from_raw(memory.read(table, index))
}

/// Levels of the tree by the names of their tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
enum Level {
    Pt = 1,
    Pd = 2,
    Pdpt = 3,
    Pml4 = 4,
}

impl Level {
    const fn below(self) -> Option<Self> {
        match self {
            Self::Pml4 => Some(Self::Pdpt),
            Self::Pdpt => Some(Self::Pd),
            Self::Pd => Some(Self::Pt),
            Self::Pt => None,
        }
    }

    const fn shift(self) -> u32 {
        (self as u32 - 1) * INDEX_BITS
    }

    /// Frames that an entry covers.
    const fn frames(self) -> u64 {
        1 << self.shift()
    }

    /// Size of a page; of a hole, as far as an order can say it.
    const fn order(self) -> Order {
        match self {
            Self::Pt => Order::FRAME,
            Self::Pd => Order::TWO_MIB,
            Self::Pdpt | Self::Pml4 => Order::ONE_GIB,
        }
    }

    const fn index(self, gfn: Gfn) -> usize {
        to_usize(gfn.get() >> self.shift()) & (ENTRIES - 1)
    }

    /// How far into its page `gfn` lies.
    const fn offset(self, gfn: Gfn) -> u64 {
        gfn.get() & (self.frames() - 1)
    }
}

/// An entry and where it stands.
struct Slot {
    table: Mfn,
    index: usize,
    level: Level,
    entry: Entry,
}

impl Slot {
    #[inline]
    fn new<M: TableMemory>(memory: &M, table: Mfn, gfn: Gfn, level: Level) -> Self {
        let index = level.index(gfn);
        Self { table, index, level, entry: read(memory, table, index) }
    }
}

/// Entries side by side in one table that cover an extent. One table is enough:
/// an extent is aligned, and 512 pages of 2 MiB are the largest.
#[derive(Clone, Copy)]
struct Run {
    gfn: Gfn,
    level: Level,
    count: usize,
}

impl Run {
    /// The entries for `extent` in pages up to the size of `largest`'s.
    fn new(extent: Extent, largest: Level) -> Self {
        let level = match extent.order {
            order if order >= Order::ONE_GIB => Level::Pdpt,
            order if order >= Order::TWO_MIB => Level::Pd,
            _ => Level::Pt,
        };
        let level = level.min(largest);
        Self { gfn: extent.gfn, level, count: 1 << (extent.order.get() - level.shift()) }
    }

    fn indices(self) -> core::ops::Range<usize> {
        let first = self.level.index(self.gfn);
        first..first + self.count
    }

    fn gfns(self) -> impl Iterator<Item = u64> {
        (self.gfn.get()..).step_by(to_usize(self.level.frames()))
    }

    /// The entries by index, of which `first` is the first.
    fn entries(self, first: Entry) -> impl Iterator<Item = (usize, Entry)> {
        self.indices()
            .zip(0..)
            .map(move |(index, i)| (index, first.part(i * self.level.frames(), self.level)))
    }
}
