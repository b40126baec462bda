//! The CPU: what it can do, its control registers, its clock.

use core::arch::asm;

use raw_cpuid::{CpuId, CpuIdReaderNative};
use x86_64::instructions::hlt;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

pub use x86_64::instructions::interrupts::{are_enabled as interrupts_enabled, enable_and_hlt};

/// Features on which the hypervisor's own set-up depends (CPUID).
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "CPUID has a bit for each")]
pub struct Features {
    /// VMX instructions.
    pub vmx: bool,
    /// x2APIC mode.
    pub x2apic: bool,
    /// Machine-check exception.
    pub mce: bool,
    /// 1-GiB pages.
    pub page_1g: bool,
    /// No-execute pages.
    pub nx: bool,
    /// Supervisor-mode execution prevention.
    pub smep: bool,
    /// Supervisor-mode access prevention.
    pub smap: bool,
    /// User-mode instruction prevention.
    pub umip: bool,
    /// The time stamp counter runs at one rate in every power state.
    pub invariant_tsc: bool,
    /// MONITOR/MWAIT.
    pub mwait: bool,
    /// Width of physical addresses, bits.
    pub phys_bits: u8,
}

/// Reads the features of this CPU.
#[must_use]
pub fn features() -> Features {
    let id = CpuId::new();
    let basic = id.get_feature_info();
    let has = |f: fn(&raw_cpuid::FeatureInfo) -> bool| basic.as_ref().is_some_and(f);
    let structured = id.get_extended_feature_info();
    let extended = id.get_extended_processor_and_feature_identifiers();
    Features {
        vmx: has(raw_cpuid::FeatureInfo::has_vmx),
        mce: has(raw_cpuid::FeatureInfo::has_mce),
        x2apic: has(raw_cpuid::FeatureInfo::has_x2apic),
        mwait: has(raw_cpuid::FeatureInfo::has_monitor_mwait),
        page_1g: extended
            .as_ref()
            .is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_1gib_pages),
        nx: extended
            .as_ref()
            .is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_execute_disable),
        smep: structured.as_ref().is_some_and(raw_cpuid::ExtendedFeatures::has_smep),
        smap: structured.as_ref().is_some_and(raw_cpuid::ExtendedFeatures::has_smap),
        umip: structured.as_ref().is_some_and(raw_cpuid::ExtendedFeatures::has_umip),
        invariant_tsc: id.get_advanced_power_mgmt_info().is_some_and(|i| i.has_invariant_tsc()),
        phys_bits: id.get_processor_capacity_feature_info().map_or(36, |i| i.physical_address_bits()),
    }
}

/// CPUID of this CPU, for whoever needs more than [`Features`].
#[must_use]
pub fn cpuid() -> CpuId<CpuIdReaderNative> {
    CpuId::new()
}

/// Turns on every protection of supervisor code that the CPU has: write
/// protection, no-execute, SMEP, SMAP, UMIP. And machine checks: without CR4.MCE
/// they shut the CPU down unreported.
pub(crate) fn protect(features: &Features) {
    let mut cr4 = Cr4::read() | Cr4Flags::PAGE_GLOBAL;
    cr4.set(Cr4Flags::MACHINE_CHECK_EXCEPTION, features.mce);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
    // SAFETY: no page is a user page, so none of these forbids what we do; the
    // IDT has a gate for machine checks.
    unsafe { Cr4::write(cr4) };
    // SAFETY: setting NXE only gives page-table bit 63 its meaning; tables with
    // that bit are built only where the CPU has it (`memory::init`).
    unsafe { Efer::update(|efer| efer.set(EferFlags::NO_EXECUTE_ENABLE, features.nx)) };
    // SAFETY: WP makes our own read-only pages read-only for us; CD and NW off is
    // the normal caching mode.
    unsafe {
        Cr0::update(|cr0| {
            cr0.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::NUMERIC_ERROR | Cr0Flags::MONITOR_COPROCESSOR);
            cr0.remove(Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH);
        });
    };
}

/// Whether every protection that [`protect`] can turn on is on.
#[must_use]
pub fn is_protected(features: &Features) -> bool {
    let cr4 = Cr4::read();
    let has = |flag, exists: bool| cr4.contains(flag) == exists;
    Cr0::read().contains(Cr0Flags::WRITE_PROTECT)
        && Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE) == features.nx
        && has(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep)
        && has(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap)
        && has(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip)
}

/// Tells the CPU that this is a waiting loop.
#[inline]
pub fn relax() {
    core::hint::spin_loop();
}

/// Time stamp counter, not ordered against other instructions.
#[inline]
#[must_use]
pub fn rdtsc() -> u64 {
    // SAFETY: CR4.TSD concerns other rings; the instruction has no effects.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Address of the last page fault.
#[must_use]
pub fn page_fault_address() -> u64 {
    x86_64::registers::control::Cr2::read_raw()
}

/// Control registers 0, 3 and 4, for reports.
#[must_use]
pub fn control_registers() -> [u64; 3] {
    let (frame, flags) = x86_64::registers::control::Cr3::read_raw();
    [Cr0::read_raw(), frame.start_address().as_u64() | u64::from(flags), Cr4::read_raw()]
}

/// The current frame pointer, where a back trace starts.
#[inline(always)]
#[must_use]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

/// Raises #BP.
pub fn breakpoint() -> &'static str {
    x86_64::instructions::interrupts::int3();
    "the breakpoint was passed over"
}

/// Stops this CPU for good: no interrupt wakes it.
pub fn halt_forever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        hlt();
    }
}
