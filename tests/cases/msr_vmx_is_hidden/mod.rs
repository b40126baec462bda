//! The MSRs of VMX, of machine power and of the microcode loader are out of reach.

use alloc::format;

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "msr-vmx-is-hidden",
    description: "The MSRs of VMX, of machine power and of the microcode loader are out of reach.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    for msr in (0x480..=0x491).chain([0xce, 0x198, 0x199, 0x1b0, 0x606, 0x610]) {
        expect::protection(cpu::rdmsr(msr), &format!("RDMSR {msr:#x}"))?;
    }
    // Microcode is not loaded by guests, whatever WRMSR says.
    let before = cpu::rdmsr(0x8b)?;
    let _ = cpu::wrmsr(0x79, 0x1000);
    ensure_eq!(cpu::rdmsr(0x8b)?, before, "microcode revision");
    // Feature control is either absent or locked without VMX.
    if let Ok(control) = cpu::rdmsr(0x3a) {
        ensure_eq!(control & 0x7, 1, "IA32_FEATURE_CONTROL");
    }
    Ok(())
}
