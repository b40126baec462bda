//! CPUID leaves by which a guest finds the hypervisor (`arch-x86/cpuid.h`).
//!
//! ```text
//! leaf      EAX                EBX           ECX          EDX
//! base + 0  last leaf          "XenV"        "MMXe"       "nVMM"
//! base + 1  major<<16 | minor  0             0            0
//! base + 2  hypercall pages    MSR base      features 1   features 2
//! base + 3  time: TSC mode, frequency and offset in sub-leaves 0..=2
//! base + 4  HvmFeatures        vcpu id       domain id    0
//! base + 5  PV: sub-leaf 0     address bits  0            0
//! ```
//!
//! The base is 0x40000000, or the next multiple of 0x100 if another interface sits there.

use bitflags::bitflags;

/// First leaf (`XEN_CPUID_FIRST_LEAF`).
pub const FIRST_LEAF: u32 = 0x4000_0000;
/// Number of the last leaf, counted from the first (`XEN_CPUID_MAX_NUM_LEAVES`).
pub const MAX_NUM_LEAVES: u32 = 5;
/// EBX of the first leaf (`XEN_CPUID_SIGNATURE_EBX`).
pub const SIGNATURE_EBX: u32 = u32::from_le_bytes(*b"XenV");
/// ECX of the first leaf (`XEN_CPUID_SIGNATURE_ECX`).
pub const SIGNATURE_ECX: u32 = u32::from_le_bytes(*b"MMXe");
/// EDX of the first leaf (`XEN_CPUID_SIGNATURE_EDX`).
pub const SIGNATURE_EDX: u32 = u32::from_le_bytes(*b"nVMM");
/// Feature 1: a PV command keeps accessed and dirty bits
/// (`XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD`).
pub const FEAT1_MMU_PT_UPDATE_PRESERVE_AD: u32 = 1 << 0;
/// Bits of leaf 5's EBX with the machine address width (`XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK`).
pub const MACHINE_ADDRESS_WIDTH_MASK: u32 = 0xff;

bitflags! {
    /// EAX of leaf 4 (`XEN_HVM_CPUID_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HvmFeatures: u32 {
        /// `XEN_HVM_CPUID_APIC_ACCESS_VIRT`: the CPU virtualizes APIC registers.
        const APIC_ACCESS_VIRT = 1 << 0;
        /// `XEN_HVM_CPUID_X2APIC_VIRT`: the CPU virtualizes the x2APIC.
        const X2APIC_VIRT = 1 << 1;
        /// `XEN_HVM_CPUID_IOMMU_MAPPINGS`: foreign pages are mapped in the IOMMU.
        const IOMMU_MAPPINGS = 1 << 2;
        /// `XEN_HVM_CPUID_VCPU_ID_PRESENT`: EBX holds the vcpu id.
        const VCPU_ID_PRESENT = 1 << 3;
        /// `XEN_HVM_CPUID_DOMID_PRESENT`: ECX holds the domain id.
        const DOMID_PRESENT = 1 << 4;
        /// `XEN_HVM_CPUID_EXT_DEST_ID`: 15-bit destination ids in MSI and I/O APIC.
        const EXT_DEST_ID = 1 << 5;
        /// `XEN_HVM_CPUID_UPCALL_VECTOR`: upcall vectors of vcpus work with bound interrupts.
        const UPCALL_VECTOR = 1 << 6;
    }
}
