//! Operations on the calling domain's vcpus (`vcpu.h`).

use bitflags::bitflags;

use crate::handle::GuestHandle;
use crate::xen::VcpuTimeInfo;

numbers! {
    /// Operation of `vcpu_op` (`VCPUOP_*`): the arguments are operation, vcpu and structure.
    pub enum VcpuOp: u32 {
        /// `VCPUOP_initialise`: registers of a vcpu that never ran
        /// ([`VcpuHvmContext`](crate::hvm_vcpu::VcpuHvmContext)).
        Initialise = 0,
        /// `VCPUOP_up`: let it run.
        Up = 1,
        /// `VCPUOP_down`: stop it.
        Down = 2,
        /// `VCPUOP_is_up`: returns 1 if it may run.
        IsUp = 3,
        /// `VCPUOP_get_runstate_info`: [`VcpuRunstateInfo`].
        GetRunstateInfo = 4,
        /// `VCPUOP_register_runstate_memory_area`: [`VcpuRegisterRunstateMemoryArea`].
        RegisterRunstateMemoryArea = 5,
        /// `VCPUOP_set_periodic_timer`: [`VcpuSetPeriodicTimer`].
        SetPeriodicTimer = 6,
        /// `VCPUOP_stop_periodic_timer`
        StopPeriodicTimer = 7,
        /// `VCPUOP_set_singleshot_timer`: [`VcpuSetSingleshotTimer`].
        SetSingleshotTimer = 8,
        /// `VCPUOP_stop_singleshot_timer`
        StopSingleshotTimer = 9,
        /// `VCPUOP_register_vcpu_info`: [`VcpuRegisterVcpuInfo`].
        RegisterVcpuInfo = 10,
        /// `VCPUOP_send_nmi`: NMI to the vcpu.
        SendNmi = 11,
        /// `VCPUOP_get_physid`: [`VcpuGetPhysid`].
        GetPhysid = 12,
        /// `VCPUOP_register_vcpu_time_memory_area`: [`VcpuRegisterTimeMemoryArea`].
        RegisterVcpuTimeMemoryArea = 13,
    }

    /// What a vcpu is doing (`RUNSTATE_*`).
    pub enum Runstate: u32 {
        /// `RUNSTATE_running`: on a pcpu.
        Running = 0,
        /// `RUNSTATE_runnable`: waits for a pcpu.
        Runnable = 1,
        /// `RUNSTATE_blocked`: waits for an event.
        Blocked = 2,
        /// `RUNSTATE_offline`: neither; paused or down.
        Offline = 3,
    }
}

/// Bit of `state_entry_time` that is set while the area is being written (`XEN_RUNSTATE_UPDATE`).
pub const RUNSTATE_UPDATE: u64 = 1 << 63;

bitflags! {
    /// Flags of [`VcpuSetSingleshotTimer`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SingleshotFlags: u32 {
        /// `VCPU_SSHOTTMR_future`: fail with `ETIME` if the time has passed.
        const FUTURE = 1 << 0;
    }
}

layout! {
    /// `struct vcpu_runstate_info`: where a vcpu's time went.
    pub struct VcpuRunstateInfo, 48 bytes {
        /// [`Runstate`].
        pub state: u32,
        /// Padding.
        pub _pad: u32,
        /// System time at which the state began, in ns.
        pub state_entry_time: u64,
        /// Time in each [`Runstate`], in ns.
        pub time: [u64; 4],
    }

    /// `struct vcpu_register_runstate_memory_area`: where to keep the runstate up to date.
    pub struct VcpuRegisterRunstateMemoryArea, 8 bytes {
        /// `addr`: guest virtual address.
        pub addr: GuestHandle<VcpuRunstateInfo>,
    }

    /// `struct vcpu_set_periodic_timer`
    pub struct VcpuSetPeriodicTimer, 8 bytes {
        /// Period, in ns; at least 1 ms.
        pub period_ns: u64,
    }

    /// `struct vcpu_set_singleshot_timer`
    pub struct VcpuSetSingleshotTimer, 16 bytes {
        /// System time at which to fire, in ns.
        pub timeout_abs_ns: u64,
        /// [`SingleshotFlags`].
        pub flags: u32,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct vcpu_register_vcpu_info`: where to keep the `vcpu_info`.
    pub struct VcpuRegisterVcpuInfo, 16 bytes {
        /// Guest frame.
        pub mfn: u64,
        /// Byte in the frame; the structure may not cross its end.
        pub offset: u32,
        /// Unused.
        pub rsvd: u32,
    }

    /// `struct vcpu_get_physid`: the pcpu to which a Dom0 vcpu is pinned.
    pub struct VcpuGetPhysid, 8 bytes {
        /// APIC id in the low half, ACPI processor id in the high half.
        pub phys_id: u64,
    }

    /// `struct vcpu_register_time_memory_area`: where to keep a copy of the PV clock.
    pub struct VcpuRegisterTimeMemoryArea, 8 bytes {
        /// `addr`: guest virtual address.
        pub addr: GuestHandle<VcpuTimeInfo>,
    }
}
