//! Memory of a guest in which the hypervisor keeps something up to date for one vcpu:
//! `struct vcpu_info`, copies of its runstate and of the PV clock's record.
//!
//! The pages are pinned when the guest names them, so that writing needs neither the
//! guest's page tables nor a lock that others hold for long.

use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use alloc::sync::Arc;
use arrayvec::ArrayVec;
use hv_arch::confines::page::{PinnedPage, Words};
use hv_arch::sync::{Lock, Rank};
use hv_core::addr::{Gfn, PAGE_LEN};
use spin::Once;
use xen_abi::arch_x86::LEGACY_MAX_VCPUS;
use xen_abi::errno::Errno;
use xen_abi::xen::{SharedInfo, VcpuInfo, VcpuTimeInfo};

use crate::clock;
use crate::domain_memory;
use crate::interrupts;
use crate::vcpu::Vcpu;

/// Part of an area: a page, where in it, how many bytes.
#[derive(Debug)]
pub struct Piece {
    /// The page.
    pub page: PinnedPage,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// An area that may cross the end of a page.
pub type Area = ArrayVec<Piece, 2>;

/// What one vcpu shares.
#[derive(Debug)]
pub struct Shared {
    /// Where its `struct vcpu_info` is, if not in the shared info page.
    info: Once<(PinnedPage, usize)>,
    runstate: Lock<Area>,
    /// Whether there is such an area: it is looked at without the lock at each switch.
    keeps_runstate: AtomicBool,
    time: Lock<Area>,
}

impl Shared {
    /// Nothing but what the shared info page has.
    pub const fn new() -> Self {
        Self {
            info: Once::new(),
            runstate: Lock::new(Rank::Shared, Area::new_const()),
            keeps_runstate: AtomicBool::new(false),
            time: Lock::new(Rank::Shared, Area::new_const()),
        }
    }

    /// Moves the `struct vcpu_info` of `vcpu` to byte `offset` of the page at `gfn`, once.
    ///
    /// # Errors
    ///
    /// `EINVAL` the second time, and if it is not aligned or would cross the page's end;
    /// those of pinning the page.
    pub fn move_info(&self, vcpu: &Arc<Vcpu>, gfn: Gfn, offset: u32) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let fits =
            offset <= PAGE_LEN - size_of::<VcpuInfo>() && offset.is_multiple_of(align_of::<VcpuInfo>());
        if !fits || self.info.is_completed() {
            return Err(Errno::EINVAL);
        }
        let page = PinnedPage::new(vcpu.domain().confines(), gfn).map_err(domain_memory::errno)?;
        if let Some((old, at)) = info(vcpu) {
            let mut bytes = [0; size_of::<VcpuInfo>()];
            if old.read(at, &mut bytes) {
                // It fits: checked above.
                let _written = page.write(offset, &bytes);
            }
        }
        clock::write_record(&page, offset + offset_of!(VcpuInfo, time), vcpu.tsc_offset());
        self.info.call_once(|| (page, offset));
        mark_all_pending(vcpu);
        Ok(())
    }

    /// Keeps a copy of the runstate of `vcpu` in `area` from now on.
    pub fn keep_runstate(&self, vcpu: &Vcpu, area: Area) {
        *self.runstate.lock() = area;
        self.keeps_runstate.store(true, Ordering::SeqCst);
        self.write_runstate(vcpu);
    }

    /// Keeps a copy of the record of the PV clock of `vcpu` in `area` from now on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it crosses the end of a page: its version could not be relied on.
    pub fn keep_time(&self, vcpu: &Vcpu, area: Area) -> Result<(), Errno> {
        if area.len() > 1 {
            return Err(Errno::EINVAL);
        }
        *self.time.lock() = area;
        self.write_time(vcpu);
        Ok(())
    }

    /// Writes the runstate of `vcpu` to the guest's copy. It is looked up while no other pcpu
    /// writes, so that of the pcpus which the vcpu leaves and enters the later writer writes
    /// the later state.
    #[inline]
    pub fn write_runstate(&self, vcpu: &Vcpu) {
        if self.keeps_runstate.load(Ordering::SeqCst) {
            self.write_runstate_now(vcpu);
        }
    }

    fn write_runstate_now(&self, vcpu: &Vcpu) {
        let area = self.runstate.lock();
        if area.is_empty() {
            return;
        }
        let account = *vcpu.schedule().lock().account();
        let flagged = vcpu.domain().flags_runstate();
        // Pinned pages take every write.
        let _written: Result<(), ()> = account.write_area(flagged, |at, bytes| {
            write(&area, at, bytes);
            Ok(())
        });
    }

    /// Writes the PV clock's record wherever the guest has one.
    pub fn write_time(&self, vcpu: &Vcpu) {
        if let Some((words, at)) = info(vcpu) {
            clock::write_record(words, at + offset_of!(VcpuInfo, time), vcpu.tsc_offset());
        }
        if let [piece] = self.time.lock().as_slice()
            && piece.len == size_of::<VcpuTimeInfo>()
        {
            clock::write_record(&piece.page, piece.offset, vcpu.tsc_offset());
        }
    }
}

/// Has `vcpu` look at all its event channels: none is lost by the move.
fn mark_all_pending(vcpu: &Arc<Vcpu>) {
    let Some((words, at)) = info(vcpu) else { return };
    if let Some(selector) = words.u64(at + offset_of!(VcpuInfo, evtchn_pending_sel)) {
        selector.store(u64::MAX, Ordering::SeqCst);
    }
    if let Some(pending) = words.u8(at + offset_of!(VcpuInfo, evtchn_upcall_pending)) {
        pending.store(1, Ordering::SeqCst);
    }
    // It may be another vcpu than the one that asks, and asleep. The next event raises no
    // vector: one is pending from here on.
    interrupts::upcall_raised(vcpu);
}

/// Writes `bytes` from byte `at` of an area on.
fn write(area: &Area, at: usize, bytes: &[u8]) {
    let (mut at, mut bytes) = (at, bytes);
    for piece in area {
        let here = piece.len.saturating_sub(at).min(bytes.len());
        let (now, later) = bytes.split_at(here);
        // Inside the page: the piece is.
        let _written = piece.page.write(piece.offset + at, now);
        at = at.saturating_sub(piece.len);
        bytes = later;
    }
}

/// Where the `struct vcpu_info` of `vcpu` is. Vcpus beyond those that the shared info
/// page has room for have none until they register one.
#[inline]
pub fn info(vcpu: &Vcpu) -> Option<(&Words, usize)> {
    if let Some((page, offset)) = vcpu.shared().info.get() {
        return Some((page, *offset));
    }
    let index = usize::try_from(vcpu.id()).ok().filter(|&index| index < LEGACY_MAX_VCPUS)?;
    let offset = offset_of!(SharedInfo, vcpu_info) + index * size_of::<VcpuInfo>();
    Some((vcpu.domain().memory().shared_info(), offset))
}

/// `evtchn_upcall_pending` of `vcpu`.
#[inline]
pub fn upcall_pending(vcpu: &Vcpu) -> Option<&AtomicU8> {
    let (words, at) = info(vcpu)?;
    words.u8(at + offset_of!(VcpuInfo, evtchn_upcall_pending))
}
