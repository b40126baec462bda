//! The manager: which domains it made, and what xl may order.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::Display;

use event_listener::Event;
use xen_abi::domctl::GetDomainInfo;
use xen_abi::sysctl::CreditSchedule;
use xen_control::Error;
use xl::toolstack::{
    Bridge, Button, Device, DomId, Domain, Done, Failure, Host, Overlay, Pool, Reason, Request, Share,
    Slices, Toolstack, Topology, Vcpu,
};
use xl_config::domain::{Disk, DomainConfig, PcpuSpec, Vif};

use crate::consoles::Consoles;
use crate::create::History;
use crate::devices::Attached;
use crate::environment::{DeviceId, DeviceKind, Devices, Environment, Files};
use crate::hypervisor::Hypervisor;

/// Dom0's number.
pub(crate) const DOM0: DomId = 0;
/// Its name (LIF-03).
pub(crate) const DOM0_NAME: &str = "Domain-0";
/// Domains whose reasons to stop are remembered after they are gone.
const REASONS: usize = 16;

/// The toolstack's state. See the [crate].
pub struct Manager<E: Environment> {
    pub(crate) env: E,
    /// The domains that it made.
    pub(crate) records: RefCell<BTreeMap<DomId, Record>>,
    /// What is being built and has no number yet, by a number of its own.
    pub(crate) starting: RefCell<BTreeMap<u64, DomainConfig>>,
    pub(crate) consoles: Consoles<<E::Hypervisor as Hypervisor>::Ring>,
    /// Told when a domain has stopped or is gone.
    pub(crate) changed: Event,
    /// The machine is about to stop: no domain starts any more.
    pub(crate) stopping: Cell<bool>,
    /// Where the vcpus of domains that did not run are to run from their next start on, by name.
    pub(crate) pins: RefCell<BTreeMap<String, PcpuSpec>>,
    /// Why the last domains stopped, the newest last.
    reasons: RefCell<VecDeque<(DomId, Reason)>>,
}

/// A domain that the manager made.
pub(crate) struct Record {
    /// What it was made from, each choice made.
    pub(crate) config: DomainConfig,
    /// What it is made from when it restarts, if that is something else.
    pub(crate) next: Option<DomainConfig>,
    /// When it was started, ns.
    pub(crate) started_ns: u64,
    /// What was before it.
    pub(crate) history: History,
    /// Whether its end has been noticed.
    pub(crate) noticed: bool,
    /// Its devices.
    pub(crate) devices: Vec<Attached>,
    /// Its devices are being ended, and it gets none any more.
    pub(crate) ending: bool,
}

impl Record {
    /// A domain that has no devices yet.
    pub(crate) fn new(config: DomainConfig, started_ns: u64, history: History) -> Self {
        let devices = Vec::new();
        Self { config, next: None, started_ns, history, noticed: false, devices, ending: false }
    }
}

impl<E: Environment> Manager<E> {
    /// A manager that has made no domain yet. Writes Dom0's nodes.
    ///
    /// # Errors
    ///
    /// When Dom0's nodes cannot be written.
    pub fn new(env: E) -> Done<Self> {
        let manager = Self {
            env,
            records: RefCell::default(),
            starting: RefCell::default(),
            consoles: Consoles::default(),
            changed: Event::new(),
            stopping: Cell::new(false),
            pins: RefCell::default(),
            reasons: RefCell::default(),
        };
        manager.write_dom0()?;
        Ok(manager)
    }

    pub(crate) fn hypervisor(&self) -> &E::Hypervisor {
        self.env.hypervisor()
    }

    /// What the hypervisor knows of a domain.
    pub(crate) fn info(&self, domain: DomId) -> Done<GetDomainInfo> {
        self.hypervisor().info(domain).map_err(|error| of_domain(domain, error))
    }

    /// Remembers why a domain stopped.
    pub(crate) fn remember(&self, domain: DomId, reason: Reason) {
        let mut reasons = self.reasons.borrow_mut();
        reasons.push_back((domain, reason));
        if reasons.len() > REASONS {
            reasons.pop_front();
        }
    }

    /// Why a domain stopped, if it is one of the last that did.
    fn remembered(&self, domain: DomId) -> Option<Reason> {
        self.reasons.borrow().iter().rev().find(|(id, _)| *id == domain).map(|(_, reason)| *reason)
    }

    async fn wait_stopped(&self, domain: DomId) -> Option<Reason> {
        loop {
            let changed = self.changed.listen();
            match self.hypervisor().info(domain) {
                Err(_) => return self.remembered(domain),
                Ok(info) => {
                    if let Some(reason) = crate::inspect::reason(&info) {
                        return Some(reason);
                    }
                }
            }
            changed.await;
        }
    }
}

/// Words for an error about a domain.
pub(crate) fn of_domain(domain: DomId, error: Error) -> Failure {
    match error {
        Error::Refused(_, xen_abi::errno::Errno::ESRCH) => Failure(format!("domain {domain} does not exist")),
        error => Failure(format!("domain {domain}: {error}")),
    }
}

/// Words for an error.
pub(crate) fn failed(error: impl Display) -> Failure {
    Failure(error.to_string())
}

impl<E: Environment> Toolstack for Manager<E> {
    fn domains(&self) -> Done<Vec<Domain>> {
        self.list()
    }

    fn vcpus(&self, domain: DomId) -> Done<Vec<Vcpu>> {
        self.list_vcpus(domain)
    }

    fn host(&self) -> Done<Host> {
        self.describe_host()
    }

    fn topology(&self) -> Done<Topology> {
        self.describe_topology()
    }

    fn pools(&self) -> Done<Vec<Pool>> {
        self.describe_pools()
    }

    fn files(&self) -> Vec<(String, u64)> {
        self.env.files().list()
    }

    fn read_file(&self, name: &str) -> Done<Vec<u8>> {
        self.env.files().read(name).map(alloc::borrow::Cow::into_owned)
    }

    async fn create(&self, config: DomainConfig, paused: bool) -> Done<DomId> {
        self.start(config, paused, History::default()).await
    }

    fn config(&self, domain: DomId) -> Option<DomainConfig> {
        let records = self.records.borrow();
        let record = records.get(&domain)?;
        Some(record.with_devices(record.next.as_ref().unwrap_or(&record.config).clone()))
    }

    fn update_config(&self, domain: DomId, config: DomainConfig) -> Done {
        self.replace_config(domain, config)
    }

    fn rename(&self, domain: DomId, name: &str) -> Done {
        self.change_name(domain, name)
    }

    fn pause(&self, domain: DomId) -> Done {
        self.stop_vcpus(domain)
    }

    fn unpause(&self, domain: DomId) -> Done {
        self.let_run(domain)
    }

    fn request(&self, domain: DomId, request: Request, force: bool) -> Done {
        self.ask(domain, request, force)
    }

    async fn stopped(&self, domain: DomId) -> Option<Reason> {
        self.wait_stopped(domain).await
    }

    async fn destroy(&self, domain: DomId) -> Done {
        self.end(domain).await
    }

    fn set_affinity(
        &self,
        domain: DomId,
        vcpu: Option<u32>,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Done {
        self.pin(domain, vcpu, hard, soft)
    }

    fn pin_stopped(&self, name: &str, pcpus: &PcpuSpec) {
        self.pins.borrow_mut().insert(name.to_string(), pcpus.clone());
    }

    fn pins_of_stopped(&self, name: &str) -> Option<PcpuSpec> {
        self.pins.borrow().get(name).cloned()
    }

    fn advice(&self, config: &DomainConfig) -> Vec<String> {
        self.advise_before_start(config)
    }

    fn advice_of(&self, domain: DomId) -> Vec<String> {
        self.advise(domain)
    }

    fn set_vcpus(&self, domain: DomId, count: u32) -> Done {
        self.bring_up(domain, count)
    }

    fn share(&self, domain: DomId) -> Done<Share> {
        let share = self.hypervisor().share(domain).map_err(|error| of_domain(domain, error))?;
        Ok(Share { weight: share.weight, cap: share.cap })
    }

    fn set_share(&self, domain: DomId, weight: Option<u16>, cap: Option<u16>) -> Done {
        self.give_share(domain, weight, cap)
    }

    fn slices(&self) -> Done<Slices> {
        let slices = self.hypervisor().slices().map_err(failed)?;
        Ok(Slices {
            tslice_ms: slices.tslice_ms,
            ratelimit_us: slices.ratelimit_us,
            migration_delay_us: slices.vcpu_migr_delay_us,
        })
    }

    fn set_slices(&self, slices: Slices) -> Done {
        let Slices { tslice_ms, ratelimit_us, migration_delay_us } = slices;
        let slices = CreditSchedule { tslice_ms, ratelimit_us, vcpu_migr_delay_us: migration_delay_us };
        self.hypervisor().set_slices(slices).map_err(failed)
    }

    fn set_memory(&self, domain: DomId, kib: u64) -> Done {
        self.aim_memory(domain, kib)
    }

    fn set_max_memory(&self, domain: DomId, kib: u64) -> Done {
        self.limit_memory(domain, kib)
    }

    async fn console_output(&self, domain: DomId) -> Option<Vec<u8>> {
        self.consoles.next_output(domain).await
    }

    fn console_rewind(&self, domain: DomId) -> Done {
        self.consoles.rewind(domain)
    }

    fn console_input(&self, domain: DomId, bytes: &[u8]) {
        self.type_into(domain, bytes);
    }

    fn log(&self, clear: bool) -> Done<Vec<u8>> {
        self.read_log(clear)
    }

    fn debug_keys(&self, keys: &str) -> Done {
        self.hypervisor().debug_keys(keys).map_err(failed)
    }

    fn sysrq(&self, domain: DomId, key: char) -> Done {
        self.send_sysrq(domain, key)
    }

    fn trigger(&self, domain: DomId, button: Button, vcpu: u32) -> Done {
        self.press(domain, button, vcpu)
    }

    fn uptime_ns(&self, domain: DomId) -> Option<u64> {
        self.age_ns(domain)
    }

    fn disks(&self, domain: DomId) -> Done<Vec<Device>> {
        self.list_devices(domain, DeviceKind::Disk)
    }

    fn nets(&self, domain: DomId) -> Done<Vec<Device>> {
        self.list_devices(domain, DeviceKind::Net)
    }

    async fn attach_disk(&self, domain: DomId, disk: Disk) -> Done {
        self.attach_disk_to(domain, disk).await
    }

    async fn detach_disk(&self, domain: DomId, number: u32, force: bool) -> Done {
        self.detach(DeviceId { domain, kind: DeviceKind::Disk, number }, force).await
    }

    async fn attach_net(&self, domain: DomId, vif: Vif) -> Done {
        self.attach_net_to(domain, vif).await
    }

    async fn detach_net(&self, domain: DomId, number: u32, force: bool) -> Done {
        self.detach(DeviceId { domain, kind: DeviceKind::Net, number }, force).await
    }

    fn bridges(&self) -> Vec<Bridge> {
        self.env.devices().bridges()
    }

    fn overlays(&self) -> Vec<Overlay> {
        self.env.devices().overlays()
    }

    async fn commit_overlay(&self, owner: &str) -> Done {
        self.env.devices().commit_overlay(owner).await
    }

    async fn discard_overlay(&self, owner: &str) -> Done {
        self.env.devices().discard_overlay(owner).await
    }

    async fn power(&self, request: Request) -> Done {
        self.stop_all(request).await
    }
}
