//! IA32_APIC_BASE allows the changes of mode that a CPU allows.

use alloc::format;

use guest_rt::apic::APIC_BASE;
use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-modes",
    description: "IA32_APIC_BASE allows the changes of mode that a CPU allows.",
    covers: &[],
    needs: &[Need::X2apic],
    kind: Kind::DomU(Shape::SMALL, run),
};

const ENABLE: u64 = 1 << 11;
const EXTD: u64 = 1 << 10;

fn run(_: &Guest) -> Check {
    let base = cpu::rdmsr(APIC_BASE)?;
    ensure_eq!(base & !0xfff, 0xfee0_0000, "address");
    ensure!(base & 1 << 8 != 0, "vcpu 0 is not the boot processor");
    let plain = base & !(ENABLE | EXTD);
    cpu::wrmsr(APIC_BASE, plain)?;
    expect::protection(cpu::wrmsr(APIC_BASE, plain | EXTD), "x2APIC mode without the APIC")?;
    cpu::wrmsr(APIC_BASE, plain | ENABLE)?;
    cpu::wrmsr(APIC_BASE, plain | ENABLE | EXTD)?;
    expect::protection(cpu::wrmsr(APIC_BASE, plain | ENABLE), "from x2APIC to xAPIC mode")?;
    ensure_eq!(cpu::rdmsr(APIC_BASE)?, plain | ENABLE | EXTD, "mode after a refusal");
    for bit in [0, 9, 52, 63] {
        let value = plain | ENABLE | EXTD | 1 << bit;
        expect::protection(cpu::wrmsr(APIC_BASE, value), &format!("bit {bit}"))?;
    }
    cpu::wrmsr(APIC_BASE, plain)?;
    ensure!(cpu::cpuid(1, 0).edx & 1 << 9 == 0, "CPUID shows an APIC that is off");
    Ok(cpu::wrmsr(APIC_BASE, plain | ENABLE)?)
}
