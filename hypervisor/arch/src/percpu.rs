//! Data of one pcpu, reached through the GS base.
//!
//! Every pcpu runs on its own stack to completion and is never moved, so a
//! shared reference to its own area is all that code needs: [`this`] hands it
//! out, interior mutability does the rest. The area is neither `Send` nor
//! `Sync`, so the reference stays on its pcpu.
//!
//! Invariant: the GS base points to the pcpu's [`Pcpu`] from `install`, which
//! runs before any other code of this crate on that pcpu, for ever.

use core::arch::asm;
use core::cell::Cell;

use alloc::boxed::Box;
use alloc::vec::Vec;
use hv_core::id::PcpuId;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::GsBase;

use crate::apic::ApicId;
use crate::confines::cache::Cache;
use crate::confines::walks::Walks;
use crate::descriptors::Descriptors;

/// What belongs to one pcpu.
#[derive(Debug)]
#[repr(C)]
pub struct Pcpu {
    /// Its own address: `mov reg, gs:[0]` is how [`this`] finds it.
    this: Cell<*const Pcpu>,
    id: Cell<PcpuId>,
    apic_id: Cell<ApicId>,
    /// Bits of [`crate::sync::Rank`].
    held_locks: Cell<u32>,
    in_vmx_root: Cell<bool>,
    /// The EPT of the vcpu that is loaded, 0 if none is.
    ept: Cell<u64>,
    /// Of that EPT.
    pub(crate) p2m: Cache,
    /// Of the page tables of its guest.
    pub(crate) walks: Walks,
    pub(crate) descriptors: Descriptors,
}

impl Pcpu {
    pub(crate) const fn new(id: PcpuId, apic_id: ApicId) -> Self {
        Self {
            this: Cell::new(core::ptr::null()),
            id: Cell::new(id),
            apic_id: Cell::new(apic_id),
            held_locks: Cell::new(0),
            in_vmx_root: Cell::new(false),
            ept: Cell::new(0),
            p2m: Cache::new(),
            walks: Walks::new(),
            descriptors: Descriptors::new(),
        }
    }

    /// Which pcpu this is.
    #[must_use]
    pub fn id(&self) -> PcpuId {
        self.id.get()
    }

    /// Its local APIC's id.
    #[must_use]
    pub fn apic_id(&self) -> ApicId {
        self.apic_id.get()
    }

    pub(crate) fn set_apic_id(&self, apic_id: ApicId) {
        self.apic_id.set(apic_id);
    }

    /// Whether VMXON was executed and VMXOFF was not.
    pub(crate) fn in_vmx_root(&self) -> &Cell<bool> {
        &self.in_vmx_root
    }

    /// [`hv_core::ept::Eptp`] of the vcpu that is loaded, 0 if none is.
    #[inline]
    pub(crate) fn ept(&self) -> &Cell<u64> {
        &self.ept
    }

    #[cfg(debug_assertions)]
    pub(crate) fn held_locks(&self) -> &Cell<u32> {
        &self.held_locks
    }
}

/// The area of the pcpu that executes this.
#[must_use]
#[inline]
pub fn this() -> &'static Pcpu {
    let area: *const Pcpu;
    // SAFETY: reads the first field of the area by the module's invariant.
    unsafe { asm!("mov {}, gs:[0]", out(reg) area, options(nostack, readonly, pure, preserves_flags)) };
    // SAFETY: the field holds the area's own address, valid for ever.
    unsafe { &*area }
}

/// Makes `area` the area of this pcpu.
///
/// # Safety
///
/// Called once on each pcpu, before any other code of this crate there, and with
/// an area that no other pcpu has.
pub(crate) unsafe fn install(area: &'static Pcpu) {
    area.this.set(area);
    GsBase::write(VirtAddr::from_ptr(area));
}

/// One `T` for each pcpu; a pcpu reaches its own only.
#[derive(Debug)]
pub struct PerCpu<T>(Box<[T]>);

// SAFETY: `get` gives a pcpu access to its own element only, and a pcpu is one
// thread of execution; the elements were moved there when the set was made.
unsafe impl<T: Send> Sync for PerCpu<T> {}

impl<T> PerCpu<T> {
    /// Makes one element for each of `count` pcpus.
    pub fn new(count: usize, make: impl FnMut(PcpuId) -> T) -> Self {
        Self((0..count).filter_map(PcpuId::new).map(make).collect::<Vec<_>>().into_boxed_slice())
    }

    /// The element of the pcpu that executes this.
    ///
    /// # Panics
    ///
    /// If the set was made for fewer pcpus than there are.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0[this().id().index()]
    }
}
