//! Operations of the toolstack on one domain (`domctl.h`, version 0x15).
//!
//! ```text
//! xen_domctl   cmd:32  interface_version:32  domain:16  pad:48  u:128 bytes
//! ```
//!
//! Operations on features that Kigumi does not have (introspection, paging by the host,
//! sharing, cache allocation, debuggers in Dom0) have a number here but no structure.

mod device;
mod domain;
mod memory;
mod sched;
mod state;
mod vcpu;

pub use device::*;
pub use domain::*;
pub use memory::*;
pub use sched::*;
pub use state::*;
pub use vcpu::*;

use crate::RawDomid;

/// `interface_version` of this header (`XEN_DOMCTL_INTERFACE_VERSION`).
pub const INTERFACE_VERSION: u32 = 0x15;

numbers! {
    /// Operation of `domctl` (`XEN_DOMCTL_*`).
    pub enum DomctlOp: u32 {
        /// `XEN_DOMCTL_createdomain`: [`CreateDomain`].
        CreateDomain = 1,
        /// `XEN_DOMCTL_destroydomain`: no argument.
        DestroyDomain = 2,
        /// `XEN_DOMCTL_pausedomain`: no argument.
        PauseDomain = 3,
        /// `XEN_DOMCTL_unpausedomain`: no argument.
        UnpauseDomain = 4,
        /// `XEN_DOMCTL_getdomaininfo`: [`GetDomainInfo`].
        GetDomainInfo = 5,
        /// `XEN_DOMCTL_setvcpuaffinity`: [`VcpuAffinity`].
        SetVcpuAffinity = 9,
        /// `XEN_DOMCTL_shadow_op`: [`ShadowOp`].
        ShadowOp = 10,
        /// `XEN_DOMCTL_max_mem`: [`MaxMem`].
        MaxMem = 11,
        /// `XEN_DOMCTL_setvcpucontext`: [`VcpuContext`].
        SetVcpuContext = 12,
        /// `XEN_DOMCTL_getvcpucontext`: [`VcpuContext`].
        GetVcpuContext = 13,
        /// `XEN_DOMCTL_getvcpuinfo`: [`GetVcpuInfo`].
        GetVcpuInfo = 14,
        /// `XEN_DOMCTL_max_vcpus`: [`MaxVcpus`].
        MaxVcpus = 15,
        /// `XEN_DOMCTL_scheduler_op`: [`SchedulerOp`].
        SchedulerOp = 16,
        /// `XEN_DOMCTL_setdomainhandle`: [`SetDomainHandle`].
        SetDomainHandle = 17,
        /// `XEN_DOMCTL_setdebugging`: [`SetDebugging`].
        SetDebugging = 18,
        /// `XEN_DOMCTL_irq_permission`: [`IrqPermission`].
        IrqPermission = 19,
        /// `XEN_DOMCTL_iomem_permission`: [`IomemPermission`].
        IomemPermission = 20,
        /// `XEN_DOMCTL_ioport_permission`: [`IoportPermission`].
        IoportPermission = 21,
        /// `XEN_DOMCTL_hypercall_init`: [`HypercallInit`].
        HypercallInit = 22,
        /// `XEN_DOMCTL_settimeoffset`: [`SetTimeOffset`].
        SetTimeOffset = 24,
        /// `XEN_DOMCTL_getvcpuaffinity`: [`VcpuAffinity`].
        GetVcpuAffinity = 25,
        /// `XEN_DOMCTL_real_mode_area`: withdrawn.
        RealModeArea = 26,
        /// `XEN_DOMCTL_resumedomain`: no argument.
        ResumeDomain = 27,
        /// `XEN_DOMCTL_sendtrigger`: [`SendTrigger`].
        SendTrigger = 28,
        /// `XEN_DOMCTL_subscribe`: [`Subscribe`].
        Subscribe = 29,
        /// `XEN_DOMCTL_gethvmcontext`: [`HvmContext`].
        GetHvmContext = 33,
        /// `XEN_DOMCTL_sethvmcontext`: [`HvmContext`].
        SetHvmContext = 34,
        /// `XEN_DOMCTL_set_address_size`: [`AddressSize`].
        SetAddressSize = 35,
        /// `XEN_DOMCTL_get_address_size`: [`AddressSize`].
        GetAddressSize = 36,
        /// `XEN_DOMCTL_assign_device`: [`AssignDevice`].
        AssignDevice = 37,
        /// `XEN_DOMCTL_bind_pt_irq`: [`BindPtIrq`].
        BindPtIrq = 38,
        /// `XEN_DOMCTL_memory_mapping`: [`MemoryMapping`].
        MemoryMapping = 39,
        /// `XEN_DOMCTL_ioport_mapping`: [`IoportMapping`].
        IoportMapping = 40,
        /// `XEN_DOMCTL_set_ext_vcpucontext`: PV entry points, machine checks.
        SetExtVcpuContext = 42,
        /// `XEN_DOMCTL_get_ext_vcpucontext`: PV entry points, machine checks.
        GetExtVcpuContext = 43,
        /// `XEN_DOMCTL_set_opt_feature`: withdrawn.
        SetOptFeature = 44,
        /// `XEN_DOMCTL_test_assign_device`: [`AssignDevice`].
        TestAssignDevice = 45,
        /// `XEN_DOMCTL_set_target`: [`SetTarget`].
        SetTarget = 46,
        /// `XEN_DOMCTL_deassign_device`: [`AssignDevice`].
        DeassignDevice = 47,
        /// `XEN_DOMCTL_unbind_pt_irq`: [`BindPtIrq`].
        UnbindPtIrq = 48,
        /// `XEN_DOMCTL_get_device_group`: [`GetDeviceGroup`].
        GetDeviceGroup = 50,
        /// `XEN_DOMCTL_debug_op`: single-stepping.
        DebugOp = 54,
        /// `XEN_DOMCTL_gethvmcontext_partial`: [`HvmContextPartial`].
        GetHvmContextPartial = 55,
        /// `XEN_DOMCTL_vm_event_op`: rings of introspection.
        VmEventOp = 56,
        /// `XEN_DOMCTL_mem_sharing_op`: sharing of equal pages.
        MemSharingOp = 57,
        /// `XEN_DOMCTL_gettscinfo`: [`TscInfo`].
        GetTscInfo = 59,
        /// `XEN_DOMCTL_settscinfo`: [`TscInfo`].
        SetTscInfo = 60,
        /// `XEN_DOMCTL_getpageframeinfo3`: [`GetPageFrameInfo3`].
        GetPageFrameInfo3 = 61,
        /// `XEN_DOMCTL_setvcpuextstate`: [`VcpuExtState`].
        SetVcpuExtState = 62,
        /// `XEN_DOMCTL_getvcpuextstate`: [`VcpuExtState`].
        GetVcpuExtState = 63,
        /// `XEN_DOMCTL_set_access_required`: introspection.
        SetAccessRequired = 64,
        /// `XEN_DOMCTL_audit_p2m`: check of the p2m.
        AuditP2m = 65,
        /// `XEN_DOMCTL_set_virq_handler`: [`SetVirqHandler`].
        SetVirqHandler = 66,
        /// `XEN_DOMCTL_set_broken_page_p2m`: [`SetBrokenPageP2m`].
        SetBrokenPageP2m = 67,
        /// `XEN_DOMCTL_setnodeaffinity`: [`NodeAffinity`].
        SetNodeAffinity = 68,
        /// `XEN_DOMCTL_getnodeaffinity`: [`NodeAffinity`].
        GetNodeAffinity = 69,
        /// `XEN_DOMCTL_cacheflush`: [`CacheFlush`].
        CacheFlush = 71,
        /// `XEN_DOMCTL_get_vcpu_msrs`: [`VcpuMsrs`].
        GetVcpuMsrs = 72,
        /// `XEN_DOMCTL_set_vcpu_msrs`: [`VcpuMsrs`].
        SetVcpuMsrs = 73,
        /// `XEN_DOMCTL_setvnumainfo`: [`Vnuma`].
        SetVnumaInfo = 74,
        /// `XEN_DOMCTL_psr_cmt_op`: cache monitoring.
        PsrCmtOp = 75,
        /// `XEN_DOMCTL_monitor_op`: events of introspection.
        MonitorOp = 77,
        /// `XEN_DOMCTL_psr_alloc`: cache allocation.
        PsrAlloc = 78,
        /// `XEN_DOMCTL_soft_reset`: no argument.
        SoftReset = 79,
        /// `XEN_DOMCTL_vuart_op`: of Arm.
        VuartOp = 81,
        /// `XEN_DOMCTL_get_cpu_policy`: [`CpuPolicy`].
        GetCpuPolicy = 82,
        /// `XEN_DOMCTL_set_cpu_policy`: [`CpuPolicy`].
        SetCpuPolicy = 83,
        /// `XEN_DOMCTL_vmtrace_op`: processor trace.
        VmtraceOp = 84,
        /// `XEN_DOMCTL_get_paging_mempool_size`: [`PagingMempool`].
        GetPagingMempoolSize = 85,
        /// `XEN_DOMCTL_set_paging_mempool_size`: [`PagingMempool`].
        SetPagingMempoolSize = 86,
        /// `XEN_DOMCTL_gdbsx_guestmemio`: debugger.
        GdbsxGuestMemio = 1000,
        /// `XEN_DOMCTL_gdbsx_pausevcpu`: debugger.
        GdbsxPauseVcpu = 1001,
        /// `XEN_DOMCTL_gdbsx_unpausevcpu`: debugger.
        GdbsxUnpauseVcpu = 1002,
        /// `XEN_DOMCTL_gdbsx_domstatus`: debugger.
        GdbsxDomStatus = 1003,
    }
}

layout! {
    /// `struct xen_domctl`: operation, domain and argument.
    pub struct XenDomctl, 144 bytes {
        /// [`DomctlOp`].
        pub cmd: u32,
        /// [`INTERFACE_VERSION`]; any other is refused.
        pub interface_version: u32,
        /// Which domain.
        pub domain: RawDomid,
        /// `_pad`: padding.
        pub _pad: [u16; 3],
        /// The argument.
        pub u: DomctlArgs,
    }
}

unions! {
    /// `u` of `struct xen_domctl`.
    pub union DomctlArgs: [u64; 16] {
        CreateDomain, GetDomainInfo, MaxMem, MaxVcpus, SetDomainHandle, SetDebugging, HypercallInit,
        SetTimeOffset, SendTrigger, Subscribe, AddressSize, SetTarget, SetVirqHandler,
        GetVcpuInfo, VcpuAffinity, NodeAffinity, VcpuContext, VcpuExtState, VcpuMsrs,
        SchedulerOp,
        GetPageFrameInfo3, ShadowOp, PagingMempool, MemoryMapping, IoportMapping, CacheFlush,
        SetBrokenPageP2m, Vnuma,
        IrqPermission, IomemPermission, IoportPermission, AssignDevice, GetDeviceGroup, BindPtIrq,
        HvmContext, HvmContextPartial, CpuPolicy, TscInfo,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn an_argument_comes_back_from_the_union() {
        let mut affinity = VcpuAffinity::new_zeroed();
        (affinity.vcpu, affinity.cpumap_soft.nr_bits) = (3, 8);
        assert_eq!(DomctlArgs::of(&affinity).view::<VcpuAffinity>(), affinity);
    }

    #[test]
    fn numbers_that_were_taken_back_name_nothing() {
        for hole in [0, 6, 23, 41, 49, 80, 87, 999, 1004] {
            assert_eq!(DomctlOp::new(hole), None, "{hole}");
        }
    }
}
