//! The machine's frames: the table and the allocator of `hv_core::frame` over
//! real memory.
//!
//! | type | right to |
//! |---|---|
//! | [`OwnFrames`] | frames of the hypervisor's own |
//! | [`DomainFrames`] | frames allocated to a domain, in no p2m yet |
//! | [`FrameRef`] | a frame of a domain that must stay that domain's |
//!
//! Each gives back what it stands for when it is dropped.

use core::mem;

use hv_core::addr::{Mfn, PAGE_LEN, PAGE_SIZE, PhysRange, to_usize};
use hv_core::frame::{
    AddError, Buddy, Cleanliness, Counts, Frame, FrameState, FrameTable, FreeError, GetError, Inconsistency,
    Order, OutOfFrames, Owner, Put, Reach, Use,
};
use hv_core::gnttab;
use hv_core::id::DomId;
use spin::Once;

use crate::memory;
use crate::sync::{Lock, Rank};

/// What [`scrub_some`] does at once: 16 KiB, so that a vcpu that wakes meanwhile need
/// not wait long.
const SCRUB_ORDER: u32 = 2;

/// Frames that DomUs do not get, nor the tables of their address spaces: the heap can
/// grow when they have all the others. 4 MiB.
const RESERVE: u64 = 1024;

static TABLE: Once<FrameTable<'static>> = Once::new();
static BUDDY: Lock<Option<Buddy<'static>>> = Lock::new(Rank::Frames, None);

/// Starts the allocator with the table in `frames` and the memory in `free`.
pub(crate) fn init(frames: &'static [Frame], free: impl Iterator<Item = PhysRange>) -> Result<(), AddError> {
    let table = FrameTable::new(frames);
    let mut buddy = Buddy::new(table);
    for range in free {
        // The loader and what ran before it left their data there.
        buddy.add(range, Cleanliness::Dirty)?;
    }
    TABLE.call_once(|| table);
    *BUDDY.lock() = Some(buddy);
    Ok(())
}

/// Gives memory that the allocator never had to Dom0.
pub(crate) fn claim_for_dom0(range: PhysRange) -> Result<(), AddError> {
    BUDDY.lock().as_mut().ok_or(AddError::OutsideTable)?.claim(range, DomId::DOM0)
}

/// Frames of the hypervisor's own: 2^order of them, all bytes zero at first.
///
/// The value is the right to use them, and keeps them allocated. Who lets the CPU
/// use them (as a page table, a VMXON region) keeps the value or leaks it.
#[derive(Debug)]
#[must_use]
pub struct OwnFrames {
    mfn: Mfn,
    order: Order,
}

impl OwnFrames {
    /// Allocates frames for `purpose`.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`]; also before memory has been set up.
    pub fn allocate(order: Order, reach: Reach, purpose: Use) -> Result<Self, OutOfFrames> {
        let block = {
            let mut buddy = BUDDY.lock();
            let buddy = buddy.as_mut().ok_or(OutOfFrames { unscrubbed: 0 })?;
            buddy.alloc(order, reach, Owner::Hypervisor(purpose))?
        };
        let mut own = Self { mfn: block.mfn(), order };
        if block.needs_scrub() {
            own.bytes_mut().fill(0);
        }
        Ok(own)
    }

    /// The frames of an earlier [`OwnFrames::leak`].
    ///
    /// # Safety
    ///
    /// `mfn` came from `leak` of a value of that order, and this is its only return.
    pub(crate) unsafe fn from_leaked(mfn: Mfn, order: Order) -> Self {
        Self { mfn, order }
    }

    /// Leaves the frames allocated, for the CPU or for ever.
    pub fn leak(self) -> Mfn {
        let mfn = self.mfn;
        mem::forget(self);
        mfn
    }

    /// The first frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// The bytes.
    #[must_use]
    pub fn range(&self) -> PhysRange {
        range(self.mfn, self.order)
    }

    /// The first byte of the content.
    pub(crate) fn first_byte(&self) -> *mut u8 {
        memory::phys_to_virt(self.mfn.start().get())
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let range = self.range();
        // SAFETY: RAM that the allocator gave to this value alone.
        unsafe { core::slice::from_raw_parts(memory::phys_to_virt(range.start()), to_usize(range.len())) }
    }

    /// The content, to be changed.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        // SAFETY: as above, and borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(memory::phys_to_virt(range.start()), to_usize(range.len())) }
    }

    /// Returns the frames to the allocator, and says whether it took them.
    ///
    /// # Errors
    ///
    /// [`FreeError`] would be a bug of the allocator's users.
    pub fn release(self) -> Result<(), FreeError> {
        let (mfn, order) = (self.mfn, self.order);
        mem::forget(self);
        free(mfn, order)
    }
}

impl Drop for OwnFrames {
    fn drop(&mut self) {
        let freed = free(self.mfn, self.order);
        debug_assert_eq!(freed, Ok(()));
    }
}

/// A frame for a table of a DomU's address space.
pub(crate) fn allocate_table() -> Result<OwnFrames, OutOfFrames> {
    check_reserve(BUDDY.lock().as_ref().ok_or(OutOfFrames { unscrubbed: 0 })?, Order::FRAME)?;
    OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::PageTable)
}

/// Whether there is more than what is kept for the hypervisor's heap, so that it may grow for a DomU.
#[must_use]
pub fn has_reserve() -> bool {
    BUDDY.lock().as_ref().is_some_and(|buddy| check_reserve(buddy, Order::FRAME).is_ok())
}

fn check_reserve(buddy: &Buddy<'_>, order: Order) -> Result<(), OutOfFrames> {
    let left = buddy.counts().free().checked_sub(order.frames());
    if left.is_some_and(|left| left >= RESERVE) { Ok(()) } else { Err(OutOfFrames { unscrubbed: 0 }) }
}

fn range(mfn: Mfn, order: Order) -> PhysRange {
    PhysRange::from_len(mfn.start().get(), order.frames() * PAGE_SIZE).unwrap_or_default()
}

fn free(mfn: Mfn, order: Order) -> Result<(), FreeError> {
    BUDDY.lock().as_mut().ok_or(FreeError::OutsideTable)?.free(mfn, order)
}

/// Whether frames may be overwritten while whoever allocates them waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scrubbing {
    /// If there are no clean ones.
    AtOnce,
    /// Only clean ones will do, which idle pcpus see to ([`scrub_some`]).
    Never,
}

/// Frames that were allocated to a domain, all bytes zero, and that are not in its
/// p2m yet: 2^order of them.
#[derive(Debug)]
#[must_use]
pub struct DomainFrames {
    mfn: Mfn,
    order: Order,
    owner: DomId,
}

impl DomainFrames {
    /// Allocates frames for domain `owner`: clean ones if there are.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn allocate(
        owner: DomId,
        order: Order,
        reach: Reach,
        scrubbing: Scrubbing,
    ) -> Result<Self, OutOfFrames> {
        let mut guard = BUDDY.lock();
        let buddy = guard.as_mut().ok_or(OutOfFrames { unscrubbed: 0 })?;
        // Dom0 gets no more than pages that are shared with it, and has to start.
        if owner != DomId::DOM0 {
            check_reserve(buddy, order)?;
        }
        let block = buddy.alloc(order, reach, Owner::Domain(owner))?;
        // From here on dropping the value returns the frames.
        drop(guard);
        let frames = Self { mfn: block.mfn(), order, owner };
        if block.needs_scrub() {
            if scrubbing == Scrubbing::Never {
                return Err(OutOfFrames { unscrubbed: order.frames() });
            }
            // SAFETY: RAM that the allocator gave to this value alone.
            unsafe { memory::zero(range(frames.mfn, order)) };
        }
        Ok(frames)
    }

    /// The first frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// Binary logarithm of their number.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Whose they are.
    #[must_use]
    pub fn owner(&self) -> DomId {
        self.owner
    }

    /// Leaves them to the p2m, which [`disown`]s them one day.
    pub(crate) fn into_mapped(self) {
        mem::forget(self);
    }

    /// The reference that stands for the allocation of a single frame.
    fn into_reference(self) -> FrameRef {
        let mfn = self.mfn;
        isolate(mfn);
        mem::forget(self);
        FrameRef { mfn }
    }
}

impl Drop for DomainFrames {
    fn drop(&mut self) {
        disown(self.mfn, self.order, self.owner);
    }
}

/// Drops the allocation's references of frames that a p2m does not map any more.
/// They are free then, but for those that others hold references to.
pub(crate) fn disown(mfn: Mfn, order: Order, owner: DomId) {
    let mut buddy = BUDDY.lock();
    let done = buddy.as_mut().map(|buddy| buddy.disown(mfn, order, owner));
    debug_assert_eq!(done, Some(Ok(())));
}

fn isolate(mfn: Mfn) {
    if let Some(buddy) = BUDDY.lock().as_mut() {
        buddy.isolate(mfn);
    }
}

/// A reference to a frame of a domain: the frame stays that domain's while it is
/// held, even if the domain gives the frame back or ends. The last one frees it.
#[derive(Debug)]
#[must_use]
pub struct FrameRef {
    mfn: Mfn,
}

impl FrameRef {
    /// A fresh frame, all bytes zero, of which this is the only reference.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub(crate) fn allocate(owner: DomId) -> Result<Self, OutOfFrames> {
        let frames = DomainFrames::allocate(owner, Order::FRAME, Reach::Anywhere, Scrubbing::AtOnce)?;
        Ok(frames.into_reference())
    }

    /// A reference to a frame of `owner`.
    pub(crate) fn get(mfn: Mfn, owner: DomId) -> Result<Self, GetError> {
        let table = TABLE.get().ok_or(GetError::NotOwned)?;
        let first = table.try_get(mfn, owner);
        if first == Err(GetError::InBlock) {
            isolate(mfn);
            table.try_get(mfn, owner)?;
        } else {
            first?;
        }
        Ok(Self { mfn })
    }

    /// Another reference to the same frame.
    pub(crate) fn again(&self) -> Result<Self, GetError> {
        TABLE.get().ok_or(GetError::NotOwned)?.get_again(self.mfn)?;
        Ok(Self { mfn: self.mfn })
    }

    /// The reference that [`FrameRef::into_mapped`] left to a p2m.
    ///
    /// # Safety
    ///
    /// It is returned once.
    pub(crate) unsafe fn from_mapped(mfn: Mfn) -> Self {
        Self { mfn }
    }

    /// Leaves the reference to a p2m.
    pub(crate) fn into_mapped(self) -> Mfn {
        let mfn = self.mfn;
        mem::forget(self);
        mfn
    }

    /// The frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// Copies `len` bytes from byte `from` on to byte `at` of `target`. `false`, and nothing is copied, if
    /// they do not lie in the frames.
    #[must_use]
    pub fn copy_to(&self, from: usize, target: &Self, at: usize, len: usize) -> bool {
        // SAFETY: two frames of domains, to which references are held.
        unsafe { copy_inside(self.start(), from, target.start(), at, len) }
    }

    /// Where the frame is mapped.
    pub(crate) fn start(&self) -> *mut u8 {
        memory::phys_to_virt(self.mfn.start().get())
    }
}

/// Copies `len` bytes from byte `from` of the frame mapped at `source` on to byte `at` of the one at `target`. `false`,
/// and nothing is copied, if they do not lie in the frames.
///
/// # Safety
///
/// Both are frames of domains, in the direct map, and stay so meanwhile.
pub(crate) unsafe fn copy_inside(
    source: *const u8,
    from: usize,
    target: *mut u8,
    at: usize,
    len: usize,
) -> bool {
    let inside = |start: usize| start.checked_add(len).is_some_and(|end| end <= PAGE_LEN);
    if !inside(from) || !inside(at) {
        return false;
    }
    let (source, target) = (source.wrapping_add(from), target.wrapping_add(at));
    // SAFETY: inside the frames by the check.
    unsafe { memory::copy_between_guests(source, target, len) };
    true
}

impl gnttab::Frame for FrameRef {
    fn again(&self) -> Option<Self> {
        Self::again(self).ok()
    }
}

impl Drop for FrameRef {
    fn drop(&mut self) {
        let put = TABLE.get().map(|table| table.put(self.mfn));
        debug_assert!(matches!(put, Some(Ok(_))));
        if put == Some(Ok(Put::Last)) {
            let freed = free(self.mfn, Order::FRAME);
            debug_assert_eq!(freed, Ok(()));
        }
    }
}

/// Overwrites a piece of free memory that holds data of an earlier owner; `false`
/// if there is none. For pcpus that have nothing else to do.
pub fn scrub_some() -> bool {
    let largest = Order::new(SCRUB_ORDER).unwrap_or(Order::FRAME);
    let Some(block) = BUDDY.lock().as_mut().and_then(|buddy| buddy.next_dirty(largest)) else {
        return false;
    };
    // SAFETY: free RAM, which nobody else gets until `scrubbed` returns it.
    unsafe { memory::zero(block.range()) };
    if let Some(buddy) = BUDDY.lock().as_mut() {
        buddy.scrubbed(block);
    }
    true
}

/// Writes what caches have of `len` bytes of a domain's frame back to memory, from byte `offset` on. `false` if
/// that is not in a frame of a domain.
#[must_use]
pub fn flush_cache(mfn: Mfn, offset: u64, len: u64) -> bool {
    let inside = offset.checked_add(len).is_some_and(|end| end <= PAGE_SIZE);
    if !inside || !matches!(state(mfn), FrameState::Domain { .. }) {
        return false;
    }
    // SAFETY: RAM, whoever has it by now.
    unsafe { memory::flush_cache(mfn.start().get() + offset, len) };
    true
}

/// What the frame table says about `mfn`.
#[must_use]
pub fn state(mfn: Mfn) -> FrameState {
    TABLE.get().map_or(FrameState::Reserved, |table| table.state(mfn))
}

/// One past the last frame that has a record.
#[must_use]
pub fn end() -> Mfn {
    TABLE.get().map_or(Mfn::default(), |table| table.end())
}

/// How many frames there are, and how many are free.
#[must_use]
pub fn counts() -> Counts {
    BUDDY.lock().as_ref().map(Buddy::counts).unwrap_or_default()
}

/// Checks the whole frame table; see [`Buddy::verify`].
///
/// # Errors
///
/// The first [`Inconsistency`] found.
pub fn verify() -> Result<(), Inconsistency> {
    BUDDY.lock().as_ref().map_or(Ok(()), Buddy::verify)
}

/// Whether the allocator never owned any frame of `range`: firmware's and
/// loader's memory, devices, holes.
#[must_use]
pub fn is_reserved(range: PhysRange) -> bool {
    TABLE.get().is_some_and(|table| table.is_reserved(range))
}
