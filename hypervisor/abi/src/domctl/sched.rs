//! Share of a domain in the pcpus.

use crate::handle::GuestHandle;

numbers! {
    /// Scheduler (`XEN_SCHEDULER_*`).
    pub enum Scheduler: u32 {
        /// `XEN_SCHEDULER_CREDIT`
        Credit = 5,
        /// `XEN_SCHEDULER_CREDIT2`
        Credit2 = 6,
        /// `XEN_SCHEDULER_ARINC653`
        Arinc653 = 7,
        /// `XEN_SCHEDULER_RTDS`
        Rtds = 8,
        /// `XEN_SCHEDULER_NULL`
        Null = 9,
    }

    /// Command of [`SchedulerOp`] (`XEN_DOMCTL_SCHEDOP_*`).
    pub enum SchedulerCmd: u32 {
        /// `XEN_DOMCTL_SCHEDOP_putinfo`: set the domain's parameters.
        PutInfo = 0,
        /// `XEN_DOMCTL_SCHEDOP_getinfo`: get them.
        GetInfo = 1,
        /// `XEN_DOMCTL_SCHEDOP_putvcpuinfo`: set those of vcpus.
        PutVcpuInfo = 2,
        /// `XEN_DOMCTL_SCHEDOP_getvcpuinfo`: get those.
        GetVcpuInfo = 3,
    }
}

/// Flag of [`SchedRtds`]: run beyond the budget if a pcpu is free (`XEN_DOMCTL_SCHEDRT_extra`).
pub const SCHEDRT_EXTRA: u32 = 1;

layout! {
    /// `struct xen_domctl_scheduler_op`
    pub struct SchedulerOp, 24 bytes {
        /// [`Scheduler`] that the caller thinks it is.
        pub sched_id: u32,
        /// [`SchedulerCmd`].
        pub cmd: u32,
        /// The parameters.
        pub u: SchedulerArgs,
    }

    /// `struct xen_domctl_sched_credit`
    pub struct SchedCredit, 4 bytes {
        /// Share against other domains: 1 to 65535, 256 if not set; 0 keeps it.
        pub weight: u16,
        /// Limit, in percent of one pcpu; 0 none, 65535 keeps it.
        pub cap: u16,
    }

    /// `struct xen_domctl_sched_credit2`
    pub struct SchedCredit2, 4 bytes {
        /// Share against other domains.
        pub weight: u16,
        /// Limit, in percent of one pcpu.
        pub cap: u16,
    }

    /// `struct xen_domctl_sched_rtds`
    pub struct SchedRtds, 12 bytes {
        /// Period, in us.
        pub period: u32,
        /// Budget in each period, in us.
        pub budget: u32,
        /// [`SCHEDRT_EXTRA`] or 0.
        pub flags: u32,
    }

    /// `struct xen_domctl_schedparam_vcpu`: parameters of one vcpu.
    pub struct SchedparamVcpu, 16 bytes {
        /// The parameters.
        pub u: SchedparamArgs,
        /// Which vcpu.
        pub vcpuid: u32,
    }

    /// `typeof(((struct xen_domctl_scheduler_op *)0)->u.v)`: parameters of vcpus.
    pub struct SchedVcpus, 16 bytes {
        /// The parameters.
        pub vcpus: GuestHandle<SchedparamVcpu>,
        /// How many.
        pub nr_vcpus: u32,
        /// Padding.
        pub padding: u32,
    }
}

unions! {
    /// `u` of `struct xen_domctl_scheduler_op`.
    pub union SchedulerArgs: [u64; 2] { SchedCredit, SchedCredit2, SchedRtds, SchedVcpus }

    /// `u` of `struct xen_domctl_schedparam_vcpu`.
    pub union SchedparamArgs: [u32; 3] { SchedCredit, SchedCredit2, SchedRtds }
}
