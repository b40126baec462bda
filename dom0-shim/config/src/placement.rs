//! Whether domains get in each other's way on the pcpus: what an administrator is told when a
//! domain starts or is pinned. Nothing of it keeps a domain from running (CPU-05, CPU-20, CPU-22,
//! CPU-23).
//!
//! ```text
//!  pcpu        0         1      2      3
//!          Domain-0     web    web     ?     a domain of 1 vcpu has room here
//!          └ pinned    └── only web ──┘
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::domain::PcpuSpec;

/// The pcpu that is best left to Dom0.
const BOOT_PCPU: u32 = 0;

/// A domain, and where its vcpus may run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Its name.
    pub name: String,
    /// It is Dom0.
    pub is_dom0: bool,
    /// For each vcpu the pcpus, all of them online.
    pub vcpus: Vec<Vec<u32>>,
}

impl Placed {
    fn pcpus(&self) -> BTreeSet<u32> {
        self.vcpus.iter().flatten().copied().collect()
    }

    /// Whether a vcpu may not run everywhere on a machine of `online` pcpus.
    fn is_pinned(&self, online: usize) -> bool {
        self.vcpus.iter().any(|pcpus| pcpus.len() < online)
    }
}

/// What about a domain's place is worth a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advice {
    /// More vcpus than the machine has pcpus (CPU-05).
    Overcommitted {
        /// Its vcpus.
        vcpus: usize,
        /// The machine's pcpus.
        pcpus: usize,
    },
    /// Its vcpus have fewer pcpus than they are (CPU-20, T-31).
    Narrow {
        /// Its vcpus.
        vcpus: usize,
        /// How many of them can run at once.
        at_once: usize,
    },
    /// More vcpus than there are pcpus that others leave to it (CPU-23, T-28, T-29).
    NoRoom {
        /// Its vcpus.
        vcpus: usize,
        /// How many of them can run at once where nobody else has a pcpu alone.
        at_once: usize,
    },
    /// Dom0 is pinned, and it may run there as well (CPU-20).
    OnDom0s {
        /// Where.
        pcpus: Vec<u32>,
        /// Where nobody minds.
        free: Vec<u32>,
    },
    /// It may run on the boot CPU, which is best left to Dom0 (CPU-20).
    OnBootPcpu {
        /// Where nobody minds.
        free: Vec<u32>,
    },
    /// It may run where another domain is alone.
    OnOthers {
        /// Whose they are.
        owner: String,
        /// Where.
        pcpus: Vec<u32>,
        /// Where nobody minds.
        free: Vec<u32>,
    },
    /// Dom0 is pinned, and others may run there as well (CPU-20, CPU-22).
    Dom0Shares {
        /// Who.
        others: Vec<String>,
        /// Where.
        pcpus: Vec<u32>,
        /// Where they could go.
        free: Vec<u32>,
    },
}

impl fmt::Display for Advice {
    /// What is wrong, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |pcpus: &[u32]| PcpuSpec::from_pcpus(pcpus).to_string();
        match self {
            Self::Overcommitted { vcpus, pcpus } => {
                write!(f, "{vcpus} vcpus wait for each other on {pcpus} pcpus: give it {pcpus} at most")
            }
            Self::Narrow { vcpus, at_once } => {
                write!(f, "{vcpus} vcpus share {at_once} pcpus: let it run on {vcpus} or more")
            }
            Self::NoRoom { vcpus, at_once } => write!(
                f,
                "of {vcpus} vcpus {at_once} have a pcpu that no other domain has to itself: \
                 give it {at_once} at most, or take pcpus from others"
            ),
            Self::OnDom0s { pcpus, free } => write!(
                f,
                "it may run on pcpu {}, where Domain-0 is pinned: let it run on {} only",
                list(pcpus),
                list(free)
            ),
            Self::OnBootPcpu { free } => write!(
                f,
                "it may run on pcpu {BOOT_PCPU}, which is best left to Domain-0: let it run on {} only",
                list(free)
            ),
            Self::OnOthers { owner, pcpus, free } => write!(
                f,
                "it may run on pcpu {}, which domain {owner} has to itself: let it run on {} only",
                list(pcpus),
                list(free)
            ),
            Self::Dom0Shares { others, pcpus, free } => write!(
                f,
                "on pcpu {} there may run {} as well: let them run on {} only",
                list(pcpus),
                others.join(", "),
                list(free)
            ),
        }
    }
}

/// What is to be said about `domain`'s place beside the `others`, on a machine of `online` pcpus.
pub fn advice(domain: &Placed, others: &[Placed], online: u32) -> Vec<Advice> {
    let machine = usize::try_from(online).unwrap_or(usize::MAX);
    let vcpus = domain.vcpus.len();
    let at_once = matched(&domain.vcpus);
    let pinned = domain.is_pinned(machine);
    let mut found = Vec::new();
    if vcpus > machine {
        found.push(Advice::Overcommitted { vcpus, pcpus: machine });
    }
    if pinned && at_once < vcpus.min(machine) {
        found.push(Advice::Narrow { vcpus, at_once });
    }
    if domain.is_dom0 {
        found.extend(dom0_shares(domain, others, online).filter(|_| pinned));
        return found;
    }
    let owned = owners(others, machine);
    if found.is_empty() {
        found.extend(no_room(domain, &owned));
    }
    found.extend(intrusions(domain, &owned, online));
    let dom0_is_pinned = owned.values().any(|owner| owner.is_dom0);
    if pinned && !dom0_is_pinned && domain.pcpus().contains(&BOOT_PCPU) {
        let free = free(&owned, online).into_iter().filter(|pcpu| *pcpu != BOOT_PCPU).collect::<Vec<_>>();
        found.extend((!free.is_empty()).then_some(Advice::OnBootPcpu { free }));
    }
    found
}

/// How many vcpus can each have one of its pcpus for itself: the size of a largest matching, by
/// augmenting paths.
pub(crate) fn matched(vcpus: &[Vec<u32>]) -> usize {
    let mut on: BTreeMap<u32, usize> = BTreeMap::new();
    (0..vcpus.len()).filter(|&vcpu| finds_place(vcpu, vcpus, &mut on, &mut BTreeSet::new())).count()
}

/// Gives `vcpu` a pcpu, others moving on where that helps; `tried` are pcpus that were asked.
fn finds_place(
    vcpu: usize,
    vcpus: &[Vec<u32>],
    on: &mut BTreeMap<u32, usize>,
    tried: &mut BTreeSet<u32>,
) -> bool {
    for &pcpu in vcpus.get(vcpu).into_iter().flatten() {
        if !tried.insert(pcpu) {
            continue;
        }
        let holder = on.get(&pcpu).copied();
        if holder.is_none_or(|holder| finds_place(holder, vcpus, on, tried)) {
            on.insert(pcpu, vcpu);
            return true;
        }
    }
    false
}

/// The pcpus that one domain has to itself: Dom0 where it is pinned, which guests are to leave to
/// it, another pinned domain where nobody else may run.
fn owners(others: &[Placed], online: usize) -> BTreeMap<u32, &Placed> {
    let mut count: BTreeMap<u32, u32> = BTreeMap::new();
    for pcpu in others.iter().flat_map(Placed::pcpus) {
        let domains = count.entry(pcpu).or_default();
        *domains = domains.saturating_add(1);
    }
    let alone = |domain: &Placed, pcpu: u32| domain.is_dom0 || count.get(&pcpu) == Some(&1);
    let pinned = others.iter().filter(|domain| domain.is_pinned(online));
    let places = pinned.flat_map(|domain| domain.pcpus().into_iter().map(move |pcpu| (pcpu, domain)));
    let mut owners = BTreeMap::new();
    for (pcpu, domain) in places.filter(|&(pcpu, domain)| alone(domain, pcpu)) {
        owners.insert(pcpu, domain);
    }
    owners
}

/// Pcpus that nobody has to itself.
fn free(owned: &BTreeMap<u32, &Placed>, online: u32) -> Vec<u32> {
    (0..online).filter(|pcpu| !owned.contains_key(pcpu)).collect()
}

fn no_room(domain: &Placed, owned: &BTreeMap<u32, &Placed>) -> Option<Advice> {
    let left = |pcpus: &Vec<u32>| pcpus.iter().copied().filter(|pcpu| !owned.contains_key(pcpu)).collect();
    let places: Vec<Vec<u32>> = domain.vcpus.iter().map(left).collect();
    let (vcpus, at_once) = (domain.vcpus.len(), matched(&places));
    (at_once < vcpus).then_some(Advice::NoRoom { vcpus, at_once })
}

/// Where the domain may run though somebody has those pcpus to itself, one piece of advice for each
/// owner; none where there is nowhere else to go.
fn intrusions(domain: &Placed, owned: &BTreeMap<u32, &Placed>, online: u32) -> Vec<Advice> {
    let free = free(owned, online);
    let mut by_owner: Vec<(&Placed, Vec<u32>)> = Vec::new();
    for pcpu in domain.pcpus() {
        let Some(&owner) = owned.get(&pcpu) else { continue };
        match by_owner.iter_mut().find(|(other, _)| core::ptr::eq(*other, owner)) {
            Some((_, pcpus)) => pcpus.push(pcpu),
            None => by_owner.push((owner, [pcpu].into())),
        }
    }
    let told = by_owner.into_iter().filter(|_| !free.is_empty());
    let advice = told.map(|(owner, pcpus)| match owner.is_dom0 {
        true => Advice::OnDom0s { pcpus, free: free.clone() },
        false => Advice::OnOthers { owner: owner.name.clone(), pcpus, free: free.clone() },
    });
    advice.collect()
}

/// Who may run where Dom0 is pinned.
fn dom0_shares(dom0: &Placed, others: &[Placed], online: u32) -> impl Iterator<Item = Advice> {
    let own = dom0.pcpus();
    let there = |domain: &&Placed| !domain.pcpus().is_disjoint(&own);
    let names: Vec<String> = others.iter().filter(there).map(|domain| domain.name.clone()).collect();
    let free: Vec<u32> = (0..online).filter(|pcpu| !own.contains(pcpu)).collect();
    let shares = !names.is_empty() && !free.is_empty();
    let advice = Advice::Dom0Shares { others: names, pcpus: own.into_iter().collect(), free };
    shares.then_some(advice).into_iter()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn domain(name: &str, vcpus: &[&[u32]]) -> Placed {
        let vcpus = vcpus.iter().map(|pcpus| pcpus.to_vec()).collect();
        Placed { name: name.into(), is_dom0: name == "Domain-0", vcpus }
    }

    const ALL: &[u32] = &[0, 1, 2, 3];

    #[test]
    fn shared_pcpus_are_nobodys() {
        let others = [domain("Domain-0", &[ALL, ALL]), domain("a", &[ALL])];
        assert_eq!(advice(&domain("b", &[ALL, ALL, ALL, ALL]), &others, 4), []);
    }

    /// CPU-05.
    #[test]
    fn vcpus_are_at_most_the_pcpus() {
        let five = advice(&domain("a", &[ALL; 5]), &[], 4);
        assert_eq!(five, [Advice::Overcommitted { vcpus: 5, pcpus: 4 }]);
        assert_eq!(five[0].to_string(), "5 vcpus wait for each other on 4 pcpus: give it 4 at most");
        assert_eq!(advice(&domain("a", &[ALL; 4]), &[], 4), []);
    }

    /// CPU-20, T-30, T-31.
    #[test]
    fn pinned_vcpus_have_a_pcpu_each() {
        let dom0 = [domain("Domain-0", &[ALL])];
        assert_eq!(advice(&domain("a", &[&[1, 2, 3][..]; 3]), &dom0, 4), []);
        let narrow = advice(&domain("a", &[&[1], &[1]]), &dom0, 4);
        assert_eq!(narrow, [Advice::Narrow { vcpus: 2, at_once: 1 }]);
        assert_eq!(narrow[0].to_string(), "2 vcpus share 1 pcpus: let it run on 2 or more");
        // The same pcpu for two of three vcpus.
        let twice = advice(&domain("a", &[&[2], &[2], &[1, 3]]), &dom0, 4);
        assert_eq!(twice, [Advice::Narrow { vcpus: 3, at_once: 2 }]);
    }

    /// CPU-20.
    #[test]
    fn pcpu_0_is_left_to_dom0() {
        let found = advice(&domain("a", &[&[0, 1]]), &[domain("Domain-0", &[ALL])], 4);
        assert_eq!(found, [Advice::OnBootPcpu { free: vec![1, 2, 3] }]);
        assert!(found[0].to_string().ends_with("let it run on 1-3 only"));
        assert_eq!(
            advice(&domain("a", &[&[0]]), &[domain("Domain-0", &[&[0]])], 1),
            [],
            "it is all there is"
        );
    }

    /// CPU-20, CPU-22.
    #[test]
    fn where_dom0_is_pinned_guests_are_pinned_elsewhere() {
        let dom0 = domain("Domain-0", &[&[0]]);
        let found = advice(&domain("a", &[ALL]), core::slice::from_ref(&dom0), 4);
        assert_eq!(found, [Advice::OnDom0s { pcpus: vec![0], free: vec![1, 2, 3] }]);
        assert_eq!(advice(&domain("a", &[&[1, 2, 3]]), core::slice::from_ref(&dom0), 4), []);
        let guests = [domain("a", &[ALL]), domain("b", &[&[0, 1]]), domain("c", &[&[1]])];
        let found = advice(&dom0, &guests, 4);
        let others = vec!["a".into(), "b".into()];
        assert_eq!(found, [Advice::Dom0Shares { others, pcpus: vec![0], free: vec![1, 2, 3] }]);
        assert_eq!(found[0].to_string(), "on pcpu 0 there may run a, b as well: let them run on 1-3 only");
        assert_eq!(advice(&domain("Domain-0", &[ALL]), &guests, 4), []);
        let two = advice(&domain("Domain-0", &[&[0], &[0]]), &[], 4);
        assert_eq!(two, [Advice::Narrow { vcpus: 2, at_once: 1 }]);
    }

    /// CPU-23, T-28.
    #[test]
    fn with_dom0_alone_on_pcpu_0_a_domain_has_one_vcpu_less() {
        let dom0 = [domain("Domain-0", &[&[0]])];
        let has_room = |vcpus: usize, others: &[Placed]| {
            let found = advice(&domain("a", &vec![ALL; vcpus]), others, 4);
            !found.iter().any(|advice| matches!(advice, Advice::NoRoom { .. }))
        };
        assert!(has_room(3, &dom0));
        assert!(!has_room(4, &dom0));
        // A guest that ignores this does not make it untrue.
        let with_guest = [dom0[0].clone(), domain("b", &[ALL])];
        assert!(has_room(3, &with_guest) && !has_room(4, &with_guest));
    }

    /// CPU-23, T-29.
    #[test]
    fn pcpus_of_one_domain_are_no_room_for_another() {
        let others = [domain("Domain-0", &[&[0]]), domain("a", &[&[1, 2], &[1, 2]])];
        assert_eq!(advice(&domain("b", &[&[3]]), &others, 4), []);
        let two = advice(&domain("b", &[&[1, 2, 3][..]; 2]), &others, 4);
        let on_a = Advice::OnOthers { owner: "a".into(), pcpus: vec![1, 2], free: vec![3] };
        assert_eq!(two, [Advice::NoRoom { vcpus: 2, at_once: 1 }, on_a]);
        assert!(two[0].to_string().ends_with("give it 1 at most, or take pcpus from others"));
        assert!(two[1].to_string().contains("pcpu 1-2, which domain a has to itself"));
        // What two domains share is nobody's alone.
        let shared = [others[0].clone(), others[1].clone(), domain("c", &[&[1]])];
        let found = advice(&domain("b", &[&[1, 3][..]; 2]), &shared, 4);
        assert_eq!(found, []);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Hall's theorem: no set of vcpus has fewer pcpus than a perfect matching lets it have.
        #[test]
        fn matchings_are_largest(
            vcpus in prop::collection::vec(prop::collection::btree_set(0u32..6, 0..4), 0..6),
        ) {
            let vcpus: Vec<Vec<u32>> = vcpus.into_iter().map(|pcpus| pcpus.into_iter().collect()).collect();
            let deficit = (0_u32..1 << vcpus.len()).map(|set| {
                let chosen = (0..).zip(&vcpus).filter(|(bit, _)| set >> bit & 1 != 0).map(|(_, pcpus)| pcpus);
                let pcpus: BTreeSet<_> = chosen.clone().flatten().collect();
                chosen.count().saturating_sub(pcpus.len())
            });
            prop_assert_eq!(matched(&vcpus), vcpus.len() - deficit.max().unwrap_or(0));
        }
    }
}
