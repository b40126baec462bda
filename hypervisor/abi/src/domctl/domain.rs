//! A domain as a whole: creation, limits, state.

use bitflags::bitflags;

use crate::arch_x86::ArchDomainConfig;
use crate::xen::DomainHandle;
use crate::{RawDomid, RawPort};

numbers! {
    /// Signal to a domain (`XEN_DOMCTL_SENDTRIGGER_*`).
    pub enum Trigger: u32 {
        /// `XEN_DOMCTL_SENDTRIGGER_NMI`
        Nmi = 0,
        /// `XEN_DOMCTL_SENDTRIGGER_RESET`
        Reset = 1,
        /// `XEN_DOMCTL_SENDTRIGGER_INIT`
        Init = 2,
        /// `XEN_DOMCTL_SENDTRIGGER_POWER`: the ACPI power button.
        Power = 3,
        /// `XEN_DOMCTL_SENDTRIGGER_SLEEP`: the ACPI sleep button.
        Sleep = 4,
    }
}

/// Shift of the shutdown reason in [`GetDomainInfo::flags`] (`XEN_DOMINF_shutdownshift`).
pub const SHUTDOWN_SHIFT: u32 = 16;
/// Mask of the shutdown reason after the shift (`XEN_DOMINF_shutdownmask`).
pub const SHUTDOWN_MASK: u32 = 255;
/// [`GetDomainInfo::max_vcpu_id`] of a domain without vcpus (`XEN_INVALID_MAX_VCPU_ID`).
pub const INVALID_MAX_VCPU_ID: u32 = u32::MAX;
/// Bits of [`CreateDomain::grant_opts`] with the highest grant table version
/// (`XEN_DOMCTL_GRANT_version_mask`).
pub const GRANT_VERSION_MASK: u32 = 0xf;
/// Flag of [`CreateDomain::iommu_opts`]: page tables of its own (`XEN_DOMCTL_IOMMU_no_sharept`).
pub const IOMMU_NO_SHAREPT: u32 = 1;

bitflags! {
    /// Kind of a new domain (`XEN_DOMCTL_CDF_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CreateFlags: u32 {
        /// `XEN_DOMCTL_CDF_hvm`: HVM or PVH, not PV.
        const HVM = 1 << 0;
        /// `XEN_DOMCTL_CDF_hap`: paging by the CPU (EPT).
        const HAP = 1 << 1;
        /// `XEN_DOMCTL_CDF_s3_integrity`: memory is checked over host sleep.
        const S3_INTEGRITY = 1 << 2;
        /// `XEN_DOMCTL_CDF_oos_off`: of shadow paging.
        const OOS_OFF = 1 << 3;
        /// `XEN_DOMCTL_CDF_xs_domain`: holds the XenStore.
        const XS_DOMAIN = 1 << 4;
        /// `XEN_DOMCTL_CDF_iommu`: may get devices.
        const IOMMU = 1 << 5;
        /// `XEN_DOMCTL_CDF_nested_virt`: may use VMX itself.
        const NESTED_VIRT = 1 << 6;
        /// `XEN_DOMCTL_CDF_vpmu`: gets performance counters.
        const VPMU = 1 << 7;
    }

    /// State of a domain (`XEN_DOMINF_*`), beside the shutdown reason.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DomainFlags: u32 {
        /// `XEN_DOMINF_dying`: being destroyed.
        const DYING = 1 << 0;
        /// `XEN_DOMINF_hvm_guest`: HVM or PVH.
        const HVM_GUEST = 1 << 1;
        /// `XEN_DOMINF_shutdown`: stopped; the reason is valid.
        const SHUTDOWN = 1 << 2;
        /// `XEN_DOMINF_paused`: paused by the toolstack.
        const PAUSED = 1 << 3;
        /// `XEN_DOMINF_blocked`: all vcpus wait for events.
        const BLOCKED = 1 << 4;
        /// `XEN_DOMINF_running`: a vcpu is on a pcpu.
        const RUNNING = 1 << 5;
        /// `XEN_DOMINF_debugged`: stopped by a debugger.
        const DEBUGGED = 1 << 6;
        /// `XEN_DOMINF_xs_domain`: holds the XenStore.
        const XS_DOMAIN = 1 << 7;
        /// `XEN_DOMINF_hap`: paging by the CPU (EPT).
        const HAP = 1 << 8;
    }
}

layout! {
    /// `struct xen_domctl_createdomain`
    pub struct CreateDomain, 64 bytes {
        /// Security label.
        pub ssidref: u32,
        /// Name for the toolstack.
        pub handle: DomainHandle,
        /// [`CreateFlags`].
        pub flags: u32,
        /// [`IOMMU_NO_SHAREPT`] or 0.
        pub iommu_opts: u32,
        /// Limit of vcpus.
        pub max_vcpus: u32,
        /// Highest port.
        pub max_evtchn_port: u32,
        /// Limit of grant table frames; negative for the host's default.
        pub max_grant_frames: i32,
        /// Limit of grant mapping frames; negative for the host's default.
        pub max_maptrack_frames: i32,
        /// Highest grant table version, in [`GRANT_VERSION_MASK`].
        pub grant_opts: u32,
        /// Bytes of the trace buffer of each vcpu.
        pub vmtrace_size: u32,
        /// CPU pool.
        pub cpupool_id: u32,
        /// The part of x86.
        pub arch: ArchDomainConfig,
    }

    /// `struct xen_domctl_getdomaininfo`: all out. The domain asked for,
    /// or the one with the next higher id.
    pub struct GetDomainInfo, 112 bytes {
        /// Id.
        pub domain: RawDomid,
        /// Zero.
        pub pad1: u16,
        /// [`DomainFlags`] and shutdown reason.
        pub flags: u32,
        /// Memory it has, in pages.
        pub tot_pages: u64,
        /// Memory it may have, in pages.
        pub max_pages: u64,
        /// Pages put aside for it and not taken yet.
        pub outstanding_pages: u64,
        /// Pages shared.
        pub shr_pages: u64,
        /// Pages paged out by the host.
        pub paged_pages: u64,
        /// Guest frame of its `shared_info`.
        pub shared_info_frame: u64,
        /// Time that its vcpus ran, in ns.
        pub cpu_time: u64,
        /// Vcpus that are up.
        pub nr_online_vcpus: u32,
        /// Highest vcpu id, or [`INVALID_MAX_VCPU_ID`].
        pub max_vcpu_id: u32,
        /// Security label.
        pub ssidref: u32,
        /// Name for the toolstack.
        pub handle: DomainHandle,
        /// CPU pool.
        pub cpupool: u32,
        /// Bits of a guest physical address.
        pub gpaddr_bits: u8,
        /// Zero.
        pub pad2: [u8; 7],
        /// The part of x86.
        pub arch_config: ArchDomainConfig,
    }

    /// `struct xen_domctl_max_mem`: limit of its memory.
    pub struct MaxMem, 8 bytes {
        /// In KiB.
        pub max_memkb: u64,
    }

    /// `struct xen_domctl_max_vcpus`: makes its vcpus.
    pub struct MaxVcpus, 4 bytes {
        /// How many; as at creation.
        pub max: u32,
    }

    /// `struct xen_domctl_setdomainhandle`
    pub struct SetDomainHandle, 16 bytes {
        /// New name for the toolstack.
        pub handle: DomainHandle,
    }

    /// `struct xen_domctl_setdebugging`
    pub struct SetDebugging, 1 bytes {
        /// Nonzero stops the domain at breakpoints.
        pub enable: u8,
    }

    /// `struct xen_domctl_hypercall_init`: fills a hypercall page.
    pub struct HypercallInit, 8 bytes {
        /// Guest frame.
        pub gmfn: u64,
    }

    /// `struct xen_domctl_settimeoffset`
    pub struct SetTimeOffset, 8 bytes {
        /// Offset of its wall clock from the host's, in s.
        pub time_offset_seconds: i64,
    }

    /// `struct xen_domctl_sendtrigger`
    pub struct SendTrigger, 8 bytes {
        /// [`Trigger`].
        pub trigger: u32,
        /// To which vcpu.
        pub vcpu: u32,
    }

    /// `struct xen_domctl_subscribe`: event to the domain itself when it stops for suspend.
    pub struct Subscribe, 4 bytes {
        /// Its port.
        pub port: RawPort,
    }

    /// `struct xen_domctl_address_size`: width of a PV guest.
    pub struct AddressSize, 4 bytes {
        /// 32 or 64.
        pub size: u32,
    }

    /// `struct xen_domctl_set_target`: makes it the device model of another.
    pub struct SetTarget, 2 bytes {
        /// That domain.
        pub target: RawDomid,
    }

    /// `struct xen_domctl_set_virq_handler`: gives it a virtual interrupt of Dom0.
    pub struct SetVirqHandler, 4 bytes {
        /// [`Virq`](crate::xen::Virq).
        pub virq: u32,
    }
}
