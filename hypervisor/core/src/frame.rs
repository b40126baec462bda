//! The frame table: one record for each 4-KiB frame of the machine.
//!
//! The table covers the frames from 0 on and starts zeroed: a zero record means
//! that nothing was ever said about the frame, so it is *reserved* unless it lies
//! in a block whose first frame says otherwise. Only the first frame of a block
//! has a record of its own; hence a gigabyte changes hands by a few stores.
//!
//! ```text
//!                     alloc                       last put, free
//!   Free --------------------------> Allocated ------------------> Dirty
//!    ^ \______________________________________________________    /  |
//!    |              alloc (the block says needs_scrub)        \__/   | next_dirty
//!    |                                                               v
//!    +------------------------- scrubbed ----------------------- Scrubbing
//! ```
//!
//! A block of a domain stays one block while nobody needs a single frame of it.
//! Then [`Buddy::isolate`] halves it down to that frame, which has its own count
//! from there on: a guest may grant or return any frame.
//!
//! Owner and count sit in one word and change together, so that references are
//! counted without the allocator's lock:
//!
//! ```text
//!          63    56 55    48 47          32 31                    0
//!  state  |  kind  | order  | owner / use  |  references          |
//! ```
//!
//! Key types: [`Frame`], [`FrameTable`] (references), [`Buddy`] (allocation,
//! under the caller's lock). Whoever changes the kind of a record holds that
//! lock; [`FrameTable::try_get`] and [`FrameTable::put`] change only the count of
//! a domain's frame, never from or to "not allocated".

mod buddy;
#[cfg(test)]
mod tests;

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use buddy::{AddError, Block, Buddy, Counts, DirtyBlock, FreeError, Inconsistency, OutOfFrames, Reach};

use crate::addr::{Mfn, PAGE_SHIFT, PhysRange, to_usize};
use crate::id::DomId;

/// Binary logarithm of a block's number of frames, at most [`Order::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One frame, 4 KiB.
    pub const FRAME: Self = Self(0);
    /// 2 MiB: what an EPT page-directory entry maps.
    pub const TWO_MIB: Self = Self(9);
    /// 1 GiB: what an EPT page-directory-pointer-table entry maps.
    pub const ONE_GIB: Self = Self(18);
    /// The largest block.
    pub const MAX: Self = Self::ONE_GIB;

    /// The order `raw`, or `None` past [`Order::MAX`].
    #[must_use]
    pub const fn new(raw: u32) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX")]
        if raw <= Self::MAX.0 as u32 { Some(Self(raw as u8)) } else { None }
    }

    /// The smallest order whose block holds `frames`, or `None` past [`Order::MAX`].
    #[must_use]
    pub const fn covering(frames: u64) -> Option<Self> {
        match frames.checked_next_power_of_two() {
            Some(power) => Self::new(power.trailing_zeros()),
            None => None,
        }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// Frames in a block of this order.
    #[must_use]
    pub const fn frames(self) -> u64 {
        1 << self.0
    }

    /// [`Order::frames`] in the type of frame indices.
    const fn span(self) -> u32 {
        1 << self.0
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the hypervisor keeps in a frame of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum Use {
    /// The allocator of the Rust heap.
    Heap = 1,
    /// Paging structures: the hypervisor's own, or a domain's EPT.
    PageTable = 2,
    /// Regions that the CPU reads by physical address: VMXON, VMCS, MSR and I/O
    /// bitmaps, virtual-APIC page.
    Vmx = 3,
    /// Stacks and per-CPU data.
    Pcpu = 4,
}

impl Use {
    const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::Heap),
            2 => Some(Self::PageTable),
            3 => Some(Self::Vmx),
            4 => Some(Self::Pcpu),
            _ => None,
        }
    }
}

/// Whose an allocated frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The hypervisor, for one use. Never reference-counted.
    Hypervisor(Use),
    /// A domain. Each frame starts with one reference, which stands for the
    /// allocation itself and is dropped by [`Buddy::disown`].
    Domain(DomId),
}

/// Whether memory may hold data of an earlier owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cleanliness {
    /// It holds nobody's data.
    Clean,
    /// It must be scrubbed before someone else may see it.
    Dirty,
}

/// What the table says about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// Not RAM, or never given to the allocator.
    Reserved,
    /// In a free block that holds nobody's data.
    Free,
    /// In a free block that must be scrubbed first.
    Dirty,
    /// In a block that is being scrubbed.
    Scrubbing,
    /// The hypervisor's.
    Hypervisor(Use),
    /// A domain's.
    Domain {
        /// Which domain's.
        owner: DomId,
        /// 0 between the last [`FrameTable::put`] and [`Buddy::free`].
        references: u32,
    },
}

/// [`FrameTable::try_get`] refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetError {
    /// The frame is not that domain's, or is about to be freed.
    NotOwned,
    /// The frame is that domain's, but has no count of its own yet: try again after
    /// [`Buddy::isolate`].
    InBlock,
    /// 2^32 - 1 references are held.
    TooMany,
}

/// What [`FrameTable::put`] left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "whoever drops the last reference frees the frame"]
pub enum Put {
    /// Others still hold references.
    Held,
    /// That was the last one: the caller alone may, and must, free the frame.
    Last,
}

/// [`FrameTable::put`] of a frame on which no reference is held: a bug of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotHeld;

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no reference to the frame is held")
    }
}

/// Record of one frame. All-zero bytes are a valid record: reserved.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Frame {
    state: AtomicU64,
    previous: AtomicU32,
    next: AtomicU32,
}

const _: () = assert!(size_of::<Frame>() == 16);

/// The records of all frames from frame 0 on.
#[derive(Clone, Copy, Debug)]
pub struct FrameTable<'a> {
    frames: &'a [Frame],
}

impl<'a> FrameTable<'a> {
    /// End of the memory that a table can describe: 16 TiB, less a frame.
    pub const LIMIT: u64 = (NO_FRAME as u64) << PAGE_SHIFT;

    /// A table over zeroed records; those past frame 2^32 - 2 (16 TiB) are not used.
    #[must_use]
    pub fn new(frames: &'a [Frame]) -> Self {
        let limit = usize::try_from(NO_FRAME).unwrap_or(usize::MAX);
        Self { frames: frames.get(..limit).unwrap_or(frames) }
    }

    /// Bytes of a table for frames `0..frames`.
    #[must_use]
    pub const fn bytes_for(frames: u64) -> Option<u64> {
        frames.checked_mul(size_of::<Frame>() as u64)
    }

    /// Takes a reference to a frame of `owner`, as Xen's `get_page` does.
    ///
    /// While it is held, the frame stays that domain's. Needs no lock.
    ///
    /// # Errors
    /// [`GetError::NotOwned`] also for a frame whose last reference is gone, so
    /// that nothing can come back to life on its way to the free list.
    pub fn try_get(self, mfn: Mfn, owner: DomId) -> Result<(), GetError> {
        let frame = self.get(mfn).ok_or(GetError::NotOwned)?;
        let more = |word| Word(word).with_one_more(owner).map(|word| word.0).ok();
        // Acquire: pairs with the store that gave the frame to its owner.
        match frame.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(word) => Err(self.why_not(mfn, Word(word), owner)),
        }
    }

    /// Takes another reference to a frame to which the caller holds one: whose it is need not be asked.
    ///
    /// # Errors
    /// [`GetError::NotOwned`] if nobody holds one, [`GetError::TooMany`].
    pub fn get_again(self, mfn: Mfn) -> Result<(), GetError> {
        let frame = self.get(mfn).ok_or(GetError::NotOwned)?;
        let more = |word| Word(word).with_another().map(|word| word.0);
        // Relaxed: the caller's reference has been acquired already.
        let updated = frame.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        updated.map(|_| ()).map_err(|word| match Word(word).references() {
            u32::MAX => GetError::TooMany,
            _ => GetError::NotOwned,
        })
    }

    #[cold]
    fn why_not(self, mfn: Mfn, word: Word, owner: DomId) -> GetError {
        if word.with_one_more(owner) == Err(GetError::TooMany) {
            return GetError::TooMany;
        }
        let head = self.index(mfn).and_then(|index| self.head_of(index));
        match head.map(|head| self.record(head)) {
            Some(Record::Domain { owner: of_block, order, .. })
                if of_block == owner && order > Order::FRAME =>
            {
                GetError::InBlock
            }
            _ => GetError::NotOwned,
        }
    }

    /// Drops a reference that [`FrameTable::try_get`] took. Needs no lock.
    ///
    /// # Errors
    /// [`NotHeld`] if there is none to drop; nothing has changed then.
    pub fn put(self, mfn: Mfn) -> Result<Put, NotHeld> {
        let frame = self.get(mfn).ok_or(NotHeld)?;
        let less = |word| Word(word).with_one_less().map(|word| word.0);
        // Release: what this holder did to the frame comes before its freeing.
        // Acquire: and whoever frees sees what all holders did.
        match frame.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less) {
            Ok(before) if Word(before).references() == 1 => Ok(Put::Last),
            Ok(_) => Ok(Put::Held),
            Err(_) => Err(NotHeld),
        }
    }

    /// What the table says about a frame; frames past its end are reserved.
    ///
    /// Without the allocator's lock the answer may be out of date when it arrives.
    #[must_use]
    pub fn state(self, mfn: Mfn) -> FrameState {
        let head = self.index(mfn).and_then(|index| self.head_of(index));
        match head.map(|head| self.record(head)) {
            None | Some(Record::NoHead) => FrameState::Reserved,
            Some(Record::Free { cleanliness: Cleanliness::Clean, .. }) => FrameState::Free,
            Some(Record::Free { cleanliness: Cleanliness::Dirty, .. }) => FrameState::Dirty,
            Some(Record::Scrubbing { .. }) => FrameState::Scrubbing,
            Some(Record::Hypervisor { usage, .. }) => FrameState::Hypervisor(usage),
            Some(Record::Domain { owner, references, .. }) => FrameState::Domain { owner, references },
        }
    }

    /// First frame of the block that holds `index`, if one does.
    fn head_of(self, index: u32) -> Option<u32> {
        let mut head = index;
        loop {
            if self.record(head).order().is_some_and(|order| (index ^ head) >> order.get() == 0) {
                return Some(head);
            }
            // A block begins at a multiple of its size: the next place where one can that is larger.
            if head & ((1 << Order::MAX.get()) - 1) == 0 {
                return None;
            }
            head &= head - 1;
        }
    }

    /// Whether no frame of `range` was ever the allocator's. A few steps for each
    /// frame that has a record; what lies past the table was never the allocator's.
    #[must_use]
    pub fn is_reserved(self, range: PhysRange) -> bool {
        let range = range.round_out();
        let index = |bytes: u64| to_usize(bytes >> PAGE_SHIFT).min(self.frames.len());
        let (start, end) = (index(range.start()), index(range.end()));
        let Some(records) = self.frames.get(start..end).filter(|records| !records.is_empty()) else {
            return true;
        };
        // A block that holds any of the frames starts among them, or holds the first.
        let head = u32::try_from(start).ok().and_then(|start| self.head_of(start));
        head.is_none() && records.iter().all(|frame| frame.state.load(Ordering::Relaxed) == 0)
    }

    /// One past the last frame that has a record.
    #[must_use]
    pub fn end(self) -> Mfn {
        Mfn::new(self.len().into()).unwrap_or_default()
    }

    /// Number of records, at most 2^32 - 1.
    fn len(self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(NO_FRAME)
    }

    fn get(self, mfn: Mfn) -> Option<&'a Frame> {
        self.frames.get(usize::try_from(mfn.get()).ok()?)
    }

    fn index(self, mfn: Mfn) -> Option<u32> {
        u32::try_from(mfn.get()).ok().filter(|&index| index < self.len())
    }

    /// The record at an index that this table itself supplied.
    fn at(self, index: u32) -> &'a Frame {
        &self.frames[index as usize]
    }

    fn record(self, index: u32) -> Record {
        Record::decode(Word(self.at(index).state.load(Ordering::Acquire)))
    }

    /// Whether `index` has exactly that record: cheaper than decoding it.
    fn is(self, index: u32, record: Record) -> bool {
        self.frames
            .get(index as usize)
            .is_some_and(|frame| frame.state.load(Ordering::Acquire) == record.encode().0)
    }

    fn set_record(self, index: u32, record: Record) {
        self.at(index).state.store(record.encode().0, Ordering::Release);
    }

    /// The block before a free block in its list.
    fn previous(self, index: u32) -> u32 {
        self.at(index).previous.load(Ordering::Relaxed)
    }

    fn set_previous(self, index: u32, previous: u32) {
        self.at(index).previous.store(previous, Ordering::Relaxed);
    }

    /// The block behind a free block in its list.
    fn next(self, index: u32) -> u32 {
        self.at(index).next.load(Ordering::Relaxed)
    }

    fn set_next(self, index: u32, next: u32) {
        self.at(index).next.store(next, Ordering::Relaxed);
    }
}

/// "No block" in links and list heads.
const NO_FRAME: u32 = u32::MAX;

/// The meaning of a record's `state` word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    /// Reserved, or inside a block.
    NoHead,
    Free {
        order: Order,
        cleanliness: Cleanliness,
    },
    Scrubbing {
        order: Order,
    },
    Hypervisor {
        usage: Use,
        order: Order,
    },
    /// Of more than one frame, each has one reference.
    Domain {
        owner: DomId,
        order: Order,
        references: u32,
    },
}

impl Record {
    /// Order of the block that starts here, if one does.
    const fn order(self) -> Option<Order> {
        match self {
            Self::NoHead => None,
            Self::Free { order, .. }
            | Self::Scrubbing { order }
            | Self::Hypervisor { order, .. }
            | Self::Domain { order, .. } => Some(order),
        }
    }

    fn encode(self) -> Word {
        match self {
            Self::NoHead => Word(0),
            Self::Free { order, cleanliness: Cleanliness::Clean } => Word::new(KIND_FREE, order, 0, 0),
            Self::Free { order, cleanliness: Cleanliness::Dirty } => Word::new(KIND_DIRTY, order, 0, 0),
            Self::Scrubbing { order } => Word::new(KIND_SCRUBBING, order, 0, 0),
            Self::Hypervisor { usage, order } => Word::new(KIND_HYPERVISOR, order, usage as u16, 0),
            Self::Domain { owner, order, references } => {
                Word::new(KIND_DOMAIN, order, owner.get(), references)
            }
        }
    }

    /// A word that `encode` cannot have made reads as no head: it is never handed out.
    fn decode(word: Word) -> Self {
        let Some(order) = Order::new(u32::from(word.byte(ORDER_SHIFT))) else { return Self::NoHead };
        match word.byte(KIND_SHIFT) {
            KIND_FREE => Self::Free { order, cleanliness: Cleanliness::Clean },
            KIND_DIRTY => Self::Free { order, cleanliness: Cleanliness::Dirty },
            KIND_SCRUBBING => Self::Scrubbing { order },
            KIND_HYPERVISOR => {
                Use::from_raw(word.owner()).map_or(Self::NoHead, |usage| Self::Hypervisor { usage, order })
            }
            KIND_DOMAIN => DomId::new(word.owner()).map_or(Self::NoHead, |owner| Self::Domain {
                owner,
                order,
                references: word.references(),
            }),
            _ => Self::NoHead,
        }
    }
}

const KIND_SHIFT: u32 = 56;
const ORDER_SHIFT: u32 = 48;
const OWNER_SHIFT: u32 = 32;

const KIND_FREE: u8 = 1;
const KIND_DIRTY: u8 = 2;
const KIND_SCRUBBING: u8 = 3;
const KIND_HYPERVISOR: u8 = 4;
const KIND_DOMAIN: u8 = 5;

/// A record's `state` word, packed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn new(kind: u8, order: Order, owner: u16, references: u32) -> Self {
        Self(
            u64::from(kind) << KIND_SHIFT
                | u64::from(order.0) << ORDER_SHIFT
                | u64::from(owner) << OWNER_SHIFT
                | u64::from(references),
        )
    }

    /// The word with one more reference, if it is a live frame of `owner`.
    fn with_one_more(self, owner: DomId) -> Result<Self, GetError> {
        let alive = Self::new(KIND_DOMAIN, Order::FRAME, owner.get(), 0);
        if self.0 >> OWNER_SHIFT != alive.0 >> OWNER_SHIFT || self.references() == 0 {
            return Err(GetError::NotOwned);
        }
        let references = self.references().checked_add(1).ok_or(GetError::TooMany)?;
        Ok(Self(alive.0 | u64::from(references)))
    }

    /// The word with one more reference, if it is a single frame with references.
    fn with_another(self) -> Option<Self> {
        (self.is_referenced() && self.references() != u32::MAX).then(|| Self(self.0 + 1))
    }

    /// The word with one reference less, if it is a single frame with references.
    fn with_one_less(self) -> Option<Self> {
        // The low bits hold at least 1.
        self.is_referenced().then(|| Self(self.0 - 1))
    }

    /// Whether it is a single frame with references; only domains' frames have any.
    fn is_referenced(self) -> bool {
        self.references() != 0 && self.byte(ORDER_SHIFT) == Order::FRAME.0
    }

    const fn references(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half of the word")]
        {
            self.0 as u32
        }
    }

    const fn owner(self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "bits 47:32 of the word")]
        {
            (self.0 >> OWNER_SHIFT) as u16
        }
    }

    const fn byte(self, shift: u32) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "eight bits of the word")]
        {
            (self.0 >> shift) as u8
        }
    }
}
