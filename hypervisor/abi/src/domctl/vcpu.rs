//! Vcpus of a domain: state, affinity, registers.

use bitflags::bitflags;

use crate::handle::GuestHandle;
use crate::xen::XenctlBitmap;

bitflags! {
    /// What a [`VcpuAffinity`] is about (`XEN_VCPUAFFINITY_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AffinityFlags: u32 {
        /// `XEN_VCPUAFFINITY_HARD`: where the vcpu may run.
        const HARD = 1 << 0;
        /// `XEN_VCPUAFFINITY_SOFT`: where it runs best.
        const SOFT = 1 << 1;
        /// `XEN_VCPUAFFINITY_FORCE`: undo a pinning by the guest.
        const FORCE = 1 << 2;
    }
}

layout! {
    /// `struct xen_domctl_getvcpuinfo`
    pub struct GetVcpuInfo, 24 bytes {
        /// Which vcpu; in.
        pub vcpu: u32,
        /// Up.
        pub online: u8,
        /// Waits for an event.
        pub blocked: u8,
        /// On a pcpu.
        pub running: u8,
        /// Padding.
        pub _pad0: u8,
        /// Time that it ran, in ns.
        pub cpu_time: u64,
        /// Pcpu it is or was on.
        pub cpu: u32,
        /// Padding.
        pub _pad1: u32,
    }

    /// `struct xen_domctl_vcpuaffinity`: the pcpus of a vcpu.
    pub struct VcpuAffinity, 40 bytes {
        /// Which vcpu.
        pub vcpu: u32,
        /// [`AffinityFlags`].
        pub flags: u32,
        /// Where it may run; out: where it can.
        pub cpumap_hard: XenctlBitmap,
        /// Where it runs best; out: the part of it that hard affinity allows.
        pub cpumap_soft: XenctlBitmap,
    }

    /// `struct xen_domctl_nodeaffinity`: the NUMA nodes of a domain's memory.
    pub struct NodeAffinity, 16 bytes {
        /// The nodes.
        pub nodemap: XenctlBitmap,
    }

    /// `struct xen_domctl_vcpucontext`: registers in the form of PV guests.
    pub struct VcpuContext, 16 bytes {
        /// Which vcpu.
        pub vcpu: u32,
        /// Padding.
        pub _pad: u32,
        /// The `vcpu_guest_context`, 5168 bytes.
        pub ctxt: GuestHandle<u8>,
    }

    /// `struct xen_domctl_vcpuextstate`: XSAVE state of a vcpu.
    pub struct VcpuExtState, 32 bytes {
        /// Which vcpu.
        pub vcpu: u32,
        /// Padding.
        pub _pad: u32,
        /// Components that the host has; out, and 0 with a null buffer asks for the size.
        pub xfeature_mask: u64,
        /// Bytes.
        pub size: u64,
        /// The state.
        pub buffer: GuestHandle<u64>,
    }

    /// `struct xen_domctl_vcpu_msr`: one MSR.
    pub struct VcpuMsr, 16 bytes {
        /// Its number.
        pub index: u32,
        /// Must be zero.
        pub reserved: u32,
        /// Contents.
        pub value: u64,
    }

    /// `struct xen_domctl_vcpu_msrs`: MSRs of a vcpu.
    pub struct VcpuMsrs, 16 bytes {
        /// Which vcpu.
        pub vcpu: u32,
        /// MSRs there is room for, then MSRs.
        pub msr_count: u32,
        /// The MSRs.
        pub msrs: GuestHandle<VcpuMsr>,
    }
}
