//! What an administrator changes of a domain that is there.

use alloc::format;
use alloc::string::{String, ToString};

use xen_abi::domctl::{DomainFlags, GetDomainInfo, SchedCredit, Trigger};
use xen_abi::hvm_params::HvmParam;
use xl::toolstack::{Button, DomId, Done, Failure, Request};
use xl_config::domain::DomainConfig;
use xl_config::name;

use crate::environment::{Environment, Registry};
use crate::hypervisor::Hypervisor;
use crate::manager::{DOM0, Manager, failed, of_domain};
use crate::{inspect, limits, tree};

/// What libxl leaves above a domain's memory when it sets a limit, KiB.
const SLACK_KIB: u64 = 1024;
/// Least memory of Dom0, KiB (as libxl's).
const DOM0_LEAST_KIB: u64 = 128 << 10;
/// `set_share`: keeps what is.
const KEEP: SchedCredit = SchedCredit { weight: 0, cap: u16::MAX };

impl<E: Environment> Manager<E> {
    /// What the hypervisor knows of a domain that can be changed: one that is being built
    /// gets what its configuration says, and runs when it has all of that.
    pub(crate) fn info_of_built(&self, domain: DomId) -> Done<GetDomainInfo> {
        let info = self.info(domain)?;
        let has_uuid = |config: &DomainConfig| config.uuid == Some(info.handle);
        let starts = self.starting.borrow().values().any(has_uuid);
        if starts && !self.records.borrow().contains_key(&domain) {
            return Err(Failure(format!("domain {domain} is being built: wait for its start")));
        }
        Ok(info)
    }

    /// A domain is made from this when it restarts.
    pub(crate) fn replace_config(&self, domain: DomId, config: DomainConfig) -> Done {
        self.info_of_built(domain)?;
        let mut records = self.records.borrow_mut();
        let record = records.get_mut(&domain);
        let record = record
            .ok_or_else(|| Failure(format!("domain {domain} was not made here: it has no configuration")))?;
        // What is made up stays, so that a restart is the same domain.
        let uuid = config.uuid.or(record.config.uuid);
        let mut config = DomainConfig { uuid, name: record.config.name.clone(), ..config };
        for (new, old) in config.vifs.iter_mut().zip(&record.config.vifs) {
            new.mac = new.mac.or(old.mac);
        }
        record.next = Some(config);
        Ok(())
    }

    pub(crate) fn change_name(&self, domain: DomId, name: &str) -> Done {
        if domain == DOM0 {
            return Err(Failure(String::from("the name of Domain-0 is fixed")));
        }
        name::check(name).map_err(failed)?;
        self.name_it(domain, name)
    }

    /// Gives a domain a name that is not another one's, whatever its characters are.
    pub(crate) fn name_it(&self, domain: DomId, name: &str) -> Done {
        let info = self.info_of_built(domain)?;
        self.check_name_is_free(name, Some(domain))?;
        tree::rename(self.env.registry(), domain, &info.handle, name)?;
        if let Some(record) = self.records.borrow_mut().get_mut(&domain) {
            record.config.name = String::from(name);
            if let Some(next) = &mut record.next {
                next.name = String::from(name);
            }
        }
        Ok(())
    }

    pub(crate) fn stop_vcpus(&self, domain: DomId) -> Done {
        if domain == DOM0 {
            return Err(Failure(String::from("Domain-0 cannot be paused: nobody could undo it")));
        }
        if self.info_of_built(domain)?.flags & DomainFlags::PAUSED.bits() != 0 {
            return Ok(());
        }
        self.hypervisor().pause(domain).map_err(|error| of_domain(domain, error))
    }

    pub(crate) fn let_run(&self, domain: DomId) -> Done {
        if self.info_of_built(domain)?.flags & DomainFlags::PAUSED.bits() == 0 {
            return Ok(());
        }
        self.hypervisor().unpause(domain).map_err(|error| of_domain(domain, error))
    }

    /// Asks a guest to shut down or to reboot by its control node; one that does not
    /// listen gets its buttons pressed, with `force`.
    pub(crate) fn ask(&self, domain: DomId, request: Request, force: bool) -> Done {
        self.check_can_be_asked(domain)?;
        if self.listens(domain, request)? {
            let word: &[u8] = if request == Request::Reboot { b"reboot" } else { b"poweroff" };
            return self.env.registry().write(&control(domain, "shutdown"), word);
        }
        if !force {
            return Err(Failure(String::from(
                "PV control interface not available: external graceful shutdown not possible. \
                 Use \"-F\" to fallback to ACPI power event.",
            )));
        }
        let trigger = if request == Request::Reboot { Trigger::Reset } else { Trigger::Power };
        self.hypervisor().trigger(domain, trigger, 0).map_err(|error| of_domain(domain, error))
    }

    /// LIF-14: a domain that does not run hears nothing.
    fn check_can_be_asked(&self, domain: DomId) -> Done {
        if domain == DOM0 {
            return Err(Failure(String::from("Domain-0 is stopped by poweroff or reset")));
        }
        let info = self.info_of_built(domain)?;
        let has = |flag: DomainFlags| info.flags & flag.bits() != 0;
        let state = if has(DomainFlags::DYING) {
            "is being destroyed"
        } else if has(DomainFlags::SHUTDOWN) {
            "has shut down already: use destroy"
        } else if has(DomainFlags::PAUSED) {
            "is paused: unpause it first, or use destroy"
        } else {
            return Ok(());
        };
        Err(Failure(format!("domain {domain} {state}")))
    }

    /// Whether the guest has a driver that looks at its control node: it has asked for
    /// upcalls, or says what it understands.
    fn listens(&self, domain: DomId, request: Request) -> Done<bool> {
        let feature = if request == Request::Reboot { "feature-reboot" } else { "feature-poweroff" };
        if self.env.registry().read(&control(domain, feature)).as_deref() == Some(b"1") {
            return Ok(true);
        }
        let callback = self.hypervisor().get_param(domain, HvmParam::CallbackIrq);
        Ok(callback.map_err(|error| of_domain(domain, error))? != 0)
    }

    pub(crate) fn pin(
        &self,
        domain: DomId,
        vcpu: Option<u32>,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Done {
        let count = self.info_of_built(domain)?.max_vcpu_id.wrapping_add(1);
        if let Some(vcpu) = vcpu.filter(|vcpu| *vcpu >= count) {
            return Err(Failure(format!("domain {domain} has no vcpu {vcpu}")));
        }
        let hard = hard.map(limits::bits).transpose()?;
        let soft = soft.map(limits::bits).transpose()?;
        let words = |error| of_domain(domain, error);
        for vcpu in vcpu.map_or(0..count, |vcpu| vcpu..vcpu + 1) {
            if let Some(mask) = hard {
                self.hypervisor().set_affinity(domain, vcpu, mask).map_err(words)?;
            }
            if let Some(mask) = soft {
                self.hypervisor().set_soft_affinity(domain, vcpu, mask).map_err(words)?;
            }
        }
        Ok(())
    }

    /// Tells the guest which vcpus are to be up.
    pub(crate) fn bring_up(&self, domain: DomId, count: u32) -> Done {
        let most = self.info_of_built(domain)?.max_vcpu_id.wrapping_add(1);
        if count == 0 || count > most {
            return Err(Failure(format!("domain {domain} can have 1 to {most} vcpus, not {count}")));
        }
        for vcpu in 0..most {
            let path = tree::availability_path(domain, vcpu);
            let value = tree::availability(vcpu, count).as_bytes();
            // A guest is told of what changes only.
            if self.env.registry().read(&path).as_deref() != Some(value) {
                self.env.registry().write(&path, value)?;
            }
        }
        Ok(())
    }

    pub(crate) fn give_share(&self, domain: DomId, weight: Option<u16>, cap: Option<u16>) -> Done {
        if weight == Some(0) {
            return Err(Failure(String::from("a weight is 1 to 65535")));
        }
        let most = u64::from(self.info_of_built(domain)?.max_vcpu_id.wrapping_add(1)) * 100;
        if let Some(cap) = cap.filter(|cap| u64::from(*cap) > most) {
            return Err(Failure(format!("cap {cap}: domain {domain} can use {most} % at most")));
        }
        let share = SchedCredit { weight: weight.unwrap_or(KEEP.weight), cap: cap.unwrap_or(KEEP.cap) };
        self.hypervisor().set_share(domain, share).map_err(|error| of_domain(domain, error))
    }

    /// `mem-set`: a target for the guest's balloon, and a limit that holds it there.
    pub(crate) fn aim_memory(&self, domain: DomId, kib: u64) -> Done {
        self.info_of_built(domain)?;
        let most = self.static_max(domain)?;
        if kib > most {
            return Err(Failure(format!(
                "{} MiB are more than the domain's maximum, {} MiB: raise it with mem-max first",
                kib / 1024,
                most / 1024
            )));
        }
        if kib == 0 || (domain == DOM0 && kib < DOM0_LEAST_KIB) {
            return Err(Failure(format!("{} MiB are too little for domain {domain}", kib / 1024)));
        }
        self.limit(domain, kib)?;
        let target = format!("{}/memory/target", tree::domain_path(domain));
        self.env.registry().write(&target, kib.to_string().as_bytes())
    }

    /// `mem-max`: the most that `mem-set` may ask for.
    pub(crate) fn limit_memory(&self, domain: DomId, kib: u64) -> Done {
        self.info_of_built(domain)?;
        let target = format!("{}/memory/target", tree::domain_path(domain));
        let target = inspect::number(self.env.registry(), &target).unwrap_or(0);
        if kib < target {
            return Err(Failure(format!(
                "{} MiB are less than the domain's memory, {} MiB: lower that with mem-set first",
                kib / 1024,
                target / 1024
            )));
        }
        self.limit(domain, kib)?;
        self.env.registry().write(&tree::most_memory_path(domain), kib.to_string().as_bytes())
    }

    fn limit(&self, domain: DomId, kib: u64) -> Done {
        let most = kib.saturating_add(SLACK_KIB);
        self.hypervisor().max_mem(domain, most).map_err(|error| of_domain(domain, error))
    }

    /// Dom0 and domains that others made have only the node that they read themselves.
    fn static_max(&self, domain: DomId) -> Done<u64> {
        let path = format!("{}/memory/static-max", tree::domain_path(domain));
        let told = inspect::number(self.env.registry(), &tree::most_memory_path(domain));
        told.or_else(|| inspect::number(self.env.registry(), &path)).ok_or_else(|| {
            Failure(format!("nobody has told the memory of domain {domain}: {path} is missing"))
        })
    }

    pub(crate) fn send_sysrq(&self, domain: DomId, key: char) -> Done {
        self.info_of_built(domain)?;
        self.env.registry().write(&control(domain, "sysrq"), key.to_string().as_bytes())
    }

    pub(crate) fn press(&self, domain: DomId, button: Button, vcpu: u32) -> Done {
        self.info_of_built(domain)?;
        let trigger = match button {
            Button::Nmi => Trigger::Nmi,
            Button::Reset => Trigger::Reset,
            Button::Init => Trigger::Init,
            Button::Power => Trigger::Power,
            Button::Sleep => Trigger::Sleep,
            Button::S3Resume => {
                let awake = self.hypervisor().set_param(domain, HvmParam::AcpiSState, 0);
                return awake.map_err(failed);
            }
        };
        self.hypervisor().trigger(domain, trigger, vcpu).map_err(|error| of_domain(domain, error))
    }
}

/// Path of a node of a domain's that its toolstack talks to it by.
fn control(domain: DomId, name: &str) -> String {
    format!("{}/control/{name}", tree::domain_path(domain))
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Waker};

    use pollster::block_on;
    use xl::toolstack::{Slices, Toolstack};

    use super::*;
    use crate::testing::{World, config, run};

    fn with_domain(act: impl FnOnce(&World, &Manager<&World>, DomId)) {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let id = block_on(manager.create(config("a"), false)).unwrap();
        act(&world, &manager, id);
    }

    #[test]
    fn a_guest_that_listens_is_asked() {
        with_domain(|world, manager, id| {
            world.set(&control(id, "feature-poweroff"), "1");
            run(manager, async {
                manager.request(id, Request::Poweroff, false).unwrap();
                manager.stopped(id).await;
                crate::testing::turns(200).await;
            });
            assert!(world.guest_is_gone(id));
        });
        with_domain(|world, manager, id| {
            world.guest(id, |guest| guest.params.insert(HvmParam::CallbackIrq.get(), 1));
            manager.request(id, Request::Reboot, true).unwrap();
            assert_eq!(world.value(&control(id, "shutdown")).as_deref(), Some("reboot"));
        });
    }

    #[test]
    fn one_that_does_not_gets_its_button_pressed() {
        with_domain(|world, manager, id| {
            let error = manager.request(id, Request::Poweroff, false).unwrap_err();
            assert!(error.0.starts_with("PV control interface not available"));
            manager.request(id, Request::Poweroff, true).unwrap();
            manager.request(id, Request::Reboot, true).unwrap();
            assert_eq!(world.guest(id, |guest| guest.triggers.clone()), [Trigger::Power, Trigger::Reset]);
        });
    }

    /// LIF-14.
    #[test]
    fn a_domain_that_does_not_run_is_not_asked() {
        for (flags, words) in [(1, "is being destroyed"), (4, "has shut down already"), (8, "is paused")] {
            with_domain(|world, manager, id| {
                world.guest(id, |guest| guest.flags |= flags);
                let error = manager.request(id, Request::Poweroff, true).unwrap_err();
                assert!(error.0.contains(words), "{error}");
            });
        }
        with_domain(|_, manager, _| {
            assert!(manager.request(0, Request::Poweroff, true).is_err());
            assert_eq!(manager.request(9, Request::Reboot, true).unwrap_err().0, "domain 9 does not exist");
        });
    }

    /// T-43, T-44.
    #[test]
    fn memory_stays_below_the_maximum() {
        with_domain(|world, manager, id| {
            let mib = |mib: u64| mib << 10;
            assert!(manager.set_memory(id, mib(128)).unwrap_err().0.contains("raise it with mem-max first"));
            manager.set_max_memory(id, mib(128)).unwrap();
            manager.set_memory(id, mib(128)).unwrap();
            assert_eq!(world.value("/local/domain/1/memory/target").as_deref(), Some("131072"));
            assert_eq!(world.guest(id, |guest| guest.max_pages), 129 << 8);
            assert!(manager.set_max_memory(id, mib(64)).unwrap_err().0.contains("lower that with mem-set"));
            assert!(manager.set_memory(id, 0).is_err());
            assert!(manager.set_memory(0, mib(64)).is_err(), "Dom0 needs its memory");
        });
    }

    #[test]
    fn vcpus_are_told_by_their_nodes() {
        with_domain(|world, manager, id| {
            let up = || world.value("/local/domain/1/cpu/1/availability").unwrap();
            assert_eq!(up(), "offline");
            manager.set_vcpus(id, 2).unwrap();
            assert_eq!(up(), "online");
            manager.set_vcpus(id, 1).unwrap();
            assert_eq!(up(), "offline");
            assert!(manager.set_vcpus(id, 0).is_err() && manager.set_vcpus(id, 3).is_err());
        });
    }

    /// T-10.
    #[test]
    fn shares_are_changed_by_halves() {
        with_domain(|world, manager, id| {
            manager.set_share(id, Some(65535), None).unwrap();
            manager.set_share(id, None, Some(200)).unwrap();
            assert_eq!(world.guest(id, |guest| guest.share), (65535, 200));
            assert!(manager.set_share(id, Some(0), None).is_err());
            assert!(manager.set_share(id, None, Some(201)).is_err(), "two vcpus use 200 % at most");
            let share = manager.share(id).unwrap();
            assert_eq!((share.weight, share.cap), (65535, 200));
            let slices = manager.slices().unwrap();
            manager.set_slices(Slices { tslice_ms: 10, migration_delay_us: 500, ..slices }).unwrap();
            assert!(world.logged("slices 10 1000 500"));
        });
    }

    #[test]
    fn vcpus_are_pinned_one_or_all() {
        with_domain(|world, manager, id| {
            manager.set_affinity(id, Some(1), Some(&[1, 3]), None).unwrap();
            assert_eq!(world.guest(id, |guest| guest.hard.clone()), [(1, 0b1010)].into());
            manager.set_affinity(id, None, None, Some(&[0])).unwrap();
            assert_eq!(world.guest(id, |guest| guest.soft.clone()), [(0, 1), (1, 1)].into());
            assert_eq!(manager.vcpus(id).unwrap()[1].hard, [1, 3]);
            assert!(manager.set_affinity(id, Some(2), Some(&[0]), None).is_err());
        });
    }

    #[test]
    fn a_name_is_changed_everywhere() {
        with_domain(|world, manager, id| {
            manager.rename(id, "b").unwrap();
            assert_eq!(world.value("/local/domain/1/name").as_deref(), Some("b"));
            assert_eq!(manager.config(id).unwrap().name, "b");
            manager.rename(id, "b").unwrap();
            for wrong in ["Domain-0", "a-b", "123", "auto", ""] {
                assert!(manager.rename(id, wrong).is_err(), "{wrong}");
            }
            assert!(manager.rename(0, "c").is_err());
            block_on(manager.create(config("a"), false)).unwrap();
            assert!(manager.rename(id, "a").is_err());
        });
    }

    #[test]
    fn pauses_are_not_counted() {
        with_domain(|world, manager, id| {
            manager.pause(id).unwrap();
            manager.pause(id).unwrap();
            assert_ne!(world.guest(id, |guest| guest.flags) & 8, 0);
            manager.unpause(id).unwrap();
            assert_eq!(world.guest(id, |guest| guest.flags) & 8, 0);
            assert!(manager.pause(0).is_err());
        });
    }

    /// LIF-10: an order to a domain that has not all of its parts is refused.
    #[test]
    fn a_domain_that_is_being_built_is_not_changed() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let before = block_on(manager.create(config("before"), false)).unwrap();
        {
            let mut start = pin!(manager.create(config("a"), false));
            assert!(start.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let id = before + 1;
            for refused in [
                manager.rename(id, "b"),
                manager.pause(id),
                manager.unpause(id),
                manager.request(id, Request::Poweroff, true),
                manager.set_vcpus(id, 2),
                manager.set_memory(id, 64 << 10),
                manager.set_max_memory(id, 64 << 10),
                manager.set_share(id, Some(1), None),
                manager.set_affinity(id, None, Some(&[0]), None),
                manager.sysrq(id, 's'),
                manager.trigger(id, Button::Nmi, 0),
                manager.update_config(id, config("a")),
            ] {
                let words = format!("domain {id} is being built: wait for its start");
                assert_eq!(refused.unwrap_err().0, words);
            }
            assert_ne!(world.guest(id, |guest| guest.flags) & DomainFlags::PAUSED.bits(), 0);
            manager.rename(before, "b").unwrap();
            let (started, renamed) = (block_on(start).unwrap(), manager.rename(id, "c"));
            assert_eq!((started, renamed), (id, Ok(())));
            block_on(manager.destroy(id)).unwrap();
        }
        let mut start = pin!(manager.create(config("a"), false));
        assert!(start.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(block_on(manager.destroy(before + 2)), Ok(()), "it can be ended");
    }

    #[test]
    fn keys_and_buttons_arrive() {
        with_domain(|world, manager, id| {
            manager.sysrq(id, 's').unwrap();
            assert_eq!(world.value(&control(id, "sysrq")).as_deref(), Some("s"));
            manager.trigger(id, Button::Nmi, 0).unwrap();
            manager.trigger(id, Button::S3Resume, 0).unwrap();
            assert_eq!(world.guest(id, |guest| guest.triggers.clone()), [Trigger::Nmi]);
            assert!(manager.sysrq(9, 's').is_err() && manager.trigger(9, Button::Nmi, 0).is_err());
        });
    }
}
