//! The worked examples of requirements 4.1 to 4.3 that are about shares and affinity, in the simulator: within
//! 1 % of one pcpu over 2 s, with the scheduler's default parameters.

use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;
use sched_sim::expected::entitlements;
use sched_sim::scenario::{Behaviour, SECOND, Scenario, What};
use sched_sim::simulation::simulate;

/// Over how long shares are measured.
const MEASURED: u64 = 2 * SECOND;

/// What each domain got and what it was entitled to, in percent of one pcpu.
struct Shares {
    found: Vec<f64>,
    ideal: Vec<f64>,
}

/// Measures `scenario` in the two seconds after `from`.
fn shares_from(scenario: Scenario, from: u64) -> Shares {
    let scenario = Scenario { warm_up: from, length: from + MEASURED, ..scenario };
    let outcome = simulate(&scenario, &mut |_| true);
    assert_eq!(outcome.lost_work, None, "a pcpu idled");
    let seconds: Vec<f64> = outcome.vcpus.iter().map(|vcpu| vcpu.ran as f64 / 1e9).collect();
    let by_domain = |seconds: &[f64]| {
        let mut seconds = seconds.iter();
        let sum = |vcpus| seconds.by_ref().take(vcpus).sum::<f64>() / (MEASURED / SECOND) as f64 * 100.0;
        scenario.domains.iter().map(|domain| domain.vcpus.len()).map(sum).collect()
    };
    Shares { found: by_domain(&seconds), ideal: by_domain(&entitlements(&scenario)) }
}

/// Measures `scenario` from its begin on, and compares with `expected` and the ideal.
#[track_caller]
fn assert_shares(scenario: Scenario, expected: &[f64]) {
    assert_shares_from(scenario, 0, expected);
}

#[track_caller]
fn assert_shares_from(scenario: Scenario, from: u64, expected: &[f64]) {
    let Shares { found, ideal } = shares_from(scenario, from);
    let near =
        |a: &[f64], b: &[f64], by| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by);
    assert!(near(&ideal, expected, 0.01), "the ideal is {ideal:.2?}, not {expected:.2?}");
    assert!(near(&found, expected, 1.0), "{found:.2?} instead of {expected:.2?}");
}

/// Table 4.1: domain 1 on pcpu 1, domains 2 and 3 on pcpus 2 and 3; domain 3 comes last.
fn table_4_1() -> Scenario {
    Scenario::new(4).with(256, 1).on(&[1]).with(768, 2).on(&[2, 3]).with(256, 2).on(&[2, 3])
}

#[test]
fn t01_t02_t03_t12_weights_count_among_those_that_share_pcpus() {
    assert_shares(table_4_1(), &[100.0, 150.0, 50.0]);
}

#[test]
fn t04_a_stopped_domain_does_not_count() {
    assert_shares_from(table_4_1().then(SECOND, What::Destroy), SECOND, &[100.0, 200.0, 0.0]);
}

#[test]
fn t05_an_idle_domain_does_not_count() {
    assert_shares(table_4_1().doing(Behaviour::Idle), &[100.0, 200.0, 0.0]);
}

#[test]
fn t06_a_domain_that_wakes_has_its_share_back() {
    let wakes = Behaviour::Phases { on: 100 * SECOND, off: SECOND, from: 3 * SECOND };
    assert_shares_from(table_4_1().doing(wakes), SECOND, &[100.0, 200.0, 0.0]);
    assert_shares_from(table_4_1().doing(wakes), 3 * SECOND, &[100.0, 150.0, 50.0]);
}

#[test]
fn t07_twice_the_weight_is_twice_the_time() {
    assert_shares(Scenario::new(1).with(512, 1).with(256, 1), &[200.0 / 3.0, 100.0 / 3.0]);
    assert_shares(Scenario::new(2).with(512, 2).with(256, 2), &[400.0 / 3.0, 200.0 / 3.0]);
}

#[test]
fn t08_ratios_of_the_examples_static_and_at_run_time() {
    assert_shares(Scenario::new(1).with(256, 1).with(512, 1), &[100.0 / 3.0, 200.0 / 3.0]);
    let three = Scenario::new(2).with(256, 2).with(256, 2).then(SECOND, What::Weight(512)).with(256, 2);
    assert_shares_from(three, SECOND, &[50.0, 100.0, 50.0]);
}

#[test]
fn t09_uneven_ratios() {
    assert_shares(Scenario::new(1).with(80, 1).with(140, 1).with(100, 1), &[25.0, 43.75, 31.25]);
}

#[test]
fn t10_t11_the_bounds_of_weights_and_the_default() {
    let file = "pcpus = 1\n[[domain]]\nname = \"a\"\n[[domain]]\nname = \"b\"\nweight = 256";
    assert_shares(Scenario::parse(file).unwrap(), &[50.0, 50.0]);
    for refused in ["0", "65536", "-1", "\"text\""] {
        let file = format!("pcpus = 1\n[[domain]]\nname = \"a\"\nweight = {refused}");
        assert!(Scenario::parse(&file).is_err(), "{refused}");
    }
    let Shares { found, .. } = shares_from(Scenario::new(1).with(65535, 1).with(1, 1), SECOND);
    assert!(found[0] > 99.0 && found[1] > 0.0, "{found:?}");
}

#[test]
fn t13_a_cap_is_divided_among_vcpus() {
    let scenario = Scenario { warm_up: 0, length: MEASURED, ..Scenario::new(2).with(256, 2).capped(160) };
    let outcome = simulate(&scenario, &mut |_| true);
    for vcpu in &outcome.vcpus {
        let percent = vcpu.ran as f64 / MEASURED as f64 * 100.0;
        assert!((79.0..=81.0).contains(&percent), "{percent}");
    }
}

#[test]
fn t14_t15_t17_a_cap_holds_on_an_idle_machine() {
    assert_shares(Scenario::new(1).with(256, 1).capped(50), &[50.0]);
    assert_shares(Scenario::new(1).with(256, 1).capped(0), &[100.0]);
    assert_shares(Scenario::new(4).with(256, 1).capped(10), &[10.0]);
    let scenario = Scenario::new(1).with(768, 1).capped(30).with(256, 1);
    assert_shares(scenario, &[30.0, 70.0]);
}

#[test]
fn t19_a_cap_changes_while_the_domain_runs() {
    let scenario =
        || Scenario::new(1).with(256, 1).then(2 * SECOND, What::Cap(40)).then(4 * SECOND, What::Cap(0));
    assert_shares_from(scenario(), 0, &[100.0]);
    assert_shares_from(scenario(), 2 * SECOND, &[40.0]);
    assert_shares_from(scenario(), 4 * SECOND, &[100.0]);
}

fn set(pcpus: &[usize]) -> PcpuSet {
    pcpus.iter().filter_map(|&pcpu| PcpuId::new(pcpu)).collect()
}

/// On which pcpus each vcpu has been.
fn places(scenario: Scenario) -> Vec<PcpuSet> {
    let scenario = Scenario { slice: SECOND / 10, ..scenario };
    let outcome = simulate(&scenario, &mut |_| true);
    assert_eq!(outcome.lost_work, None);
    let mut places = vec![PcpuSet::NONE; outcome.vcpus.len()];
    for stay in &outcome.stays {
        places[stay.vcpu].insert(PcpuId::new(stay.pcpu).unwrap());
    }
    places
}

#[test]
fn t20_pinned_vcpus_are_where_they_are_pinned() {
    let mut scenario = Scenario::new(4).with(256, 2).with(256, 4);
    (scenario.domains[0].vcpus[0].hard, scenario.domains[0].vcpus[1].hard) = (set(&[1]), set(&[2]));
    assert_eq!(places(scenario)[..2], [set(&[1]), set(&[2])]);
}

#[test]
fn t21_a_vcpu_without_pins_can_be_anywhere() {
    let scenario = Scenario::new(8).with(256, 1);
    assert_eq!(
        scenario.domains[0].vcpus[0].hard.intersection(&set(&[0, 1, 2, 3, 4, 5, 6, 7])).iter().count(),
        8
    );
    assert_shares(scenario, &[100.0]);
}

#[test]
fn t22_t23_t30_lists_of_pcpus() {
    for (pcpus, list, expected) in
        [(8, "0-2,5", &[0, 1, 2, 5][..]), (4, "1,3", &[1, 3]), (4, "1-3", &[1, 2, 3])]
    {
        let file = format!("pcpus = {pcpus}\n[[domain]]\nname = \"a\"\nvcpus = 8\ncpus = \"{list}\"");
        let found = places(Scenario::parse(&file).unwrap());
        let all = found.iter().flat_map(|places| places.iter().collect::<Vec<_>>()).collect::<PcpuSet>();
        assert_eq!(all, set(expected));
    }
    assert_shares(Scenario::new(4).with(256, 3).on(&[1, 2, 3]), &[300.0]);
}

#[test]
fn t24_t25_a_vcpu_is_pinned_while_it_runs() {
    let scenario = |vcpu| {
        let busy = Scenario::new(4).with(256, 4).with(256, 2).then(SECOND, What::Hard(vcpu, set(&[1, 3])));
        Scenario { warm_up: SECOND, length: 3 * SECOND, ..busy }
    };
    let one = places(scenario(Some(0)));
    assert_eq!(one[4].intersection(&set(&[0, 2])), PcpuSet::NONE);
    let all = places(scenario(None));
    assert_eq!(
        (all[4].intersection(&set(&[0, 2])), all[5].intersection(&set(&[0, 2]))),
        (PcpuSet::NONE, PcpuSet::NONE)
    );
}

#[test]
fn t24_shares_follow_a_pin() {
    let scenario = || {
        Scenario::new(2).with(256, 1).with(256, 1).with(256, 1).then(3 * SECOND, What::Hard(None, set(&[0])))
    };
    assert_shares_from(scenario(), 0, &[200.0 / 3.0; 3]);
    assert_shares_from(scenario(), 3 * SECOND, &[200.0 / 3.0; 3]);
    let all = || scenario().with(256, 1).on(&[0]).with(256, 1).on(&[0]);
    assert_shares_from(
        all(),
        3 * SECOND,
        &[200.0 * 0.25, 200.0 * 0.25, 100.0 / 3.0, 100.0 / 3.0, 100.0 / 3.0],
    );
}

#[test]
fn t28_t29_dom0_has_pcpu_0_for_itself() {
    let scenario = Scenario::new(4).with(256, 1).on(&[0]).with(256, 3).on(&[1, 2, 3]);
    assert_shares(scenario, &[100.0, 300.0]);
    let scenario = Scenario::new(4).with(256, 1).on(&[0]).with(256, 2).on(&[1, 2]).with(256, 1).on(&[3]);
    assert_shares(scenario, &[100.0, 200.0, 100.0]);
}

#[test]
fn t31_more_vcpus_than_pcpus_share_them() {
    assert_shares(Scenario::new(2).with(256, 2).on(&[1]), &[100.0]);
}
