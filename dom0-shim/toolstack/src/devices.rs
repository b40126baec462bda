//! Disks and network interfaces of domains: from their start to their end, and attached and
//! detached while they run.
//!
//! ```text
//!  start ──> open all ──> build ──> nodes, serve ──> run ──> close all ──> destroy
//!                              attach ──┴──> ... ──┴── detach: online 0, state 5, closed,
//!                                                              close, no nodes
//! ```
//!
//! What is attached goes with the domain: a restart has the devices of the configuration
//! (T-79).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::pin::pin;

use futures_util::future::{Either, join_all, select};
use xen_abi::domctl::DomainFlags;
use xl::toolstack::{DeviceCounts, DomId, Done, Failure};
use xl_config::admission::Conflict;
use xl_config::domain::{Disk, DiskFormat, DomainConfig, MOST_DISKS, MOST_VIFS, Vif};
use xl_config::vdev;

use crate::environment::{DeviceId, DeviceKind, Devices, Environment, Platform};
use crate::manager::{DOM0, Manager, Record};
use crate::nodes::{self, Readiness, Spec};

/// How long a domain may take to let a device go, ms (`LIBXL_DESTROY_TIMEOUT`).
const PATIENCE_MS: u64 = 10_000;
/// How long a back end may take to end, ms: all that was written has to get to the medium.
const CLOSE_MS: u64 = 60_000;
/// How often a back end that has just begun is looked at before it is given up.
const READY_LOOKS: u32 = 100;
/// Time between two looks, ms.
const READY_LOOK_MS: u64 = 100;

/// A device of a domain's.
pub(crate) struct Attached {
    pub(crate) id: DeviceId,
    pub(crate) spec: Spec,
    /// Whether it is served; before that, its place is taken.
    pub(crate) served: bool,
}

/// A device that is open, of a domain that has no number yet.
pub(crate) struct Opened<E: Environment> {
    number: u32,
    spec: Spec,
    open: <E::Devices as Devices>::Open,
}

impl<E: Environment> Manager<E> {
    /// Opens all devices of a configuration. Those that are open are free again when what
    /// this returns is dropped.
    pub(crate) async fn open_devices(&self, config: &DomainConfig) -> Done<Vec<Opened<E>>> {
        let mut opened = Vec::new();
        for disk in config.disks.iter().filter(|disk| !is_empty_drive(disk)) {
            let (number, spec) = (disk_number(disk)?, Spec::Disk(disk.clone()));
            opened.push(Opened { number, open: self.open(&config.name, &spec).await?, spec });
        }
        for (number, vif) in (0..).zip(&config.vifs) {
            let spec = Spec::Net(vif.clone());
            opened.push(Opened { number, open: self.open(&config.name, &spec).await?, spec });
        }
        Ok(opened)
    }

    /// Opens a device for the domain named `owner`.
    async fn open(&self, owner: &str, spec: &Spec) -> Done<<E::Devices as Devices>::Open> {
        match spec {
            Spec::Disk(disk) => {
                let opened = self.env.devices().open_disk(owner, disk).await;
                opened.map_err(|error| Failure(format!("disk {}: {error}", disk.vdev)))
            }
            Spec::Net(vif) => {
                let opened = self.env.devices().open_net(vif);
                opened.map_err(|error| Failure(format!("network interface: {error}")))
            }
        }
    }

    /// Gives a new domain, which has a record already, its devices.
    pub(crate) fn connect_all(&self, domain: DomId, opened: Vec<Opened<E>>) -> Done {
        for Opened { number, spec, open } in opened {
            let id = DeviceId { domain, kind: spec.kind(), number };
            self.connect(id, &spec, open)?;
            self.with_record(domain, |record| record.devices.push(Attached { id, spec, served: true }));
        }
        Ok(())
    }

    /// Writes a device's nodes and begins to serve it; after a failure there is neither.
    fn connect(&self, id: DeviceId, spec: &Spec, open: <E::Devices as Devices>::Open) -> Done {
        let planted = nodes::plant(self.env.registry(), id, spec);
        let connected = planted.and_then(|()| self.env.devices().serve(id, open));
        if connected.is_err() {
            self.remove_nodes(id);
        }
        connected
    }

    fn remove_nodes(&self, id: DeviceId) {
        if let Err(error) = nodes::remove(self.env.registry(), id) {
            self.env
                .platform()
                .log(format_args!("nodes of a device of domain {} are left: {error}", id.domain));
        }
    }

    /// Gives a domain that is there a disk (BLK-13).
    pub(crate) async fn attach_disk_to(&self, domain: DomId, disk: Disk) -> Done {
        if is_empty_drive(&disk) {
            return Err(Failure(format!(
                "disk {}: an empty drive is no device: name what is in it",
                disk.vdev
            )));
        }
        let number = disk_number(&disk)?;
        self.attach(domain, number, Spec::Disk(disk)).await
    }

    /// Gives a domain that is there a network interface.
    pub(crate) async fn attach_net_to(&self, domain: DomId, vif: Vif) -> Done {
        let vif = self.complete_vif(vif);
        let number = self.free_net_number(domain);
        self.attach(domain, number, Spec::Net(vif)).await
    }

    /// Makes the choices that an interface's configuration leaves.
    pub(crate) fn complete_vif(&self, mut vif: Vif) -> Vif {
        vif.mac.get_or_insert_with(|| self.new_mac());
        vif.bridge.get_or_insert_with(|| self.env.devices().default_bridge());
        vif
    }

    fn free_net_number(&self, domain: DomId) -> u32 {
        let used = self.device_ids(domain, |device| device.id.kind == DeviceKind::Net);
        let mut number = 0_u32;
        while used.iter().any(|id| id.number == number) {
            number = number.saturating_add(1);
        }
        number
    }

    async fn attach(&self, domain: DomId, number: u32, spec: Spec) -> Done {
        self.check_can_change(domain)?;
        let id = DeviceId { domain, kind: spec.kind(), number };
        let place = self.take_place(id, &spec)?;
        let owner = self.name(domain).unwrap_or_default();
        let open = self.open(&owner, &spec).await?;
        // It may have ended meanwhile.
        self.check_can_change(domain)?;
        self.connect(id, &spec, open)?;
        place.keep();
        let ready = self.wait_ready(id).await;
        if ready.is_err() {
            self.take_away(id).await?;
        }
        ready
    }

    /// Waits until a back end says that a front end may connect.
    async fn wait_ready(&self, id: DeviceId) -> Done {
        for _ in 0..READY_LOOKS {
            match nodes::readiness(self.env.registry(), id) {
                Readiness::Ready => return Ok(()),
                Readiness::Closed(why) => {
                    return Err(Failure(format!("its back end has closed at once: {why}")));
                }
                Readiness::Starting => self.env.platform().sleep(READY_LOOK_MS).await,
            }
        }
        let seconds = u64::from(READY_LOOKS) * READY_LOOK_MS / 1000;
        Err(Failure(format!("its back end has not begun within {seconds} s")))
    }

    /// Whether a domain can have devices attached: one that was made here and has not ended.
    fn check_can_change(&self, domain: DomId) -> Done {
        if domain == DOM0 {
            return Err(Failure(String::from(
                "Domain-0 has the devices themselves: it needs no virtual ones",
            )));
        }
        let flags = self.info_of_built(domain)?.flags;
        let ended = (DomainFlags::DYING | DomainFlags::SHUTDOWN).bits();
        let records = self.records.borrow();
        let record = records.get(&domain).ok_or_else(|| not_made_here(domain))?;
        if flags & ended != 0 || record.ending {
            return Err(Failure(format!("domain {domain} has ended: it gets no devices")));
        }
        Ok(())
    }

    /// Takes the place of a device, so that no other one gets it meanwhile.
    fn take_place(&self, id: DeviceId, spec: &Spec) -> Done<Place<'_, E>> {
        let mut records = self.records.borrow_mut();
        let starting = self.starting.borrow();
        let own = records.get(&id.domain).ok_or_else(|| not_made_here(id.domain))?;
        check_room(&own.devices, id)?;
        let present: Vec<_> = records.values().map(Record::present).collect();
        for other in present.iter().chain(starting.values()) {
            check_against(other, spec)?;
        }
        if let Some(record) = records.get_mut(&id.domain) {
            record.devices.push(Attached { id, spec: spec.clone(), served: false });
        }
        Ok(Place { manager: self, id })
    }

    /// Takes a device away from a domain (BLK-14): when the domain lets it go, or at once
    /// with `force`.
    pub(crate) async fn detach(&self, id: DeviceId, force: bool) -> Done {
        let ended = (DomainFlags::DYING | DomainFlags::SHUTDOWN).bits();
        let gone = self.info_of_built(id.domain)?.flags & ended != 0;
        self.check_can_detach(id)?;
        let unused = nodes::is_unused(self.env.registry(), id);
        nodes::ask_to_close(self.env.registry(), id)?;
        if !force && !gone && !unused {
            self.wait_closed(id).await?;
        }
        self.take_away(id).await
    }

    /// Ends a device, and leaves nothing of it. Who was slower than another such order leaves
    /// the place alone: it may be taken again.
    async fn take_away(&self, id: DeviceId) -> Done {
        self.end_device(id).await;
        let ended = |device: &Attached| device.id == id && device.served;
        if self.device_ids(id.domain, ended).is_empty() {
            return Ok(());
        }
        self.with_record(id.domain, |record| record.devices.retain(|device| !ended(device)));
        nodes::remove(self.env.registry(), id)
    }

    fn check_can_detach(&self, id: DeviceId) -> Done {
        let records = self.records.borrow();
        let record = records.get(&id.domain).ok_or_else(|| not_made_here(id.domain))?;
        let device = record.devices.iter().find(|device| device.id == id && device.served);
        let Some(device) = device else {
            return Err(Failure(format!("domain {} has no such device", id.domain)));
        };
        match &device.spec {
            Spec::Disk(disk) if !disk.cdrom && is_system(id.number) => {
                Err(Failure(format!("{} is the system's disk of domain {}: it stays", disk.vdev, id.domain)))
            }
            _ => Ok(()),
        }
    }

    async fn wait_closed(&self, id: DeviceId) -> Done {
        let closed = pin!(self.env.devices().closed(id));
        let patience = pin!(self.env.platform().sleep(PATIENCE_MS));
        match select(closed, patience).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(Failure(format!(
                "domain {} has not let it go within {} s: detach it again when it is not in use there, \
                 or use --force",
                id.domain,
                PATIENCE_MS / 1000
            ))),
        }
    }

    /// Ends all devices of a domain, which gets none any more.
    pub(crate) async fn end_devices(&self, domain: DomId) {
        self.with_record(domain, |record| record.ending = true);
        let ids = self.device_ids(domain, |device| device.served);
        join_all(ids.into_iter().map(|id| self.end_device(id))).await;
    }

    /// Ends a device whatever the domain does. The domain does not wait for ever for a medium
    /// that does not answer.
    async fn end_device(&self, id: DeviceId) {
        let close = pin!(self.env.devices().close(id));
        let patience = pin!(self.env.platform().sleep(CLOSE_MS));
        if let Either::Right(_) = select(close, patience).await {
            self.env.devices().forget(id);
            self.env.platform().log(format_args!(
                "Domain {}: {:?} {} has not ended within {} s: what was written last may be lost",
                id.domain,
                id.kind,
                id.number,
                CLOSE_MS / 1000
            ));
        }
    }

    /// Ends all devices of a domain that has not run.
    pub(crate) fn forget_devices(&self, domain: DomId) {
        for id in self.device_ids(domain, |device| device.served) {
            self.env.devices().forget(id);
        }
    }

    /// Takes all devices away from a domain that stays as it ended.
    pub(crate) async fn strip(&self, domain: DomId) {
        self.end_devices(domain).await;
        for id in self.device_ids(domain, |_| true) {
            self.remove_nodes(id);
        }
        self.with_record(domain, |record| record.devices.clear());
    }

    fn device_ids(&self, domain: DomId, which: impl Fn(&Attached) -> bool) -> Vec<DeviceId> {
        let records = self.records.borrow();
        let devices = records.get(&domain).map(|record| record.devices.as_slice()).unwrap_or_default();
        devices.iter().filter(|device| which(device)).map(|device| device.id).collect()
    }

    fn with_record(&self, domain: DomId, act: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.borrow_mut().get_mut(&domain) {
            act(record);
        }
    }

    /// What went through a domain's devices.
    pub(crate) fn device_counts(&self, domain: DomId) -> DeviceCounts {
        let devices = self.env.devices();
        let served = |kind| self.device_ids(domain, |device| device.served && device.id.kind == kind);
        let disks = served(DeviceKind::Disk).into_iter().map(|id| (id.number, devices.disk_counts(id)));
        let nets = served(DeviceKind::Net).into_iter().map(|id| (id.number, devices.net_counts(id)));
        DeviceCounts { nets: nets.collect(), disks: disks.collect() }
    }
}

impl Record {
    /// What the domain was made from, with the devices that it has now.
    pub(crate) fn present(&self) -> DomainConfig {
        self.with_devices(self.config.clone())
    }

    /// A configuration with the devices that the domain has now; empty drives are nowhere
    /// else.
    pub(crate) fn with_devices(&self, mut config: DomainConfig) -> DomainConfig {
        config.disks.retain(is_empty_drive);
        config.vifs.clear();
        for device in &self.devices {
            match &device.spec {
                Spec::Disk(disk) => config.disks.push(disk.clone()),
                Spec::Net(vif) => config.vifs.push(vif.clone()),
            }
        }
        config
    }
}

/// The place of a device that is being attached, which is free again unless it is served.
struct Place<'a, E: Environment> {
    manager: &'a Manager<E>,
    id: DeviceId,
}

impl<E: Environment> Place<'_, E> {
    fn keep(self) {
        self.manager.with_record(self.id.domain, |record| {
            let own = record.devices.iter_mut().filter(|device| device.id == self.id);
            own.for_each(|device| device.served = true);
        });
    }
}

impl<E: Environment> Drop for Place<'_, E> {
    fn drop(&mut self) {
        let free = |device: &Attached| device.id == self.id && !device.served;
        self.manager.with_record(self.id.domain, |record| record.devices.retain(|device| !free(device)));
    }
}

/// An empty CD drive is nothing that a front end could connect to; it is there as a place
/// for `block-attach` (T-71, T-81).
fn is_empty_drive(disk: &Disk) -> bool {
    disk.format == DiskFormat::Empty
}

fn disk_number(disk: &Disk) -> Done<u32> {
    vdev::number(&disk.vdev)
        .ok_or_else(|| Failure(format!("{:?} is no disk's name: names are as xvda, hda, sda", disk.vdev)))
}

/// Whether a disk's number is that of the first disk of its kind, or of a partition of that
/// (BLK-08, BLK-14).
fn is_system(number: u32) -> bool {
    ["xvda", "hda", "sda"].iter().any(|name| {
        let partitions = if *name == "hda" { 64 } else { 16 };
        let first = vdev::number(name).unwrap_or(u32::MAX);
        number.checked_sub(first).is_some_and(|partition| partition < partitions)
    })
}

/// Whether a domain has room for one more device, and none of its number.
fn check_room(devices: &[Attached], id: DeviceId) -> Done {
    let (most, what) = match id.kind {
        DeviceKind::Disk => (MOST_DISKS, "disks"),
        DeviceKind::Net => (MOST_VIFS, "network interfaces"),
    };
    let mut same_kind = devices.iter().filter(|device| device.id.kind == id.kind);
    if same_kind.clone().count() >= most {
        return Err(Failure(format!("domain {} has {most} {what}, which is the limit", id.domain)));
    }
    if same_kind.any(|device| device.id.number == id.number) {
        return Err(Failure(format!("domain {} has a device {} already", id.domain, id.number)));
    }
    Ok(())
}

/// Whether a device can be beside those of a domain, be it another one or the same (T-63,
/// T-86).
fn check_against(other: &DomainConfig, spec: &Spec) -> Done {
    let owner = other.name.clone();
    let conflict = match spec {
        Spec::Disk(disk) => {
            let shared = other.disks.iter().any(|theirs| disk.excludes(theirs));
            shared.then(|| Conflict::Disk { target: disk.target.clone(), owner })
        }
        Spec::Net(vif) => {
            let mac = vif.mac.filter(|mac| other.vifs.iter().any(|theirs| theirs.mac == Some(*mac)));
            mac.map(|mac| Conflict::Mac { mac, owner })
        }
    };
    conflict.map_or(Ok(()), |conflict| Err(Failure(conflict.to_string())))
}

fn not_made_here(domain: DomId) -> Failure {
    Failure(format!("domain {domain} was not made here: its devices are not known"))
}

#[cfg(test)]
mod tests {
    use core::task::{Context, Waker};

    use alloc::vec;

    use futures_util::future::join;
    use pollster::block_on;
    use xl::toolstack::Toolstack;
    use xl_config::domain::Action;

    use super::*;
    use crate::testing::{World, config, disk, run, turns, vif};

    const XVDA: u32 = 51_712;
    const XVDB: u32 = 51_728;
    const XVDD: u32 = 51_760;
    const HDC: u32 = 5632;

    /// Turns in which a domain waits, ends and is made anew.
    const RESTART: usize = 400;

    /// A domain with a disk and two interfaces.
    fn equipped(name: &str) -> DomainConfig {
        let vifs = vec![vif(1, "xenbr0"), vif(2, "intbr0")];
        DomainConfig { disks: vec![disk("/dev/sda1", "xvda")], vifs, ..config(name) }
    }

    fn with_domain(act: impl FnOnce(&World, &Manager<&World>, DomId)) {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(equipped("a"), false)).unwrap();
        act(&world, &manager, id);
    }

    #[test]
    fn a_domain_has_its_devices_until_it_ends() {
        with_domain(|world, manager, id| {
            assert_eq!(world.served(id), [XVDA, 0, 1]);
            assert_eq!(*world.held.borrow(), ["/dev/sda1", "xenbr0", "intbr0"]);
            let disks = manager.disks(id).unwrap();
            assert_eq!((disks.len(), disks[0].number, disks[0].state), (1, XVDA, 1));
            let nets = manager.nets(id).unwrap();
            assert_eq!((nets.len(), nets[1].mac.as_str()), (2, "00:16:3e:00:00:02"));
            assert_eq!(nets[1].backend_path, "/local/domain/0/backend/vif/1/1");
            block_on(manager.destroy(id)).unwrap();
            world.assert_empty("after a domain with devices");
        });
    }

    /// BLK-24, NET-25.
    #[test]
    fn what_goes_through_devices_is_told() {
        with_domain(|_, manager, id| {
            block_on(manager.attach_disk(id, disk("/dev/sda2", "xvdb"))).unwrap();
            let domain = manager.domains().unwrap().remove(1);
            let disks: Vec<_> = domain.devices.disks.iter().map(|(number, it)| (*number, it.reads)).collect();
            assert_eq!(disks, [(XVDA, u64::from(XVDA)), (XVDB, u64::from(XVDB))]);
            let nets: Vec<_> =
                domain.devices.nets.iter().map(|(number, it)| (*number, it.sent_bytes)).collect();
            assert_eq!(nets, [(0, 1000), (1, 1001)]);
        });
    }

    /// NET-08.
    #[test]
    fn an_interface_without_a_bridge_is_at_the_usual_one() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let nameless = Vif { mac: None, bridge: None, name: None, rate: None };
        let wanted = DomainConfig { vifs: vec![nameless], ..config("a") };
        let id = block_on(manager.create(wanted, false)).unwrap();
        let vif = manager.config(id).unwrap().vifs.remove(0);
        assert_eq!(vif.bridge.as_deref(), Some("xenbr0"));
        assert_eq!(vif.mac.map(|mac| [mac[0], mac[1], mac[2]]), Some([0, 0x16, 0x3e]));
    }

    /// T-70, T-71.
    #[test]
    fn disks_of_three_kinds() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let lines = ["phy:/dev/sda1,hda,w", ",hdc:cdrom,r", "phy:/dev/sda2,xvdd,w"];
        let disks = lines.map(|line| xl_config::disk::parse(line).unwrap().0).to_vec();
        let id = block_on(manager.create(DomainConfig { disks, ..config("a") }, false)).unwrap();
        assert_eq!(world.served(id), [768, XVDD]);
        let mode = world.value(&format!("/local/domain/0/backend/vbd/{id}/{XVDD}/mode"));
        assert_eq!(mode.as_deref(), Some("w"));
        assert_eq!(manager.config(id).unwrap().disks.len(), 3);
        block_on(manager.destroy(id)).unwrap();
        world.assert_empty("after disks of three kinds");
    }

    /// T-71, T-81: an empty drive is a place for what is attached before the start.
    #[test]
    fn a_cd_is_attached_to_a_paused_domain() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let empty = Disk { format: DiskFormat::Empty, read_only: true, cdrom: true, ..disk("", "hdc") };
        let wanted = DomainConfig { disks: vec![disk("/dev/sda1", "xvda"), empty.clone()], ..config("a") };
        let id = block_on(manager.create(wanted, true)).unwrap();
        assert_eq!(world.served(id), [XVDA]);
        assert!(manager.domains().unwrap()[1].paused);
        let error = block_on(manager.attach_disk(id, empty.clone())).unwrap_err();
        assert!(error.0.contains("empty drive"), "{error}");
        let cd = Disk { read_only: true, cdrom: true, ..disk("/dev/sr0", "hdc") };
        block_on(manager.attach_disk(id, cd.clone())).unwrap();
        assert_eq!(world.served(id), [HDC, XVDA]);
        let type_of = world.value(&format!("/local/domain/{id}/device/vbd/{HDC}/device-type"));
        assert_eq!(type_of.as_deref(), Some("cdrom"));
        manager.unpause(id).unwrap();
        let disks = manager.config(id).unwrap().disks;
        assert_eq!(disks, [empty, disk("/dev/sda1", "xvda"), cd]);
    }

    /// T-79, T-80, LIF-16: what is attached is there until the domain ends or starts again,
    /// what is detached comes back.
    #[test]
    fn a_restart_has_the_devices_of_the_configuration() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let wanted = DomainConfig {
                disks: vec![disk("/dev/sda1", "xvda"), disk("/dev/sda2", "xvdb")],
                ..config("a")
            };
            let id = manager.create(wanted, false).await.unwrap();
            manager.attach_disk(id, disk("/dev/sda4", "xvdd")).await.unwrap();
            manager.attach_net(id, vif(9, "xenbr0")).await.unwrap();
            manager.detach_disk(id, XVDB, false).await.unwrap();
            assert_eq!(world.served(id), [XVDA, XVDD, 0]);
            let now = manager.config(id).unwrap();
            assert_eq!(now.disks, [disk("/dev/sda1", "xvda"), disk("/dev/sda4", "xvdd")]);
            assert_eq!(now.vifs, [vif(9, "xenbr0")]);
            world.stop(id, 1);
            manager.stopped(id).await;
            turns(RESTART).await;
            let new = world.ids()[0];
            assert_ne!(new, id);
            assert_eq!(world.served(new), [XVDA, XVDB]);
            assert!(world.served(id).is_empty());
            assert_eq!(*world.held.borrow(), ["/dev/sda1", "/dev/sda2"]);
            manager.destroy(new).await.unwrap();
        });
        world.assert_empty("after a restart");
    }

    #[test]
    fn a_domain_that_is_set_aside_leaves_its_devices_to_the_next() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let wanted = DomainConfig { on_crash: Action::RenameRestart, ..equipped("a") };
            let id = manager.create(wanted, false).await.unwrap();
            world.stop(id, 3);
            manager.stopped(id).await;
            turns(RESTART).await;
            assert_eq!(world.ids(), [id, id + 1]);
            assert!(world.served(id).is_empty() && manager.disks(id).unwrap().is_empty());
            assert_eq!(world.served(id + 1), [XVDA, 0, 1]);
            let error = manager.attach_disk(id, disk("/dev/sda9", "xvdb")).await.unwrap_err();
            assert!(error.0.ends_with("has ended: it gets no devices"), "{error}");
        });
    }

    #[test]
    fn a_preserved_domain_keeps_its_devices() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let wanted = DomainConfig { on_crash: Action::Preserve, ..equipped("a") };
            let id = manager.create(wanted, false).await.unwrap();
            world.stop(id, 3);
            manager.stopped(id).await;
            turns(RESTART).await;
            assert_eq!(world.served(id), [XVDA, 0, 1]);
            let taken = manager.create(equipped("b"), false).await.unwrap_err();
            assert!(taken.0.contains("/dev/sda1"), "{taken}");
            // It cannot do anything any more, so nobody waits for it.
            let start = world.now_ms.get();
            manager.detach_net(id, 1, false).await.unwrap();
            assert_eq!(world.now_ms.get(), start);
            manager.destroy(id).await.unwrap();
        });
        world.assert_empty("after a preserved domain");
    }

    /// T-86, BLK-16, T-63.
    #[test]
    fn what_another_domain_has_is_refused() {
        with_domain(|world, manager, id| {
            let other = block_on(manager.create(config("b"), false)).unwrap();
            for domain in [id, other] {
                let error = block_on(manager.attach_disk(domain, disk("/dev/sda1", "xvdb"))).unwrap_err();
                let words = "domain a has the disk /dev/sda1 already, and one of both may write to it";
                assert_eq!(error.0, words);
                let error = block_on(manager.attach_net(domain, vif(1, "xenbr0"))).unwrap_err();
                assert_eq!(error.0, "domain a has the MAC address 00:16:3e:00:00:01 already");
            }
            assert!(world.served(other).is_empty());
            // What is behind it by another name is known to the back end only.
            let held = world.hold("/dev/disk/by-id/x");
            let error = block_on(manager.attach_disk(other, disk("/dev/disk/by-id/x", "xvdb"))).unwrap_err();
            assert_eq!(error.0, "disk xvdb: /dev/disk/by-id/x is in use");
            assert!(manager.disks(other).unwrap().is_empty());
            drop(held);
            block_on(manager.attach_disk(other, disk("/dev/disk/by-id/x", "xvdb"))).unwrap();
        });
    }

    /// BLK-09, NET-06.
    #[test]
    fn there_are_16_disks_and_10_interfaces() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        for letter in 'a'..='p' {
            let disk = disk(&format!("/dev/sd{letter}"), &format!("xvd{letter}"));
            block_on(manager.attach_disk(id, disk)).unwrap();
        }
        let error = block_on(manager.attach_disk(id, disk("/dev/sdq", "hda"))).unwrap_err();
        assert_eq!(error.0, "domain 1 has 16 disks, which is the limit");
        for last in 0..10 {
            block_on(manager.attach_net(id, vif(last, "xenbr0"))).unwrap();
        }
        let error = block_on(manager.attach_net(id, vif(10, "xenbr0"))).unwrap_err();
        assert_eq!(error.0, "domain 1 has 10 network interfaces, which is the limit");
        block_on(manager.detach_net(id, 3, false)).unwrap();
        block_on(manager.attach_net(id, vif(11, "xenbr0"))).unwrap();
        assert_eq!(manager.nets(id).unwrap()[3].mac, "00:16:3e:00:00:0b", "the free place");
    }

    #[test]
    fn a_name_is_one_disks() {
        with_domain(|_, manager, id| {
            let error = block_on(manager.attach_disk(id, disk("/dev/sda2", "xvda"))).unwrap_err();
            assert_eq!(error.0, "domain 1 has a device 51712 already");
            assert!(block_on(manager.attach_disk(id, disk("/dev/sda2", "disk"))).is_err());
            let two = join(
                manager.attach_disk(id, disk("/dev/sda2", "xvdb")),
                manager.attach_disk(id, disk("/dev/sda3", "xvdb")),
            );
            let (one, other) = block_on(two);
            assert!(one.is_ok() && other.unwrap_err().0.contains("already"), "a place is taken at once");
        });
    }

    /// BLK-14: never the system's.
    #[test]
    fn the_systems_disk_stays() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        for (vdev, number) in [("xvda", XVDA), ("xvda1", XVDA + 1), ("hda", 768), ("sda2", 2050)] {
            let wanted = DomainConfig { disks: vec![disk("/dev/sda1", vdev)], ..config("a") };
            let id = block_on(manager.create(wanted, false)).unwrap();
            for force in [false, true] {
                let error = block_on(manager.detach_disk(id, number, force)).unwrap_err();
                assert_eq!(error.0, format!("{vdev} is the system's disk of domain {id}: it stays"));
            }
            assert_eq!(world.served(id), [number]);
            block_on(manager.destroy(id)).unwrap();
        }
    }

    #[test]
    fn a_domain_that_does_not_let_a_device_go_keeps_it_unless_by_force() {
        with_domain(|world, manager, id| {
            world.guest(id, |guest| guest.deaf = true);
            world.set(&format!("/local/domain/{id}/device/vif/0/state"), "4");
            let start = world.now_ms.get();
            let error = block_on(manager.detach_net(id, 0, false)).unwrap_err();
            assert!(error.0.contains("has not let it go within 10 s"), "{error}");
            assert_eq!(world.now_ms.get(), start + PATIENCE_MS);
            assert_eq!(world.served(id), [XVDA, 0, 1]);
            assert_eq!(manager.nets(id).unwrap().len(), 2);
            block_on(manager.detach_net(id, 0, true)).unwrap();
            assert_eq!(world.served(id), [XVDA, 1]);
            assert_eq!(manager.nets(id).unwrap().len(), 1);
            let again = block_on(manager.detach_net(id, 0, true)).unwrap_err();
            assert_eq!(again.0, "domain 1 has no such device");
        });
    }

    /// Without a driver in the guest nobody uses it.
    #[test]
    fn a_device_that_no_front_end_has_looked_at_is_detached_at_once() {
        with_domain(|world, manager, id| {
            world.guest(id, |guest| guest.deaf = true);
            let start = world.now_ms.get();
            block_on(manager.detach_net(id, 1, false)).unwrap();
            assert_eq!((world.served(id), world.now_ms.get()), (vec![XVDA, 0], start));
        });
    }

    #[test]
    fn complaints_of_back_ends_go_with_their_devices() {
        with_domain(|world, manager, id| {
            for device in ["vbd/1/51712", "vif/1/0", "vif/1/1"] {
                world.set(&format!("/local/domain/0/error/backend/{device}/error"), "22 ring-ref is missing");
            }
            block_on(manager.detach_net(id, 1, false)).unwrap();
            assert_eq!(world.value("/local/domain/0/error/backend/vif/1/1/error"), None);
            assert!(world.value("/local/domain/0/error/backend/vif/1/0/error").is_some());
            block_on(manager.destroy(id)).unwrap();
            world.assert_empty("after complaints");
        });
    }

    /// A device that is closed by its front end only after the wait.
    #[test]
    fn a_detach_may_be_asked_for_again() {
        with_domain(|world, manager, id| {
            world.guest(id, |guest| guest.deaf = true);
            world.set(&format!("/local/domain/{id}/device/vif/1/state"), "4");
            assert!(block_on(manager.detach_net(id, 1, false)).is_err());
            world.guest(id, |guest| guest.deaf = false);
            block_on(manager.detach_net(id, 1, false)).unwrap();
            assert_eq!(world.served(id), [XVDA, 0]);
            assert_eq!(world.value("/local/domain/0/backend/vif/1/1/state"), None);
        });
    }

    #[test]
    fn an_attach_whose_back_end_does_not_begin_leaves_nothing() {
        with_domain(|world, manager, id| {
            let before = world.nodes.borrow().len();
            for (state, words) in
                [("6", "its back end has closed at once: "), ("1", "has not begun within 10 s")]
            {
                world.first_state.set(state);
                let error = block_on(manager.attach_disk(id, disk("/dev/sda2", "xvdb"))).unwrap_err();
                assert!(error.0.contains(words), "{error}");
                assert_eq!((world.served(id), world.nodes.borrow().len()), (vec![XVDA, 0, 1], before));
                assert_eq!(manager.config(id).unwrap().disks.len(), 1);
            }
            world.first_state.set("2");
            block_on(manager.attach_disk(id, disk("/dev/sda2", "xvdb"))).unwrap();
        });
    }

    #[test]
    fn a_back_end_that_does_not_end_does_not_keep_the_domain() {
        with_domain(|world, manager, id| {
            world.stuck.set(true);
            let start = world.now_ms.get();
            block_on(manager.destroy(id)).unwrap();
            assert!(world.now_ms.get() >= start + CLOSE_MS);
            assert!(world.logged("what was written last may be lost"));
            world.assert_empty("after a back end that is stuck");
        });
    }

    /// LIF-10.
    #[test]
    fn whichever_step_of_an_attach_fails_nothing_is_left() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        let before = world.nodes.borrow().clone();
        for spec in [Spec::Disk(disk("/dev/sda2", "xvdb")), Spec::Net(vif(1, "xenbr0"))] {
            let number = if spec.kind() == DeviceKind::Disk { XVDB } else { 0 };
            let mut failures = 0;
            loop {
                world.refuse.set(Some(world.steps.get() + failures));
                let made = block_on(manager.attach(id, number, spec.clone()));
                world.refuse.set(None);
                if made.is_ok() {
                    break;
                }
                let values = |nodes: &alloc::collections::BTreeMap<_, crate::testing::Node>| {
                    nodes.values().filter(|node| !node.value.is_empty()).count()
                };
                assert_eq!(values(&world.nodes.borrow()), values(&before), "step {failures}");
                assert!(world.served(id).is_empty() && world.held.borrow().is_empty());
                assert!(manager.records.borrow()[&id].devices.is_empty());
                failures += 1;
            }
            assert!(failures > 50, "{failures} steps are too few");
            block_on(manager.detach(DeviceId { domain: id, kind: spec.kind(), number }, false)).unwrap();
        }
    }

    #[test]
    fn an_attach_that_is_given_up_or_too_late_leaves_nothing() {
        with_domain(|world, manager, id| {
            {
                let mut attach = pin!(manager.attach_disk(id, disk("/dev/sda2", "xvdb")));
                assert!(attach.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(manager.records.borrow()[&id].devices.len(), 4);
            }
            assert_eq!(manager.records.borrow()[&id].devices.len(), 3);
            let mut attach = pin!(manager.attach_disk(id, disk("/dev/sda2", "xvdb")));
            assert!(attach.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            block_on(manager.destroy(id)).unwrap();
            assert_eq!(block_on(attach).unwrap_err().0, "domain 1 does not exist");
            world.assert_empty("after an attach that was too late");
        });
    }

    /// The slower of two orders to detach comes when the place is taken again.
    #[test]
    fn a_late_detach_does_not_take_the_next_ones_place() {
        with_domain(|world, manager, id| {
            let mut attach = pin!(manager.attach_disk(id, disk("/dev/sda2", "xvdb")));
            assert!(attach.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let late = DeviceId { domain: id, kind: DeviceKind::Disk, number: XVDB };
            block_on(manager.take_away(late)).unwrap();
            block_on(attach).unwrap();
            assert_eq!(manager.disks(id).unwrap().len(), 2);
            block_on(manager.destroy(id)).unwrap();
            world.assert_empty("after a late detach");
        });
    }

    #[test]
    fn dom0_and_domains_of_others_get_no_devices() {
        with_domain(|world, manager, id| {
            assert!(block_on(manager.attach_disk(0, disk("/dev/sda2", "xvdb"))).is_err());
            let other = Manager::new(world).unwrap();
            let error = block_on(other.attach_net(id, vif(5, "xenbr0"))).unwrap_err();
            assert_eq!(error.0, "domain 1 was not made here: its devices are not known");
            assert!(block_on(other.detach_net(id, 0, true)).is_err());
            block_on(manager.destroy(id)).unwrap();
        });
    }

    /// The memory of a domain goes when its back ends have let it go, whoever destroys it.
    #[test]
    fn devices_of_a_domain_that_somebody_else_destroys_are_ended() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(equipped("a"), false).await.unwrap();
            world.guest(id, |guest| guest.flags |= DomainFlags::DYING.bits());
            world.tell();
            turns(20).await;
            assert!(world.served(id).is_empty() && world.held.borrow().is_empty());
            assert_eq!(world.ids(), [id]);
            world.guests.borrow_mut().remove(&id);
            world.tell();
            turns(20).await;
        });
        world.assert_empty("after somebody else's destroy");
    }
}
