//! For tests: a machine with domains, XenStore, files, time; it can refuse any one step.

extern crate std;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use event_listener::Event;
use futures_util::future::{Either, select};
use std::pin::pin;
use xen_abi::RawPort;
use xen_abi::domctl::{DomainFlags, GetDomainInfo, GetVcpuInfo, SHUTDOWN_SHIFT, SchedCredit, Trigger};
use xen_abi::errno::Errno;
use xen_abi::hvm_params::HvmParam;
use xen_abi::sched::ShutdownReason;
use xen_abi::sysctl::{CpuTopo, CreditSchedule, MemInfo, PhysInfo};
use xen_abi::version::CompileInfo;
use xen_abi::xen::DomainHandle;
use xen_control::Error;
use xen_control::builder::{Built, Config};
use xen_control::calls::Cpupool;
use xl::toolstack::{Bridge, DiskCounts, DomId, Done, Failure, NetCounts, Overlay};
use xl_config::domain::{Action, Affinity, Disk, DiskFormat, DomainConfig, Vif};
use zerocopy::FromZeros;

use crate::create::yield_now;
use crate::environment::{DeviceId, DeviceKind, Devices, Environment, Files, Platform, Registry};
use crate::hypervisor::{About, Hypervisor, Ring};
use crate::manager::Manager;

/// Pages of the machine.
pub(crate) const PAGES: u64 = 1 << 20;
/// Pcpus of the machine.
pub(crate) const PCPUS: u32 = 4;

/// A domain of the machine's.
#[derive(Default)]
pub(crate) struct Guest {
    pub(crate) flags: u32,
    pub(crate) pages: u64,
    pub(crate) max_pages: u64,
    pub(crate) vcpus: u32,
    pub(crate) handle: DomainHandle,
    pub(crate) share: (u16, u16),
    pub(crate) hard: BTreeMap<u32, u64>,
    pub(crate) soft: BTreeMap<u32, u64>,
    pub(crate) params: BTreeMap<u32, u64>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) time_offset: i64,
    /// Frames that its grant table lets Dom0 map.
    pub(crate) granted: Vec<u64>,
    /// It does not do as its control node says.
    pub(crate) deaf: bool,
    pub(crate) ring: Rc<RefCell<Wire>>,
    ports: u32,
    /// Slices of its end that are still to do.
    slices: u32,
}

/// Both directions of a console's ring.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) out: VecDeque<u8>,
    pub(crate) typed: Vec<u8>,
    pub(crate) room: usize,
    pub(crate) broken: bool,
    pub(crate) mapped: bool,
}

/// The mapped ring.
pub(crate) struct Mapped(Rc<RefCell<Wire>>);

impl Ring for Mapped {
    fn take(&mut self) -> Result<Vec<u8>, Error> {
        let mut wire = self.0.borrow_mut();
        if wire.broken {
            return Err(Error::BadAnswer("console ring"));
        }
        let count = wire.out.len().min(2048);
        Ok(wire.out.drain(..count).collect())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut wire = self.0.borrow_mut();
        let count = bytes.len().min(wire.room);
        wire.room -= count;
        wire.typed.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.0.borrow_mut().mapped = false;
    }
}

/// A node: value, owner, readers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Node {
    pub(crate) value: Vec<u8>,
    pub(crate) owner: DomId,
    pub(crate) readers: Vec<DomId>,
}

/// What is behind a device, held until this is dropped.
pub(crate) struct Held {
    name: String,
    holders: Rc<RefCell<Vec<String>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.holders.borrow_mut();
        let place = holders.iter().position(|holder| *holder == self.name).expect("it is held");
        holders.remove(place);
    }
}

/// A device that is served.
struct Served {
    _held: Held,
    closed: bool,
}

/// The machine.
pub(crate) struct World {
    pub(crate) guests: RefCell<BTreeMap<DomId, Guest>>,
    next: Cell<DomId>,
    pub(crate) nodes: RefCell<BTreeMap<String, Node>>,
    pub(crate) introduced: RefCell<BTreeMap<DomId, (u64, RawPort)>>,
    /// Domains that XenStore heard to have stopped.
    pub(crate) stopped: RefCell<Vec<DomId>>,
    pub(crate) files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Dom0's ports, each with its domain.
    pub(crate) ports: RefCell<BTreeMap<RawPort, DomId>>,
    next_port: Cell<RawPort>,
    pub(crate) notified: Cell<usize>,
    pub(crate) now_ms: Cell<u64>,
    pub(crate) log: RefCell<Vec<String>>,
    pub(crate) machine_stops: Cell<Option<ShutdownReason>>,
    pub(crate) hypervisor_log: RefCell<Vec<u8>>,
    /// Steps so far, and the one to refuse, from 0.
    pub(crate) steps: Cell<usize>,
    pub(crate) refuse: Cell<Option<usize>>,
    /// Most builds that went on at the same time.
    building: Cell<usize>,
    pub(crate) most_building: Cell<usize>,
    dom_exc: Cell<bool>,
    console_events: RefCell<VecDeque<RawPort>>,
    event: Event,
    random: Cell<u8>,
    /// What is behind devices that are open or served.
    pub(crate) held: Rc<RefCell<Vec<String>>>,
    served: RefCell<BTreeMap<DeviceId, Served>>,
    /// Back ends do not end.
    pub(crate) stuck: Cell<bool>,
    /// State of a back end that has begun.
    pub(crate) first_state: Cell<&'static str>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dom0 = Guest { pages: 1 << 16, max_pages: u64::MAX, vcpus: 1, ..Guest::default() };
        let files = [("kernel", vec![1, 2, 3]), ("ramdisk", vec![4])];
        Self {
            guests: RefCell::new(BTreeMap::from([(0, dom0)])),
            next: Cell::new(1),
            nodes: RefCell::default(),
            introduced: RefCell::default(),
            stopped: RefCell::default(),
            files: RefCell::new(files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect()),
            ports: RefCell::default(),
            next_port: Cell::new(1),
            notified: Cell::new(0),
            now_ms: Cell::new(1000),
            log: RefCell::default(),
            machine_stops: Cell::new(None),
            hypervisor_log: RefCell::default(),
            steps: Cell::new(0),
            refuse: Cell::new(None),
            building: Cell::new(0),
            most_building: Cell::new(0),
            dom_exc: Cell::new(false),
            console_events: RefCell::default(),
            event: Event::new(),
            random: Cell::new(0),
            held: Rc::default(),
            served: RefCell::default(),
            stuck: Cell::new(false),
            first_state: Cell::new("2"),
        }
    }

    fn step(&self, what: &'static str) -> Result<(), Error> {
        let step = self.steps.get();
        self.steps.set(step + 1);
        if self.refuse.get() == Some(step) { Err(Error::Refused(what, Errno::ENOMEM)) } else { Ok(()) }
    }

    fn with<T>(
        &self,
        domain: DomId,
        what: &'static str,
        act: impl FnOnce(&mut Guest) -> T,
    ) -> Result<T, Error> {
        self.step(what)?;
        let mut guests = self.guests.borrow_mut();
        guests.get_mut(&domain).map(act).ok_or(Error::Refused(what, Errno::ESRCH))
    }

    pub(crate) fn guest<T>(&self, domain: DomId, act: impl FnOnce(&mut Guest) -> T) -> T {
        act(self.guests.borrow_mut().get_mut(&domain).expect("a domain"))
    }

    /// Numbers of the domains beside Dom0.
    pub(crate) fn ids(&self) -> Vec<DomId> {
        self.guests.borrow().keys().copied().filter(|id| *id != 0).collect()
    }

    /// Lets a domain stop by itself.
    pub(crate) fn stop(&self, domain: DomId, reason: u32) {
        self.guest(domain, |guest| {
            guest.flags |= DomainFlags::SHUTDOWN.bits() | reason << SHUTDOWN_SHIFT;
        });
        self.tell();
    }

    pub(crate) fn tell(&self) {
        self.dom_exc.set(true);
        self.event.notify(usize::MAX);
    }

    /// Lets a guest write to its console.
    pub(crate) fn say(&self, domain: DomId, text: &[u8]) {
        self.guest(domain, |guest| guest.ring.borrow_mut().out.extend(text));
        self.ring_event(domain);
    }

    /// An event at the console's port of a domain.
    pub(crate) fn ring_event(&self, domain: DomId) {
        let port = self.ports.borrow().iter().find(|(_, of)| **of == domain).map(|(port, _)| *port);
        self.console_events.borrow_mut().extend(port);
        self.event.notify(usize::MAX);
    }

    pub(crate) fn node(&self, path: &str) -> Option<Node> {
        self.nodes.borrow().get(path).cloned()
    }

    pub(crate) fn value(&self, path: &str) -> Option<String> {
        self.node(path).map(|node| String::from_utf8(node.value).unwrap())
    }

    pub(crate) fn set(&self, path: &str, value: &str) {
        self.write(path, value.as_bytes()).unwrap();
    }

    pub(crate) fn guest_is_gone(&self, domain: DomId) -> bool {
        !self.guests.borrow().contains_key(&domain)
    }

    pub(crate) fn logged(&self, words: &str) -> bool {
        self.log.borrow().iter().any(|line| line.contains(words))
    }

    /// Numbers of the devices of a domain that are served.
    pub(crate) fn served(&self, domain: DomId) -> Vec<u32> {
        self.served.borrow().keys().filter(|id| id.domain == domain).map(|id| id.number).collect()
    }

    /// Holds what is behind a device.
    pub(crate) fn hold(&self, name: &str) -> Held {
        self.held.borrow_mut().push(name.to_string());
        Held { name: name.to_string(), holders: self.held.clone() }
    }

    /// A guest closes a device whose back end wants to close, unless it is deaf.
    fn front_end_sees(&self, path: &str, value: &[u8]) {
        let mut parts = path.strip_prefix("/local/domain/0/backend/").unwrap_or_default().split('/');
        let kind = match parts.next() {
            Some("vbd") => DeviceKind::Disk,
            Some("vif") => DeviceKind::Net,
            _ => return,
        };
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (Some(domain), Some(number)) = (number(), number()) else { return };
        let id = DeviceId { domain: domain.try_into().unwrap(), kind, number };
        let hears = |guest: &Guest| !guest.deaf;
        let mut served = self.served.borrow_mut();
        let (Some(device), true) =
            (served.get_mut(&id), self.guests.borrow().get(&id.domain).is_some_and(hears))
        else {
            return;
        };
        if parts.next() == Some("state") && value == b"5" {
            device.closed = true;
            self.nodes.borrow_mut().get_mut(path).expect("just written").value = b"6".to_vec();
            self.event.notify(usize::MAX);
        }
    }

    /// That nothing is there but Dom0.
    pub(crate) fn assert_empty(&self, when: &str) {
        assert!(self.ids().is_empty(), "domains {when}: {:?}", self.ids());
        let others = |path: &&String| !path.starts_with("/local/domain/0");
        let roots = ["/local", "/local/domain", "/vm", "/libxl"];
        let nodes = self.nodes.borrow();
        let left: Vec<_> =
            nodes.keys().filter(others).filter(|path| !roots.contains(&path.as_str())).collect();
        assert!(left.is_empty(), "nodes {when}: {left:?}");
        let back =
            ["backend/console", "backend/vbd", "backend/vif", "error/backend/vbd", "error/backend/vif"];
        let back = back.map(|folder| format!("/local/domain/0/{folder}/"));
        let of_back = |path: &String| back.iter().any(|back| path.starts_with(back));
        assert!(!nodes.keys().any(of_back), "back ends {when}");
        assert!(self.served.borrow().is_empty(), "devices {when}");
        assert!(self.held.borrow().is_empty(), "held {when}: {:?}", self.held.borrow());
        assert!(self.introduced.borrow().is_empty(), "introduced {when}");
        assert!(self.ports.borrow().is_empty(), "ports {when}");
    }
}

/// A domain named `name`, of 64 MiB.
pub(crate) fn config(name: &str) -> DomainConfig {
    DomainConfig {
        name: name.to_string(),
        uuid: None,
        kernel: "kernel".to_string(),
        ramdisk: None,
        command_line: "console=hvc0".to_string(),
        memory_kib: 64 << 10,
        max_memory_kib: 64 << 10,
        vcpus: 1,
        max_vcpus: 2,
        cpus: Affinity::Any,
        cpus_soft: Affinity::Any,
        weight: 256,
        cap: 0,
        on_poweroff: Action::Destroy,
        on_reboot: Action::Restart,
        on_crash: Action::Destroy,
        on_watchdog: Action::Destroy,
        disks: vec![],
        vifs: vec![],
        max_grant_frames: 64,
        max_maptrack_frames: 1024,
        max_event_channels: 1023,
        localtime: false,
        rtc_timeoffset: 0,
    }
}

/// A disk, written to.
pub(crate) fn disk(target: &str, vdev: &str) -> Disk {
    Disk {
        target: target.to_string(),
        format: DiskFormat::Physical,
        vdev: vdev.to_string(),
        read_only: false,
        cdrom: false,
    }
}

/// An interface at a bridge, with a MAC address that ends with `last`.
pub(crate) fn vif(last: u8, bridge: &str) -> Vif {
    let mac = Some([0, 0x16, 0x3e, 0, 0, last]);
    Vif { mac, bridge: Some(bridge.to_string()), name: None, rate: None }
}

/// Runs `script` beside the manager's own tasks.
pub(crate) fn run<T>(manager: &Manager<&World>, script: impl Future<Output = T>) -> T {
    pollster::block_on(async {
        let (deaths, consoles) = (pin!(manager.watch_deaths()), pin!(manager.serve_consoles()));
        match select(pin!(script), select(deaths, consoles)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => unreachable!("these tasks never end"),
        }
    })
}

/// Lets all other tasks have `turns` turns.
pub(crate) async fn turns(turns: usize) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// A domain that is being built, gone when this is dropped before it is finished.
struct Unfinished<'a> {
    world: &'a World,
    id: Option<DomId>,
}

impl Unfinished<'_> {
    fn finish(mut self) {
        self.id = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.world.building.set(self.world.building.get() - 1);
        if let Some(id) = self.id {
            self.world.guests.borrow_mut().remove(&id);
        }
    }
}

impl Environment for &World {
    type Hypervisor = World;
    type Platform = World;
    type Registry = World;
    type Files = World;
    type Devices = World;

    fn hypervisor(&self) -> &World {
        self
    }

    fn platform(&self) -> &World {
        self
    }

    fn registry(&self) -> &World {
        self
    }

    fn files(&self) -> &World {
        self
    }

    fn devices(&self) -> &World {
        self
    }
}

impl Hypervisor for World {
    type Ring = Mapped;

    async fn build(&self, config: &Config<'_>, pause: impl AsyncFn()) -> Result<Built, Error> {
        self.step("build")?;
        self.building.set(self.building.get() + 1);
        self.most_building.set(self.most_building.get().max(self.building.get()));
        let id = self.next.get();
        self.next.set(id + 1);
        let guest = Guest {
            flags: DomainFlags::PAUSED.bits(),
            pages: config.pages,
            max_pages: config.max_pages,
            vcpus: config.vcpus,
            handle: config.handle,
            slices: 3,
            ring: Rc::new(RefCell::new(Wire { room: 1024, ..Wire::default() })),
            ..Guest::default()
        };
        self.guests.borrow_mut().insert(id, guest);
        let unfinished = Unfinished { world: self, id: Some(id) };
        for _ in 0..4 {
            pause().await;
        }
        unfinished.finish();
        Ok(Built { id, console: 100, store: 101 })
    }

    fn grant_rings(&self, built: &Built) -> Result<(), Error> {
        self.with(built.id, "acquire_resource", |guest| guest.granted = vec![built.console, built.store])
    }

    fn destroy_slice(&self, domain: DomId) -> Result<bool, Error> {
        let left = self.with(domain, "destroydomain", |guest| {
            guest.flags |= DomainFlags::DYING.bits();
            assert!(!guest.ring.borrow().mapped, "its memory is mapped still");
            assert!(self.served(domain).is_empty(), "its devices are served still");
            guest.slices = guest.slices.saturating_sub(1);
            guest.slices
        })?;
        if left == 0 {
            self.guests.borrow_mut().remove(&domain);
            self.tell();
        }
        Ok(left == 0)
    }

    fn destroy(&self, domain: DomId) -> Result<(), Error> {
        while !self.destroy_slice(domain)? {}
        Ok(())
    }

    fn pause(&self, domain: DomId) -> Result<(), Error> {
        self.with(domain, "pausedomain", |guest| guest.flags |= DomainFlags::PAUSED.bits())
    }

    fn unpause(&self, domain: DomId) -> Result<(), Error> {
        self.with(domain, "unpausedomain", |guest| guest.flags &= !DomainFlags::PAUSED.bits())
    }

    fn set_handle(&self, domain: DomId, handle: DomainHandle) -> Result<(), Error> {
        self.with(domain, "setdomainhandle", |guest| guest.handle = handle)
    }

    fn set_time_offset(&self, domain: DomId, seconds: i64) -> Result<(), Error> {
        self.with(domain, "settimeoffset", |guest| guest.time_offset = seconds)
    }

    fn share(&self, domain: DomId) -> Result<SchedCredit, Error> {
        self.with(domain, "share", |guest| SchedCredit { weight: guest.share.0, cap: guest.share.1 })
    }

    fn set_share(&self, domain: DomId, share: SchedCredit) -> Result<(), Error> {
        self.with(domain, "share", |guest| {
            if share.weight != 0 {
                guest.share.0 = share.weight;
            }
            if share.cap != u16::MAX {
                guest.share.1 = share.cap;
            }
        })
    }

    fn max_mem(&self, domain: DomId, kib: u64) -> Result<(), Error> {
        self.with(domain, "max_mem", |guest| guest.max_pages = kib / 4)
    }

    fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<GetVcpuInfo, Error> {
        self.with(domain, "getvcpuinfo", |_| GetVcpuInfo { vcpu, online: 1, ..GetVcpuInfo::new_zeroed() })
    }

    fn get_affinity(&self, domain: DomId, vcpu: u32) -> Result<(u64, u64), Error> {
        self.with(domain, "getvcpuaffinity", |guest| {
            let of = |map: &BTreeMap<u32, u64>| map.get(&vcpu).copied().unwrap_or((1 << PCPUS) - 1);
            (of(&guest.hard), of(&guest.soft))
        })
    }

    fn set_affinity(&self, domain: DomId, vcpu: u32, pcpus: u64) -> Result<(), Error> {
        self.with(domain, "setvcpuaffinity", |guest| guest.hard.insert(vcpu, pcpus)).map(|_| ())
    }

    fn set_soft_affinity(&self, domain: DomId, vcpu: u32, pcpus: u64) -> Result<(), Error> {
        self.with(domain, "setvcpuaffinity", |guest| guest.soft.insert(vcpu, pcpus)).map(|_| ())
    }

    fn trigger(&self, domain: DomId, trigger: Trigger, _: u32) -> Result<(), Error> {
        self.with(domain, "sendtrigger", |guest| guest.triggers.push(trigger))
    }

    fn set_param(&self, domain: DomId, param: HvmParam, value: u64) -> Result<(), Error> {
        self.with(domain, "set_param", |guest| guest.params.insert(param.get(), value)).map(|_| ())
    }

    fn get_param(&self, domain: DomId, param: HvmParam) -> Result<u64, Error> {
        self.with(domain, "get_param", |guest| guest.params.get(&param.get()).copied().unwrap_or(0))
    }

    fn alloc_unbound(&self, domain: DomId, _: DomId) -> Result<RawPort, Error> {
        self.with(domain, "alloc_unbound", |guest| {
            guest.ports += 1;
            guest.ports
        })
    }

    fn physinfo(&self) -> Result<PhysInfo, Error> {
        self.step("physinfo")?;
        let used: u64 = self.guests.borrow().values().map(|guest| guest.pages).sum();
        Ok(PhysInfo {
            nr_cpus: PCPUS,
            nr_nodes: 1,
            total_pages: PAGES,
            free_pages: PAGES - used,
            capabilities: 5,
            ..PhysInfo::new_zeroed()
        })
    }

    fn cpupools(&self) -> Result<Vec<Cpupool>, Error> {
        self.step("cpupool_op")?;
        let domains = u32::try_from(self.guests.borrow().len()).unwrap();
        Ok(vec![Cpupool { id: 0, scheduler: 5, domains, pcpus: (0..PCPUS).collect() }])
    }

    fn scheduler(&self) -> Result<u32, Error> {
        self.step("sched_id").map(|()| 5)
    }

    fn nodes(&self) -> Result<(Vec<MemInfo>, Vec<u32>), Error> {
        self.step("numainfo")?;
        Ok((vec![MemInfo { memsize: 4 << 30, memfree: 1 << 30 }], vec![10]))
    }

    /// Pcpu 2 is offline.
    fn pcpus(&self) -> Result<Vec<CpuTopo>, Error> {
        self.step("cputopoinfo")?;
        let core = |pcpu: u32| if pcpu == 2 { u32::MAX } else { pcpu };
        Ok((0..PCPUS).map(|pcpu| CpuTopo { core: core(pcpu), socket: 0, node: 0 }).collect())
    }

    fn slices(&self) -> Result<CreditSchedule, Error> {
        self.step("slices")?;
        Ok(CreditSchedule { tslice_ms: 30, ratelimit_us: 1000, vcpu_migr_delay_us: 0 })
    }

    fn set_slices(&self, slices: CreditSchedule) -> Result<(), Error> {
        let CreditSchedule { tslice_ms, ratelimit_us, vcpu_migr_delay_us } = slices;
        self.log.borrow_mut().push(format!("slices {tslice_ms} {ratelimit_us} {vcpu_migr_delay_us}"));
        self.step("slices")
    }

    fn read_log(&self, index: Option<u32>, clear: bool, to: &mut [u8]) -> Result<(usize, u32), Error> {
        self.step("readconsole")?;
        let mut log = self.hypervisor_log.borrow_mut();
        let start = index.unwrap_or(0) as usize;
        let count = to.len().min(log.len() - start);
        to[..count].copy_from_slice(&log[start..start + count]);
        if clear {
            log.clear();
        }
        Ok((count, u32::try_from(start + count).unwrap()))
    }

    fn debug_keys(&self, _: &str) -> Result<(), Error> {
        self.step("debug_keys")
    }

    fn shutdown(&self, reason: ShutdownReason) -> Result<(), Error> {
        self.machine_stops.set(Some(reason));
        Ok(())
    }

    fn info(&self, domain: DomId) -> Result<GetDomainInfo, Error> {
        let found = self.domains()?.into_iter().find(|info| info.domain == domain);
        found.ok_or(Error::Refused("getdomaininfo", Errno::ESRCH))
    }

    fn domains(&self) -> Result<Vec<GetDomainInfo>, Error> {
        self.step("getdomaininfolist")?;
        let guests = self.guests.borrow();
        let info = |(id, guest): (&DomId, &Guest)| GetDomainInfo {
            domain: *id,
            flags: guest.flags,
            tot_pages: guest.pages,
            max_pages: guest.max_pages,
            nr_online_vcpus: 1,
            max_vcpu_id: guest.vcpus.wrapping_sub(1),
            handle: guest.handle,
            ..GetDomainInfo::new_zeroed()
        };
        Ok(guests.iter().map(info).collect())
    }

    fn open_ring(&self, domain: DomId, _: u64) -> Result<Mapped, Error> {
        self.with(domain, "add_to_physmap_batch", |guest| {
            guest.ring.borrow_mut().mapped = true;
            Mapped(guest.ring.clone())
        })
    }

    fn about(&self) -> Result<About, Error> {
        self.step("xen_version")?;
        let mut about = About {
            version: (4, 20),
            extra_version: [0; 16],
            capabilities: [0; 1024],
            changeset: [0; 64],
            command_line: [0; 1024],
            compiled: CompileInfo::new_zeroed(),
            virt_start: 0,
            page_size: 4096,
            build_id: vec![0xab, 0x01],
        };
        about.extra_version[..4].copy_from_slice(b".0-k");
        Ok(about)
    }
}

impl Platform for World {
    fn now_ns(&self) -> u64 {
        self.now_ms.get() * 1_000_000
    }

    fn wall_seconds(&self) -> u64 {
        1_795_385_400
    }

    async fn sleep(&self, ms: u64) {
        // Whoever can do something does it before time goes on.
        turns(64).await;
        self.now_ms.set(self.now_ms.get() + ms);
    }

    async fn domain_event(&self) {
        loop {
            let listener = self.event.listen();
            if self.dom_exc.take() {
                return;
            }
            listener.await;
        }
    }

    async fn console_event(&self) -> RawPort {
        loop {
            let listener = self.event.listen();
            if let Some(port) = self.console_events.borrow_mut().pop_front() {
                return port;
            }
            listener.await;
        }
    }

    fn bind(&self, domain: DomId, _: RawPort) -> Done<RawPort> {
        self.step("bind").map_err(|error| Failure(error.to_string()))?;
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        self.ports.borrow_mut().insert(port, domain);
        Ok(port)
    }

    fn unbind(&self, port: RawPort) {
        assert!(self.ports.borrow_mut().remove(&port).is_some(), "closed twice");
    }

    fn notify(&self, port: RawPort) {
        assert!(self.ports.borrow().contains_key(&port), "a port that is closed");
        self.notified.set(self.notified.get() + 1);
    }

    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            self.random.set(self.random.get().wrapping_add(1));
            *byte = self.random.get();
        }
    }

    fn hostname(&self) -> String {
        "host".to_string()
    }

    fn log(&self, line: fmt::Arguments<'_>) {
        self.log.borrow_mut().push(line.to_string());
    }
}

impl Registry for World {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.nodes.borrow().get(path).map(|node| node.value.clone())
    }

    fn write(&self, path: &str, value: &[u8]) -> Done {
        self.mkdir(path)?;
        self.nodes.borrow_mut().get_mut(path).expect("just made").value = value.to_vec();
        let id = path.strip_prefix("/local/domain/").and_then(|rest| rest.strip_suffix("/control/shutdown"));
        match (id.and_then(|id| id.parse().ok()), value) {
            // A guest that listens does as it is told.
            (Some(id), b"poweroff") if !self.guest(id, |guest| guest.deaf) => self.stop(id, 0),
            (Some(id), b"reboot") if !self.guest(id, |guest| guest.deaf) => self.stop(id, 1),
            _ => {}
        }
        self.front_end_sees(path, value);
        Ok(())
    }

    fn mkdir(&self, path: &str) -> Done {
        self.step("mkdir").map_err(|error| Failure(error.to_string()))?;
        let mut nodes = self.nodes.borrow_mut();
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        let mut above = Node::default();
        for end in ends {
            let inherited = Node { value: vec![], ..above.clone() };
            above = nodes.entry(path[..end].to_string()).or_insert(inherited).clone();
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Done {
        self.step("rm").map_err(|error| Failure(error.to_string()))?;
        let below = format!("{path}/");
        self.nodes.borrow_mut().retain(|name, _| name != path && !name.starts_with(&below));
        Ok(())
    }

    fn directory(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let nodes = self.nodes.borrow();
        let names = nodes.keys().filter_map(|name| name.strip_prefix(&below));
        let names: BTreeSet<_> = names.filter_map(|name| name.split('/').next()).collect();
        names.into_iter().map(String::from).collect()
    }

    fn set_permissions(&self, path: &str, owner: DomId, readers: &[DomId]) -> Done {
        self.step("set_perms").map_err(|error| Failure(error.to_string()))?;
        let mut nodes = self.nodes.borrow_mut();
        let node = nodes.get_mut(path).ok_or_else(|| Failure(format!("{path}: no such node")))?;
        (node.owner, node.readers) = (owner, readers.to_vec());
        Ok(())
    }

    fn introduce(&self, domain: DomId, frame: u64, port: RawPort) -> Done {
        self.step("introduce").map_err(|error| Failure(error.to_string()))?;
        self.introduced.borrow_mut().insert(domain, (frame, port));
        Ok(())
    }

    fn stopped(&self, domain: DomId) {
        assert!(self.introduced.borrow().contains_key(&domain), "it is not served");
        self.stopped.borrow_mut().push(domain);
    }

    fn release(&self, domain: DomId) {
        self.introduced.borrow_mut().remove(&domain);
    }
}

impl Files for World {
    fn list(&self) -> Vec<(String, u64)> {
        self.files.borrow().iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect()
    }

    fn read(&self, name: &str) -> Done<Cow<'_, [u8]>> {
        self.step("read").map_err(|error| Failure(error.to_string()))?;
        let found = self.files.borrow().get(name).cloned();
        found.map(Cow::Owned).ok_or_else(|| Failure(format!("{name}: no such file")))
    }
}

impl Devices for World {
    type Open = Held;

    /// A target "missing" is not there; any other one is, once for those that write.
    async fn open_disk(&self, owner: &str, disk: &Disk) -> Done<Held> {
        assert!(!owner.is_empty(), "the domain's name");
        yield_now().await;
        self.step("open").map_err(|error| Failure(error.to_string()))?;
        if disk.target == "missing" {
            return Err(Failure("missing: no such disk".to_string()));
        }
        if self.held.borrow().contains(&disk.target) && !disk.read_only {
            return Err(Failure(format!("{} is in use", disk.target)));
        }
        Ok(self.hold(&disk.target))
    }

    fn open_net(&self, vif: &Vif) -> Done<Held> {
        self.step("open").map_err(|error| Failure(error.to_string()))?;
        let bridge = vif.bridge.as_deref().expect("a bridge");
        assert!(vif.mac.is_some(), "an address");
        if !matches!(bridge, "xenbr0" | "intbr0") {
            return Err(Failure(format!("there is no bridge {bridge}")));
        }
        Ok(self.hold(bridge))
    }

    fn serve(&self, device: DeviceId, open: Held) -> Done {
        self.step("serve").map_err(|error| Failure(error.to_string()))?;
        let earlier = self.served.borrow_mut().insert(device, Served { _held: open, closed: false });
        assert!(earlier.is_none(), "served twice");
        let kind = if device.kind == DeviceKind::Disk { "vbd" } else { "vif" };
        let state = format!("/local/domain/0/backend/{kind}/{}/{}/state", device.domain, device.number);
        let first = self.first_state.get().as_bytes().to_vec();
        self.nodes.borrow_mut().get_mut(&state).expect("its nodes are there").value = first;
        Ok(())
    }

    async fn closed(&self, device: DeviceId) {
        loop {
            let listener = self.event.listen();
            if self.served.borrow().get(&device).is_none_or(|served| served.closed) {
                return;
            }
            listener.await;
        }
    }

    async fn close(&self, device: DeviceId) {
        while self.stuck.get() {
            self.event.listen().await;
        }
        turns(3).await;
        self.forget(device);
    }

    fn forget(&self, device: DeviceId) {
        self.served.borrow_mut().remove(&device);
    }

    fn disk_counts(&self, device: DeviceId) -> DiskCounts {
        DiskCounts { reads: device.number.into(), ..DiskCounts::default() }
    }

    fn net_counts(&self, device: DeviceId) -> NetCounts {
        NetCounts { sent_bytes: 1000 + u64::from(device.number), ..NetCounts::default() }
    }

    fn default_bridge(&self) -> String {
        "xenbr0".to_string()
    }

    fn bridges(&self) -> Vec<Bridge> {
        let id = "8000.00163e000001".to_string();
        vec![Bridge { name: "xenbr0".to_string(), id, interfaces: vec!["vif1.0".to_string()] }]
    }

    fn overlays(&self) -> Vec<Overlay> {
        let target = "/dev/sda1".to_string();
        vec![Overlay { owner: "a/xvda".to_string(), target, bytes: 4096, open: false }]
    }

    async fn commit_overlay(&self, owner: &str) -> Done {
        Err(Failure(format!("{owner} has no changes to commit")))
    }

    async fn discard_overlay(&self, owner: &str) -> Done {
        Err(Failure(format!("{owner} has no changes to discard")))
    }
}
