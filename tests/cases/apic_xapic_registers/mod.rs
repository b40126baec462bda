//! In xAPIC mode the registers are in their page.

use guest_rt::apic::{Apic, Mode, Register};
use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-xapic-registers",
    description: "In xAPIC mode the registers are in their page.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let apic = Apic::enable(Mode::XApic);
    ensure_eq!(apic.id(), cpu::cpuid(1, 0).ebx >> 24, "id");
    let version = apic.read(Register::VERSION);
    ensure!((0x10..=0x1f).contains(&(version & 0xff)), "version {version:#x}");
    ensure_eq!(apic.read(Register::SPURIOUS), 0x1ff, "spurious vector");
    for priority in [0xf0, 0x20, 0] {
        apic.write(Register::TPR, priority);
        ensure_eq!(apic.read(Register::TPR), priority, "TPR");
        ensure_eq!(cpu::control(cpu::Control::Cr8), u64::from(priority >> 4), "CR8");
    }
    // MSRs of x2APIC mode do not exist in this one.
    expect::protection(cpu::rdmsr(0x802), "MSR of the id")?;
    expect::protection(cpu::wrmsr(0x80b, 0), "MSR of EOI")?;
    for vector in [0x30, 0xff] {
        apic.write(Register::LVT_ERROR, vector);
        ensure_eq!(apic.read(Register::LVT_ERROR) & 0xff, vector, "LVT of errors");
    }
    Ok(())
}
