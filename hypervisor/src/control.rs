//! Writes of control registers that concern the hypervisor: a guest owns most bits
//! of CR0 and CR4 and writes them without a VM exit; the others end here.

use hv_arch::vcpu::{Loaded, Masked};
use hv_core::event::Exception;
use hv_core::exit::{ControlRegister, CrAccess};
use hv_core::gpr::Gpr;
use hv_core::paging::PageSize;
use hv_core::pt_walk::Walker;
use hv_core::vmcs;
use hv_core::vmx_caps::{FixedBits, VmxConfig};

use crate::exit::Outcome;
use crate::vcpu::Vcpu;
use crate::work::Work;

const FAULT: Outcome = Outcome::Fault(Exception::GENERAL_PROTECTION);

/// Bits of CR0, CR4 and EFER (SDM "Control Registers", "IA32_EFER").
const PE: u64 = 1 << 0;
const MP_EM_TS: u64 = 7 << 1;
const ET: u64 = 1 << 4;
const NE: u64 = 1 << 5;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
const CR0_KNOWN: u64 = 0xe005_003f;
const PAE: u64 = 1 << 5;
const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;
const PCIDE: u64 = 1 << 17;
/// L, "64-bit code segment", in the access rights of CS as the VMCS has them.
const CS_LONG: u32 = 1 << 13;

/// The hypervisor's bits of CR0: NE, which VMX fixes, and those that would turn the
/// pcpu's caches off.
const CR0_OWN: u64 = NE | NW | CD;

/// Which bits of CR0 and CR4 are the hypervisor's, for a guest that reads `cr0` and
/// `cr4` there and may set the bits `allowed` in CR4.
pub fn masks(allowed: u64, cr0: u64, cr4: u64) -> (Masked, Masked) {
    // VMXE, which VMX fixes, is not among the allowed; nor is what CPUID hides.
    (Masked { mask: CR0_OWN, shadow: cr0 }, Masked { mask: !allowed, shadow: cr4 })
}

/// Handles a VM exit for control-register accesses.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu, config: &VmxConfig, access: CrAccess) -> Outcome {
    match access {
        CrAccess::Write(ControlRegister::Cr8, from) => match u8::try_from(operand(cpu, from)) {
            Ok(priority @ 0..=15) => {
                vcpu.lapic().lock().set_tpr(priority << 4);
                vcpu.owe(Work::EVENTS);
                Outcome::Done
            }
            _ => FAULT,
        },
        CrAccess::Read(ControlRegister::Cr8, to) => {
            let priority = vcpu.lapic().lock().tpr() >> 4;
            set_operand(cpu, to, u64::from(priority));
            Outcome::Done
        }
        CrAccess::Write(ControlRegister::Cr0, from) => {
            let value = operand(cpu, from);
            write_cr0(cpu, vcpu, config.guest_cr0(), value)
        }
        CrAccess::Write(ControlRegister::Cr4, from) => {
            let value = operand(cpu, from);
            write_cr4(cpu, vcpu, config.cr4(), value)
        }
        // Loads the low four bits and cannot clear PE (SDM "LMSW").
        CrAccess::Lmsw(value) => {
            let low = PE | MP_EM_TS;
            let old = cpu.read(vmcs::GUEST_CR0);
            let value = old & !MP_EM_TS | u64::from(value) & low;
            write_cr0(cpu, vcpu, config.guest_cr0(), shadowed(cpu, value))
        }
        // The hypervisor asks for no other.
        CrAccess::Write(..) | CrAccess::Read(..) | CrAccess::Clts => FAULT,
    }
}

fn operand(cpu: &Loaded<'_>, register: Gpr) -> u64 {
    match register {
        Gpr::Rsp => cpu.read(vmcs::GUEST_RSP),
        register => cpu.registers().get(register),
    }
}

fn set_operand(cpu: &mut Loaded<'_>, register: Gpr, value: u64) {
    match register {
        Gpr::Rsp => cpu.write(vmcs::GUEST_RSP, value),
        register => cpu.registers_mut().set(register, value),
    }
}

/// `value` with the hypervisor's bits as the guest sees them.
fn shadowed(cpu: &Loaded<'_>, value: u64) -> u64 {
    value & !CR0_OWN | cpu.control_shadows().0 & CR0_OWN
}

/// SDM "MOV—Move to/from Control Registers": what is a #GP, and what paging in
/// long mode brings with it.
fn write_cr0(cpu: &mut Loaded<'_>, vcpu: &Vcpu, fixed: FixedBits, value: u64) -> Outcome {
    let (efer, cr4) = (cpu.read(vmcs::GUEST_IA32_EFER), cpu.read(vmcs::GUEST_CR4));
    let pages = cpu.read(vmcs::GUEST_CR0) & PG != 0;
    let turns_on = value & PG != 0 && !pages;
    let in_64_bit_segment = efer & LME != 0 && cpu.read(vmcs::GUEST_CS_ACCESS_RIGHTS) & CS_LONG != 0;
    let impossible = value >> 32 != 0
        || value & PG != 0 && value & PE == 0
        || value & NW != 0 && value & CD == 0
        || value & PG != 0 && efer & LME != 0 && cr4 & PAE == 0
        || turns_on && in_64_bit_segment
        || value & PG == 0 && pages && (in_64_bit_segment || cr4 & PCIDE != 0);
    if impossible {
        return FAULT;
    }
    let value = value & CR0_KNOWN | ET;
    let active = if value & PG != 0 && efer & LME != 0 { LMA } else { 0 };
    if !load_pdptes(cpu, vcpu, value, cr4, active) {
        return FAULT;
    }
    cpu.write_efer(efer & !LMA | active);
    cpu.write(vmcs::GUEST_CR0, fixed.apply(value & !(NW | CD)));
    cpu.set_cr0_shadow(value);
    // SDM "Operations that Invalidate TLBs and Paging-Structure Caches": MOV to CR0.
    cpu.flush_translations();
    Outcome::Done
}

fn write_cr4(cpu: &mut Loaded<'_>, vcpu: &Vcpu, fixed: FixedBits, value: u64) -> Outcome {
    if value & !vcpu.domain().cpuid().cr4() != 0 {
        return FAULT;
    }
    let active = cpu.read(vmcs::GUEST_IA32_EFER) & LMA;
    if active != 0 && value & PAE == 0 || active == 0 && value & PCIDE != 0 {
        return FAULT;
    }
    let cr0 = cpu.read(vmcs::GUEST_CR0);
    if !load_pdptes(cpu, vcpu, cr0, value, active) {
        return FAULT;
    }
    cpu.write(vmcs::GUEST_CR4, fixed.apply(value));
    // SDM "Operations that Invalidate TLBs and Paging-Structure Caches": MOV to CR4.
    cpu.flush_translations();
    Outcome::Done
}

/// Loads the PDPTE registers if PAE paging is what the guest will have: the CPU does it for
/// writes that cause no VM exit only (SDM "Loading Page-Directory-Pointer-Table Entries").
/// `false` if it would fault.
fn load_pdptes(cpu: &mut Loaded<'_>, vcpu: &Vcpu, cr0: u64, cr4: u64, active: u64) -> bool {
    if cr0 & PG == 0 || cr4 & PAE == 0 || active != 0 {
        return true;
    }
    let walker = Walker::new(vcpu.domain().cpuid().phys_bits().into(), PageSize::Size1G);
    let memory = vcpu.domain().confines().local();
    let Some(pdptes) = walker.load_pdptes(&memory, cpu.read(vmcs::GUEST_CR3)) else { return false };
    let fields = [vmcs::GUEST_PDPTE0, vmcs::GUEST_PDPTE1, vmcs::GUEST_PDPTE2, vmcs::GUEST_PDPTE3];
    fields.into_iter().zip(pdptes).for_each(|(field, pdpte)| cpu.write(field, pdpte));
    true
}
