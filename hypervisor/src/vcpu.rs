//! Vcpus, as the scheduler and other pcpus see them.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use alloc::sync::Arc;
use hv_arch::sync::{Lock, Rank};
use hv_arch::vcpu::{Loaded, Vcpu as Cpu};
use hv_core::frame::OutOfFrames;
use hv_core::gpr::Gpr;
use hv_core::vcpu_state::{CR0_CD, CR0_NW, Segments, VcpuState};
use hv_core::vmcs::{self, SegmentFields};
use hv_core::vmx_caps::VmxConfig;

use crate::control;
use crate::domain::Domain;

/// `IA32_PAT` after reset (SDM "Page Attribute Table").
const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// A vcpu of a domain.
pub struct Vcpu {
    id: u32,
    domain: Arc<Domain>,
    /// Task priority as the guest wrote it to CR8.
    cr8: AtomicU8,
    /// Held by the pcpu that runs it.
    cpu: Lock<Cpu>,
}

impl Vcpu {
    pub(crate) fn new(id: u32, domain: &Arc<Domain>, config: &VmxConfig) -> Result<Arc<Self>, OutOfFrames> {
        let cpu = Cpu::new(config, Arc::clone(domain.confines()))?;
        Ok(Arc::new(Self {
            id,
            domain: Arc::clone(domain),
            cr8: AtomicU8::new(0),
            cpu: Lock::new(Rank::Vcpu, cpu),
        }))
    }

    /// Its domain.
    pub fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    /// Its number in the domain.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// CR8, 0 to 15.
    pub fn cr8(&self) -> u8 {
        self.cr8.load(Ordering::Relaxed)
    }

    /// Sets CR8.
    pub fn set_cr8(&self, priority: u8) {
        self.cr8.store(priority, Ordering::Relaxed);
    }

    /// Its state on the CPU.
    pub fn cpu(&self) -> &Lock<Cpu> {
        &self.cpu
    }
}

impl fmt::Display for Vcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}v{}", self.domain.id(), self.id)
    }
}

/// Brings a vcpu into `state`, from which it starts.
pub fn start(vcpu: &Vcpu, config: &VmxConfig, state: &VcpuState) {
    let mut cpu = vcpu.cpu().lock();
    let mut cpu = cpu.load();
    write_segments(&mut cpu, &state.segments);
    let natural = [
        (vmcs::GUEST_CR0, config.guest_cr0().apply(state.cr0 & !(CR0_CD | CR0_NW))),
        (vmcs::GUEST_CR3, state.cr3),
        (vmcs::GUEST_CR4, config.cr4().apply(state.cr4)),
        (vmcs::GUEST_GDTR_BASE, state.gdtr.base),
        (vmcs::GUEST_IDTR_BASE, state.idtr.base),
        (vmcs::GUEST_DR7, state.dr7),
        (vmcs::GUEST_RSP, state.gprs.get(Gpr::Rsp)),
        (vmcs::GUEST_RIP, state.rip),
        (vmcs::GUEST_RFLAGS, state.rflags),
        (vmcs::GUEST_PENDING_DEBUG_EXCEPTIONS, 0),
        (vmcs::GUEST_IA32_SYSENTER_ESP, 0),
        (vmcs::GUEST_IA32_SYSENTER_EIP, 0),
    ];
    for (field, value) in natural {
        cpu.write(field, value);
    }
    let words = [
        (vmcs::GUEST_GDTR_LIMIT, u32::from(state.gdtr.limit)),
        (vmcs::GUEST_IDTR_LIMIT, u32::from(state.idtr.limit)),
        (vmcs::GUEST_INTERRUPTIBILITY_STATE, 0),
        (vmcs::GUEST_ACTIVITY_STATE, 0),
        (vmcs::GUEST_IA32_SYSENTER_CS, 0),
    ];
    for (field, value) in words {
        cpu.write(field, value);
    }
    cpu.write(vmcs::GUEST_IA32_DEBUGCTL, 0);
    cpu.write(vmcs::GUEST_IA32_PAT, PAT_RESET);
    cpu.write_efer(state.efer);
    let (cr0, cr4) = control::masks(vcpu.domain().cpuid().cr4(), state.cr0, state.cr4);
    cpu.write_control_masks(cr0, cr4);
    *cpu.registers_mut() = state.gprs;
}

fn write_segments(cpu: &mut Loaded<'_>, segments: &Segments) {
    let all = [
        (SegmentFields::ES, segments.es),
        (SegmentFields::CS, segments.cs),
        (SegmentFields::SS, segments.ss),
        (SegmentFields::DS, segments.ds),
        (SegmentFields::FS, segments.fs),
        (SegmentFields::GS, segments.gs),
        (SegmentFields::LDTR, segments.ldtr),
        (SegmentFields::TR, segments.tr),
    ];
    for (fields, segment) in all {
        cpu.write(fields.selector, segment.selector);
        cpu.write(fields.base, segment.base);
        cpu.write(fields.limit, segment.limit);
        cpu.write(fields.access_rights, segment.rights.to_vmx());
    }
}
