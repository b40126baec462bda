//! State that is saved with a domain: devices and registers, CPU policy, TSC.

use crate::arch_x86::{CpuidLeaf, MsrEntry};
use crate::handle::GuestHandle;

numbers! {
    /// How a guest's TSC runs (`tsc_mode` in `arch-x86/cpuid.h`'s text).
    pub enum TscMode: u32 {
        /// `0`: the host's TSC where it is reliable, emulated elsewhere.
        Default = 0,
        /// `1`: emulated.
        AlwaysEmulate = 1,
        /// `2`: the host's.
        NeverEmulate = 2,
    }
}

layout! {
    /// `struct xen_domctl_hvmcontext`: all records of a domain (`hvm/save.h`).
    pub struct HvmContext, 16 bytes {
        /// Bytes there are; a null buffer asks how many.
        pub size: u32,
        /// Padding.
        pub _pad: u32,
        /// The records.
        pub buffer: GuestHandle<u8>,
    }

    /// `struct xen_domctl_hvmcontext_partial`: one record of a domain.
    pub struct HvmContextPartial, 24 bytes {
        /// `type`: [`SaveType`](crate::hvm_save::SaveType).
        pub kind: u32,
        /// Which vcpu or device.
        pub instance: u32,
        /// Bytes there is room for, then bytes written.
        pub bufsz: u64,
        /// The record, without its descriptor.
        pub buffer: GuestHandle<u8>,
    }

    /// `struct xen_domctl_cpu_policy`: what a domain's vcpus can do.
    pub struct CpuPolicy, 40 bytes {
        /// Leaves there is room for, then leaves.
        pub nr_leaves: u32,
        /// MSRs there is room for, then MSRs.
        pub nr_msrs: u32,
        /// The leaves.
        pub leaves: GuestHandle<CpuidLeaf>,
        /// The MSRs.
        pub msrs: GuestHandle<MsrEntry>,
        /// Leaf that was refused, or 0xffffffff; out.
        pub err_leaf: u32,
        /// Its sub-leaf, or 0xffffffff; out.
        pub err_subleaf: u32,
        /// MSR that was refused, or 0xffffffff; out.
        pub err_msr: u32,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct xen_domctl_tsc_info`: a domain's TSC.
    pub struct TscInfo, 24 bytes {
        /// [`TscMode`].
        pub tsc_mode: u32,
        /// Frequency, in kHz; 0 for the host's.
        pub gtsc_khz: u32,
        /// How often the domain was restored.
        pub incarnation: u32,
        /// `pad`: padding.
        pub _pad: u32,
        /// Age of the domain, in ns.
        pub elapsed_nsec: u64,
    }
}
