//! Operations of the toolstack on the whole host (`sysctl.h`, version 0x15).
//!
//! ```text
//! xen_sysctl   cmd:32  interface_version:32  u:128 bytes
//! ```
//!
//! Operations on what Kigumi does not have (trace buffers, power management by the host,
//! coverage, live patches, cache allocation) have a number here but no structure.

use bitflags::bitflags;

use crate::RawDomid;
use crate::arch_x86::{CpuidLeaf, MsrEntry};
use crate::domctl::GetDomainInfo;
use crate::handle::GuestHandle;
use crate::physdev::PhysdevPciDevice;
use crate::xen::XenctlBitmap;

/// `interface_version` of this header (`XEN_SYSCTL_INTERFACE_VERSION`).
pub const INTERFACE_VERSION: u32 = 0x15;
/// Core of a pcpu that is offline (`XEN_INVALID_CORE_ID`).
pub const INVALID_CORE_ID: u32 = u32::MAX;
/// Socket of a pcpu that is offline (`XEN_INVALID_SOCKET_ID`).
pub const INVALID_SOCKET_ID: u32 = u32::MAX;
/// Node of a pcpu that is offline (`XEN_INVALID_NODE_ID`).
pub const INVALID_NODE_ID: u32 = u32::MAX;
/// Memory of a node that is offline (`XEN_INVALID_MEM_SZ`).
pub const INVALID_MEM_SZ: u64 = 0xffff_ffff;
/// Distance to a node that is offline (`XEN_INVALID_NODE_DIST`).
pub const INVALID_NODE_DIST: u32 = u32::MAX;
/// Node of a PCI device that does not exist (`XEN_INVALID_DEV`).
pub const INVALID_DEV: u32 = u32::MAX - 1;
/// Any CPU pool or pcpu (`XEN_SYSCTL_CPUPOOL_PAR_ANY`).
pub const CPUPOOL_PAR_ANY: u32 = u32::MAX;
/// Longest rate limit of a scheduler, in us (`XEN_SYSCTL_SCHED_RATELIMIT_MAX`).
pub const SCHED_RATELIMIT_MAX: u32 = 500_000;
/// Shortest rate limit of a scheduler, in us (`XEN_SYSCTL_SCHED_RATELIMIT_MIN`).
pub const SCHED_RATELIMIT_MIN: u32 = 100;
/// Longest time slice of the credit scheduler, in ms (`XEN_SYSCTL_CSCHED_TSLICE_MAX`).
pub const CSCHED_TSLICE_MAX: u32 = 1000;
/// Shortest time slice of the credit scheduler, in ms (`XEN_SYSCTL_CSCHED_TSLICE_MIN`).
pub const CSCHED_TSLICE_MIN: u32 = 1;
/// Longest migration delay of the credit scheduler, in us (`XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US`).
pub const CSCHED_MGR_DLY_MAX_US: u32 = 100_000;

numbers! {
    /// Operation of `sysctl` (`XEN_SYSCTL_*`).
    pub enum SysctlOp: u32 {
        /// `XEN_SYSCTL_readconsole`: [`ReadConsole`].
        ReadConsole = 1,
        /// `XEN_SYSCTL_tbuf_op`: trace buffers.
        TbufOp = 2,
        /// `XEN_SYSCTL_physinfo`: [`PhysInfo`].
        PhysInfo = 3,
        /// `XEN_SYSCTL_sched_id`: [`SchedId`].
        SchedId = 4,
        /// `XEN_SYSCTL_perfc_op`: performance counters of the hypervisor.
        PerfcOp = 5,
        /// `XEN_SYSCTL_getdomaininfolist`: [`GetDomainInfoList`].
        GetDomainInfoList = 6,
        /// `XEN_SYSCTL_debug_keys`: [`DebugKeys`].
        DebugKeys = 7,
        /// `XEN_SYSCTL_getcpuinfo`: [`GetCpuInfo`].
        GetCpuInfo = 8,
        /// `XEN_SYSCTL_availheap`: [`AvailHeap`].
        AvailHeap = 9,
        /// `XEN_SYSCTL_get_pmstat`: power states.
        GetPmstat = 10,
        /// `XEN_SYSCTL_cpu_hotplug`: [`CpuHotplug`].
        CpuHotplug = 11,
        /// `XEN_SYSCTL_pm_op`: power management.
        PmOp = 12,
        /// `XEN_SYSCTL_page_offline_op`: broken memory.
        PageOfflineOp = 14,
        /// `XEN_SYSCTL_lockprof_op`: lock profile.
        LockprofOp = 15,
        /// `XEN_SYSCTL_cputopoinfo`: [`CpuTopoInfo`].
        CpuTopoInfo = 16,
        /// `XEN_SYSCTL_numainfo`: [`NumaInfo`].
        NumaInfo = 17,
        /// `XEN_SYSCTL_cpupool_op`: [`CpupoolOp`].
        CpupoolOp = 18,
        /// `XEN_SYSCTL_scheduler_op`: [`SchedulerOp`].
        SchedulerOp = 19,
        /// `XEN_SYSCTL_coverage_op`: test coverage.
        CoverageOp = 20,
        /// `XEN_SYSCTL_psr_cmt_op`: cache monitoring.
        PsrCmtOp = 21,
        /// `XEN_SYSCTL_pcitopoinfo`: [`PciTopoInfo`].
        PciTopoInfo = 22,
        /// `XEN_SYSCTL_psr_alloc`: cache allocation.
        PsrAlloc = 23,
        /// `XEN_SYSCTL_get_cpu_levelling_caps`: [`CpuLevellingCaps`].
        GetCpuLevellingCaps = 25,
        /// `XEN_SYSCTL_get_cpu_featureset`: [`CpuFeatureset`].
        GetCpuFeatureset = 26,
        /// `XEN_SYSCTL_livepatch_op`: live patches.
        LivepatchOp = 27,
        /// `XEN_SYSCTL_get_cpu_policy`: [`CpuPolicy`].
        GetCpuPolicy = 29,
    }

    /// Command of [`CpupoolOp`] (`XEN_SYSCTL_CPUPOOL_OP_*`).
    pub enum CpupoolCmd: u32 {
        /// `XEN_SYSCTL_CPUPOOL_OP_CREATE`: make a pool; out: its id.
        Create = 1,
        /// `XEN_SYSCTL_CPUPOOL_OP_DESTROY`
        Destroy = 2,
        /// `XEN_SYSCTL_CPUPOOL_OP_INFO`: the pool, or the one with the next higher id.
        Info = 3,
        /// `XEN_SYSCTL_CPUPOOL_OP_ADDCPU`
        AddCpu = 4,
        /// `XEN_SYSCTL_CPUPOOL_OP_RMCPU`
        RmCpu = 5,
        /// `XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN`
        MoveDomain = 6,
        /// `XEN_SYSCTL_CPUPOOL_OP_FREEINFO`: the pcpus in no pool.
        FreeInfo = 7,
    }

    /// Command of [`SchedulerOp`] (`XEN_SYSCTL_SCHEDOP_*`).
    pub enum SchedulerCmd: u32 {
        /// `XEN_SYSCTL_SCHEDOP_putinfo`: set the parameters.
        PutInfo = 0,
        /// `XEN_SYSCTL_SCHEDOP_getinfo`: get them.
        GetInfo = 1,
    }

    /// Command of [`CpuHotplug`] (`XEN_SYSCTL_CPU_HOTPLUG_*`).
    pub enum CpuHotplugCmd: u32 {
        /// `XEN_SYSCTL_CPU_HOTPLUG_ONLINE`
        Online = 0,
        /// `XEN_SYSCTL_CPU_HOTPLUG_OFFLINE`
        Offline = 1,
        /// `XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE`: start the sibling threads.
        SmtEnable = 2,
        /// `XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE`: stop them.
        SmtDisable = 3,
    }

    /// Which features [`CpuFeatureset`] asks for (`XEN_SYSCTL_cpu_featureset_*`).
    pub enum FeaturesetIndex: u32 {
        /// `XEN_SYSCTL_cpu_featureset_raw`: of the CPU.
        Raw = 0,
        /// `XEN_SYSCTL_cpu_featureset_host`: in use by the hypervisor.
        Host = 1,
        /// `XEN_SYSCTL_cpu_featureset_pv`: of a PV guest.
        Pv = 2,
        /// `XEN_SYSCTL_cpu_featureset_hvm`: of an HVM guest.
        Hvm = 3,
        /// `XEN_SYSCTL_cpu_featureset_pv_max`: that a PV guest can have.
        PvMax = 4,
        /// `XEN_SYSCTL_cpu_featureset_hvm_max`: that an HVM guest can have.
        HvmMax = 5,
    }

    /// Which policy [`CpuPolicy`] asks for (`XEN_SYSCTL_cpu_policy_*`).
    pub enum CpuPolicyIndex: u32 {
        /// `XEN_SYSCTL_cpu_policy_raw`: of the CPU.
        Raw = 0,
        /// `XEN_SYSCTL_cpu_policy_host`: in use by the hypervisor.
        Host = 1,
        /// `XEN_SYSCTL_cpu_policy_pv_max`: that a PV guest can have.
        PvMax = 2,
        /// `XEN_SYSCTL_cpu_policy_hvm_max`: that an HVM guest can have.
        HvmMax = 3,
        /// `XEN_SYSCTL_cpu_policy_pv_default`: of a PV guest.
        PvDefault = 4,
        /// `XEN_SYSCTL_cpu_policy_hvm_default`: of an HVM guest.
        HvmDefault = 5,
    }
}

bitflags! {
    /// What the host can do (`XEN_SYSCTL_PHYSCAP_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PhysCap: u32 {
        /// `XEN_SYSCTL_PHYSCAP_hvm`: HVM guests.
        const HVM = 1 << 0;
        /// `XEN_SYSCTL_PHYSCAP_pv`: PV guests.
        const PV = 1 << 1;
        /// `XEN_SYSCTL_PHYSCAP_directio`: devices in the hands of guests.
        const DIRECTIO = 1 << 2;
        /// `XEN_SYSCTL_PHYSCAP_hap`: paging by the CPU (EPT).
        const HAP = 1 << 3;
        /// `XEN_SYSCTL_PHYSCAP_shadow`: shadow paging.
        const SHADOW = 1 << 4;
        /// `XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share`: EPT and IOMMU share page tables.
        const IOMMU_HAP_PT_SHARE = 1 << 5;
        /// `XEN_SYSCTL_PHYSCAP_vmtrace`: processor trace.
        const VMTRACE = 1 << 6;
        /// `XEN_SYSCTL_PHYSCAP_vpmu`: performance counters for guests.
        const VPMU = 1 << 7;
        /// `XEN_SYSCTL_PHYSCAP_gnttab_v1`: grant tables of version 1.
        const GNTTAB_V1 = 1 << 8;
        /// `XEN_SYSCTL_PHYSCAP_gnttab_v2`: grant tables of version 2.
        const GNTTAB_V2 = 1 << 9;
    }

    /// Which CPUID registers the CPU can hide from PV guests (`XEN_SYSCTL_CPU_LEVELCAP_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LevelCap: u32 {
        /// `XEN_SYSCTL_CPU_LEVELCAP_faulting`: all, by a fault.
        const FAULTING = 1 << 0;
        /// `XEN_SYSCTL_CPU_LEVELCAP_ecx`: leaf 1 ECX.
        const ECX = 1 << 1;
        /// `XEN_SYSCTL_CPU_LEVELCAP_edx`: leaf 1 EDX.
        const EDX = 1 << 2;
        /// `XEN_SYSCTL_CPU_LEVELCAP_extd_ecx`: leaf 80000001H ECX.
        const EXTD_ECX = 1 << 3;
        /// `XEN_SYSCTL_CPU_LEVELCAP_extd_edx`: leaf 80000001H EDX.
        const EXTD_EDX = 1 << 4;
        /// `XEN_SYSCTL_CPU_LEVELCAP_xsave_eax`: leaf DH, sub-leaf 1 EAX.
        const XSAVE_EAX = 1 << 5;
        /// `XEN_SYSCTL_CPU_LEVELCAP_thermal_ecx`: leaf 6 ECX.
        const THERMAL_ECX = 1 << 6;
        /// `XEN_SYSCTL_CPU_LEVELCAP_l7s0_eax`: leaf 7, sub-leaf 0 EAX.
        const L7S0_EAX = 1 << 7;
        /// `XEN_SYSCTL_CPU_LEVELCAP_l7s0_ebx`: leaf 7, sub-leaf 0 EBX.
        const L7S0_EBX = 1 << 8;
    }
}

layout! {
    /// `struct xen_sysctl`: operation and argument.
    pub struct XenSysctl, 136 bytes {
        /// [`SysctlOp`].
        pub cmd: u32,
        /// [`INTERFACE_VERSION`]; any other is refused.
        pub interface_version: u32,
        /// The argument.
        pub u: SysctlArgs,
    }

    /// `struct xen_sysctl_readconsole`: read the hypervisor's log ring.
    pub struct ReadConsole, 24 bytes {
        /// Nonzero empties the ring.
        pub clear: u8,
        /// Nonzero starts at `index`, not at the oldest byte.
        pub incremental: u8,
        /// `pad0`, `pad1`: padding.
        pub _pad0: [u8; 2],
        /// Where to start; out: where it ended.
        pub index: u32,
        /// The bytes; out.
        pub buffer: GuestHandle<u8>,
        /// Bytes there is room for, then bytes written.
        pub count: u32,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct xen_sysctl_physinfo`: the host; all out.
    pub struct PhysInfo, 112 bytes {
        /// Threads of a core.
        pub threads_per_core: u32,
        /// Cores of a socket.
        pub cores_per_socket: u32,
        /// Pcpus online.
        pub nr_cpus: u32,
        /// Highest pcpu id.
        pub max_cpu_id: u32,
        /// NUMA nodes online.
        pub nr_nodes: u32,
        /// Highest node id.
        pub max_node_id: u32,
        /// TSC frequency, in kHz.
        pub cpu_khz: u32,
        /// [`PhysCap`].
        pub capabilities: u32,
        /// Of Arm.
        pub arch_capabilities: u32,
        /// `pad`: padding.
        pub _pad: u32,
        /// Memory, in pages.
        pub total_pages: u64,
        /// Free memory, in pages.
        pub free_pages: u64,
        /// Memory to be scrubbed, in pages.
        pub scrub_pages: u64,
        /// Memory put aside for domains, in pages.
        pub outstanding_pages: u64,
        /// Highest machine frame.
        pub max_mfn: u64,
        /// The first words of the host's featureset.
        pub hw_cap: [u32; 8],
    }

    /// `struct xen_sysctl_sched_id`: the scheduler.
    pub struct SchedId, 4 bytes {
        /// [`Scheduler`](crate::domctl::Scheduler); out.
        pub sched_id: u32,
    }

    /// `struct xen_sysctl_getdomaininfolist`: several domains.
    pub struct GetDomainInfoList, 24 bytes {
        /// Lowest id wanted.
        pub first_domain: RawDomid,
        /// Padding.
        pub _pad0: u16,
        /// Domains there is room for.
        pub max_domains: u32,
        /// The domains; out.
        pub buffer: GuestHandle<GetDomainInfo>,
        /// Domains written; out.
        pub num_domains: u32,
        /// Padding.
        pub _pad1: u32,
    }

    /// `struct xen_sysctl_debug_keys`: keys as if typed at the hypervisor's console.
    pub struct DebugKeys, 16 bytes {
        /// The keys.
        pub keys: GuestHandle<u8>,
        /// How many.
        pub nr_keys: u32,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct xen_sysctl_cpuinfo`: one pcpu.
    pub struct CpuInfo, 8 bytes {
        /// Time that it was idle, in ns.
        pub idletime: u64,
    }

    /// `struct xen_sysctl_getcpuinfo`: the pcpus.
    pub struct GetCpuInfo, 24 bytes {
        /// Pcpus there is room for.
        pub max_cpus: u32,
        /// Padding.
        pub _pad0: u32,
        /// The pcpus; out.
        pub info: GuestHandle<CpuInfo>,
        /// Pcpus written; out.
        pub nr_cpus: u32,
        /// Padding.
        pub _pad1: u32,
    }

    /// `struct xen_sysctl_availheap`: free memory.
    pub struct AvailHeap, 24 bytes {
        /// Least address width.
        pub min_bitwidth: u32,
        /// Greatest address width, 0 any.
        pub max_bitwidth: u32,
        /// NUMA node, -1 any.
        pub node: i32,
        /// Padding.
        pub _pad: u32,
        /// Bytes; out.
        pub avail_bytes: u64,
    }

    /// `struct xen_sysctl_cpu_hotplug`: start or stop a pcpu.
    pub struct CpuHotplug, 8 bytes {
        /// Which.
        pub cpu: u32,
        /// [`CpuHotplugCmd`].
        pub op: u32,
    }

    /// `struct xen_sysctl_cputopo`: where one pcpu is.
    pub struct CpuTopo, 12 bytes {
        /// Core in the socket.
        pub core: u32,
        /// Socket.
        pub socket: u32,
        /// NUMA node.
        pub node: u32,
    }

    /// `struct xen_sysctl_cputopoinfo`: where the pcpus are.
    pub struct CpuTopoInfo, 16 bytes {
        /// Pcpus there is room for, then pcpus; a null list asks how many.
        pub num_cpus: u32,
        /// Padding.
        pub _pad: u32,
        /// The pcpus; out.
        pub cputopo: GuestHandle<CpuTopo>,
    }

    /// `struct xen_sysctl_pcitopoinfo`: where PCI devices are.
    pub struct PciTopoInfo, 24 bytes {
        /// Devices in the lists; out: how many were looked at.
        pub num_devs: u32,
        /// Padding.
        pub _pad: u32,
        /// The devices.
        pub devs: GuestHandle<PhysdevPciDevice>,
        /// Their NUMA nodes; out.
        pub nodes: GuestHandle<u32>,
    }

    /// `struct xen_sysctl_meminfo`: memory of one NUMA node, in bytes.
    pub struct MemInfo, 16 bytes {
        /// All.
        pub memsize: u64,
        /// Free.
        pub memfree: u64,
    }

    /// `struct xen_sysctl_numainfo`: the NUMA nodes.
    pub struct NumaInfo, 24 bytes {
        /// Nodes there is room for, then nodes; null lists ask how many.
        pub num_nodes: u32,
        /// Padding.
        pub _pad: u32,
        /// Their memory; out.
        pub meminfo: GuestHandle<MemInfo>,
        /// Their distances, one row for each node; out.
        pub distance: GuestHandle<u32>,
    }

    /// `struct xen_sysctl_cpupool_op`: CPU pools.
    pub struct CpupoolOp, 40 bytes {
        /// [`CpupoolCmd`].
        pub op: u32,
        /// The pool; in or out.
        pub cpupool_id: u32,
        /// Its scheduler; in or out.
        pub sched_id: u32,
        /// Domain to move.
        pub domid: u32,
        /// Pcpu to add or remove.
        pub cpu: u32,
        /// Domains in the pool; out.
        pub n_dom: u32,
        /// Pcpus in the pool; out.
        pub cpumap: XenctlBitmap,
    }

    /// `struct xen_sysctl_credit_schedule`: parameters of the credit scheduler.
    pub struct CreditSchedule, 12 bytes {
        /// Time slice, in ms.
        pub tslice_ms: u32,
        /// Least time a vcpu runs before another may take over, in us; 0 none.
        pub ratelimit_us: u32,
        /// Time for which a vcpu's cache is taken to be warm, in us.
        pub vcpu_migr_delay_us: u32,
    }

    /// `struct xen_sysctl_credit2_schedule`: parameters of the credit2 scheduler.
    pub struct Credit2Schedule, 4 bytes {
        /// Least time a vcpu runs before another may take over, in us.
        pub ratelimit_us: u32,
    }

    /// `struct xen_sysctl_scheduler_op`: parameters of a pool's scheduler.
    pub struct SchedulerOp, 32 bytes {
        /// The pool.
        pub cpupool_id: u32,
        /// [`Scheduler`](crate::domctl::Scheduler) that the caller thinks it is.
        pub sched_id: u32,
        /// [`SchedulerCmd`].
        pub cmd: u32,
        /// Padding.
        pub _pad: u32,
        /// The parameters.
        pub u: SchedulerArgs,
    }

    /// `struct xen_sysctl_cpu_levelling_caps`
    pub struct CpuLevellingCaps, 4 bytes {
        /// [`LevelCap`]; out.
        pub caps: u32,
    }

    /// `struct xen_sysctl_cpu_featureset`: features as words (`arch-x86/cpufeatureset.h`).
    pub struct CpuFeatureset, 16 bytes {
        /// [`FeaturesetIndex`].
        pub index: u32,
        /// Words there is room for, then words; a null list asks how many.
        pub nr_features: u32,
        /// The words; out.
        pub features: GuestHandle<u32>,
    }

    /// `struct xen_sysctl_cpu_policy`: leaves and MSRs of a policy.
    pub struct CpuPolicy, 32 bytes {
        /// [`CpuPolicyIndex`].
        pub index: u32,
        /// Leaves there is room for, then leaves; a null list asks how many.
        pub nr_leaves: u32,
        /// MSRs there is room for, then MSRs; a null list asks how many.
        pub nr_msrs: u32,
        /// `_rsvd`: must be zero.
        pub rsvd: u32,
        /// The leaves; out.
        pub leaves: GuestHandle<CpuidLeaf>,
        /// The MSRs; out.
        pub msrs: GuestHandle<MsrEntry>,
    }
}

unions! {
    /// `u` of `struct xen_sysctl`.
    pub union SysctlArgs: [u64; 16] {
        ReadConsole, PhysInfo, SchedId, GetDomainInfoList, DebugKeys, GetCpuInfo, AvailHeap, CpuHotplug,
        CpuTopoInfo, PciTopoInfo, NumaInfo, CpupoolOp, SchedulerOp, CpuLevellingCaps, CpuFeatureset,
        CpuPolicy,
    }

    /// `u` of `struct xen_sysctl_scheduler_op`.
    pub union SchedulerArgs: [u64; 2] { CreditSchedule, Credit2Schedule }
}
