//! In x2APIC mode the registers hold what they should, and those that do not exist fault.

use alloc::format;

use guest_rt::apic::{Apic, Mode, Register};
use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-x2apic-registers",
    description: "In x2APIC mode the registers hold what they should, and those that do not exist fault.",
    covers: &[],
    needs: &[Need::X2apic],
    kind: Kind::DomU(Shape::SMALL, run),
};

const MSR: u32 = 0x800;

fn run(_: &Guest) -> Check {
    let apic = Apic::enable(Mode::X2Apic);
    ensure_eq!(apic.id(), cpu::cpuid(0xb, 0).edx, "id");
    let version = apic.read(Register::VERSION);
    ensure!((0x10..=0x1f).contains(&(version & 0xff)), "version {version:#x}");
    let id = apic.id();
    ensure_eq!(apic.read(Register::LDR), (id >> 4) << 16 | 1 << (id & 15), "logical id");
    ensure_eq!(apic.read(Register::SPURIOUS), 0x1ff, "spurious vector");
    for priority in [0xf0, 0x50, 0] {
        apic.write(Register::TPR, priority);
        ensure_eq!(apic.read(Register::TPR), priority, "TPR");
        ensure_eq!(cpu::control(cpu::Control::Cr8), u64::from(priority >> 4), "CR8");
        ensure_eq!(apic.read(Register::PPR), priority, "PPR");
    }
    cpu::set_cr8(3);
    ensure_eq!(apic.read(Register::TPR), 0x30, "TPR by CR8");
    cpu::set_cr8(0);
    for register in [0x00, 0x01, 0x04, 0x09, 0x0c, 0x0e, 0x29, 0x31, 0x3a, 0x40, 0xff] {
        expect::protection(cpu::rdmsr(MSR + register), &format!("read of register {register:#x}"))?;
    }
    for register in [0x02, 0x03, 0x0a, 0x0d, 0x10, 0x20, 0x39] {
        expect::protection(cpu::wrmsr(MSR + register, 0), &format!("write of register {register:#x}"))?;
    }
    expect::protection(cpu::wrmsr(MSR + 0x08, 0x100), "reserved bits of TPR")?;
    expect::protection(cpu::wrmsr(MSR + 0x0b, 1), "EOI of 1")?;
    expect::protection(cpu::rdmsr(MSR + 0x0b), "read of EOI")?;
    expect::protection(cpu::rdmsr(MSR + 0x3f), "read of SELF IPI")?;
    Ok(())
}
