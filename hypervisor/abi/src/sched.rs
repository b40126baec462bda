//! Scheduling and shutdown of the calling domain (`sched.h`).

use crate::handle::GuestHandle;
use crate::{RawDomid, RawPort};

numbers! {
    /// Operation of `sched_op` (`SCHEDOP_*`).
    pub enum SchedOp: u32 {
        /// `SCHEDOP_yield`: let others run. No argument.
        Yield = 0,
        /// `SCHEDOP_block`: accept upcalls and wait for one. No argument.
        Block = 1,
        /// `SCHEDOP_shutdown`: stop the domain ([`SchedShutdown`]).
        Shutdown = 2,
        /// `SCHEDOP_poll`: wait for any of some ports ([`SchedPoll`]).
        Poll = 3,
        /// `SCHEDOP_remote_shutdown`: stop another domain ([`SchedRemoteShutdown`]).
        RemoteShutdown = 4,
        /// `SCHEDOP_shutdown_code`: record the reason before stopping ([`SchedShutdown`]).
        ShutdownCode = 5,
        /// `SCHEDOP_watchdog`: set, poke or destroy a watchdog ([`SchedWatchdog`]).
        Watchdog = 6,
        /// `SCHEDOP_pin_override`: pin the vcpu for a while ([`SchedPinOverride`]).
        PinOverride = 7,
    }

    /// Why a domain stopped (`SHUTDOWN_*`).
    pub enum ShutdownReason: u32 {
        /// `SHUTDOWN_poweroff`: asked for, do not restart.
        Poweroff = 0,
        /// `SHUTDOWN_reboot`: asked for, restart.
        Reboot = 1,
        /// `SHUTDOWN_suspend`: asked for, save its state.
        Suspend = 2,
        /// `SHUTDOWN_crash`: it failed.
        Crash = 3,
        /// `SHUTDOWN_watchdog`: its watchdog expired.
        Watchdog = 4,
        /// `SHUTDOWN_soft_reset`: asked for a new start in the same memory.
        SoftReset = 5,
    }
}

layout! {
    /// `struct sched_shutdown`
    pub struct SchedShutdown, 4 bytes {
        /// [`ShutdownReason`].
        pub reason: u32,
    }

    /// `struct sched_poll`: wait until a port has an event or time is up.
    pub struct SchedPoll, 24 bytes {
        /// The ports.
        pub ports: GuestHandle<RawPort>,
        /// How many.
        pub nr_ports: u32,
        /// Padding.
        pub _pad: u32,
        /// System time at which to give up, in ns; 0 never.
        pub timeout: u64,
    }

    /// `struct sched_remote_shutdown`
    pub struct SchedRemoteShutdown, 8 bytes {
        /// The domain to stop.
        pub domain_id: RawDomid,
        /// Padding.
        pub _pad: u16,
        /// [`ShutdownReason`].
        pub reason: u32,
    }

    /// `struct sched_watchdog`
    pub struct SchedWatchdog, 8 bytes {
        /// The watchdog, or 0 for a new one.
        pub id: u32,
        /// Seconds until it bites; 0 destroys it.
        pub timeout: u32,
    }

    /// `struct sched_pin_override`
    pub struct SchedPinOverride, 4 bytes {
        /// The pcpu; negative undoes the pinning.
        pub pcpu: i32,
    }
}
