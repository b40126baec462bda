//! MSRs that guests reach by a VM exit, as their domain's policy says. The default
//! is #GP.

use hv_arch::vcpu::Loaded;
use hv_core::event::Exception;
use hv_core::gpr::Gpr;
use hv_core::msr::Msr;
use hv_core::msr_policy::{Read, Write};

use crate::exit::Outcome;
use crate::hypercall::page;
use crate::vcpu::Vcpu;

const FAULT: Outcome = Outcome::Fault(Exception::GENERAL_PROTECTION);

/// Handles RDMSR.
pub fn read(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let value = match Msr::new(cpu.registers().get_32(Gpr::Rcx)) {
        // Those that every guest may read, and that have a place of their own.
        Msr::IA32_APIC_BASE => apic_base(vcpu),
        Msr::IA32_TIME_STAMP_COUNTER => hv_arch::cpu::rdtsc(),
        msr => match vcpu.domain().msrs().read(msr) {
            Read::Value(value) => value,
            Read::Passthrough | Read::Emulate | Read::Fault => return FAULT,
        },
    };
    cpu.registers_mut().set_edx_eax(value);
    Outcome::Done
}

/// IA32_APIC_BASE of a vcpu whose local APIC is off: only the first one is the boot
/// processor.
fn apic_base(vcpu: &Vcpu) -> u64 {
    const ADDRESS: u64 = 0xfee0_0000;
    const BOOT_PROCESSOR: u64 = 1 << 8;
    ADDRESS | if vcpu.id() == 0 { BOOT_PROCESSOR } else { 0 }
}

/// Handles WRMSR.
pub fn write(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let registers = cpu.registers();
    let (number, value) = (registers.get_32(Gpr::Rcx), registers.edx_eax());
    if number == page::MSR {
        return if page::write(vcpu.domain().confines(), value) { Outcome::Done } else { FAULT };
    }
    match vcpu.domain().msrs().write(Msr::new(number)) {
        Write::Ignore => Outcome::Done,
        // There is no local APIC to be turned on or moved.
        Write::Emulate if Msr::new(number) == Msr::IA32_APIC_BASE && value == apic_base(vcpu) => {
            Outcome::Done
        }
        Write::Passthrough | Write::Emulate | Write::Fault => FAULT,
    }
}
