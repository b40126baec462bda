//! A vcpu that runs nowhere, open to be read and changed from a pcpu which may have
//! another vcpu loaded: for the toolstack, and for a vcpu that starts another one.
//!
//! Its VMCS is current for a moment; what the CPU holds of the loaded vcpu beside
//! that (MSRs, extended state, CR2) is not touched.

use core::arch::asm;

use hv_core::gpr::Gprs;
use hv_core::msr::Msr;
use hv_core::vlapic::Mode;
use hv_core::vmcs::{self, Field, Group, Guest, Width};

use super::{
    GUEST_MSRS, Masked, Vcpu, read_field, write_efer_field, write_guest_field, write_masks, write_tsc_offset,
};

/// No VMCS is current (SDM "VMPTRST—Store Pointer to Virtual-Machine Control Structure").
const NONE: u64 = u64::MAX;

/// A vcpu whose VMCS is current, though it is not loaded.
#[derive(Debug)]
pub struct Parked<'a> {
    pub(super) vcpu: &'a mut Vcpu,
    /// Address of the VMCS that was current before.
    outer: u64,
}

impl Vcpu {
    /// Lets `act` read and change the vcpu. Meanwhile the vcpu that is loaded on this
    /// pcpu cannot be asked for anything that its VMCS holds: guest memory is copied
    /// before or after.
    pub fn inspect<R>(&mut self, act: impl FnOnce(&mut Parked<'_>) -> R) -> R {
        let mut parked = Parked { outer: current(), vcpu: self };
        // SAFETY: a VMCS region of a vcpu that is not loaded, so it is active nowhere.
        unsafe { make_current(parked.vcpu.region.mfn().start().get()) };
        act(&mut parked)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.vcpu.clear();
        if self.outer != NONE {
            // SAFETY: it was current on this pcpu before, and nothing has cleared it.
            unsafe { make_current(self.outer) };
        }
    }
}

/// Address of the current VMCS.
fn current() -> u64 {
    let mut address = NONE;
    // SAFETY: in VMX root operation, where every vcpu is made and used; writes the
    // variable only.
    unsafe { asm!("vmptrst qword ptr [{}]", in(reg) &raw mut address, options(nostack)) };
    address
}

/// # Safety
///
/// `address` is that of a VMCS region that is active on no other pcpu.
unsafe fn make_current(address: u64) {
    let failed: u8;
    // SAFETY: by the caller.
    unsafe {
        asm!("vmptrld qword ptr [{address}]", "setna {failed}",
             address = in(reg) &raw const address, failed = out(reg_byte) failed, options(nostack));
    }
    assert!(failed == 0, "VMPTRLD of {address:#x} failed");
}

impl Parked<'_> {
    /// Reads a field of the VMCS.
    #[must_use]
    pub fn read<W: Width, G: Group>(&self, field: Field<W, G>) -> W::Value {
        read_field(field)
    }

    /// Writes a field of the guest's state.
    ///
    /// # Panics
    ///
    /// For the VMCS link pointer, which names memory of the host.
    pub fn write<W: Width>(&mut self, field: Field<W, Guest>, value: W::Value) {
        write_guest_field(field, value);
    }

    /// Sets which bits of CR0 and CR4 are the hypervisor's, and what the guest reads
    /// there.
    pub fn write_control_masks(&mut self, cr0: Masked, cr4: Masked) {
        write_masks(cr0, cr4);
    }

    /// The guest's CR0 and CR4, with the hypervisor's bits as the guest reads them.
    #[must_use]
    pub fn control_registers(&self) -> (u64, u64) {
        let shown = |value: u64, mask: u64, shadow: u64| value & !mask | shadow & mask;
        let cr0 = shown(
            self.read(vmcs::GUEST_CR0),
            self.read(vmcs::CR0_GUEST_HOST_MASK),
            self.read(vmcs::CR0_READ_SHADOW),
        );
        let cr4 = shown(
            self.read(vmcs::GUEST_CR4),
            self.read(vmcs::CR4_GUEST_HOST_MASK),
            self.read(vmcs::CR4_READ_SHADOW),
        );
        (cr0, cr4)
    }

    /// Writes the guest's EFER, and with LMA the mode in which it is entered.
    pub fn write_efer(&mut self, value: u64) {
        write_efer_field(value);
    }

    /// The local APIC is in `mode` from now on.
    pub fn set_apic_mode(&mut self, mode: Mode) {
        // SAFETY: the VMCS is current, and was completed when the vcpu was made.
        unsafe { self.vcpu.write_apic_mode(mode) };
        self.flush_translations();
    }

    /// Forgets the guest's cached translations, wherever they are: when it is loaded next.
    pub fn flush_translations(&mut self) {
        self.vcpu.last_pcpu = None;
    }

    /// Sets what the guest's time stamp counter is ahead of the pcpus', modulo 2^64.
    pub fn set_tsc_offset(&mut self, offset: u64) {
        write_tsc_offset(offset);
    }

    /// The guest's general registers but RSP, which the VMCS holds.
    #[must_use]
    pub fn registers(&self) -> &Gprs {
        &self.vcpu.registers
    }

    /// The same, to be changed.
    #[must_use]
    pub fn registers_mut(&mut self) -> &mut Gprs {
        &mut self.vcpu.registers
    }

    /// The guest's value of an MSR that is switched with the vcpu and in no field of
    /// the VMCS; `None` for others.
    #[must_use]
    pub fn msr(&self, register: Msr) -> Option<u64> {
        let index = GUEST_MSRS.iter().position(|&msr| msr == register)?;
        self.vcpu.msrs.get(index).copied()
    }

    /// Sets such an MSR; `false` if it is none, or if WRMSR would fault on the value
    /// (SDM "WRMSR": those that hold addresses take canonical ones only).
    #[must_use]
    pub fn set_msr(&mut self, register: Msr, value: u64) -> bool {
        let is_address = matches!(register, Msr::IA32_LSTAR | Msr::IA32_CSTAR | Msr::IA32_KERNEL_GS_BASE);
        let is_mask = register == Msr::IA32_FMASK;
        if is_address && !is_canonical(value) || is_mask && value >> 32 != 0 {
            return false;
        }
        let index = GUEST_MSRS.iter().position(|&msr| msr == register);
        let place = index.and_then(|index| self.vcpu.msrs.get_mut(index));
        place.map(|place| *place = value).is_some()
    }

    /// The guest's CR2.
    #[must_use]
    pub fn cr2(&self) -> u64 {
        self.vcpu.cr2
    }

    /// Sets the guest's CR2.
    pub fn set_cr2(&mut self, value: u64) {
        self.vcpu.cr2 = value;
    }

    /// The guest's DR0 to DR3, and DR6.
    #[must_use]
    pub fn debug_registers(&self) -> [u64; 5] {
        self.vcpu.debug
    }

    /// Sets the guest's DR0 to DR3, and DR6, of which only the low half exists.
    pub fn set_debug_registers(&mut self, mut values: [u64; 5]) {
        values[4] &= 0xffff_ffff;
        self.vcpu.debug = values;
    }

    /// The guest's XCR0.
    #[must_use]
    pub fn xcr0(&self) -> u64 {
        self.vcpu.extended.xcr0()
    }

    /// The guest's extended state: an area in the standard form of XSAVE, or the image
    /// of FXSAVE where the CPU has no XSAVE.
    #[must_use]
    pub fn extended_state(&self) -> &[u8] {
        self.vcpu.extended.bytes()
    }

    /// Sets XCR0 and the extended state, an area in the standard form of XSAVE or the
    /// start of one; `false`, and nothing changes, if XSETBV or XRSTOR would fault.
    #[must_use]
    pub fn set_extended_state(&mut self, xcr0: u64, area: &[u8]) -> bool {
        self.vcpu.extended.replace(xcr0, area)
    }
}

const fn is_canonical(address: u64) -> bool {
    let high = address.cast_signed() >> 47;
    high == 0 || high == -1
}
