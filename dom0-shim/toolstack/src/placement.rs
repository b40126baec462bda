//! What is said about domains that get in each other's way on the pcpus, by where all vcpus may
//! run at the moment (CPU-05, CPU-20, CPU-22, CPU-23).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xen_abi::domctl::GetDomainInfo;
use xl::toolstack::DomId;
use xl_config::domain::{Affinity, DomainConfig};
use xl_config::placement::{self, Advice, Placed};

use crate::environment::{Environment, Registry};
use crate::hypervisor::Hypervisor;
use crate::manager::{DOM0, Manager};
use crate::{inspect, tree};

impl<E: Environment> Manager<E> {
    /// What is to be said before a domain of this configuration starts; nothing where the
    /// hypervisor does not tell what is needed.
    pub(crate) fn advise_before_start(&self, config: &DomainConfig) -> Vec<String> {
        let Some((pcpus, others)) = self.places() else { return Vec::new() };
        let place = |affinity: &Affinity, vcpu| affinity.resolve(vcpu, pcpus).ok();
        let vcpus = (0..config.vcpus).map(|vcpu| place(&config.cpus, vcpu));
        // A list that this machine cannot follow is refused when the domain is made.
        let Some(vcpus) = vcpus.collect::<Option<Vec<_>>>() else { return Vec::new() };
        let new = Placed { name: config.name.clone(), is_dom0: false, vcpus };
        let others: Vec<Placed> = others.into_iter().map(|(_, place)| place).collect();
        // Who reads the configuration has said this already.
        let told = |advice: &Advice| {
            matches!(advice, Advice::Narrow { .. }) && config.cpus.is_too_narrow(config.vcpus)
        };
        let advice = placement::advice(&new, &others, pcpus).into_iter().filter(|advice| !told(advice));
        let unreachable = |vcpu: &u32| {
            let (hard, soft) = (place(&config.cpus, *vcpu), place(&config.cpus_soft, *vcpu));
            hard.zip(soft).is_some_and(|(hard, soft)| soft.iter().all(|pcpu| !hard.contains(pcpu)))
        };
        let soft = (0..config.vcpus).filter(unreachable).map(soft_is_unreachable);
        advice.map(|advice| advice.to_string()).chain(soft).collect()
    }

    /// What is to be said about a domain that there is.
    pub(crate) fn advise(&self, domain: DomId) -> Vec<String> {
        let Some((pcpus, mut places)) = self.places() else { return Vec::new() };
        let Some(own) = places.iter().position(|(id, _)| *id == domain) else { return Vec::new() };
        let (_, own) = places.remove(own);
        let others: Vec<Placed> = places.into_iter().map(|(_, place)| place).collect();
        let advice = placement::advice(&own, &others, pcpus).into_iter().map(|advice| advice.to_string());
        let unreachable = |vcpu: &u32| {
            let affinity = self.hypervisor().get_affinity(domain, *vcpu);
            affinity.is_ok_and(|(hard, soft)| hard & soft == 0)
        };
        let count = u32::try_from(own.vcpus.len()).unwrap_or(u32::MAX);
        advice.chain((0..count).filter(unreachable).map(soft_is_unreachable)).collect()
    }

    /// How many pcpus there are, and where all vcpus may run that are to be online.
    fn places(&self) -> Option<(u32, Vec<(DomId, Placed)>)> {
        // A mask of the toolstack's has no more bits.
        let pcpus = self.hypervisor().physinfo().ok()?.nr_cpus.min(u64::BITS);
        let infos = self.hypervisor().domains().ok()?;
        // One that ends meanwhile is in nobody's way.
        let places = infos.iter().filter_map(|info| Some((info.domain, self.place_of(info, pcpus)?)));
        Some((pcpus, places.collect()))
    }

    fn place_of(&self, info: &GetDomainInfo, pcpus: u32) -> Option<Placed> {
        let domain = info.domain;
        let name = self.name(domain).unwrap_or_else(|| format!("{domain}"));
        let on_machine =
            |mask: u64| inspect::numbers(mask).into_iter().filter(|pcpu| *pcpu < pcpus).collect();
        let vcpus = (0..info.max_vcpu_id.wrapping_add(1)).filter(|vcpu| self.is_wanted(domain, *vcpu));
        let places = vcpus.map(|vcpu| Some(on_machine(self.hypervisor().get_affinity(domain, vcpu).ok()?.0)));
        Some(Placed { name, is_dom0: domain == DOM0, vcpus: places.collect::<Option<_>>()? })
    }

    /// Whether a vcpu is to be online: a guest brings its vcpus up by and by, and Dom0 uses as many
    /// as it likes.
    fn is_wanted(&self, domain: DomId, vcpu: u32) -> bool {
        if domain == DOM0 {
            return self.hypervisor().vcpu_info(domain, vcpu).is_ok_and(|vcpu| vcpu.online != 0);
        }
        self.env.registry().read(&tree::availability_path(domain, vcpu)).as_deref() != Some(b"offline")
    }
}

fn soft_is_unreachable(vcpu: u32) -> String {
    format!("vcpu {vcpu} may run on none of the pcpus that it would run on best: its soft affinity is idle")
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;

    use pollster::block_on;
    use xl::toolstack::Toolstack;

    use super::*;
    use crate::testing::{World, config};

    fn pinned(name: &str, vcpus: u32, cpus: &str) -> DomainConfig {
        let cpus = Affinity::All(cpus.parse().unwrap());
        DomainConfig { cpus, vcpus, max_vcpus: vcpus, ..config(name) }
    }

    fn unpinned(vcpus: u32) -> DomainConfig {
        DomainConfig { vcpus, max_vcpus: vcpus, ..config("new") }
    }

    /// CPU-05.
    #[test]
    fn more_vcpus_than_pcpus_are_worth_a_word() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        assert_eq!(manager.advice(&unpinned(4)), [""; 0]);
        let found = manager.advice(&unpinned(5));
        assert_eq!(found, ["5 vcpus wait for each other on 4 pcpus: give it 4 at most"]);
        let id = block_on(manager.create(unpinned(5), false)).expect("it can be made all the same");
        assert_eq!(manager.advice_of(id), found);
    }

    /// T-28, T-29.
    #[test]
    fn pcpus_of_others_are_no_room() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        manager.set_affinity(0, None, Some(&[0]), None).unwrap();
        let tells = |config: &DomainConfig, words: &str| {
            manager.advice(config).iter().any(|advice| advice.contains(words))
        };
        assert!(!tells(&unpinned(3), "give it"));
        assert!(tells(&unpinned(4), "give it 3 at most"));
        assert_eq!(manager.advice(&pinned("new", 3, "1-3")), [""; 0]);
        block_on(manager.create(pinned("alone", 2, "1-2"), false)).unwrap();
        assert_eq!(manager.advice(&pinned("new", 1, "3")), [""; 0]);
        assert!(tells(&unpinned(2), "give it 1 at most"));
        assert!(tells(&unpinned(1), "pcpu 1-2, which domain alone has to itself"));
    }

    /// CPU-20, CPU-22, T-27: Dom0 is pinned while guests run; then they are told of.
    #[test]
    fn a_pin_of_dom0_tells_of_the_guests_there() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let guest = block_on(manager.create(config("guest"), false)).unwrap();
        assert_eq!(manager.advice_of(0), [""; 0]);
        manager.set_affinity(0, None, Some(&[0]), None).unwrap();
        assert_eq!(manager.advice_of(0), ["on pcpu 0 there may run guest as well: let them run on 1-3 only"]);
        let told = manager.advice_of(guest);
        assert_eq!(told, ["it may run on pcpu 0, where Domain-0 is pinned: let it run on 1-3 only"]);
        manager.set_affinity(guest, None, Some(&[1, 2, 3]), None).unwrap();
        assert_eq!((manager.advice_of(0), manager.advice_of(guest)), (Vec::new(), Vec::new()));
    }

    /// T-31: by the list alone who reads the file says it, by the machine this does.
    #[test]
    fn too_few_pcpus_are_told_once() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        assert_eq!(manager.advice(&pinned("new", 2, "1")), [""; 0]);
        let found = manager.advice(&pinned("new", 4, "all,^0"));
        assert_eq!(found, ["4 vcpus share 3 pcpus: let it run on 4 or more"]);
        let id = block_on(manager.create(pinned("new", 2, "1"), false)).unwrap();
        assert_eq!(manager.advice_of(id), ["2 vcpus share 1 pcpus: let it run on 2 or more"]);
    }

    #[test]
    fn vcpus_that_are_to_be_offline_need_no_place() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let one_of_two = DomainConfig { vcpus: 1, ..pinned("a", 2, "1") };
        let id = block_on(manager.create(one_of_two, false)).unwrap();
        assert_eq!(manager.advice_of(id), [""; 0]);
        manager.set_vcpus(id, 2).unwrap();
        assert_eq!(manager.advice_of(id), ["2 vcpus share 1 pcpus: let it run on 2 or more"]);
    }

    #[test]
    fn a_soft_affinity_may_be_out_of_reach() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        let soft = DomainConfig { cpus_soft: Affinity::All("3".parse().unwrap()), ..pinned("new", 1, "1-2") };
        let words = "vcpu 0 may run on none of the pcpus that it would run on best";
        assert!(manager.advice(&soft)[0].starts_with(words));
        let id = block_on(manager.create(soft, false)).unwrap();
        assert!(manager.advice_of(id)[0].starts_with(words));
        manager.set_affinity(id, Some(0), None, Some(&[2])).unwrap();
        assert_eq!(manager.advice_of(id), [""; 0]);
    }

    #[test]
    fn what_starts_with_the_machine_is_advised_in_the_log() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        world.files.borrow_mut().insert(String::from("auto/wide"), Vec::new());
        let started = block_on(manager.autostart(|_, _| Ok::<_, Infallible>(unpinned(5))));
        assert_eq!(started, 1);
        assert!(world.logged("autostart: new: 5 vcpus wait for each other on 4 pcpus"));
    }

    /// Advice is never worth a failure.
    #[test]
    fn without_facts_nothing_is_said() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        for step in 0..2 {
            world.refuse.set(Some(world.steps.get() + step));
            assert_eq!(manager.advice(&unpinned(5)), [""; 0]);
        }
        world.refuse.set(None);
        assert_eq!(manager.advice(&pinned("new", 1, "9")), [""; 0]);
        assert_eq!(manager.advice_of(9), [""; 0]);
    }
}
