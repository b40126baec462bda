//! Memory of a domain as the toolstack sees it: frames, dirty log, mappings of devices.

use bitflags::bitflags;

use crate::RawPfn;
use crate::handle::GuestHandle;
use crate::memory::VmemRange;

numbers! {
    /// Command of [`ShadowOp`] (`XEN_DOMCTL_SHADOW_OP_*`).
    pub enum ShadowCmd: u32 {
        /// `XEN_DOMCTL_SHADOW_OP_OFF`: stop the dirty log.
        Off = 0,
        /// `XEN_DOMCTL_SHADOW_OP_ENABLE_TEST`: of shadow paging.
        EnableTest = 1,
        /// `XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY`: start the dirty log.
        EnableLogdirty = 2,
        /// `XEN_DOMCTL_SHADOW_OP_CLEAN`: read the log and start it afresh.
        Clean = 11,
        /// `XEN_DOMCTL_SHADOW_OP_PEEK`: read the log.
        Peek = 12,
        /// `XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION`: memory for paging, in MiB.
        GetAllocation = 30,
        /// `XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION`: the same, set.
        SetAllocation = 31,
        /// `XEN_DOMCTL_SHADOW_OP_ENABLE`: turn on by [`ShadowMode`].
        Enable = 32,
    }

    /// Whether a mapping is made or undone (`DPCI_*_MAPPING`).
    pub enum MappingChange: u32 {
        /// `DPCI_REMOVE_MAPPING`
        Remove = 0,
        /// `DPCI_ADD_MAPPING`
        Add = 1,
    }
}

/// Answer of [`GetPageFrameInfo3`]: memory (`XEN_DOMCTL_PFINFO_NOTAB`).
pub const PFINFO_NOTAB: u64 = 0;
/// Answer of [`GetPageFrameInfo3`]: no such frame (`XEN_DOMCTL_PFINFO_XTAB`).
pub const PFINFO_XTAB: u64 = 0xf << 28;
/// Answer of [`GetPageFrameInfo3`]: nothing there, but it counts (`XEN_DOMCTL_PFINFO_XALLOC`).
pub const PFINFO_XALLOC: u64 = 0xe << 28;
/// Answer of [`GetPageFrameInfo3`]: broken memory (`XEN_DOMCTL_PFINFO_BROKEN`).
pub const PFINFO_BROKEN: u64 = 0xd << 28;
/// Flag of [`ShadowOp::mode`] for [`ShadowCmd::Clean`]: the last read of the log
/// (`XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL`).
pub const SHADOW_LOGDIRTY_FINAL: u32 = 1;

bitflags! {
    /// What [`ShadowCmd::Enable`] turns on (`XEN_DOMCTL_SHADOW_ENABLE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ShadowMode: u32 {
        /// `XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT`: count references.
        const REFCOUNT = 1 << 1;
        /// `XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY`: log pages written.
        const LOG_DIRTY = 1 << 2;
        /// `XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE`: guest frames of its own.
        const TRANSLATE = 1 << 3;
        /// `XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL`: not visible to the guest.
        const EXTERNAL = 1 << 4;
    }
}

layout! {
    /// `struct xen_domctl_getpageframeinfo3`: what some guest frames hold.
    pub struct GetPageFrameInfo3, 16 bytes {
        /// How many.
        pub num: u64,
        /// The frames; out: `PFINFO_*`.
        pub array: GuestHandle<RawPfn>,
    }

    /// `struct xen_domctl_shadow_op_stats`: what the dirty log saw.
    pub struct ShadowOpStats, 8 bytes {
        /// Faults since the last clean.
        pub fault_count: u32,
        /// Pages written since the last clean.
        pub dirty_count: u32,
    }

    /// `struct xen_domctl_shadow_op`: paging and dirty log.
    pub struct ShadowOp, 40 bytes {
        /// [`ShadowCmd`].
        pub op: u32,
        /// [`ShadowMode`] or [`SHADOW_LOGDIRTY_FINAL`].
        pub mode: u32,
        /// Memory for paging, in MiB.
        pub mb: u32,
        /// Padding.
        pub _pad: u32,
        /// One bit for each guest frame; out.
        pub dirty_bitmap: GuestHandle<u8>,
        /// Bits there is room for, then bits written.
        pub pages: u64,
        /// Out.
        pub stats: ShadowOpStats,
    }

    /// `struct xen_domctl_paging_mempool`: memory for a domain's page tables.
    pub struct PagingMempool, 8 bytes {
        /// In bytes, a multiple of the page size.
        pub size: u64,
    }

    /// `struct xen_domctl_memory_mapping`: map a device's registers.
    pub struct MemoryMapping, 32 bytes {
        /// First guest frame.
        pub first_gfn: u64,
        /// First machine frame.
        pub first_mfn: u64,
        /// Frames.
        pub nr_mfns: u64,
        /// [`MappingChange`].
        pub add_mapping: u32,
        /// Must be zero.
        pub padding: u32,
    }

    /// `struct xen_domctl_ioport_mapping`: map a device's ports.
    pub struct IoportMapping, 16 bytes {
        /// First port in the guest.
        pub first_gport: u32,
        /// First port of the machine.
        pub first_mport: u32,
        /// Ports.
        pub nr_ports: u32,
        /// [`MappingChange`].
        pub add_mapping: u32,
    }

    /// `struct xen_domctl_cacheflush`: write guest memory back. Of Arm.
    pub struct CacheFlush, 16 bytes {
        /// First guest frame.
        pub start_pfn: RawPfn,
        /// Frames.
        pub nr_pfns: RawPfn,
    }

    /// `struct xen_domctl_set_broken_page_p2m`: marks a frame as broken.
    pub struct SetBrokenPageP2m, 8 bytes {
        /// The guest frame.
        pub pfn: u64,
    }

    /// `struct xen_domctl_vnuma`: virtual NUMA of a domain.
    pub struct Vnuma, 48 bytes {
        /// Nodes.
        pub nr_vnodes: u32,
        /// Ranges.
        pub nr_vmemranges: u32,
        /// Vcpus.
        pub nr_vcpus: u32,
        /// Must be zero.
        pub pad: u32,
        /// Distances, one row for each node.
        pub vdistance: GuestHandle<u32>,
        /// Node of each vcpu.
        pub vcpu_to_vnode: GuestHandle<u32>,
        /// Physical node of each node.
        pub vnode_to_pnode: GuestHandle<u32>,
        /// The ranges.
        pub vmemrange: GuestHandle<VmemRange>,
    }
}
