//! The machine's frames: the table and the allocator of `hv_core::frame` over
//! real memory.

use hv_core::addr::{HostPhysAddr, Mfn, PAGE_LEN, PAGE_SIZE, PhysRange, to_usize};
use hv_core::frame::{
    AddError, Buddy, Cleanliness, Counts, Frame, FrameState, FrameTable, FreeError, Inconsistency, Order,
    OutOfFrames, Owner, Reach, Use,
};
use hv_core::id::DomId;
use spin::Once;

use crate::memory;
use crate::sync::{Lock, Rank};

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
/// The value is the right to use them. Who lets the CPU use them (as a page
/// table, a VMXON region) keeps the value, or drops it: the frames then stay
/// allocated for ever.
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

    /// The first frame.
    #[must_use]
    pub fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// The bytes.
    #[must_use]
    pub fn range(&self) -> PhysRange {
        let len = self.order.frames() * PAGE_SIZE;
        PhysRange::from_len(self.mfn.start().get(), len).unwrap_or_default()
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

    /// Returns the frames to the allocator.
    ///
    /// # Errors
    ///
    /// [`FreeError`] would be a bug of the allocator's users.
    pub fn release(self) -> Result<(), FreeError> {
        BUDDY.lock().as_mut().ok_or(FreeError::OutsideTable)?.free(self.mfn, self.order)
    }
}

/// What the frame table says about `mfn`.
#[must_use]
pub fn state(mfn: Mfn) -> FrameState {
    TABLE.get().map_or(FrameState::Reserved, |table| table.state(mfn))
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
    let Some(table) = TABLE.get() else {
        return false;
    };
    let range = range.round_out();
    // What lies past the table was never the allocator's.
    let end = range.end().min(table.end().start().get());
    let mut frames = (range.start()..end).step_by(PAGE_LEN);
    frames.all(|a| HostPhysAddr::new(a).is_some_and(|a| table.state(a.mfn()) == FrameState::Reserved))
}
