//! The buddy allocator over the frame table.
//!
//! Free blocks have 2^order frames, are aligned to their size and hang in doubly
//! linked lists, one for each order, zone and cleanliness. Allocation takes from
//! the smallest order that serves and returns the upper halves; freeing merges
//! with the buddy (the other half of the next larger block) as long as that is
//! free, whole and equally clean.
//!
//! ```text
//!  zone \ holds      nobody's data      somebody's data
//!  below 4 GiB       lists[0]           lists[1]
//!  above             lists[2]           lists[3]
//! ```
//!
//! Zones end at a multiple of the largest block, so no block lies in two. Clean
//! and dirty blocks do not merge: else one freed frame would make its clean
//! neighbours dirty. Scrubbing brings them together again.
//!
//! Cost: `alloc` and `free` take O(order) steps of about a dozen instructions,
//! whatever the amount of memory; `disown` takes that for each block that the
//! frames have come to be in.

use core::fmt;

use super::{Cleanliness, FrameTable, NO_FRAME, Order, Owner, Put, Record};
use crate::addr::{Mfn, PAGE_SIZE, PhysRange};
use crate::id::DomId;

const ORDERS: usize = Order::MAX.index() + 1;
/// Frames below this one can be reached by 32-bit DMA.
const LOW_FRAMES: u32 = 1 << 20;

/// Where a block may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Below 4 GiB, for devices with 32-bit addresses.
    Below4Gib,
    /// Anywhere; below 4 GiB only if there is nothing equally clean above.
    Anywhere,
}

/// A block that was just allocated.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a block that is dropped is lost until it is freed by its number"]
pub struct Block {
    mfn: Mfn,
    frames: u64,
    needs_scrub: bool,
}

impl Block {
    /// Its first frame.
    #[must_use]
    pub const fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// How many frames it has.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether it may hold data of an earlier owner: the caller scrubs it before
    /// anything of the new owner can read it.
    #[must_use]
    pub const fn needs_scrub(&self) -> bool {
        self.needs_scrub
    }
}

/// A block taken off the dirty lists; to be returned by [`Buddy::scrubbed`].
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the frames are in nobody's hands until `scrubbed` returns them"]
pub struct DirtyBlock {
    index: u32,
    order: Order,
}

impl DirtyBlock {
    /// Its bytes, all of which are to be overwritten.
    #[must_use]
    pub fn range(&self) -> PhysRange {
        let bytes = self.order.frames().saturating_mul(PAGE_SIZE);
        // The index is below 2^32, so the range lies in the address space.
        PhysRange::from_len(mfn_of(self.index).start().get(), bytes).unwrap_or_default()
    }
}

/// No block is large enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames {
    /// Frames that are free but not yet scrubbed. If not zero, scrubbing them
    /// all joins them to larger blocks, and the request may then succeed.
    pub unscrubbed: u64,
}

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory ({} frames wait to be scrubbed)", self.unscrubbed)
    }
}

/// [`Buddy::free`] refuses; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// The table ends before the block does.
    OutsideTable,
    /// No allocated block starts there: double free, or the middle of a block.
    NotAllocated,
    /// The block that starts there has another size.
    WrongSize,
    /// References to the frame are held, or the frame is a domain's and was not
    /// disowned.
    Referenced,
    /// A frame of the block is not that domain's.
    NotOwned,
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideTable => "frame outside the frame table",
            Self::NotAllocated => "no allocated block starts at the frame",
            Self::WrongSize => "the block has another size",
            Self::Referenced => "references to the frame are held",
            Self::NotOwned => "the frame is not the domain's",
        })
    }
}

/// [`Buddy::add`] refuses; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddError {
    /// The table ends before the range does.
    OutsideTable,
    /// Part of the range has been added before.
    AlreadyAdded,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideTable => "range outside the frame table",
            Self::AlreadyAdded => "range added twice",
        })
    }
}

/// Where the frames that were added are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All frames ever added.
    pub total: u64,
    /// Free and clean.
    pub clean: u64,
    /// Free, to be scrubbed.
    pub dirty: u64,
    /// Between [`Buddy::next_dirty`] and [`Buddy::scrubbed`].
    pub scrubbing: u64,
}

impl Counts {
    /// Frames that nobody owns.
    #[must_use]
    pub const fn free(self) -> u64 {
        // The parts are disjoint sets of the frames in `total`.
        self.clean.saturating_add(self.dirty).saturating_add(self.scrubbing)
    }
}

/// What [`Buddy::verify`] found broken, and at which frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconsistency {
    /// A block starts at a frame that is no multiple of its size, or leaves the table.
    Misplaced(Mfn),
    /// A frame inside a block has a record of its own.
    Overlap(Mfn),
    /// A free block hangs in a wrong list, or its back link is wrong.
    Links(Mfn),
    /// Two free buddies, equally clean, were not merged.
    Unmerged(Mfn),
    /// A counter or the number of listed blocks differs from the table.
    Totals,
}

/// The free blocks. Its user wraps it in a lock; the table needs none.
#[derive(Debug)]
pub struct Buddy<'a> {
    table: FrameTable<'a>,
    lists: [FreeLists; 4],
    total: u64,
    scrubbing: u64,
}

impl<'a> Buddy<'a> {
    /// An allocator without memory over a zeroed table.
    #[must_use]
    pub const fn new(table: FrameTable<'a>) -> Self {
        Self { table, lists: [const { FreeLists::new() }; 4], total: 0, scrubbing: 0 }
    }

    /// Gives the whole frames of `range` to the allocator, in steps for each
    /// maximal aligned block.
    ///
    /// # Errors
    /// [`AddError`]. An overlap with memory added before is found where it covers
    /// the start of one of those blocks; looking at each frame would cost too much.
    pub fn add(&mut self, range: PhysRange, cleanliness: Cleanliness) -> Result<(), AddError> {
        let (start, end) = self.indices(range)?;
        let pieces = Pieces { start, end };
        if pieces.clone().any(|(index, _)| self.table.head_of(index).is_some()) {
            return Err(AddError::AlreadyAdded);
        }
        pieces.for_each(|(index, order)| self.release(index, order, cleanliness));
        self.total = self.total.saturating_add(u64::from(end - start));
        Ok(())
    }

    /// Gives the whole frames of `range`, which were never added, to a domain at
    /// once: memory that must lie at just these addresses.
    ///
    /// # Errors
    /// [`AddError`], with nothing changed; an overlap is found as by [`Buddy::add`].
    pub fn claim(&mut self, range: PhysRange, owner: DomId) -> Result<(), AddError> {
        let (start, end) = self.indices(range)?;
        if (Pieces { start, end }).any(|(index, _)| self.table.head_of(index).is_some()) {
            return Err(AddError::AlreadyAdded);
        }
        (Pieces { start, end }).for_each(|(index, order)| self.assign(index, order, Owner::Domain(owner)));
        self.total = self.total.saturating_add(u64::from(end - start));
        Ok(())
    }

    /// First record of the whole frames in `range`, and the one behind the last.
    fn indices(&self, range: PhysRange) -> Result<(u32, u32), AddError> {
        let range = range.round_in();
        let frames = |bytes: u64| u32::try_from(bytes / PAGE_SIZE).map_err(|_| AddError::OutsideTable);
        let (start, end) = (frames(range.start())?, frames(range.end())?);
        if end <= self.table.len() { Ok((start, end)) } else { Err(AddError::OutsideTable) }
    }

    /// Allocates 2^`order` frames, clean ones if there are.
    ///
    /// A domain's frames each start with one reference.
    ///
    /// # Errors
    /// [`OutOfFrames`].
    pub fn alloc(&mut self, order: Order, reach: Reach, owner: Owner) -> Result<Block, OutOfFrames> {
        let (index, cleanliness) = self.take(order, reach)?;
        self.assign(index, order, owner);
        Ok(block(index, order.frames(), cleanliness))
    }

    /// Allocates `frames` contiguous frames, at most a gigabyte; the rest of the
    /// block that holds them stays free.
    ///
    /// # Errors
    /// [`OutOfFrames`], also for 0 frames and for more than a gigabyte.
    pub fn alloc_exact(&mut self, frames: u64, reach: Reach, owner: Owner) -> Result<Block, OutOfFrames> {
        let order = Order::covering(frames).filter(|_| frames != 0).ok_or(self.out_of_frames())?;
        let (index, cleanliness) = self.take(order, reach)?;
        let block_end = index + order.span();
        // `frames` is at most the block's span, so the end exists and fits.
        let end = u32::try_from(frames).map_or(block_end, |frames| index + frames);
        Pieces { start: index, end }.for_each(|(index, order)| self.assign(index, order, owner));
        let rest = Pieces { start: end, end: block_end };
        rest.for_each(|(index, order)| self.release(index, order, cleanliness));
        Ok(block(index, frames, cleanliness))
    }

    /// Frees a hypervisor's block of [`Buddy::alloc`], or one frame of a domain after
    /// its last [`FrameTable::put`]. It is dirty from now on.
    ///
    /// # Errors
    /// [`FreeError`], with nothing changed.
    pub fn free(&mut self, mfn: Mfn, order: Order) -> Result<(), FreeError> {
        let index = self.table.index(mfn).ok_or(FreeError::OutsideTable)?;
        self.check_freeable(index, order)?;
        self.release(index, order, Cleanliness::Dirty);
        Ok(())
    }

    /// Gives a frame of a domain, which may be in a block, a record of its own, so
    /// that references to it can be counted.
    pub fn isolate(&mut self, mfn: Mfn) {
        if let Some(index) = self.table.index(mfn) {
            self.split_owned(index, Order::FRAME);
        }
    }

    /// Drops the references that stand for the allocation of 2^`order` frames to
    /// `owner`: they are dirty and free from now on, but for those to which others
    /// hold references. Of these the last [`FrameTable::put`] finds out.
    ///
    /// # Errors
    /// [`FreeError`], with nothing changed.
    pub fn disown(&mut self, mfn: Mfn, order: Order, owner: DomId) -> Result<(), FreeError> {
        let start = self.table.index(mfn).ok_or(FreeError::OutsideTable)?;
        let end = start.checked_add(order.span()).filter(|&end| end <= self.table.len());
        let end = end.ok_or(FreeError::OutsideTable)?;
        if start & (order.span() - 1) != 0 {
            return Err(FreeError::WrongSize);
        }
        self.split_owned(start, order);
        let mut index = start;
        while index < end {
            index += self.check_owned(index, owner)?.span();
        }
        index = start;
        while index < end {
            // Counts may have changed meanwhile, kinds and orders not.
            let piece = self.table.record(index).order().unwrap_or(Order::FRAME);
            if piece > Order::FRAME || self.table.put(mfn_of(index)) == Ok(Put::Last) {
                self.release(index, piece, Cleanliness::Dirty);
            }
            index += piece.span();
        }
        Ok(())
    }

    /// Order of the block of `owner` that starts there.
    fn check_owned(&self, index: u32, owner: DomId) -> Result<Order, FreeError> {
        match self.table.record(index) {
            Record::Domain { owner: found, order, references } if found == owner && references != 0 => {
                Ok(order)
            }
            _ => Err(FreeError::NotOwned),
        }
    }

    /// Halves a block of a domain until the one that holds `index` has at most
    /// 2^`order` frames.
    fn split_owned(&self, index: u32, order: Order) {
        let Some(head) = self.table.head_of(index) else { return };
        let Record::Domain { owner, order: found, references } = self.table.record(head) else { return };
        let mut head = head;
        for half in (order.0..found.0).rev().map(Order) {
            // The other half first: a reader that still finds the whole block is right.
            let upper = head + half.span();
            let record = Record::Domain { owner, order: half, references };
            self.table.set_record(upper, record);
            self.table.set_record(head, record);
            if index >= upper {
                head = upper;
            }
        }
    }

    /// Frees a hypervisor's block of [`Buddy::alloc_exact`].
    ///
    /// # Errors
    /// [`FreeError`], with nothing changed.
    pub fn free_exact(&mut self, mfn: Mfn, frames: u64) -> Result<(), FreeError> {
        let start = self.table.index(mfn).ok_or(FreeError::OutsideTable)?;
        let frames = u32::try_from(frames).map_err(|_| FreeError::OutsideTable)?;
        let end = start.checked_add(frames).filter(|&end| end <= self.table.len());
        let pieces = Pieces { start, end: end.ok_or(FreeError::OutsideTable)? };
        pieces.clone().try_for_each(|(index, order)| self.check_freeable(index, order))?;
        pieces.for_each(|(index, order)| self.release(index, order, Cleanliness::Dirty));
        Ok(())
    }

    /// Takes a dirty block of at most 2^`largest` frames off the lists, to be
    /// scrubbed without the lock.
    pub fn next_dirty(&mut self, largest: Order) -> Option<DirtyBlock> {
        let class =
            [Class::LOW_DIRTY, Class::HIGH_DIRTY].into_iter().find(|&class| !self.lists(class).is_empty())?;
        let found = self.lists(class).smallest(Order::FRAME)?;
        let order = found.min(largest);
        let index = self.split(class, found, order);
        self.table.set_record(index, Record::Scrubbing { order });
        self.scrubbing = self.scrubbing.saturating_add(order.frames());
        Some(DirtyBlock { index, order })
    }

    /// Returns a block that has been overwritten: it is clean and free from now on.
    #[expect(clippy::needless_pass_by_value, reason = "the block must not be used again")]
    pub fn scrubbed(&mut self, block: DirtyBlock) {
        self.scrubbing = self.scrubbing.saturating_sub(block.order.frames());
        self.release(block.index, block.order, Cleanliness::Clean);
    }

    /// Where the frames are now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let frames = |low: Class, high: Class| self.lists(low).frames.saturating_add(self.lists(high).frames);
        Counts {
            total: self.total,
            clean: frames(Class::LOW_CLEAN, Class::HIGH_CLEAN),
            dirty: frames(Class::LOW_DIRTY, Class::HIGH_DIRTY),
            scrubbing: self.scrubbing,
        }
    }

    /// Checks the whole table: each frame in one state, each list in order, each
    /// total right. For tests and a debug key: it visits all frames.
    ///
    /// # Errors
    /// The first [`Inconsistency`] found.
    pub fn verify(&self) -> Result<(), Inconsistency> {
        let mut seen = Seen::default();
        let mut index = 0;
        while index < self.table.len() {
            let record = self.table.record(index);
            self.verify_block(index, record)?;
            seen.count(index, record);
            index += record.order().map_or(1, Order::span);
        }
        self.verify_totals(&seen)
    }

    /// An unowned block of 2^`order` frames: off the lists, its record to be set.
    fn take(&mut self, order: Order, reach: Reach) -> Result<(u32, Cleanliness), OutOfFrames> {
        let serves = |&class: &Class| Some((class, self.lists(class).smallest(order)?));
        let (class, found) =
            Class::by_preference(reach).iter().find_map(serves).ok_or(self.out_of_frames())?;
        Ok((self.split(class, found, order), class.cleanliness()))
    }

    /// Takes a block of order `found` off its list and returns all but the first
    /// 2^`order` frames to the lists.
    fn split(&mut self, class: Class, found: Order, order: Order) -> u32 {
        let index = self.lists(class).head(found);
        self.unlink(class, index, found);
        for half in (order.0..found.0).rev().map(Order) {
            self.push(class, index + half.span(), half);
        }
        index
    }

    /// Records the owner of frames that are in no list.
    fn assign(&self, index: u32, order: Order, owner: Owner) {
        match owner {
            Owner::Hypervisor(usage) => self.table.set_record(index, Record::Hypervisor { usage, order }),
            Owner::Domain(owner) => {
                self.table.set_record(index, Record::Domain { owner, order, references: 1 });
            }
        }
    }

    /// Whether an allocated, unreferenced block of that order starts there.
    fn check_freeable(&self, index: u32, order: Order) -> Result<(), FreeError> {
        match self.table.record(index) {
            Record::NoHead | Record::Free { .. } | Record::Scrubbing { .. } => Err(FreeError::NotAllocated),
            Record::Domain { references, .. } if references != 0 => Err(FreeError::Referenced),
            record if record.order() != Some(order) => Err(FreeError::WrongSize),
            Record::Hypervisor { .. } | Record::Domain { .. } => Ok(()),
        }
    }

    /// Puts frames that are in no list on one, merged with their free buddies.
    fn release(&mut self, mut index: u32, mut order: Order, cleanliness: Cleanliness) {
        let class = Class::of(index, cleanliness);
        while order < Order::MAX {
            let buddy = index ^ order.span();
            let mergeable = Record::Free { order, cleanliness };
            if !self.table.is(buddy, mergeable) {
                break;
            }
            self.unlink(class, buddy, order);
            // The upper half is now inside the block; the lower half's record is
            // written by `push`, or cleared here in the next round.
            self.table.set_record(index.max(buddy), Record::NoHead);
            index = index.min(buddy);
            order = Order(order.0 + 1);
        }
        self.push(class, index, order);
    }

    fn push(&mut self, class: Class, index: u32, order: Order) {
        let next = self.lists(class).head(order);
        self.table.set_record(index, Record::Free { order, cleanliness: class.cleanliness() });
        self.table.set_previous(index, NO_FRAME);
        self.table.set_next(index, next);
        if next != NO_FRAME {
            self.table.set_previous(next, index);
        }
        self.lists_mut(class).set_head(order, index);
        self.lists_mut(class).frames += order.frames();
    }

    fn unlink(&mut self, class: Class, index: u32, order: Order) {
        let (previous, next) = (self.table.previous(index), self.table.next(index));
        if next != NO_FRAME {
            self.table.set_previous(next, previous);
        }
        if previous == NO_FRAME {
            self.lists_mut(class).set_head(order, next);
        } else {
            self.table.set_next(previous, next);
        }
        self.lists_mut(class).frames -= order.frames();
    }

    const fn lists(&self, class: Class) -> &FreeLists {
        &self.lists[class.0]
    }

    const fn lists_mut(&mut self, class: Class) -> &mut FreeLists {
        &mut self.lists[class.0]
    }

    fn out_of_frames(&self) -> OutOfFrames {
        let counts = self.counts();
        OutOfFrames { unscrubbed: counts.dirty.saturating_add(counts.scrubbing) }
    }

    /// Checks one block on its own: place, inside, links, buddy.
    fn verify_block(&self, index: u32, record: Record) -> Result<(), Inconsistency> {
        let Some(order) = record.order() else { return Ok(()) };
        let end = index.checked_add(order.span()).filter(|&end| end <= self.table.len());
        let end = end.filter(|_| index & (order.span() - 1) == 0);
        let end = end.ok_or(Inconsistency::Misplaced(mfn_of(index)))?;
        if let Some(inner) = (index + 1..end).find(|&inner| !self.table.is(inner, Record::NoHead)) {
            return Err(Inconsistency::Overlap(mfn_of(inner)));
        }
        match record {
            Record::Free { cleanliness, .. } => self.verify_free(index, order, cleanliness),
            _ => Ok(()),
        }
    }

    fn verify_free(&self, index: u32, order: Order, cleanliness: Cleanliness) -> Result<(), Inconsistency> {
        let class = Class::of(index, cleanliness);
        let record = Record::Free { order, cleanliness };
        let same = |other| self.table.is(other, record);
        let (previous, next) = (self.table.previous(index), self.table.next(index));
        let led_to = if previous == NO_FRAME {
            self.lists(class).head(order) == index
        } else {
            same(previous) && self.table.next(previous) == index
        };
        let leads_on = next == NO_FRAME || (same(next) && self.table.previous(next) == index);
        if !led_to || !leads_on {
            return Err(Inconsistency::Links(mfn_of(index)));
        }
        if order < Order::MAX && same(index ^ order.span()) {
            return Err(Inconsistency::Unmerged(mfn_of(index)));
        }
        Ok(())
    }

    /// Compares what was seen with the counters and with the lists' lengths.
    ///
    /// Each free block has just been found well linked; a list that holds as many
    /// blocks as there are of its kind is therefore one chain of all of them.
    fn verify_totals(&self, seen: &Seen) -> Result<(), Inconsistency> {
        for class in Class::ALL {
            let lists = self.lists(class);
            let lengths = |order| self.list_length(class, order, seen.blocks[class.0][order]);
            let listed = (0..ORDERS).all(|order| lengths(order) == seen.blocks[class.0][order]);
            let frames =
                (0..ORDERS).map(|order| u64::from(seen.blocks[class.0][order]) << order).sum::<u64>();
            if !listed || frames != lists.frames {
                return Err(Inconsistency::Totals);
            }
        }
        let total = self.counts().free() + seen.allocated;
        if total != self.total || seen.scrubbing != self.scrubbing {
            return Err(Inconsistency::Totals);
        }
        Ok(())
    }

    /// Blocks in a list, counted up to one past `limit` in case it is a ring.
    fn list_length(&self, class: Class, order: usize, limit: u32) -> u32 {
        let mut index = self.lists(class).heads[order];
        let mut length = 0;
        while index < self.table.len() && length <= limit {
            length += 1;
            index = self.table.next(index);
        }
        length
    }
}

/// Zone and cleanliness: which of the four sets of lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Class(usize);

impl Class {
    const LOW_CLEAN: Self = Self(0);
    const LOW_DIRTY: Self = Self(1);
    const HIGH_CLEAN: Self = Self(2);
    const HIGH_DIRTY: Self = Self(3);
    const ALL: [Self; 4] = [Self::LOW_CLEAN, Self::LOW_DIRTY, Self::HIGH_CLEAN, Self::HIGH_DIRTY];

    const fn of(index: u32, cleanliness: Cleanliness) -> Self {
        match (index < LOW_FRAMES, cleanliness) {
            (true, Cleanliness::Clean) => Self::LOW_CLEAN,
            (true, Cleanliness::Dirty) => Self::LOW_DIRTY,
            (false, Cleanliness::Clean) => Self::HIGH_CLEAN,
            (false, Cleanliness::Dirty) => Self::HIGH_DIRTY,
        }
    }

    const fn by_preference(reach: Reach) -> &'static [Self] {
        match reach {
            Reach::Below4Gib => &[Self::LOW_CLEAN, Self::LOW_DIRTY],
            Reach::Anywhere => &[Self::HIGH_CLEAN, Self::LOW_CLEAN, Self::HIGH_DIRTY, Self::LOW_DIRTY],
        }
    }

    const fn cleanliness(self) -> Cleanliness {
        if self.0 == Self::LOW_DIRTY.0 || self.0 == Self::HIGH_DIRTY.0 {
            Cleanliness::Dirty
        } else {
            Cleanliness::Clean
        }
    }
}

/// The lists of one class, by order.
#[derive(Debug)]
struct FreeLists {
    heads: [u32; ORDERS],
    /// Bit n: the list of order n is not empty.
    filled: u32,
    frames: u64,
}

impl FreeLists {
    const fn new() -> Self {
        Self { heads: [NO_FRAME; ORDERS], filled: 0, frames: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The smallest order from `order` on that has a block.
    const fn smallest(&self, order: Order) -> Option<Order> {
        Order::new((self.filled & (u32::MAX << order.0)).trailing_zeros())
    }

    const fn head(&self, order: Order) -> u32 {
        self.heads[order.index()]
    }

    const fn set_head(&mut self, order: Order, index: u32) {
        self.heads[order.index()] = index;
        let bit = 1 << order.0;
        self.filled = if index == NO_FRAME { self.filled & !bit } else { self.filled | bit };
    }
}

/// `start..end` cut into maximal aligned blocks, in ascending order.
#[derive(Clone)]
struct Pieces {
    start: u32,
    end: u32,
}

impl Iterator for Pieces {
    type Item = (u32, Order);

    fn next(&mut self) -> Option<(u32, Order)> {
        let rest = self.end.checked_sub(self.start)?;
        let fits = rest.checked_ilog2()?;
        let order = Order::new(fits.min(self.start.trailing_zeros())).unwrap_or(Order::MAX);
        let index = self.start;
        self.start += order.span();
        Some((index, order))
    }
}

/// What `verify` has met in the table.
#[derive(Default)]
struct Seen {
    blocks: [[u32; ORDERS]; 4],
    scrubbing: u64,
    allocated: u64,
}

impl Seen {
    fn count(&mut self, index: u32, record: Record) {
        match record {
            Record::NoHead => {}
            Record::Free { order, cleanliness } => {
                self.blocks[Class::of(index, cleanliness).0][order.index()] += 1;
            }
            Record::Scrubbing { order } => self.scrubbing += order.frames(),
            Record::Hypervisor { order, .. } | Record::Domain { order, .. } => {
                self.allocated += order.frames()
            }
        }
    }
}

fn block(index: u32, frames: u64, cleanliness: Cleanliness) -> Block {
    Block { mfn: mfn_of(index), frames, needs_scrub: cleanliness == Cleanliness::Dirty }
}

/// Every index of the table is a frame number below 2^32.
fn mfn_of(index: u32) -> Mfn {
    Mfn::new(u64::from(index)).unwrap_or_default()
}
