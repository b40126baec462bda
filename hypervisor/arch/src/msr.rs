//! Model-specific registers.

use core::arch::asm;

use hv_core::msr::Msr;

/// Reads an MSR.
///
/// # Safety
///
/// The MSR exists on this CPU: reading any other raises #GP. Reads have no side
/// effects on the registers that `hv_core::msr` names.
#[inline]
#[must_use]
pub(crate) unsafe fn read(msr: Msr) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register.
    unsafe {
        asm!("rdmsr", in("ecx") msr.get(), out("eax") low, out("edx") high,
             options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes an MSR.
///
/// # Safety
///
/// The MSR exists, takes `value`, and what it then does keeps memory safe.
#[inline]
pub(crate) unsafe fn write(msr: Msr, value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller vouches for register and value. Not `nomem`: a write
    // may order or expose memory.
    unsafe {
        asm!("wrmsr", in("ecx") msr.get(), in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}

/// Reads an MSR that may not exist: `None` if the CPU raises #GP.
#[must_use]
pub fn probe(msr: Msr) -> Option<u64> {
    let (low, high, fault): (u32, u32, u32);
    // SAFETY: a #GP of the instruction at 2 continues at 3 with `fault` still 1
    // (see `trap::fix_up`); reading changes nothing.
    unsafe {
        asm!(
            "2: rdmsr",
            "xor {fault:e}, {fault:e}",
            "3:",
            ".pushsection .extable, \"a\"",
            ".quad 2b, 3b",
            ".popsection",
            fault = inout(reg) 1 => fault,
            in("ecx") msr.get(),
            inout("eax") 0 => low,
            inout("edx") 0 => high,
            options(nomem, nostack),
        );
    }
    (fault == 0).then_some(u64::from(high) << 32 | u64::from(low))
}

/// Loads the page attribute table with the CPU's reset value (SDM "Page
/// Attribute Table"), whatever the firmware left: entry 0 is WB, entry 3 UC.
pub(crate) fn set_page_attributes() {
    const RESET_VALUE: u64 = 0x0007_0406_0007_0406;
    // SAFETY: every 64-bit CPU has the MSR; the page tables in use select entries
    // 0 and 3 only, which firmware and boot code used in the same meaning.
    unsafe { write(Msr::IA32_PAT, RESET_VALUE) };
}
