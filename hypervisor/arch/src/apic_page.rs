//! The virtual-APIC page of a vcpu: registers of its local APIC, which the CPU's
//! APIC virtualization works on while the vcpu runs, and [`hv_core::vlapic`] when
//! it does not.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::sync::Arc;
use hv_core::frame::{Order, OutOfFrames, Reach, Use};
use hv_core::vlapic::{ApicPage, PAGE_WORDS, Reg};

use crate::frames::OwnFrames;
use crate::memory;

/// The page. Clones are the same page: one for the VMCS, one for the model.
#[derive(Clone, Debug)]
pub struct VirtualApicPage(Arc<OwnFrames>);

impl VirtualApicPage {
    /// A page of zeros.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new() -> Result<Self, OutOfFrames> {
        Ok(Self(Arc::new(OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx)?)))
    }

    /// Its physical address.
    pub(crate) fn address(&self) -> u64 {
        self.0.mfn().start().get()
    }

    fn word(&self, reg: Reg) -> &AtomicU32 {
        let words = memory::phys_to_virt(self.address()).cast::<AtomicU32>();
        // SAFETY: below PAGE_WORDS, so inside the frame.
        let word = unsafe { words.add(reg.word() % PAGE_WORDS) };
        // SAFETY: the frame lives as long as `self`; CPU and Rust code both access it
        // atomically only.
        unsafe { &*word }
    }
}

impl ApicPage for VirtualApicPage {
    #[inline]
    fn load(&self, reg: Reg) -> u32 {
        self.word(reg).load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&mut self, reg: Reg, value: u32) {
        self.word(reg).store(value, Ordering::Relaxed);
    }
}
