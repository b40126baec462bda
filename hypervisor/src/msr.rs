//! MSRs that guests reach by a VM exit, as their domain's policy says. The default
//! is #GP.

use hv_arch::vcpu::Loaded;
use hv_core::event::Exception;
use hv_core::gpr::Gpr;
use hv_core::msr::Msr;
use hv_core::msr_policy::{Mtrrs, Read, Write};
use hv_core::vlapic::{Effect, Fault};

use crate::exit::Outcome;
use crate::hypercall::page;
use crate::interrupts;
use crate::vcpu::Vcpu;

const FAULT: Outcome = Outcome::Fault(Exception::GENERAL_PROTECTION);

/// Registers that the hypervisor keeps for a vcpu and that belong to no device.
#[derive(Debug, Default)]
pub struct Kept {
    mtrrs: Mtrrs,
    /// `IA32_TSC_ADJUST`.
    tsc_adjust: u64,
}

impl Kept {
    /// The memory-type range registers.
    pub fn mtrrs(&self) -> &Mtrrs {
        &self.mtrrs
    }

    /// The same, to be written.
    pub fn mtrrs_mut(&mut self) -> &mut Mtrrs {
        &mut self.mtrrs
    }

    /// `IA32_TSC_ADJUST`.
    pub fn tsc_adjust(&self) -> u64 {
        self.tsc_adjust
    }

    /// Sets `IA32_TSC_ADJUST`, and nothing else.
    pub fn set_tsc_adjust(&mut self, value: u64) {
        self.tsc_adjust = value;
    }
}

/// Handles RDMSR.
pub fn read(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    match value(cpu, vcpu, Msr::new(cpu.registers().get_32(Gpr::Rcx))) {
        Some(value) => {
            cpu.registers_mut().set_edx_eax(value);
            Outcome::Done
        }
        None => FAULT,
    }
}

/// What the guest reads in `msr`; `None` if it faults.
fn value(cpu: &Loaded<'_>, vcpu: &Vcpu, msr: Msr) -> Option<u64> {
    // Those that every guest may read, and that have a place of their own.
    match msr {
        Msr::IA32_APIC_BASE => return Some(vcpu.lapic().lock().read_base()),
        Msr::IA32_TIME_STAMP_COUNTER => return Some(vcpu.tsc()),
        _ => {}
    }
    match vcpu.domain().msrs().read(msr) {
        Read::Value(value) => Some(value),
        Read::Emulate => emulated(vcpu, msr),
        // In the guest while it is loaded, though its own RDMSR did not get here.
        Read::Passthrough => cpu.read_switched(msr),
        Read::Fault => None,
    }
}

fn emulated(vcpu: &Vcpu, msr: Msr) -> Option<u64> {
    match msr {
        Msr::IA32_TSC_ADJUST => Some(vcpu.kept().lock().tsc_adjust),
        Msr::IA32_TSC_DEADLINE => Some(vcpu.lapic().lock().read_tsc_deadline(vcpu.tsc())),
        msr if msr.is_x2apic() => vcpu.lapic().lock().read_msr(msr, vcpu.tsc()).ok(),
        msr => vcpu.kept().lock().mtrrs.read(msr),
    }
}

/// Handles WRMSR.
pub fn write(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let registers = cpu.registers();
    let (msr, value) = (Msr::new(registers.get_32(Gpr::Rcx)), registers.edx_eax());
    let written = match vcpu.domain().msrs().write(msr) {
        Write::Ignore => Ok(()),
        Write::Emulate => emulate_write(cpu, vcpu, msr, value),
        Write::Passthrough | Write::Fault => Err(Fault),
    };
    if written.is_ok() { Outcome::Done } else { FAULT }
}

fn emulate_write(cpu: &mut Loaded<'_>, vcpu: &Vcpu, msr: Msr, value: u64) -> Result<(), Fault> {
    let apic = |effect: Effect| interrupts::apply(vcpu, effect);
    match msr {
        msr if msr.is_x2apic() => {
            let effect = vcpu.lapic().lock().write_msr(msr, value, vcpu.tsc())?;
            apic(effect);
        }
        Msr::IA32_TSC_DEADLINE => {
            let effect = vcpu.lapic().lock().write_tsc_deadline(value, vcpu.tsc());
            apic(effect);
        }
        Msr::IA32_APIC_BASE => {
            let (effect, mode) = {
                let mut lapic = vcpu.lapic().lock();
                let old = lapic.mode();
                let effect = lapic.write_base(value)?;
                (effect, Some(lapic.mode()).filter(|&mode| mode != old))
            };
            if let Some(mode) = mode {
                cpu.set_apic_mode(mode);
            }
            apic(effect);
        }
        Msr::IA32_TIME_STAMP_COUNTER => move_tsc(cpu, vcpu, value.wrapping_sub(vcpu.tsc())),
        Msr::IA32_TSC_ADJUST => {
            let old = vcpu.kept().lock().tsc_adjust;
            move_tsc(cpu, vcpu, value.wrapping_sub(old));
        }
        msr if msr.get() == page::MSR => {
            return page::write(vcpu.domain().confines(), value).then_some(()).ok_or(Fault);
        }
        msr => {
            let phys_bits = vcpu.domain().cpuid().phys_bits();
            return vcpu.kept().lock().mtrrs.write(msr, value, phys_bits).map_err(|_| Fault);
        }
    }
    Ok(())
}

/// Sets the guest's time stamp counter forward by `by`, modulo 2^64. `IA32_TSC_ADJUST`
/// shows it (SDM "IA32_TSC_ADJUST Register Support").
fn move_tsc(cpu: &mut Loaded<'_>, vcpu: &Vcpu, by: u64) {
    {
        let mut kept = vcpu.kept().lock();
        kept.tsc_adjust = kept.tsc_adjust.wrapping_add(by);
    }
    vcpu.set_tsc_offset(vcpu.tsc_offset().wrapping_add(by));
    cpu.set_tsc_offset(vcpu.tsc_offset());
    vcpu.shared().write_time(vcpu);
    interrupts::apply(vcpu, Effect::TimerChanged);
}
