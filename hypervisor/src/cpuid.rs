//! CPUID as guests see it: the answers of their domain's policy, and the host that
//! the policy is made from.

use core::arch::x86_64::__cpuid_count;

use hv_arch::vcpu::Loaded;
use hv_core::cpuid::{HostCpuid, Options, Policy, Regs, Tsc, VcpuView};
use hv_core::gpr::Gpr;
use hv_core::id::DomId;
use hv_core::vlapic::Mode;
use hv_core::vmcs;
use hv_core::vmx_caps::{SecondaryControls, VmxConfig};
use xen_abi::cpuid::HvmFeatures;

use crate::exit::Outcome;
use crate::vcpu::Vcpu;

/// The CPU that executes this; all are alike.
struct Host;

impl HostCpuid for Host {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Regs {
        let regs = __cpuid_count(leaf, subleaf);
        Regs { eax: regs.eax, ebx: regs.ebx, ecx: regs.ecx, edx: regs.edx }
    }
}

/// The policy of a domain with `vcpus` vcpus: what the CPU has and the hypervisor
/// switches or answers.
pub fn policy(domain: DomId, vcpus: u32, config: &VmxConfig, tsc: Tsc) -> Policy {
    let enabled = |control| config.secondary().base().contains(control);
    let options = Options {
        domain,
        apic_ids: vcpus,
        tsc_deadline: true,
        // TSC_AUX is not switched.
        rdtscp: false,
        invpcid: enabled(SecondaryControls::ENABLE_INVPCID),
        speculation_controls: false,
        arch_capabilities: false,
        hvm: HvmFeatures::empty(),
        tsc,
    };
    Policy::new(&Host, &options)
}

/// A leaf of the host.
pub fn host_leaf(leaf: u32, subleaf: u32) -> Regs {
    Host.cpuid(leaf, subleaf)
}

/// Handles CPUID.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu) -> Outcome {
    let registers = cpu.registers();
    let (leaf, subleaf) = (registers.get_32(Gpr::Rax), registers.get_32(Gpr::Rcx));
    // Only leaf 1 shows anything of these.
    let (cr4, apic_is_off) = if leaf == 1 {
        (cpu.read(vmcs::GUEST_CR4), vcpu.lapic().lock().mode() == Mode::Disabled)
    } else {
        (0, false)
    };
    let view = VcpuView { cr4, xcr0: cpu.xcr0(), apic_id: vcpu.id(), apic_is_off, vcpu_id: vcpu.id() };
    let regs = vcpu.domain().cpuid().lookup(leaf, subleaf, &view);
    let registers = cpu.registers_mut();
    registers.set_32(Gpr::Rax, regs.eax);
    registers.set_32(Gpr::Rbx, regs.ebx);
    registers.set_32(Gpr::Rcx, regs.ecx);
    registers.set_32(Gpr::Rdx, regs.edx);
    Outcome::Done
}
