//! The CPU: what it can do, its control registers, its clock.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use raw_cpuid::{CpuId, CpuIdReaderNative};
use x86_64::instructions::hlt;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

use crate::extended::AREA_LEN;

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
    /// Local APIC timer that compares with the time stamp counter.
    pub tsc_deadline: bool,
    /// Width of physical addresses, bits.
    pub phys_bits: u8,
    /// State components that guests may enable in XCR0; 0 without XSAVE.
    pub xcr0: u64,
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
        tsc_deadline: has(raw_cpuid::FeatureInfo::has_tsc_deadline),
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
        xcr0: if has(raw_cpuid::FeatureInfo::has_xsave) { guest_xcr0(&id) } else { 0 },
        phys_bits: id.get_processor_capacity_feature_info().map_or(36, |i| i.physical_address_bits()),
    }
}

/// x87, SSE, AVX and AVX-512 as far as the CPU has them and their state fits
/// into one frame (SDM "CPUID", leaf 0DH).
fn guest_xcr0(id: &CpuId<CpuIdReaderNative>) -> u64 {
    const KNOWN: u64 = 0xe7;
    let Some(state) = id.get_extended_state_info() else { return 0 };
    let supported = core::arch::x86_64::__cpuid_count(0xd, 0);
    let mask = (u64::from(supported.eax) | u64::from(supported.edx) << 32) & KNOWN;
    let fits = |component: &raw_cpuid::ExtendedState| {
        component.offset() as usize + component.size() as usize <= AREA_LEN
    };
    state.iter().filter(|c| !fits(c)).fold(mask, |mask, c| mask & !(1 << c.subleaf))
}

/// Width of physical addresses, bits (MAXPHYADDR).
#[must_use]
pub fn phys_bits() -> u8 {
    PHYS_BITS.load(Ordering::Relaxed)
}

/// Keeps what is asked for often and is the same on every pcpu.
pub(crate) fn remember(features: &Features) {
    XCR0_MASK.store(features.xcr0, Ordering::Relaxed);
    PHYS_BITS.store(features.phys_bits, Ordering::Relaxed);
}

static PHYS_BITS: AtomicU8 = AtomicU8::new(36);

/// [`Features::xcr0`] of the boot CPU, with which every pcpu has to agree.
#[must_use]
pub(crate) fn xcr0_mask() -> u64 {
    XCR0_MASK.load(Ordering::Relaxed)
}

static XCR0_MASK: AtomicU64 = AtomicU64::new(0);

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
    // For the guests' sake: the switch of extended state needs them.
    cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
    cr4.set(Cr4Flags::OSXSAVE, features.xcr0 != 0);
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
            cr0.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
        });
    };
}

/// Whether every protection that the CPU has is on.
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
