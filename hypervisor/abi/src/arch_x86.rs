//! The x86 part of the core interface (`arch-x86/xen.h`, `arch-x86/xen-x86_64.h`).
//!
//! `struct vcpu_guest_context` is missing: it describes PV vcpus only. An HVM vcpu is
//! started by [`VcpuHvmContext`](crate::hvm_vcpu::VcpuHvmContext).

use bitflags::bitflags;

/// Vcpus that have a place in `shared_info` (`XEN_LEGACY_MAX_VCPUS`).
pub const LEGACY_MAX_VCPUS: usize = 32;
/// I/O port whose bytes go to the hypervisor's log (`XEN_HVM_DEBUGCONS_IOPORT`).
pub const HVM_DEBUGCONS_IOPORT: u16 = 0xe9;
/// Sub-leaf of a CPUID leaf that has none (`XEN_CPUID_NO_SUBLEAF`).
pub const CPUID_NO_SUBLEAF: u32 = 0xffff_ffff;

bitflags! {
    /// Devices that the hypervisor emulates for a domain (`XEN_X86_EMU_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Emulation: u32 {
        /// `XEN_X86_EMU_LAPIC`: local APIC.
        const LAPIC = 1 << 0;
        /// `XEN_X86_EMU_HPET`: high precision event timer.
        const HPET = 1 << 1;
        /// `XEN_X86_EMU_PM`: ACPI power management block.
        const PM = 1 << 2;
        /// `XEN_X86_EMU_RTC`: real-time clock.
        const RTC = 1 << 3;
        /// `XEN_X86_EMU_IOAPIC`: I/O APIC.
        const IOAPIC = 1 << 4;
        /// `XEN_X86_EMU_PIC`: the two 8259 interrupt controllers.
        const PIC = 1 << 5;
        /// `XEN_X86_EMU_VGA`: VGA.
        const VGA = 1 << 6;
        /// `XEN_X86_EMU_IOMMU`: IOMMU.
        const IOMMU = 1 << 7;
        /// `XEN_X86_EMU_PIT`: 8254 timer.
        const PIT = 1 << 8;
        /// `XEN_X86_EMU_USE_PIRQ`: interrupts of emulated devices may be bound to event channels.
        const USE_PIRQ = 1 << 9;
        /// `XEN_X86_EMU_VPCI`: PCI configuration space.
        const VPCI = 1 << 10;
    }

    /// Further properties of an x86 domain (`xen_arch_domainconfig.misc_flags`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MiscFlags: u32 {
        /// `XEN_X86_MSR_RELAXED`: unknown MSRs read as zero in place of #GP.
        const MSR_RELAXED = 1 << 0;
    }
}

layout! {
    /// `struct arch_vcpu_info`: the part of x86 in `vcpu_info`.
    pub struct ArchVcpuInfo, 16 bytes {
        /// CR2 of a PV guest at a page fault.
        pub cr2: u64,
        /// `pad`: padding.
        pub _pad: u64,
    }

    /// `struct arch_shared_info`: the part of x86 in `shared_info`. PV, except `nmi_reason`.
    pub struct ArchSharedInfo, 48 bytes {
        /// Frames in the PV frame list.
        pub max_pfn: u64,
        /// Root of the PV frame list.
        pub pfn_to_mfn_frame_list_list: u64,
        /// Why the last NMI came.
        pub nmi_reason: u64,
        /// Page table by which the linear PV frame list is found.
        pub p2m_cr3: u64,
        /// Its virtual address.
        pub p2m_vaddr: u64,
        /// Odd while the guest changes the list.
        pub p2m_generation: u64,
    }

    /// `struct xen_arch_domainconfig`: x86 properties of a new domain.
    pub struct ArchDomainConfig, 8 bytes {
        /// [`Emulation`].
        pub emulation_flags: u32,
        /// [`MiscFlags`].
        pub misc_flags: u32,
    }

    /// `struct xen_cpuid_leaf`: one leaf of a CPU policy.
    pub struct CpuidLeaf, 24 bytes {
        /// EAX on input.
        pub leaf: u32,
        /// ECX on input, or [`CPUID_NO_SUBLEAF`].
        pub subleaf: u32,
        /// EAX on output.
        pub a: u32,
        /// EBX on output.
        pub b: u32,
        /// ECX on output.
        pub c: u32,
        /// EDX on output.
        pub d: u32,
    }

    /// `struct xen_msr_entry`: one MSR of a CPU policy.
    pub struct MsrEntry, 16 bytes {
        /// Number of the MSR.
        pub idx: u32,
        /// Must be zero.
        pub flags: u32,
        /// Contents.
        pub val: u64,
    }
}
