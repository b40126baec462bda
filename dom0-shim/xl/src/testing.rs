//! A toolstack and a terminal that tests look into.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{pending, ready};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use xl_config::domain::{Action, Affinity, Disk, DomainConfig, PcpuSpec, Vif};

use crate::shell::Shell;
use crate::terminal::Terminal;
use crate::toolstack::{
    Bridge, Button, Device, DeviceCounts, DomId, Domain, Done, Failure, Host, Node, Overlay, Pcpu, Pool,
    Reason, Request, Share, Slices, Toolstack, Topology, Vcpu,
};

/// A domain of 256 MiB and two vcpus.
pub(crate) fn domain(id: DomId, name: &str) -> Domain {
    Domain {
        id,
        name: name.into(),
        uuid: [id.to_le_bytes()[0]; 16],
        running: false,
        blocked: false,
        paused: false,
        shutdown: None,
        dying: false,
        online_vcpus: 2,
        max_vcpu: 1,
        cpu_ns: 1_500_000_000,
        memory_kib: 262_144,
        max_memory_kib: Some(262_144),
        ssid: 0,
        devices: DeviceCounts::default(),
    }
}

/// A vcpu that ran 0.8 s, last on pcpu 1.
pub(crate) fn vcpu(number: u32, hard: &[u32]) -> Vcpu {
    Vcpu {
        number,
        online: true,
        blocked: false,
        running: false,
        pcpu: 1,
        cpu_ns: 750_000_000,
        hard: hard.to_vec(),
        soft: (0..8).collect(),
    }
}

/// A host, the figures of whose memory and clock are those of requirements 3.7.
pub(crate) fn host() -> Host {
    Host {
        pcpus: 4,
        max_pcpu: 3,
        nodes: 1,
        cores_per_socket: 2,
        threads_per_core: 1,
        cpu_khz: 1_995_007,
        hw_caps: [1, 2, 3, 4, 5, 6, 7, 8],
        virt_caps: "hvm hap gnttab-v1".into(),
        total_kib: 8_387_576,
        free_kib: 5_164_600,
        outstanding_kib: 1_024,
        scrub_kib: 0,
        version: (4, 22),
        extra_version: "-kigumi".into(),
        capabilities: "hvm-3.0-x86_32 hvm-3.0-x86_64".into(),
        scheduler: "credit".into(),
        page_size: 4096,
        virt_start: 0xffff_8000_0000_0000,
        changeset: "abc".into(),
        command_line: "console=com1".into(),
        compiled: ["rustc", "someone", "somewhere", "today"].map(String::from),
        build_id: "1234".into(),
        uptime_ns: 100_000_000_000,
        wall_seconds: 1_269_507_625,
        hostname: "dom0".into(),
    }
}

/// A configuration of 64 MiB and one vcpu, growing to twice that.
pub(crate) fn config(name: &str) -> DomainConfig {
    DomainConfig {
        name: name.into(),
        uuid: None,
        kernel: "kernel".into(),
        ramdisk: None,
        command_line: "say \"hello\"".into(),
        memory_kib: 65_536,
        max_memory_kib: 131_072,
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

/// A toolstack of three domains that notes what it is told.
pub(crate) struct Fake {
    pub(crate) domains: RefCell<Vec<Domain>>,
    pub(crate) configs: RefCell<BTreeMap<DomId, DomainConfig>>,
    pub(crate) files: Vec<(&'static str, &'static [u8])>,
    /// Orders, one text each.
    pub(crate) orders: RefCell<Vec<String>>,
    /// What all orders fail with.
    pub(crate) refuses: RefCell<Option<&'static str>>,
    /// How domains stop that are waited for; those that are not here do not.
    pub(crate) stops: RefCell<BTreeMap<DomId, Option<Reason>>>,
    /// What consoles show, piece by piece; `None` is the domain's end.
    pub(crate) consoles: RefCell<BTreeMap<DomId, VecDeque<Option<&'static [u8]>>>>,
    pub(crate) now_ns: Cell<u64>,
    /// What is said about each place on the pcpus.
    pub(crate) advice: RefCell<Vec<String>>,
    pub(crate) pins: RefCell<BTreeMap<String, PcpuSpec>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let mut dom0 = domain(0, "Domain-0");
        dom0.running = true;
        dom0.max_memory_kib = None;
        let mut one = domain(1, "one");
        one.blocked = true;
        Self {
            domains: RefCell::new(vec![dom0, one, domain(2, "two")]),
            configs: RefCell::new([(1, config("one"))].into()),
            files: vec![
                ("guest.cfg", b"name = 'guest'\ntype = 'pvh'\nkernel = 'kernel'\nmemory = 64\nvcpus = 2\n"),
                ("bad.cfg", b"name = 'bad'\nkernel = 'kernel'\nmemory = []\n"),
                ("a text", b"text"),
                ("dos.cfg", b"# one\r\n# two\r\n"),
                ("kernel", b"\x7fELF\0"),
                ("auto/only.cfg", b"name = 'only'\nkernel = 'kernel'\nmemory = 64\n"),
                ("auto/guest.cfg", b"name = 'guest'\ntype = 'pvh'\nkernel = 'kernel'\nmemory = 64\n"),
            ],
            orders: RefCell::default(),
            refuses: RefCell::default(),
            stops: RefCell::default(),
            consoles: RefCell::default(),
            now_ns: Cell::new(host().uptime_ns),
            advice: RefCell::default(),
            pins: RefCell::default(),
        }
    }

    /// Changes a domain.
    pub(crate) fn change(&self, id: DomId, change: impl FnOnce(&mut Domain)) {
        change(self.domains.borrow_mut().iter_mut().find(|domain| domain.id == id).unwrap());
    }

    /// What was ordered since this was last asked.
    pub(crate) fn taken_orders(&self) -> Vec<String> {
        self.orders.take()
    }

    fn order(&self, order: String) -> Done {
        if let Some(why) = *self.refuses.borrow() {
            return Err(Failure(why.into()));
        }
        self.orders.borrow_mut().push(order);
        Ok(())
    }
}

impl Toolstack for Fake {
    fn domains(&self) -> Done<Vec<Domain>> {
        Ok(self.domains.borrow().clone())
    }

    fn vcpus(&self, domain: DomId) -> Done<Vec<Vcpu>> {
        let mut vcpus = vec![vcpu(0, &[0, 1, 2, 3]), vcpu(1, &[1, 2])];
        vcpus[1].online = domain != 2;
        Ok(vcpus)
    }

    fn host(&self) -> Done<Host> {
        Ok(Host { uptime_ns: self.now_ns.get(), ..host() })
    }

    fn topology(&self) -> Done<Topology> {
        let pcpus = vec![Pcpu { number: 0, core: 0, socket: 0, node: 0 }];
        Ok(Topology {
            pcpus,
            nodes: vec![Node { number: 0, total_kib: 1024, free_kib: 0, distances: vec![10] }],
        })
    }

    fn pools(&self) -> Done<Vec<Pool>> {
        let domains = u32::try_from(self.domains.borrow().len()).unwrap_or_default();
        let pool = Pool { name: "Pool-0".into(), scheduler: "credit".into(), domains, pcpus: vec![0, 1, 3] };
        Ok(vec![pool])
    }

    fn files(&self) -> Vec<(String, u64)> {
        self.files.iter().map(|(name, bytes)| (String::from(*name), bytes.len() as u64)).collect()
    }

    fn read_file(&self, name: &str) -> Done<Vec<u8>> {
        let file = self.files.iter().find(|(file, _)| *file == name);
        file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| Failure(format!("no file {name}")))
    }

    fn create(&self, config: DomainConfig, paused: bool) -> impl Future<Output = Done<DomId>> {
        let id = 3;
        ready(self.order(format!("create {} {} paused={paused}", config.name, config.memory_kib)).map(|()| {
            let mut new = domain(id, &config.name);
            new.paused = paused;
            self.domains.borrow_mut().push(new);
            self.configs.borrow_mut().insert(id, config);
            id
        }))
    }

    fn config(&self, domain: DomId) -> Option<DomainConfig> {
        self.configs.borrow().get(&domain).cloned()
    }

    fn update_config(&self, domain: DomId, config: DomainConfig) -> Done {
        self.order(format!("update {domain} {} {}", config.name, config.memory_kib))
    }

    fn rename(&self, domain: DomId, name: &str) -> Done {
        self.order(format!("rename {domain} {name}"))
    }

    fn pause(&self, domain: DomId) -> Done {
        self.order(format!("pause {domain}"))
    }

    fn unpause(&self, domain: DomId) -> Done {
        self.order(format!("unpause {domain}"))
    }

    fn request(&self, domain: DomId, request: Request, force: bool) -> Done {
        self.order(format!("request {domain} {request:?} force={force}"))
    }

    fn stopped(&self, domain: DomId) -> impl Future<Output = Option<Reason>> {
        let how = self.stops.borrow().get(&domain).copied();
        async move {
            match how {
                Some(how) => how,
                None => pending().await,
            }
        }
    }

    fn destroy(&self, domain: DomId) -> impl Future<Output = Done> {
        ready(self.order(format!("destroy {domain}")))
    }

    fn set_affinity(
        &self,
        domain: DomId,
        vcpu: Option<u32>,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Done {
        self.order(format!("affinity {domain} {vcpu:?} {hard:?} {soft:?}"))
    }

    fn pin_stopped(&self, name: &str, pcpus: &PcpuSpec) {
        self.pins.borrow_mut().insert(name.into(), pcpus.clone());
    }

    fn pins_of_stopped(&self, name: &str) -> Option<PcpuSpec> {
        self.pins.borrow().get(name).cloned()
    }

    fn advice(&self, _: &DomainConfig) -> Vec<String> {
        self.advice.borrow().clone()
    }

    fn advice_of(&self, _: DomId) -> Vec<String> {
        self.advice.borrow().clone()
    }

    fn set_vcpus(&self, domain: DomId, count: u32) -> Done {
        self.order(format!("vcpus {domain} {count}"))
    }

    fn share(&self, domain: DomId) -> Done<Share> {
        Ok(Share { weight: 256, cap: 10 * domain })
    }

    fn set_share(&self, domain: DomId, weight: Option<u16>, cap: Option<u16>) -> Done {
        self.order(format!("share {domain} {weight:?} {cap:?}"))
    }

    fn slices(&self) -> Done<Slices> {
        Ok(Slices { tslice_ms: 30, ratelimit_us: 1000, migration_delay_us: 0 })
    }

    fn set_slices(&self, slices: Slices) -> Done {
        let Slices { tslice_ms, ratelimit_us, migration_delay_us } = slices;
        self.order(format!("slices {tslice_ms} {ratelimit_us} {migration_delay_us}"))
    }

    fn set_memory(&self, domain: DomId, kib: u64) -> Done {
        self.order(format!("memory {domain} {kib}"))
    }

    fn set_max_memory(&self, domain: DomId, kib: u64) -> Done {
        self.order(format!("max-memory {domain} {kib}"))
    }

    async fn console_output(&self, domain: DomId) -> Option<Vec<u8>> {
        let next = self.consoles.borrow_mut().entry(domain).or_default().pop_front();
        match next {
            Some(piece) => piece.map(<[u8]>::to_vec),
            None => pending().await,
        }
    }

    fn console_rewind(&self, domain: DomId) -> Done {
        self.order(format!("rewind {domain}"))
    }

    fn console_input(&self, domain: DomId, bytes: &[u8]) {
        self.orders.borrow_mut().push(format!("input {domain} {bytes:?}"));
    }

    fn log(&self, clear: bool) -> Done<Vec<u8>> {
        self.order(format!("log clear={clear}"))?;
        Ok(b"(XEN) first\n(XEN) last".to_vec())
    }

    fn debug_keys(&self, keys: &str) -> Done {
        self.order(format!("keys {keys}"))
    }

    fn sysrq(&self, domain: DomId, key: char) -> Done {
        self.order(format!("sysrq {domain} {key}"))
    }

    fn trigger(&self, domain: DomId, button: Button, vcpu: u32) -> Done {
        self.order(format!("trigger {domain} {button:?} {vcpu}"))
    }

    fn uptime_ns(&self, domain: DomId) -> Option<u64> {
        (domain != 2).then_some(3_725_000_000_000)
    }

    fn disks(&self, domain: DomId) -> Done<Vec<Device>> {
        Ok(vec![device(51_712, domain)])
    }

    fn nets(&self, domain: DomId) -> Done<Vec<Device>> {
        Ok(vec![device(0, domain)])
    }

    fn attach_disk(&self, domain: DomId, disk: Disk) -> impl Future<Output = Done> {
        let Disk { target, format, vdev, read_only, cdrom } = disk;
        ready(self.order(format!("attach {domain} {target} {format:?} {vdev} ro={read_only} cd={cdrom}")))
    }

    fn detach_disk(&self, domain: DomId, number: u32, force: bool) -> impl Future<Output = Done> {
        ready(self.order(format!("detach disk {domain} {number} force={force}")))
    }

    fn attach_net(&self, domain: DomId, vif: Vif) -> impl Future<Output = Done> {
        let Vif { mac, bridge, name, rate } = vif;
        ready(self.order(format!("attach {domain} {mac:?} {bridge:?} {name:?} {rate:?}")))
    }

    fn detach_net(&self, domain: DomId, number: u32, force: bool) -> impl Future<Output = Done> {
        ready(self.order(format!("detach net {domain} {number} force={force}")))
    }

    fn bridges(&self) -> Vec<Bridge> {
        let bridge = |name: &str, interfaces: &[&str]| Bridge {
            name: name.into(),
            id: "8000.0217422f0001".into(),
            interfaces: interfaces.iter().map(|name| String::from(*name)).collect(),
        };
        vec![bridge("gintbr0", &[]), bridge("xenbr0", &["peth0", "vif1.0"])]
    }

    fn overlays(&self) -> Vec<Overlay> {
        let overlay = |owner: &str, bytes, open| Overlay {
            owner: owner.into(),
            target: "/dev/hda1".into(),
            bytes,
            open,
        };
        vec![overlay("one/xvda", 5 << 20, true), overlay("old/xvda", 1000, false)]
    }

    fn commit_overlay(&self, owner: &str) -> impl Future<Output = Done> {
        ready(self.order(format!("commit {owner}")))
    }

    fn discard_overlay(&self, owner: &str) -> impl Future<Output = Done> {
        ready(self.order(format!("discard {owner}")))
    }

    fn power(&self, request: Request) -> impl Future<Output = Done> {
        ready(self.order(format!("power {request:?}")))
    }
}

fn device(number: u32, domain: DomId) -> Device {
    Device {
        number,
        backend: 0,
        handle: number,
        state: 4,
        port: Some(9),
        rings: vec![8, 7],
        mac: "00:16:3e:00:00:01".into(),
        backend_path: format!("/local/domain/0/backend/x/{domain}/{number}"),
    }
}

/// What is typed at a terminal: bytes, and the times when nothing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Typed {
    Byte(u8),
    /// As long as [`Terminal::read_for`] waits.
    Nothing,
}

/// A terminal at which somebody types what is written down.
pub(crate) struct Screen<'t> {
    tools: &'t Fake,
    typed: VecDeque<Typed>,
    shown: Vec<u8>,
}

impl<'t> Screen<'t> {
    pub(crate) fn new(tools: &'t Fake, typed: &[u8]) -> Self {
        Self { tools, typed: typed.iter().copied().map(Typed::Byte).collect(), shown: vec![] }
    }

    pub(crate) fn then(mut self, typed: Typed) -> Self {
        self.typed.push_back(typed);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

impl Terminal for Screen<'_> {
    async fn read(&mut self) -> u8 {
        loop {
            match self.typed.pop_front() {
                Some(Typed::Byte(byte)) => return byte,
                Some(Typed::Nothing) => {}
                None => pending().await,
            }
        }
    }

    async fn read_for(&mut self, ms: u64) -> Option<u8> {
        match self.typed.pop_front() {
            Some(Typed::Byte(byte)) => Some(byte),
            Some(Typed::Nothing) => {
                self.tools.now_ns.set(self.tools.now_ns.get() + ms * 1_000_000);
                None
            }
            None => pending().await,
        }
    }

    fn write(&mut self, text: &[u8]) {
        self.shown.extend_from_slice(text);
    }
}

struct Woken(AtomicBool);

impl alloc::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future as far as it goes; `None` where it waits for what does not come.
pub(crate) fn drive<R>(future: impl Future<Output = R>) -> Option<R> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = woken.clone().into();
    let mut future = pin!(future);
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
    }
    None
}

/// Runs a line; the exit status, unless it still waits, and what was shown.
pub(crate) fn run_on(tools: &Fake, screen: &mut Screen<'_>, line: &str) -> Option<u8> {
    drive(Shell::new(tools).execute(line, screen))
}

/// Runs a line at a terminal where nobody types.
pub(crate) fn run(tools: &Fake, line: &str) -> (u8, String) {
    let mut screen = Screen::new(tools, b"");
    let status = run_on(tools, &mut screen, line);
    (status.unwrap_or_else(|| panic!("{line} still waits after {}", screen.text())), screen.text())
}

/// Types into a shell; what it shows.
pub(crate) fn type_in(tools: &Fake, typed: &[u8]) -> String {
    let mut screen = Screen::new(tools, typed);
    assert!(drive(async { Shell::new(tools).run(&mut screen).await }).is_none());
    screen.text()
}
