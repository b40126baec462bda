//! How a domain starts. Whatever fails, nothing of it is left (LIF-10).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;

use xen_abi::domctl::SchedCredit;
use xen_abi::hvm_params::HvmParam;
use xen_abi::sysctl::PhysInfo;
use xen_control::builder::{Built, Config, Module};
use xl::toolstack::{DomId, Done, Failure};
use xl_config::domain::DomainConfig;

use crate::environment::{Environment, Files, Platform, Registry};
use crate::hypervisor::Hypervisor;
use crate::limits;
use crate::manager::{DOM0, Manager, Record, failed, of_domain};
use crate::tree::{self, Facts};

/// Frames of a domain beside its memory: those that it shares with the toolstack, its
/// vcpus', and the first tables of its EPT.
const OVERHEAD_KIB: u64 = 1024;
/// Memory for page tables: one table for each 2 MiB, with those above.
const TABLES_PER_MEMORY: u64 = 256;

/// What was before a domain that restarts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct History {
    /// How often in a row it crashed soon after its start.
    pub(crate) crashes: u32,
}

impl<E: Environment> Manager<E> {
    /// Builds a domain and starts it, or leaves it paused.
    pub(crate) async fn start(&self, config: DomainConfig, paused: bool, history: History) -> Done<DomId> {
        let config = self.complete(config);
        let starting = self.reserve(&config)?;
        let opened = self.open_devices(&config).await?;
        let built = self.build(&config).await?;
        let unfinished = Unfinished { manager: self, id: built.id, uuid: config.uuid.unwrap_or_default() };
        self.furnish(&config, &built)?;
        let started_ns = self.env.platform().now_ns();
        self.records.borrow_mut().insert(built.id, Record::new(config, started_ns, history));
        drop(starting);
        self.connect_all(built.id, opened)?;
        if !paused {
            self.hypervisor().unpause(built.id).map_err(|error| of_domain(built.id, error))?;
        }
        core::mem::forget(unfinished);
        Ok(built.id)
    }

    /// Makes the choices that the configuration leaves: UUID, MAC addresses and bridges. A
    /// restart keeps them.
    fn complete(&self, mut config: DomainConfig) -> DomainConfig {
        config.uuid.get_or_insert_with(|| self.new_uuid());
        config.vifs = config.vifs.into_iter().map(|vif| self.complete_vif(vif)).collect();
        config
    }

    /// A random UUID (RFC 9562, version 4).
    pub(crate) fn new_uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        self.env.platform().random(&mut uuid);
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        uuid
    }

    /// A random MAC address of Xen's range.
    pub(crate) fn new_mac(&self) -> [u8; 6] {
        let mut last = [0; 3];
        self.env.platform().random(&mut last);
        let [a, b, c] = last;
        [0x00, 0x16, 0x3e, a & 0x7f, b, c]
    }

    /// Takes the domain's name, UUID, addresses and vcpus, so that no build that begins
    /// meanwhile gets them.
    fn reserve(&self, config: &DomainConfig) -> Done<Starting<'_, E>> {
        if self.stopping.get() {
            return Err(Failure(String::from("the machine is about to stop: no domain starts any more")));
        }
        self.check_name_is_free(&config.name, None)?;
        let dom0_vcpus = self.info(DOM0)?.max_vcpu_id.wrapping_add(1);
        let records = self.records.borrow();
        let mut starting = self.starting.borrow_mut();
        let present: Vec<_> = records.values().map(Record::present).collect();
        let others: Vec<_> = present.iter().chain(starting.values()).collect();
        limits::check(config, dom0_vcpus, &others)?;
        let number = starting.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        starting.insert(number, config.clone());
        Ok(Starting { manager: self, number })
    }

    /// Whether no domain has this name, but maybe `but`. Those count as well that another
    /// toolstack made, and that are being built.
    ///
    /// # Errors
    ///
    /// In words.
    pub(crate) fn check_name_is_free(&self, name: &str, but: Option<DomId>) -> Done {
        if self.is_name_free(name, but)? {
            return Ok(());
        }
        Err(Failure(format!("a domain named {name:?} exists already")))
    }

    /// The same as an answer.
    ///
    /// # Errors
    ///
    /// In words, when nobody knows.
    pub(crate) fn is_name_free(&self, name: &str, but: Option<DomId>) -> Done<bool> {
        let taken = |id: DomId| Some(id) != but && self.name(id).as_deref() == Some(name);
        let domains = self.hypervisor().domains().map_err(failed)?;
        let starting = self.starting.borrow();
        let mut starts = starting.values().map(|config| config.name.as_str());
        Ok(!starts.any(|start| start == name) && !domains.iter().any(|info| taken(info.domain)))
    }

    /// Builds it by its files; it is paused.
    async fn build(&self, config: &DomainConfig) -> Done<Built> {
        let kernel = self.env.files().read(&config.kernel)?;
        let ramdisk = config.ramdisk.as_ref().map(|name| self.env.files().read(name)).transpose()?;
        self.check_memory(config)?;
        let modules: Vec<_> =
            ramdisk.iter().map(|bytes| Module { bytes: bytes.as_ref(), command_line: "" }).collect();
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let build = Config {
            kernel: &kernel,
            command_line: &config.command_line,
            modules: &modules,
            pages: config.memory_kib / 4,
            max_pages: config.max_memory_kib / 4,
            vcpus: config.max_vcpus,
            handle: config.uuid.unwrap_or_default(),
            max_port: config.max_event_channels,
            grant_frames: number(config.max_grant_frames),
            maptrack_frames: number(config.max_maptrack_frames),
        };
        let built = self.hypervisor().build(&build, yield_now).await;
        built.map_err(|error| match error {
            xen_control::Error::Image(error) => Failure(format!("kernel {}: {error}", config.kernel)),
            error => failed(error),
        })
    }

    /// Whether there is memory for it (T-42).
    fn check_memory(&self, config: &DomainConfig) -> Done {
        let needed = needed_kib(config);
        let free = free_kib(&self.hypervisor().physinfo().map_err(failed)?);
        if needed <= free {
            return Ok(());
        }
        Err(Failure(format!(
            "not enough free memory: the domain needs {} MiB, {} MiB are free",
            needed.div_ceil(1024),
            free / 1024
        )))
    }

    /// Gives a new domain its ports, its share, its places, its console and its nodes,
    /// and lets XenStore serve it.
    fn furnish(&self, config: &DomainConfig, built: &Built) -> Done {
        let id = built.id;
        let words = |error| of_domain(id, error);
        let hypervisor = self.hypervisor();
        let store_port = hypervisor.alloc_unbound(id, DOM0).map_err(words)?;
        let console_port = hypervisor.alloc_unbound(id, DOM0).map_err(words)?;
        hypervisor.set_param(id, HvmParam::StoreEvtchn, store_port.into()).map_err(words)?;
        hypervisor.set_param(id, HvmParam::ConsoleEvtchn, console_port.into()).map_err(words)?;
        // Without a grant table a domain has back ends that map its rings by frame only.
        if config.max_grant_frames != 0 {
            hypervisor.grant_rings(built).map_err(words)?;
        }
        if config.rtc_timeoffset != 0 {
            hypervisor.set_time_offset(id, config.rtc_timeoffset.into()).map_err(words)?;
        }
        let share = SchedCredit { weight: config.weight, cap: config.cap };
        hypervisor.set_share(id, share).map_err(words)?;
        self.place(config, id)?;
        self.open_console(id, built.console, console_port)?;
        let uuid = config.uuid.unwrap_or_default();
        let facts = Facts { id, uuid, config, built, store_port, console_port };
        tree::plant(self.env.registry(), &facts)?;
        self.env.registry().introduce(id, built.store, store_port)
    }

    /// Says where its vcpus may run, and run best.
    fn place(&self, config: &DomainConfig, id: DomId) -> Done {
        let pcpus = self.hypervisor().physinfo().map_err(failed)?.nr_cpus;
        let words = |error| of_domain(id, error);
        for vcpu in 0..config.max_vcpus {
            if let Some(mask) = limits::place(&config.cpus, vcpu, pcpus)? {
                self.hypervisor().set_affinity(id, vcpu, mask).map_err(words)?;
            }
            if let Some(mask) = limits::place(&config.cpus_soft, vcpu, pcpus)? {
                self.hypervisor().set_soft_affinity(id, vcpu, mask).map_err(words)?;
            }
        }
        Ok(())
    }

    /// Writes Dom0's nodes.
    pub(crate) fn write_dom0(&self) -> Done {
        let info = self.info(DOM0)?;
        let vcpus = info.max_vcpu_id.saturating_add(1);
        tree::plant_dom0(self.env.registry(), info.tot_pages.saturating_mul(4), vcpus)
    }
}

/// Memory that a domain takes, KiB.
fn needed_kib(config: &DomainConfig) -> u64 {
    config.memory_kib.saturating_add(config.memory_kib / TABLES_PER_MEMORY).saturating_add(OVERHEAD_KIB)
}

/// Memory that is neither used nor promised, KiB.
fn free_kib(info: &PhysInfo) -> u64 {
    info.free_pages.saturating_sub(info.outstanding_pages).saturating_mul(4)
}

/// What a build takes before the domain is there, until it is dropped.
struct Starting<'a, E: Environment> {
    manager: &'a Manager<E>,
    number: u64,
}

impl<E: Environment> Drop for Starting<'_, E> {
    fn drop(&mut self) {
        self.manager.starting.borrow_mut().remove(&self.number);
    }
}

/// A domain that is undone unless it is forgotten.
struct Unfinished<'a, E: Environment> {
    manager: &'a Manager<E>,
    id: DomId,
    uuid: [u8; 16],
}

impl<E: Environment> Drop for Unfinished<'_, E> {
    fn drop(&mut self) {
        self.manager.undo(self.id, &self.uuid);
    }
}

/// Lets all other tasks run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::pin::pin;
    use core::task::{Context, Waker};
    use std::vec;

    use futures_util::future::join;
    use pollster::block_on;
    use xl::toolstack::Toolstack;
    use xl_config::domain::{Affinity, PcpuSpec};

    use super::*;
    use crate::testing::{World, config, disk, vif};

    #[test]
    fn a_domain_is_all_that_its_configuration_says() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let spec = |ranges: &[(bool, u32, u32)]| PcpuSpec { ranges: ranges.to_vec() };
        let wanted = DomainConfig {
            ramdisk: Some(String::from("ramdisk")),
            max_memory_kib: 128 << 10,
            cpus: Affinity::All(spec(&[(true, 0, 2), (true, 3, 3), (false, 1, 1)])),
            cpus_soft: Affinity::Each(vec![spec(&[(true, 2, 2)])]),
            weight: 512,
            cap: 150,
            rtc_timeoffset: -3600,
            ..config("domain_1")
        };
        let id = block_on(manager.create(wanted, false)).unwrap();
        world.guest(id, |guest| {
            assert_eq!((guest.flags, guest.vcpus), (0, 2));
            assert_eq!((guest.pages, guest.max_pages), (16 << 10, 32 << 10));
            assert_eq!((guest.share, guest.time_offset), ((512, 150), -3600));
            assert_eq!(guest.granted, [100, 101]);
            assert_eq!(guest.hard.values().copied().collect::<Vec<_>>(), [0b1101, 0b1101]);
            assert_eq!(guest.soft.get(&0), Some(&0b100));
            assert_eq!(guest.soft.get(&1), None, "no entry: anywhere");
            assert_eq!(guest.params.get(&HvmParam::StoreEvtchn.get()), Some(&1));
            assert_eq!(guest.params.get(&HvmParam::ConsoleEvtchn.get()), Some(&2));
            assert_eq!((guest.handle[6] >> 4, guest.handle[8] >> 6), (4, 2), "a UUID of version 4");
        });
        assert_eq!(world.introduced.borrow().get(&id), Some(&(101, 1)));
        let listed = manager.domains().unwrap().into_iter().find(|domain| domain.id == id).unwrap();
        assert_eq!((listed.name.as_str(), listed.memory_kib), ("domain_1", 64 << 10));
        assert_eq!(manager.config(id).unwrap().uuid, Some(listed.uuid));
    }

    /// LIF-21.
    #[test]
    fn a_domain_may_wait_to_be_unpaused() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), true)).unwrap();
        assert!(manager.domains().unwrap()[1].paused);
        manager.unpause(id).unwrap();
        manager.unpause(id).unwrap();
        assert!(!manager.domains().unwrap()[1].paused);
    }

    /// LIF-10, LIF-27.
    #[test]
    fn whichever_step_fails_nothing_is_left() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let wanted = || DomainConfig {
            ramdisk: Some(String::from("ramdisk")),
            cpus: Affinity::All(PcpuSpec { ranges: vec![(true, 0, 0)] }),
            rtc_timeoffset: 1,
            disks: vec![disk("/dev/sda1", "xvda"), disk("/dev/sda2", "xvdb")],
            vifs: vec![vif(1, "xenbr0")],
            ..config("a")
        };
        let free = Hypervisor::physinfo(&world).unwrap().free_pages;
        let mut failures = 0;
        loop {
            world.refuse.set(Some(world.steps.get() + failures));
            let made = block_on(manager.create(wanted(), false));
            world.refuse.set(None);
            let Err(error) = made else { break };
            assert!(!error.0.is_empty());
            world.assert_empty(&format!("after the failure of step {failures}: {error}"));
            assert!(manager.records.borrow().is_empty() && manager.starting.borrow().is_empty());
            assert_eq!(Hypervisor::physinfo(&world).unwrap().free_pages, free);
            failures += 1;
        }
        assert!(failures > 200, "{failures} steps are too few");
        assert_eq!(world.ids().len(), 1, "and then it works");
    }

    #[test]
    fn a_start_that_is_given_up_leaves_nothing() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        {
            let mut start = pin!(manager.create(config("a"), false));
            assert!(start.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(manager.starting.borrow().len(), 1);
        }
        assert!(manager.starting.borrow().is_empty());
        world.assert_empty("after a start was given up");
    }

    /// T-61.
    #[test]
    fn a_name_is_one_domains() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("guest_dom1"), false)).unwrap();
        for name in ["guest_dom1", "Domain-0"] {
            let error = block_on(manager.create(config(name), false)).unwrap_err();
            assert_eq!(error.0, format!("a domain named {name:?} exists already"));
        }
        // The name of a domain that somebody else made counts as well.
        world.set(&format!("/local/domain/{id}/name"), "other");
        assert!(block_on(manager.create(config("other"), false)).is_err());
    }

    /// LIF-11.
    #[test]
    fn builds_go_on_side_by_side() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let both = join(manager.create(config("a"), false), manager.create(config("b"), false));
        let (a, b) = block_on(both);
        assert_ne!(a.unwrap(), b.unwrap());
        assert_eq!(world.most_building.get(), 2);
        let both = join(manager.create(config("c"), false), manager.create(config("c"), false));
        let (c, again) = block_on(both);
        assert!(c.is_ok() && again.unwrap_err().0.contains("exists already"), "a build has its name");
    }

    /// T-42.
    #[test]
    fn too_little_memory_is_told_with_both_figures() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let large = 8 << 20;
        let wanted = DomainConfig { memory_kib: large, max_memory_kib: large, ..config("a") };
        let error = block_on(manager.create(wanted, false)).unwrap_err();
        assert_eq!(error.0, "not enough free memory: the domain needs 8225 MiB, 3840 MiB are free");
        world.assert_empty("after too large a domain");
    }

    #[test]
    fn files_that_are_missing_are_named() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let wanted = DomainConfig { kernel: String::from("vmlinuz"), ..config("a") };
        assert_eq!(block_on(manager.create(wanted, false)).unwrap_err().0, "vmlinuz: no such file");
        let wanted = DomainConfig { ramdisk: Some(String::from("initrd")), ..config("a") };
        assert_eq!(block_on(manager.create(wanted, false)).unwrap_err().0, "initrd: no such file");
    }

    /// BLK-17, NET-12, T-89.
    #[test]
    fn a_device_without_its_backing_keeps_the_domain_from_being_built() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let good = disk("/dev/sda1", "xvda");
        let no_disk = DomainConfig { disks: vec![good.clone(), disk("missing", "xvdb")], ..config("a") };
        let error = block_on(manager.create(no_disk, false)).unwrap_err();
        assert_eq!(error.0, "disk xvdb: missing: no such disk");
        let no_bridge = DomainConfig { disks: vec![good], vifs: vec![vif(1, "xenbr7")], ..config("a") };
        let error = block_on(manager.create(no_bridge, false)).unwrap_err();
        assert_eq!(error.0, "network interface: there is no bridge xenbr7");
        assert_eq!(world.most_building.get(), 0, "nothing was built");
        world.assert_empty("after devices that are not there");
    }

    #[test]
    fn a_pcpu_that_is_not_there_is_refused() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let cpus = Affinity::All(PcpuSpec { ranges: vec![(true, 4, 4)] });
        assert!(block_on(manager.create(DomainConfig { cpus, ..config("a") }, false)).is_err());
        world.assert_empty("after a pcpu that is not there");
    }
}
