//! What the toolstack stands on: the hypervisor, the kernel around, XenStore, files.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use xen_abi::RawPort;
use xl::toolstack::{Bridge, DiskCounts, DomId, Done, NetCounts, Overlay};
use xl_config::domain::{Disk, Vif};

use crate::hypervisor::Hypervisor;

/// All of it, in one place.
pub trait Environment {
    /// The hypervisor's calls.
    type Hypervisor: Hypervisor;
    /// The kernel around.
    type Platform: Platform;
    /// XenStore.
    type Registry: Registry;
    /// Where kernels and configurations are.
    type Files: Files;
    /// Back ends of domains' devices.
    type Devices: Devices;

    /// The hypervisor's calls.
    fn hypervisor(&self) -> &Self::Hypervisor;

    /// The kernel around.
    fn platform(&self) -> &Self::Platform;

    /// XenStore.
    fn registry(&self) -> &Self::Registry;

    /// Where kernels and configurations are.
    fn files(&self) -> &Self::Files;

    /// Back ends of domains' devices.
    fn devices(&self) -> &Self::Devices;
}

/// The kernel that the toolstack runs in: time, events, chance, words.
///
/// All futures may be dropped before they are done; what they wait for is not lost by that.
pub trait Platform {
    /// Time since the machine started, ns.
    fn now_ns(&self) -> u64;

    /// Seconds since 1970, UTC.
    fn wall_seconds(&self) -> u64;

    /// Waits `ms` milliseconds.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()>;

    /// Waits until `VIRQ_DOM_EXC` has come since it was last told: a domain has stopped or
    /// is gone.
    fn domain_event(&self) -> impl Future<Output = ()>;

    /// Connects Dom0 to a port of `domain`'s that waits for it; returns Dom0's own port.
    ///
    /// # Errors
    ///
    /// In words.
    fn bind(&self, domain: DomId, port: RawPort) -> Done<RawPort>;

    /// Closes such a port of Dom0's.
    fn unbind(&self, port: RawPort);

    /// Sends an event to the other end of such a port. If that is closed, nobody is told.
    fn notify(&self, port: RawPort);

    /// Waits for an event at one of the ports that [`Platform::bind`] made, those of later
    /// calls as well, and tells the port. Each has its turn, however many events come at
    /// another one.
    fn console_event(&self) -> impl Future<Output = RawPort>;

    /// Fills `bytes` with what nobody can guess.
    fn random(&self, bytes: &mut [u8]);

    /// Name of this host.
    fn hostname(&self) -> String;

    /// Tells the administrator something that nobody asked for.
    fn log(&self, line: fmt::Arguments<'_>);
}

/// XenStore, from inside Dom0: paths are absolute.
///
/// The server runs in the same kernel, so each call is done when it returns. Nodes that
/// it makes have the permissions of their parent.
pub trait Registry {
    /// A node's value; `None` where there is no such node.
    fn read(&self, path: &str) -> Option<Vec<u8>>;

    /// Sets a value; makes the node, and those above, where they are missing.
    ///
    /// # Errors
    ///
    /// In words.
    fn write(&self, path: &str, value: &[u8]) -> Done;

    /// Makes a node, and those above, where they are missing.
    ///
    /// # Errors
    ///
    /// In words.
    fn mkdir(&self, path: &str) -> Done;

    /// Removes a node and all below it; none is fine as well.
    ///
    /// # Errors
    ///
    /// In words.
    fn remove(&self, path: &str) -> Done;

    /// Names of a node's children; none where there is no such node.
    fn directory(&self, path: &str) -> Vec<String>;

    /// Gives a node to `owner`, who may read and write it; `readers` may read it, and
    /// no other domain may do anything with it (Dom0 may everything).
    ///
    /// # Errors
    ///
    /// In words.
    fn set_permissions(&self, path: &str, owner: DomId, readers: &[DomId]) -> Done;

    /// Serves a domain by the ring at its guest frame `frame`; its port `port` waits for
    /// Dom0.
    ///
    /// # Errors
    ///
    /// In words.
    fn introduce(&self, domain: DomId, frame: u64, port: RawPort) -> Done;

    /// A domain stopped by itself: watchers of `@releaseDomain` are told. It is served still.
    fn stopped(&self, domain: DomId);

    /// Serves a domain no longer, and keeps nothing of its memory. One that is not served
    /// is fine as well.
    fn release(&self, domain: DomId);
}

/// Files by name.
pub trait Files {
    /// All names, with sizes in bytes.
    fn list(&self) -> Vec<(String, u64)>;

    /// A file's bytes.
    ///
    /// # Errors
    ///
    /// In words, with the name.
    fn read(&self, name: &str) -> Done<Cow<'_, [u8]>>;
}

/// Back ends of domains' devices.
///
/// A device is opened before its domain is built, so that what is missing is told at once, and
/// served when its nodes are there:
///
/// ```text
/// open ──> (the domain, nodes) ──> serve ──> the front end connects ... ──> close ──> (no nodes)
///   └──> dropped
/// ```
pub trait Devices {
    /// A device that is open and not served yet. When it is dropped, what is behind it is free.
    type Open;

    /// Takes what is behind a disk of the domain named `owner`, alone if it is written to.
    ///
    /// # Errors
    ///
    /// In words: it is missing (BLK-17), in use (BLK-16, T-86), no such thing.
    fn open_disk(&self, owner: &str, disk: &Disk) -> impl Future<Output = Done<Self::Open>>;

    /// Takes a place at the interface's bridge; the interface has a MAC address and a bridge.
    ///
    /// # Errors
    ///
    /// In words: no such bridge (NET-12, T-89), no room (NET-06), an address in use (NET-09).
    fn open_net(&self, vif: &Vif) -> Done<Self::Open>;

    /// Begins to serve a device. The nodes of both ends are there, in state
    /// `XenbusStateInitialising`; from now on the back end's state is the back end's, but for
    /// the toolstack's wish that it closes (`online` 0, `state` 5).
    ///
    /// # Errors
    ///
    /// In words; what is behind the device is free then.
    fn serve(&self, device: DeviceId, open: Self::Open) -> Done;

    /// Waits until the device's back end is closed: because the front end closed it and the
    /// node `online` is `0`. A device that is not served is closed.
    fn closed(&self, device: DeviceId) -> impl Future<Output = ()>;

    /// Ends it, whatever the front end does. When this is done no memory of the domain is
    /// mapped, all that was written is on the medium, and what was behind it is free. One
    /// that is not served is fine as well; of several calls for one device each waits for that.
    fn close(&self, device: DeviceId) -> impl Future<Output = ()>;

    /// As [`Devices::close`], but at once: requests that are under way are given up. For a
    /// device that no front end has used, or one whose end takes too long.
    fn forget(&self, device: DeviceId);

    /// What went through a disk; zeros for what is not served.
    fn disk_counts(&self, device: DeviceId) -> DiskCounts;

    /// What went through an interface; zeros for what is not served.
    fn net_counts(&self, device: DeviceId) -> NetCounts;

    /// The bridge of interfaces that name none (NET-08).
    fn default_bridge(&self) -> String;

    /// All bridges, by name (NET-21).
    fn bridges(&self) -> Vec<Bridge>;

    /// What is kept of disks whose changes go elsewhere (BLK-39).
    fn overlays(&self) -> Vec<Overlay>;

    /// Writes the changes of an overlay to what they change; they are kept where that fails.
    ///
    /// # Errors
    ///
    /// In words: there are none, a domain uses them, somebody else uses what they change.
    fn commit_overlay(&self, owner: &str) -> impl Future<Output = Done>;

    /// Forgets the changes of an overlay.
    ///
    /// # Errors
    ///
    /// In words: there are none, a domain uses them.
    fn discard_overlay(&self, owner: &str) -> impl Future<Output = Done>;
}

/// A device of a domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeviceId {
    /// The domain.
    pub domain: DomId,
    /// Its kind.
    pub kind: DeviceKind,
    /// Its number: of a disk, that of its name (`xen-vbd-interface`(7)).
    pub number: u32,
}

/// Kinds of devices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DeviceKind {
    /// A disk, `vbd`.
    Disk,
    /// A network interface, `vif`.
    Net,
}
