//! VMX operation on this pcpu (SDM "Introduction to Virtual Machine Extensions").

use core::arch::asm;
use core::fmt;

use hv_core::addr::HostPhysAddr;
use hv_core::ept::Eptp;
use hv_core::frame::{Order, OutOfFrames, Reach, Use};
use hv_core::msr::Msr;
use hv_core::vmx_caps::{Difference, FeatureControl, Missing, VmxConfig, VmxMsrs, feature_control};
use x86_64::registers::control::{Cr0, Cr4, Cr4Flags};

use crate::cpu::Features;
use crate::frames::OwnFrames;
use crate::{msr, percpu};

/// Why this pcpu is not in VMX operation.
#[derive(Clone, Debug)]
pub enum VmxError {
    /// CPUID does not name VMX.
    NotSupported,
    /// The firmware locked `IA32_FEATURE_CONTROL` with VMX off.
    LockedOff,
    /// Features that the hypervisor needs are missing.
    Missing(Missing),
    /// This pcpu is not like the boot CPU.
    Differs(Difference),
    /// CR0 or CR4 has a bit that VMX operation forbids, or lacks one it demands.
    ControlRegisters,
    /// No frame for the VMXON region.
    OutOfMemory,
    /// VMXON itself refused.
    Refused,
}

impl fmt::Display for VmxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSupported => f.write_str(
                "VMX: this CPU does not have it (CPUID.1:ECX.VMX); Kigumi needs Intel VT-x with EPT",
            ),
            Self::LockedOff => f.write_str(
                "VMX: switched off and locked by the firmware; enable VT-x (virtualization) in its set-up",
            ),
            Self::Missing(missing) => missing.fmt(f),
            Self::Differs(difference) => difference.fmt(f),
            Self::ControlRegisters => f.write_str("VMX: CR0 or CR4 does not allow VMX operation"),
            Self::OutOfMemory => f.write_str("VMX: out of memory for the VMXON region"),
            Self::Refused => f.write_str("VMX: VMXON failed"),
        }
    }
}

impl From<OutOfFrames> for VmxError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfMemory
    }
}

/// What VMX on this pcpu can do, resolved against what the hypervisor needs.
///
/// # Errors
///
/// [`VmxError::NotSupported`], [`VmxError::LockedOff`] or [`VmxError::Missing`].
pub fn capabilities(features: &Features) -> Result<VmxConfig, VmxError> {
    if !features.vmx {
        return Err(VmxError::NotSupported);
    }
    if feature_control(feature_control_value()) == FeatureControl::LockedOff {
        return Err(VmxError::LockedOff);
    }
    // SAFETY: `VmxMsrs::read` asks only for MSRs that a CPU with VMX has, by what
    // earlier ones say (SDM "VMX Capability Reporting Facility").
    let msrs = VmxMsrs::read(|register| unsafe { msr::read(register) });
    VmxConfig::resolve(&msrs).map_err(VmxError::Missing)
}

/// Enters VMX root operation on this pcpu, which must be able to do what `boot`,
/// the boot CPU's configuration, says.
///
/// # Errors
///
/// See [`VmxError`]; the pcpu is then outside VMX operation.
pub fn enter_root(features: &Features, boot: &VmxConfig) -> Result<(), VmxError> {
    let config = capabilities(features)?;
    boot.check_same(&config).map_err(VmxError::Differs)?;
    if let FeatureControl::Unlocked { write } = feature_control(feature_control_value()) {
        // SAFETY: a CPU with VMX has the MSR; setting the lock is what firmware
        // should have done.
        unsafe { msr::write(Msr::IA32_FEATURE_CONTROL, write) };
    }
    let cr4 = Cr4::read() | Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS;
    if !config.host_cr0().allow(Cr0::read_raw()) || !config.cr4().allow(cr4.bits()) {
        return Err(VmxError::ControlRegisters);
    }
    let mut region = OwnFrames::allocate(Order::FRAME, Reach::Anywhere, Use::Vmx)?;
    // SDM "VMXON Region": the revision identifier is in the first four bytes.
    region.bytes_mut()[..4].copy_from_slice(&config.revision_id().to_le_bytes());
    // SAFETY: CPUID names VMX, so the bit exists; it only permits VMXON.
    unsafe { Cr4::write(cr4) };
    // SAFETY: the region stays with the CPU, as it is leaked once it is in use.
    unsafe { vmxon(region.mfn().start()) }?;
    region.leak();
    percpu::this().in_vmx_root().set(true);
    Ok(())
}

/// Leaves VMX operation, if this pcpu is in it: INIT is blocked there (SDM
/// "Restrictions on VMX Operation"), so a reset by INIT would not happen.
pub(crate) fn leave_root() {
    if percpu::this().in_vmx_root().replace(false) {
        // SAFETY: in VMX root operation, with no guest to return to: callers are
        // about to stop or to reset the machine.
        unsafe { asm!("vmxoff", options(nomem, nostack)) };
    }
}

/// Forgets what this pcpu remembers of the EPT that `eptp` names, alone or combined
/// with guests' page tables (INVEPT, single context).
pub(crate) fn forget_translations(eptp: Eptp) {
    const SINGLE_CONTEXT: u64 = 1;
    invept(SINGLE_CONTEXT, eptp.get());
}

/// Forgets what this pcpu remembers of any EPT (INVEPT, all contexts).
pub(crate) fn forget_guest_translations() {
    const ALL_CONTEXTS: u64 = 2;
    if percpu::this().in_vmx_root().get() {
        invept(ALL_CONTEXTS, 0);
    }
}

fn invept(kind: u64, eptp: u64) {
    let descriptor = [eptp, 0];
    let failed: u8;
    // SAFETY: forgetting translations is always allowed; both types are among those
    // that `VmxConfig` requires.
    unsafe {
        asm!("invept {kind}, [{descriptor}]", "setna {failed}", kind = in(reg) kind,
             descriptor = in(reg) &raw const descriptor, failed = out(reg_byte) failed, options(nostack));
    }
    assert!(failed == 0, "INVEPT of {eptp:#x} failed");
}

fn feature_control_value() -> u64 {
    // SAFETY: exists on every CPU with VMX; callers have checked that.
    unsafe { msr::read(Msr::IA32_FEATURE_CONTROL) }
}

/// # Safety
///
/// `region` is a VMXON region for this pcpu alone, for ever, and CR4.VMXE is set.
unsafe fn vmxon(region: HostPhysAddr) -> Result<(), VmxError> {
    let operand = region.get();
    let failed: u8;
    // SAFETY: by the caller. The flags say whether it worked (SDM "Conventions"
    // of the VMX instruction reference): VMfailInvalid sets CF.
    unsafe {
        asm!(
            "vmxon qword ptr [{operand}]",
            "setna {failed}",
            operand = in(reg) &raw const operand,
            failed = out(reg_byte) failed,
            options(nostack),
        );
    }
    if failed == 0 { Ok(()) } else { Err(VmxError::Refused) }
}
