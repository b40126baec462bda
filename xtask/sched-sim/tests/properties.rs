//! What holds for random domains: bounded waits, low latency; shares, and no lost work, where vcpus may run anywhere.

use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;
use proptest::prelude::*;
use sched_sim::expected::entitlements;
use sched_sim::measure::Outcome;
use sched_sim::scenario::{Behaviour, Domain, MICROSECOND, MILLISECOND, SECOND, Scenario, Vcpu};
use sched_sim::simulation::simulate;

/// How far a vcpu's long-run share may be from the ideal, in pcpus.
const TOLERANCE: f64 = 0.02;
/// Every runnable vcpu gets about 1 ms in each second, whatever its weight.
const LEAST: f64 = 0.001;

fn all(pcpus: usize) -> PcpuSet {
    (0..pcpus).filter_map(PcpuId::new).collect()
}

fn phases() -> impl Strategy<Value = Behaviour> {
    let time = || (500..4_000_u64).prop_map(|ms| ms * MILLISECOND);
    (time(), time(), 0..2_000_u64).prop_map(|(on, off, from)| Behaviour::Phases {
        on,
        off,
        from: from * MILLISECOND,
    })
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![4 => Just(Behaviour::Busy), 1 => Just(Behaviour::Idle), 2 => phases()]
}

fn pcpus_of(pcpus: usize) -> impl Strategy<Value = PcpuSet> {
    let some = prop::collection::vec(0..pcpus, 1..=pcpus)
        .prop_map(|pcpus| pcpus.into_iter().filter_map(PcpuId::new).collect());
    prop_oneof![1 => Just(all(pcpus)), 2 => some]
}

fn weight() -> impl Strategy<Value = u16> {
    prop_oneof![Just(256_u16), 64..1024_u16]
}

fn domain(pcpus: usize) -> impl Strategy<Value = Domain> {
    let vcpu = (pcpus_of(pcpus), behaviour()).prop_map(move |(hard, behaviour)| Vcpu {
        hard,
        soft: all(pcpus),
        behaviour,
    });
    let cap = prop_oneof![3 => Just(0_u16), 1 => 10..100_u16];
    (weight(), cap, prop::collection::vec(vcpu, 1..4)).prop_map(|(weight, cap, vcpus)| {
        let cap = cap * u16::try_from(vcpus.len()).unwrap();
        Domain { name: String::new(), weight, cap, vcpus, start: 0 }
    })
}

fn any_domains() -> impl Strategy<Value = Scenario> {
    (1..=4_usize)
        .prop_flat_map(|pcpus| (Just(pcpus), prop::collection::vec(domain(pcpus), 1..6)))
        .prop_map(|(pcpus, domains)| Scenario { domains, length: 31 * SECOND, ..Scenario::new(pcpus) })
}

/// Busy domains without pins or caps.
fn roaming_domains() -> impl Strategy<Value = Scenario> {
    (1..=4_usize, prop::collection::vec((weight(), 1..4_usize), 1..6)).prop_map(|(pcpus, domains)| {
        let scenario = Scenario { length: 61 * SECOND, ..Scenario::new(pcpus) };
        domains.into_iter().fold(scenario, |scenario, (weight, vcpus)| scenario.with(weight, vcpus))
    })
}

/// What is wrong with the shares.
fn unfair(scenario: &Scenario, outcome: &Outcome) -> Option<String> {
    let seconds = outcome.measured as f64 / SECOND as f64;
    let ideal: Vec<f64> = entitlements(scenario).into_iter().map(|ideal| ideal / seconds).collect();
    let found: Vec<f64> = outcome.vcpus.iter().map(|vcpu| vcpu.ran as f64 / 1e9 / seconds).collect();
    let near = |(found, ideal): (&f64, &f64)| (found - ideal).abs() <= TOLERANCE + LEAST;
    let fair = found.iter().zip(&ideal).all(near);
    (!fair).then(|| format!("{found:.3?} instead of {ideal:.3?}"))
}

/// How long a vcpu may wait: what the policy promises whatever the weights
/// ([`LONGEST_WAIT`](hv_core::credit::LONGEST_WAIT)), and a slice for each of the others.
fn longest_wait(scenario: &Scenario) -> u64 {
    let vcpus: usize = scenario.domains.iter().map(|domain| domain.vcpus.len()).sum();
    hv_core::credit::LONGEST_WAIT + scenario.slice * vcpus as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn vcpus_that_run_anywhere_get_their_ideal(scenario in roaming_domains()) {
        let outcome = simulate(&scenario, &mut |_| true);
        prop_assert_eq!(outcome.lost_work, None);
        prop_assert_eq!(unfair(&scenario, &outcome), None);
    }

    #[test]
    fn nobody_waits_for_ever(scenario in any_domains()) {
        let outcome = simulate(&scenario, &mut |_| true);
        let worst = outcome.vcpus.iter().map(|vcpu| vcpu.worst_wait).max();
        prop_assert!(worst <= Some(longest_wait(&scenario)), "{:?}", worst);
    }
}

#[test]
fn a_small_waker_runs_soon_among_busy_vcpus() {
    for sleep in [3, 7, 20, 101] {
        let busy = (0..6).fold(Scenario::new(2), |scenario, _| scenario.with(256, 1));
        let bursts =
            Behaviour::Bursts { run: 100 * MICROSECOND, sleep: sleep * MILLISECOND + 123, random: true };
        let scenario = Scenario { length: 30 * SECOND, ..busy }.with(256, 1).doing(bursts);
        let outcome = simulate(&scenario, &mut |_| true);
        let waker = &outcome.vcpus[6];
        let (median, worst) = (waker.latency(0.5).unwrap(), waker.latency(1.0).unwrap());
        assert!(waker.latencies.len() > 200, "{}", waker.latencies.len());
        assert!(median <= 200 * MICROSECOND && worst <= scenario.slice, "{median} {worst} at {sleep} ms");
    }
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let bursts = Behaviour::Bursts { run: MILLISECOND, sleep: 3 * MILLISECOND, random: true };
    let run = |seed| {
        let scenario = Scenario { seed, ..Scenario::new(2).with(256, 4).with(256, 3).doing(bursts) };
        simulate(&scenario, &mut |_| true).vcpus.iter().map(|vcpu| vcpu.ran).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
