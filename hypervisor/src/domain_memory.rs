//! Memory of a domain: how much it has and may have, and how frames come to it
//! and leave it.
//!
//! ```text
//!   limit     most frames it may have (max_mem)
//!   total     frames of RAM that it has (tot_pages)
//!   claimed   frames put aside for it that it does not have yet
//! ```
//!
//! A frame that the domain gave back while others hold references to it counts no
//! more, and is freed by the last of them. Dom0's memory is fixed: what it takes
//! out of its address space stays its own, at its machine address, until it puts it
//! in again.
//!
//! Neighbours: `hv_arch::confines` (the address space), `hv_arch::frames`,
//! `hypercall/memory_op.rs`.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;
use hv_arch::confines::page::SharedPage;
use hv_arch::confines::{AccessError, Confines, Shootdown, Vacated};
use hv_arch::frames::{self, DomainFrames, Scrubbing};
use hv_arch::sync::{Lock, Rank};
use hv_core::addr::Gfn;
use hv_core::ept::{MapError, Progress};
use hv_core::frame::{Order, OutOfFrames, Reach};
use hv_core::id::DomId;
use xen_abi::errno::Errno;
use xen_abi::memory::E820Entry;

/// Frames that are put aside, of all domains.
static CLAIMED: AtomicU64 = AtomicU64::new(0);
/// Small steps of a slice of a domain's end.
const SLICE: usize = 1024;

/// Why memory did not change hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryError {
    /// The domain has all that it may have.
    Limit,
    /// The machine has no more, or it is put aside for others.
    OutOfFrames,
    /// The domain's address space does not allow it.
    Access(AccessError),
}

impl From<AccessError> for MemoryError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<OutOfFrames> for MemoryError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl From<MemoryError> for Errno {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Limit | MemoryError::OutOfFrames => Self::ENOMEM,
            MemoryError::Access(error) => errno(error),
        }
    }
}

/// What a guest is told.
pub fn errno(error: AccessError) -> Errno {
    match error {
        AccessError::NotOwned | AccessError::NotRam | AccessError::Dying => Errno::EINVAL,
        AccessError::NotMapped => Errno::ENOENT,
        AccessError::Device => Errno::EPERM,
        AccessError::TooMany => Errno::EBUSY,
        AccessError::Map(MapError::OutOfTables) => Errno::ENOMEM,
        AccessError::Map(MapError::AlreadyMapped) => Errno::EEXIST,
        AccessError::Map(MapError::Misaligned) => Errno::EINVAL,
    }
}

/// Frames that are put aside for domains and that they do not have yet.
pub fn all_claims() -> u64 {
    CLAIMED.load(Ordering::Relaxed)
}

/// Memory of one domain.
#[derive(Debug)]
pub struct DomainMemory {
    owner: DomId,
    limit: AtomicU64,
    total: AtomicU64,
    claimed: AtomicU64,
    shared_info: SharedPage,
    /// What the domain is told when it asks for its memory map.
    map: Lock<Vec<E820Entry>>,
}

impl DomainMemory {
    /// Of a domain that has `total` frames and may not have more.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`] for the page of shared information.
    pub fn new(owner: DomId, total: u64) -> Result<Self, OutOfFrames> {
        Ok(Self {
            owner,
            limit: AtomicU64::new(total),
            total: AtomicU64::new(total),
            claimed: AtomicU64::new(0),
            shared_info: SharedPage::new(owner)?,
            map: Lock::new(Rank::Domain, Vec::new()),
        })
    }

    /// Frames it may have.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets how many frames it may have; what it has already stays.
    pub fn set_limit(&self, frames: u64) {
        self.limit.store(frames, Ordering::Relaxed);
    }

    /// Frames it has.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Frames put aside for it.
    pub fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    /// The page that hypervisor and domain share (`struct shared_info`).
    pub fn shared_info(&self) -> &SharedPage {
        &self.shared_info
    }

    /// The memory map that it is told.
    pub fn map(&self) -> &Lock<Vec<E820Entry>> {
        &self.map
    }

    /// Puts frames aside until the domain has `frames`; 0 gives up what is left of an
    /// earlier claim.
    ///
    /// # Errors
    ///
    /// As Xen's: `EINVAL` with a claim in force, or for less than the domain has or more
    /// than it may have; `ENOMEM`.
    pub fn claim(&self, frames: u64) -> Result<(), Errno> {
        if frames == 0 {
            let rest = self.claimed.swap(0, Ordering::Relaxed);
            CLAIMED.fetch_sub(rest, Ordering::Relaxed);
            return Ok(());
        }
        let wanted = frames.checked_sub(self.total()).filter(|&wanted| wanted != 0);
        let wanted = wanted.filter(|_| frames <= self.limit() && self.claimed() == 0).ok_or(Errno::EINVAL)?;
        let free = frames::counts().free();
        let more = |claimed: u64| claimed.checked_add(wanted).filter(|&sum| sum <= free);
        CLAIMED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Errno::ENOMEM)?;
        let first = self.claimed.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed);
        first.map(|_| ()).map_err(|_| {
            // Another vcpu of the toolstack made a claim at the same time.
            CLAIMED.fetch_sub(wanted, Ordering::Relaxed);
            Errno::EINVAL
        })
    }

    /// Counts `frames` more; returns how many of them had been claimed.
    fn reserve(&self, frames: u64) -> Result<u64, MemoryError> {
        let limit = self.limit();
        let more = |total: u64| total.checked_add(frames).filter(|&sum| sum <= limit);
        self.total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| MemoryError::Limit)?;
        let used = self.use_claim(frames);
        let of_others = CLAIMED.load(Ordering::Relaxed);
        if used < frames && of_others != 0 && frames::counts().free() < of_others.saturating_add(frames) {
            self.give_back(frames, used);
            return Err(MemoryError::OutOfFrames);
        }
        Ok(used)
    }

    /// Undoes [`Self::reserve`]: a claim lasts until it has been met.
    fn give_back(&self, frames: u64, claimed: u64) {
        self.unreserve(frames);
        CLAIMED.fetch_add(claimed, Ordering::Relaxed);
        self.claimed.fetch_add(claimed, Ordering::Relaxed);
    }

    fn unreserve(&self, frames: u64) {
        self.total.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Turns at most `frames` of the claim into frames.
    fn use_claim(&self, frames: u64) -> u64 {
        if self.claimed() == 0 {
            return 0;
        }
        let less = |claimed: u64| Some(claimed.saturating_sub(frames));
        let before = self.claimed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0);
        let used = before.min(frames);
        CLAIMED.fetch_sub(used, Ordering::Relaxed);
        used
    }

    /// Puts 2^`order` frames of RAM at `gfn`, in pages as large as there are. Above 2
    /// MiB all of them have to be clean already: overwriting them would take too long.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]; nothing has changed then.
    pub fn populate(
        &self,
        confines: &Confines,
        gfn: Gfn,
        order: Order,
        reach: Reach,
    ) -> Result<(), MemoryError> {
        if confines.is_identity() {
            return self.restore(confines, gfn, order);
        }
        let claimed = self.reserve(order.frames())?;
        let scrubbing = if order > Order::TWO_MIB { Scrubbing::Never } else { Scrubbing::AtOnce };
        let (mut done, mut largest) = (0, order);
        while done < order.frames() {
            let at = offset(gfn, done)?;
            let size = page_order(at, order.frames() - done).min(largest);
            let piece = DomainFrames::allocate(self.owner, size, reach, scrubbing).map_err(MemoryError::from);
            match piece.and_then(|piece| confines.populate(at, piece).map_err(MemoryError::from)) {
                Ok(()) => done += size.frames(),
                Err(MemoryError::OutOfFrames) if size > Order::FRAME => largest = smaller(size),
                Err(error) => {
                    let removed = self.undo(confines, gfn, done);
                    // Who took the others out meanwhile has counted them; what could not be taken out stays counted.
                    self.give_back(order.frames().saturating_sub(done).saturating_add(removed), claimed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Puts Dom0's own RAM back.
    fn restore(&self, confines: &Confines, gfn: Gfn, order: Order) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < order.frames() {
            let at = offset(gfn, done)?;
            let size = page_order(at, order.frames() - done);
            if let Err(error) = confines.restore(at, size) {
                // Dom0's frames stay its own: nothing to be counted.
                let _removed = self.undo(confines, gfn, done);
                return Err(error.into());
            }
            done += size.frames();
        }
        Ok(())
    }

    /// Takes out what is still there of `frames` frames; returns how many that were.
    fn undo(&self, confines: &Confines, gfn: Gfn, frames: u64) -> u64 {
        let mut shootdown = Shootdown::new(confines);
        let (mut done, mut removed) = (0_u64, 0_u64);
        while done < frames {
            let Ok(at) = offset(gfn, done) else { break };
            let (some, result) = take_out(confines, at, frames - done, &mut shootdown);
            removed = removed.saturating_add(some);
            // Another vcpu was first with that one.
            done = done.saturating_add(some).saturating_add(u64::from(result.is_err()));
        }
        shootdown.complete();
        removed
    }

    /// Takes 2^`order` frames of RAM at `gfn` out; they are freed by `shootdown`.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; frames before the one that it is about are out already.
    pub fn decrease<'a>(
        &self,
        confines: &'a Confines,
        gfn: Gfn,
        order: Order,
        shootdown: &mut Shootdown<'a>,
    ) -> Result<(), AccessError> {
        let (removed, result) = take_out(confines, gfn, order.frames(), shootdown);
        if !confines.is_identity() {
            self.unreserve(removed);
        }
        result
    }

    /// Counts what a mapping took the place of.
    pub fn note(&self, confines: &Confines, vacated: Vacated) {
        if vacated == Vacated::Ram && !confines.is_identity() {
            self.unreserve(1);
        }
    }

    /// Counts frames no more that [`take_out`] took and that nothing came in place of.
    pub fn lose(&self, frames: u64) {
        self.unreserve(frames);
    }

    /// Takes back a slice of the memory of a domain whose vcpus run no more.
    pub fn relinquish(&self, confines: &Confines) -> Progress {
        // Gives up the claim; cannot fail.
        let _given_up = self.claim(0);
        let slice = confines.relinquish(SLICE);
        self.unreserve(slice.ram.min(self.total()));
        slice.progress
    }
}

impl Drop for DomainMemory {
    fn drop(&mut self) {
        CLAIMED.fetch_sub(self.claimed(), Ordering::Relaxed);
    }
}

/// Takes RAM out without counting it; returns how many frames that were.
pub fn take_out<'a>(
    confines: &'a Confines,
    gfn: Gfn,
    frames: u64,
    shootdown: &mut Shootdown<'a>,
) -> (u64, Result<(), AccessError>) {
    let mut done = 0;
    while done < frames {
        let most = (frames - done).checked_ilog2().and_then(Order::new).unwrap_or(Order::MAX);
        let at = offset(gfn, done);
        match at.and_then(|at| confines.remove_ram(at, most, shootdown)) {
            Ok(order) => done += order.frames(),
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

fn offset(gfn: Gfn, frames: u64) -> Result<Gfn, AccessError> {
    gfn.checked_add(frames).ok_or(AccessError::NotMapped)
}

/// The largest page that can begin at `gfn`, of at most `frames` frames.
fn page_order(gfn: Gfn, frames: u64) -> Order {
    let fits = |order: &Order| gfn.get() & (order.frames() - 1) == 0 && order.frames() <= frames;
    [Order::ONE_GIB, Order::TWO_MIB].into_iter().find(fits).unwrap_or(Order::FRAME)
}

fn smaller(order: Order) -> Order {
    if order > Order::TWO_MIB { Order::TWO_MIB } else { Order::FRAME }
}
