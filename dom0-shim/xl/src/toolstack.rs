//! What the shell orders and asks: the interface of the toolstack.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use xl_config::domain::{Disk, DomainConfig, PcpuSpec, Vif};

/// A domain's number.
pub type DomId = u16;

/// Why the toolstack could not do something, in words for the administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Result of an order.
pub type Done<T = ()> = Result<T, Failure>;

/// Why a domain stopped by itself (`sched.h`, `SHUTDOWN_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It powered off.
    Poweroff,
    /// It wants to start again.
    Reboot,
    /// It was suspended.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog fired.
    Watchdog,
    /// It wants to start again without losing its memory.
    SoftReset,
    /// Another reason, by number.
    Other(u8),
}

/// What is known of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// Its name; empty where it has none.
    pub name: String,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// A vcpu of it runs.
    pub running: bool,
    /// All of its vcpus wait for events.
    pub blocked: bool,
    /// It is paused by order.
    pub paused: bool,
    /// It stopped by itself.
    pub shutdown: Option<Reason>,
    /// It is being destroyed.
    pub dying: bool,
    /// Its vcpus that are online.
    pub online_vcpus: u32,
    /// The number of its highest vcpu.
    pub max_vcpu: u32,
    /// Time that its vcpus ran, ns.
    pub cpu_ns: u64,
    /// Memory that it has, KiB.
    pub memory_kib: u64,
    /// Most memory that it may have, KiB; `None` for no limit.
    pub max_memory_kib: Option<u64>,
    /// Security label's number.
    pub ssid: u32,
    /// Its network interfaces and disks, with what went through them.
    pub devices: DeviceCounts,
}

/// Devices of a domain and what went through them, by their numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceCounts {
    /// Network interfaces.
    pub nets: Vec<(u32, NetCounts)>,
    /// Disks.
    pub disks: Vec<(u32, DiskCounts)>,
}

impl DeviceCounts {
    /// What went through all interfaces.
    pub(crate) fn net(&self) -> NetCounts {
        self.nets.iter().fold(NetCounts::default(), |sum, (_, net)| NetCounts {
            sent_bytes: sum.sent_bytes.saturating_add(net.sent_bytes),
            received_bytes: sum.received_bytes.saturating_add(net.received_bytes),
            sent_packets: sum.sent_packets.saturating_add(net.sent_packets),
            received_packets: sum.received_packets.saturating_add(net.received_packets),
            dropped: sum.dropped.saturating_add(net.dropped),
        })
    }

    /// What went through all disks.
    pub(crate) fn disk(&self) -> DiskCounts {
        self.disks.iter().fold(DiskCounts::default(), |sum, (_, disk)| DiskCounts {
            delayed: sum.delayed.saturating_add(disk.delayed),
            reads: sum.reads.saturating_add(disk.reads),
            writes: sum.writes.saturating_add(disk.writes),
            sectors_read: sum.sectors_read.saturating_add(disk.sectors_read),
            sectors_written: sum.sectors_written.saturating_add(disk.sectors_written),
        })
    }
}

/// What went through a disk (BLK-24).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCounts {
    /// Requests that had to wait for memory or a place in the queue.
    pub delayed: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
    /// Sectors read.
    pub sectors_read: u64,
    /// Sectors written.
    pub sectors_written: u64,
}

/// What went through an interface (NET-25), seen from the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetCounts {
    /// Bytes that it sent.
    pub sent_bytes: u64,
    /// Bytes that it received.
    pub received_bytes: u64,
    /// Packets that it sent.
    pub sent_packets: u64,
    /// Packets that it received.
    pub received_packets: u64,
    /// Packets for it that were dropped.
    pub dropped: u64,
}

/// What is known of a vcpu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vcpu {
    /// Its number.
    pub number: u32,
    /// Whether it is online.
    pub online: bool,
    /// Whether it waits for an event.
    pub blocked: bool,
    /// Whether it runs.
    pub running: bool,
    /// The pcpu that it runs on or ran on last.
    pub pcpu: u32,
    /// Time that it ran, ns.
    pub cpu_ns: u64,
    /// Pcpus that it may run on, by number.
    pub hard: Vec<u32>,
    /// Pcpus that it runs on best.
    pub soft: Vec<u32>,
}

/// A domain's share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Weight, 1 to 65535.
    pub weight: u16,
    /// Cap, percent of one pcpu; 0 is no limit.
    pub cap: u16,
}

/// What holds for all domains of the credit scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slices {
    /// Time slice, ms.
    pub tslice_ms: u32,
    /// Shortest turn, us.
    pub ratelimit_us: u32,
    /// Delay before a vcpu may migrate, us.
    pub migration_delay_us: u32,
}

/// A CPU pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its scheduler.
    pub scheduler: String,
    /// How many domains are in it.
    pub domains: u32,
    /// Its pcpus, by number.
    pub pcpus: Vec<u32>,
}

/// What is known of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Host {
    /// Pcpus that are online.
    pub pcpus: u32,
    /// Highest pcpu's number.
    pub max_pcpu: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Cores of a socket.
    pub cores_per_socket: u32,
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Clock, kHz.
    pub cpu_khz: u64,
    /// Features of the CPUs (`physinfo`, `hw_cap`).
    pub hw_caps: [u32; 8],
    /// What kinds of domains there can be: `hvm hap ...`.
    pub virt_caps: String,
    /// Memory, KiB.
    pub total_kib: u64,
    /// Memory that is free, KiB.
    pub free_kib: u64,
    /// Memory that is promised, KiB.
    pub outstanding_kib: u64,
    /// Memory that is to be scrubbed, KiB.
    pub scrub_kib: u64,
    /// The interface's version: major, minor.
    pub version: (u32, u32),
    /// What follows the version.
    pub extra_version: String,
    /// Kinds of guests (`XENVER_capabilities`).
    pub capabilities: String,
    /// Scheduler: `credit`.
    pub scheduler: String,
    /// Bytes of a page.
    pub page_size: u32,
    /// `virt_start` of `XENVER_platform_parameters`.
    pub virt_start: u64,
    /// Source version.
    pub changeset: String,
    /// The hypervisor's command line.
    pub command_line: String,
    /// Compiler; who compiled; where; when (`XENVER_compile_info`).
    pub compiled: [String; 4],
    /// Build id.
    pub build_id: String,
    /// Time since the machine started, ns.
    pub uptime_ns: u64,
    /// Seconds since 1970, UTC.
    pub wall_seconds: u64,
    /// Name of Dom0's host.
    pub hostname: String,
}

/// Where the host's pcpus and memory are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// Its pcpus.
    pub pcpus: Vec<Pcpu>,
    /// Its NUMA nodes.
    pub nodes: Vec<Node>,
}

/// Where a pcpu is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pcpu {
    /// Its number.
    pub number: u32,
    /// Its core's number in the socket.
    pub core: u32,
    /// Its socket's number.
    pub socket: u32,
    /// Its node's number.
    pub node: u32,
}

/// A NUMA node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Its memory, KiB.
    pub total_kib: u64,
    /// Its memory that is free, KiB.
    pub free_kib: u64,
    /// How far it is to each node.
    pub distances: Vec<u32>,
}

/// What a domain is told to do (`control/shutdown`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Shut down.
    Poweroff,
    /// Shut down and start again.
    Reboot,
}

/// Buttons of a domain (`xl trigger`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Button {
    /// Non-maskable interrupt.
    Nmi,
    /// Reset.
    Reset,
    /// INIT.
    Init,
    /// Power button.
    Power,
    /// Sleep button.
    Sleep,
    /// Resume from sleep.
    S3Resume,
}

/// A device of a domain, as XenStore has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its number: `vdev` or handle.
    pub number: u32,
    /// The back end's domain.
    pub backend: DomId,
    /// Handle.
    pub handle: u32,
    /// State of the connection (`XenbusState*`).
    pub state: u32,
    /// Event channel; `None` before it is connected.
    pub port: Option<u32>,
    /// Grant references of its rings.
    pub rings: Vec<u32>,
    /// MAC address of a network interface; empty otherwise.
    pub mac: String,
    /// Path of the back end in XenStore.
    pub backend_path: String,
}

/// A bridge (`brctl show`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its identifier: priority and address.
    pub id: String,
    /// Names of the interfaces there.
    pub interfaces: Vec<String>,
}

/// What was written to a disk and is kept beside what is behind the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Whose it is: what the orders to commit and discard take.
    pub owner: String,
    /// What it changes.
    pub target: String,
    /// Bytes that were written.
    pub bytes: u64,
    /// Whether a domain uses it.
    pub open: bool,
}

/// The toolstack.
///
/// Names of files are those of the store; domains that a function takes exist, or it
/// fails with words that say so.
pub trait Toolstack {
    /// All domains, by number.
    fn domains(&self) -> Done<Vec<Domain>>;

    /// All vcpus of a domain.
    fn vcpus(&self, domain: DomId) -> Done<Vec<Vcpu>>;

    /// The machine.
    fn host(&self) -> Done<Host>;

    /// Where the machine's pcpus and memory are (`xl info -n`).
    ///
    /// # Errors
    ///
    /// Fails where the toolstack cannot tell.
    fn topology(&self) -> Done<Topology> {
        Err(Failure("the toolstack does not know the host's topology".into()))
    }

    /// The CPU pools, by number.
    fn pools(&self) -> Done<Vec<Pool>>;

    /// The names of all files that can be read, with their sizes.
    fn files(&self) -> Vec<(String, u64)>;

    /// A file's bytes.
    fn read_file(&self, name: &str) -> Done<Vec<u8>>;

    /// Builds a domain and starts it, or leaves it paused. Nothing is left after a failure.
    fn create(&self, config: DomainConfig, paused: bool) -> impl Future<Output = Done<DomId>>;

    /// The configuration that a domain was made from or was last given.
    fn config(&self, domain: DomId) -> Option<DomainConfig>;

    /// Replaces the configuration that the domain is made anew from when it restarts.
    fn update_config(&self, domain: DomId, config: DomainConfig) -> Done;

    /// Gives the domain another name.
    fn rename(&self, domain: DomId, name: &str) -> Done;

    /// Stops its vcpus.
    fn pause(&self, domain: DomId) -> Done;

    /// Lets them run again.
    fn unpause(&self, domain: DomId) -> Done;

    /// Asks the guest to shut down or to reboot; with `force` its power button is pressed
    /// where it does not listen.
    fn request(&self, domain: DomId, request: Request, force: bool) -> Done;

    /// Waits until the domain has stopped by itself or is gone.
    fn stopped(&self, domain: DomId) -> impl Future<Output = Option<Reason>>;

    /// Ends it.
    fn destroy(&self, domain: DomId) -> impl Future<Output = Done>;

    /// Lets a vcpu, or all, run on these pcpus only; `None` keeps what is.
    fn set_affinity(
        &self,
        domain: DomId,
        vcpu: Option<u32>,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Done;

    /// Lets all vcpus of a domain that does not run be on these pcpus only, from its next start
    /// by name on.
    fn pin_stopped(&self, name: &str, pcpus: &PcpuSpec);

    /// What [`Toolstack::pin_stopped`] was told last.
    fn pins_of_stopped(&self, name: &str) -> Option<PcpuSpec>;

    /// What is to be said about the place on the pcpus that a domain of this configuration would
    /// have beside those that there are, one line each.
    fn advice(&self, config: &DomainConfig) -> Vec<String>;

    /// The same of a domain that there is.
    fn advice_of(&self, domain: DomId) -> Vec<String>;

    /// Brings vcpus up and down: `count` are to be online.
    fn set_vcpus(&self, domain: DomId, count: u32) -> Done;

    /// A domain's share.
    fn share(&self, domain: DomId) -> Done<Share>;

    /// Changes it; `None` keeps what is.
    fn set_share(&self, domain: DomId, weight: Option<u16>, cap: Option<u16>) -> Done;

    /// What holds for all.
    fn slices(&self) -> Done<Slices>;

    /// Changes it.
    fn set_slices(&self, slices: Slices) -> Done;

    /// Tells the guest to have this much memory.
    fn set_memory(&self, domain: DomId, kib: u64) -> Done;

    /// Limits the memory that it can have.
    fn set_max_memory(&self, domain: DomId, kib: u64) -> Done;

    /// Bytes that the domain's console showed and nobody has seen yet; those from before
    /// first. Waits until there are some; `None` when the domain is gone. A future that is
    /// dropped before it is ready takes no bytes with it.
    fn console_output(&self, domain: DomId) -> impl Future<Output = Option<Vec<u8>>>;

    /// Starts reading the console from its scroll-back.
    fn console_rewind(&self, domain: DomId) -> Done;

    /// Types into the domain's console.
    fn console_input(&self, domain: DomId, bytes: &[u8]);

    /// The hypervisor's log; `clear` empties it.
    fn log(&self, clear: bool) -> Done<Vec<u8>>;

    /// Gives keys to the hypervisor.
    fn debug_keys(&self, keys: &str) -> Done;

    /// Sends a magic SysRq key.
    fn sysrq(&self, domain: DomId, key: char) -> Done;

    /// Presses a button of the domain.
    fn trigger(&self, domain: DomId, button: Button, vcpu: u32) -> Done;

    /// Time since the domain was started, ns; `None` when nobody knows.
    fn uptime_ns(&self, domain: DomId) -> Option<u64>;

    /// The domain's disks.
    fn disks(&self, domain: DomId) -> Done<Vec<Device>>;

    /// The domain's network interfaces.
    fn nets(&self, domain: DomId) -> Done<Vec<Device>>;

    /// Gives the domain a disk, until it ends.
    fn attach_disk(&self, domain: DomId, disk: Disk) -> impl Future<Output = Done>;

    /// Takes the disk of a number away: waits until the domain lets it go, or takes it at once
    /// with `force`.
    fn detach_disk(&self, domain: DomId, number: u32, force: bool) -> impl Future<Output = Done>;

    /// Gives the domain a network interface, until it ends.
    fn attach_net(&self, domain: DomId, vif: Vif) -> impl Future<Output = Done>;

    /// As [`Toolstack::detach_disk`], for a network interface.
    fn detach_net(&self, domain: DomId, number: u32, force: bool) -> impl Future<Output = Done>;

    /// All bridges, by name.
    fn bridges(&self) -> Vec<Bridge>;

    /// All overlays.
    fn overlays(&self) -> Vec<Overlay>;

    /// Writes what an overlay keeps to what it changes; it is kept where that fails.
    fn commit_overlay(&self, owner: &str) -> impl Future<Output = Done>;

    /// Forgets what an overlay keeps.
    fn discard_overlay(&self, owner: &str) -> impl Future<Output = Done>;

    /// Stops all domains in their order, then the machine: off, or started again.
    fn power(&self, request: Request) -> impl Future<Output = Done>;
}
