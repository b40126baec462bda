//! The domain that a configuration file describes, each value checked.

use alloc::string::String;
use alloc::vec::Vec;

/// Weight of a domain that names none.
pub const DEFAULT_WEIGHT: u16 = 256;

/// Disks of a domain (BLK-09, T-68).
pub const MOST_DISKS: usize = 16;
/// Network interfaces of a domain (NET-06, T-69).
pub const MOST_VIFS: usize = 10;

/// What a domain is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainConfig {
    /// Its name, by the rules of LIF-23.
    pub name: String,
    /// Its UUID; one is made up where the file names none.
    pub uuid: Option<[u8; 16]>,
    /// The kernel's name in the store.
    pub kernel: String,
    /// The ramdisk's.
    pub ramdisk: Option<String>,
    /// The kernel's command line.
    pub command_line: String,
    /// Memory at its start, KiB, whole MiB.
    pub memory_kib: u64,
    /// Most memory, KiB; not less than `memory_kib`.
    pub max_memory_kib: u64,
    /// Vcpus that are online at its start.
    pub vcpus: u32,
    /// Most vcpus; not less than `vcpus`.
    pub max_vcpus: u32,
    /// Where its vcpus may run.
    pub cpus: Affinity,
    /// Where they run best.
    pub cpus_soft: Affinity,
    /// Its share of contended pcpus, 1 to 65535.
    pub weight: u16,
    /// Most that it gets, in percent of one pcpu; 0 is no limit.
    pub cap: u16,
    /// What follows when it powers off.
    pub on_poweroff: Action,
    /// What follows when it reboots.
    pub on_reboot: Action,
    /// What follows when it crashes.
    pub on_crash: Action,
    /// What follows when its watchdog fires.
    pub on_watchdog: Action,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its network interfaces.
    pub vifs: Vec<Vif>,
    /// Most frames of its grant table.
    pub max_grant_frames: u32,
    /// Most frames of what it maps by grants.
    pub max_maptrack_frames: u32,
    /// Highest event channel port.
    pub max_event_channels: u32,
    /// Whether its wall clock shows local time.
    pub localtime: bool,
    /// Seconds that its wall clock is ahead.
    pub rtc_timeoffset: i32,
}

/// Where vcpus may run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Affinity {
    /// Anywhere.
    #[default]
    Any,
    /// All of them on these pcpus.
    All(PcpuSpec),
    /// Vcpu n on the pcpus of entry n; those without an entry anywhere.
    Each(Vec<PcpuSpec>),
}

/// Pcpus as they are written: `0-2,5,^1`, `all`, without knowledge of how many there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PcpuSpec {
    /// In their order: whether the range is added or taken away, first and last pcpu.
    pub ranges: Vec<(bool, u32, u32)>,
}

/// What the toolstack does when a domain has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing is left of it.
    Destroy,
    /// It is made anew from its configuration.
    Restart,
    /// As before, and what ended stays under another name.
    RenameRestart,
    /// It stays as it ended.
    Preserve,
    /// Its memory is saved, then it is destroyed.
    CoredumpDestroy,
    /// Its memory is saved, then it is made anew.
    CoredumpRestart,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Destroy,
        Self::Restart,
        Self::RenameRestart,
        Self::Preserve,
        Self::CoredumpDestroy,
        Self::CoredumpRestart,
    ];

    /// As `xl.cfg` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::RenameRestart => "rename-restart",
            Self::Preserve => "preserve",
            Self::CoredumpDestroy => "coredump-destroy",
            Self::CoredumpRestart => "coredump-restart",
        }
    }
}

/// A disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// What is behind it: `phy:`'s device or the image's path; empty for an empty drive.
    pub target: String,
    /// What kind of thing that is.
    pub format: DiskFormat,
    /// Its name in the guest: `xvda`, `hda`.
    pub vdev: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
    /// Whether it is a CD drive.
    pub cdrom: bool,
}

impl Disk {
    /// Whether both have the same thing behind them, and one of both may write to it (T-86).
    pub fn excludes(&self, other: &Self) -> bool {
        let same = !self.target.is_empty() && self.target == other.target;
        same && !(self.read_only && other.read_only) && !self.is_beside()
    }

    /// Whether writes go to memory of this disk's own: clones of one image may be many
    /// (BLK-37).
    fn is_beside(&self) -> bool {
        ["overlay:", "snapshot:", "ram:"].iter().any(|kind| self.target.starts_with(kind))
    }
}

/// What is behind a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFormat {
    /// A whole disk or partition of Dom0's.
    Physical,
    /// An image file, byte by byte.
    Raw,
    /// An image file that holds what was written.
    Qcow2,
    /// Nothing: an empty drive.
    Empty,
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vif {
    /// Its MAC address; one is made up where the file names none.
    pub mac: Option<[u8; 6]>,
    /// The bridge it is at; the default one where the file names none.
    pub bridge: Option<String>,
    /// Its back end's name.
    pub name: Option<String>,
    /// Fastest that it sends, bytes a second.
    pub rate: Option<u64>,
}
