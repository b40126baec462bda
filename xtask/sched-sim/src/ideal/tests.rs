use proptest::prelude::*;

use super::*;

const PRECISION: f64 = 1e-9;

fn set(pcpus: &[usize]) -> PcpuSet {
    pcpus.iter().filter_map(|&pcpu| PcpuId::new(pcpu)).collect()
}

/// `vcpus` busy vcpus of a domain.
fn domain(weight: f64, cap: f64, vcpus: usize, pcpus: &[usize]) -> Vec<Claim> {
    let each = vcpus as f64;
    let limit = if cap > 0.0 { cap / 100.0 / each } else { 1.0 };
    vec![Claim { weight: weight / each, limit, pcpus: set(pcpus) }; vcpus]
}

/// What each of `domains` gets, in percent of one pcpu.
fn percent(domains: &[Vec<Claim>], pcpus: usize) -> Vec<f64> {
    let rates = fair_rates(&domains.concat(), pcpus);
    let mut rates = rates.iter();
    domains.iter().map(|claims| rates.by_ref().take(claims.len()).sum::<f64>() * 100.0).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    let near =
        found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 100.0 * PRECISION);
    assert!(near && found.len() == expected.len(), "{found:?} instead of {expected:?}");
}

/// T-01, T-02, T-03, T-12: the worked example of weights.
#[test]
fn weights_count_among_those_that_share_pcpus() {
    let domains =
        [domain(256.0, 0.0, 1, &[1]), domain(768.0, 0.0, 2, &[2, 3]), domain(256.0, 0.0, 2, &[2, 3])];
    assert_near(&percent(&domains, 4), &[100.0, 150.0, 50.0]);
}

/// T-04, T-05: neither stopped nor idle domains count.
#[test]
fn who_does_not_run_takes_nothing() {
    let domains = [domain(256.0, 0.0, 1, &[1]), domain(768.0, 0.0, 2, &[2, 3])];
    assert_near(&percent(&domains, 4), &[100.0, 200.0]);
}

/// T-07, T-08, T-09.
#[test]
fn ratios_of_weights() {
    let on_one = |weights: &[f64]| {
        let domains: Vec<_> = weights.iter().map(|&weight| domain(weight, 0.0, 1, &[0])).collect();
        percent(&domains, 1)
    };
    assert_near(&on_one(&[512.0, 256.0]), &[200.0 / 3.0, 100.0 / 3.0]);
    assert_near(&on_one(&[256.0, 512.0, 256.0]), &[25.0, 50.0, 25.0]);
    assert_near(&on_one(&[80.0, 140.0, 100.0]), &[25.0, 43.75, 31.25]);
}

/// T-13, T-14, T-15, T-17: caps hold on an idle machine too, and what they leave goes to the others.
#[test]
fn caps() {
    assert_near(&percent(&[domain(256.0, 160.0, 2, &[0, 1])], 2), &[160.0]);
    assert_near(&percent(&[domain(256.0, 50.0, 1, &[0])], 1), &[50.0]);
    assert_near(&percent(&[domain(256.0, 0.0, 1, &[0])], 1), &[100.0]);
    let domains = [domain(768.0, 30.0, 1, &[0]), domain(256.0, 0.0, 1, &[0])];
    assert_near(&percent(&domains, 1), &[30.0, 70.0]);
}

/// T-16, T-19, T-24, T-30 have no figures of their own: pins narrow where shares count.
#[test]
fn pins_of_single_vcpus() {
    let mut first = domain(256.0, 0.0, 2, &[0, 1, 2, 3]);
    first[0].pcpus = set(&[1, 3]);
    let others: Vec<_> = (0..2).map(|_| domain(256.0, 0.0, 2, &[1, 3])).collect();
    let found = percent(&[vec![first[0]], vec![first[1]], others[0].clone(), others[1].clone()], 4);
    assert_near(&found, &[40.0, 100.0, 80.0, 80.0]);
}

/// CPU-12: a vcpu that may run on both pcpus makes up on one what it misses on the other.
#[test]
fn a_roaming_vcpu_evens_out() {
    let domains = [
        domain(1.0, 0.0, 1, &[0]),
        domain(1.0, 0.0, 1, &[1]),
        domain(1.0, 0.0, 1, &[1]),
        domain(1.0, 0.0, 1, &[0, 1]),
    ];
    assert_near(&percent(&domains, 2), &[50.0, 50.0, 50.0, 50.0]);
    let two_thirds = 200.0 / 3.0;
    assert_near(&percent(&domains[1..], 2), &[50.0, 50.0, 100.0]);
    let three = [domain(1.0, 0.0, 1, &[0]), domain(1.0, 0.0, 1, &[1]), domain(1.0, 0.0, 1, &[0, 1])];
    assert_near(&percent(&three, 2), &[two_thirds; 3]);
}

#[test]
fn a_vcpu_takes_one_pcpu_at_most() {
    let domains =
        [domain(65535.0, 0.0, 1, &[0, 1]), domain(1.0, 0.0, 1, &[0, 1]), domain(1.0, 0.0, 1, &[0, 1])];
    assert_near(&percent(&domains, 2), &[100.0, 50.0, 50.0]);
}

#[test]
fn nowhere_to_run() {
    assert_near(&percent(&[domain(256.0, 0.0, 1, &[7]), domain(256.0, 0.0, 1, &[0])], 1), &[0.0, 100.0]);
    assert!(fair_rates(&[], 4).is_empty());
}

fn any_claims() -> impl Strategy<Value = (usize, Vec<Claim>)> {
    (1_usize..=6).prop_flat_map(|pcpus| {
        let weight = prop_oneof![1.0..65535.0, Just(256.0), Just(1.0)];
        let limit = prop_oneof![3 => Just(1.0), 1 => 0.01..1.0];
        let pcpus_of_one = prop::collection::vec(0..pcpus, 1..=pcpus);
        let claim = (weight, limit, pcpus_of_one).prop_map(|(weight, limit, pcpus)| Claim {
            weight,
            limit,
            pcpus: set(&pcpus),
        });
        (Just(pcpus), prop::collection::vec(claim, 1..16))
    })
}

/// Every set of pcpus with what is taken by those claims that may run nowhere else.
fn crowds(claims: &[Claim], rates: &[f64], pcpus: usize) -> Vec<(PcpuSet, f64)> {
    let sets = (1..1_usize << pcpus).map(|bits| (0..pcpus).filter(move |pcpu| bits >> pcpu & 1 != 0));
    let sets = sets.map(|pcpus| pcpus.filter_map(PcpuId::new).collect::<PcpuSet>());
    let inside = |set: &PcpuSet| {
        let members =
            claims.iter().zip(rates).filter(|(claim, _)| claim.pcpus.intersection(set) == claim.pcpus);
        members.map(|(_, rate)| rate).sum::<f64>()
    };
    sets.map(|set| (set, inside(&set))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No set of pcpus gives more than it has (Hall's condition), and no rate is above its limit.
    #[test]
    fn rates_are_feasible((pcpus, claims) in any_claims()) {
        let rates = fair_rates(&claims, pcpus);
        for (claim, rate) in claims.iter().zip(&rates) {
            prop_assert!((-PRECISION..=claim.limit + PRECISION).contains(rate), "{rate} of {claim:?}");
        }
        for (set, taken) in crowds(&claims, &rates, pcpus) {
            prop_assert!(taken <= set.iter().count() as f64 + PRECISION, "{set:?} gives {taken}");
        }
    }

    /// Whoever is below its limit shares a set of pcpus that is used up, and in it nobody has more for the
    /// weight: to rise it would have to take from one that is no better off. So nothing is left idle, either.
    #[test]
    fn rates_are_max_min_fair((pcpus, claims) in any_claims()) {
        let rates = fair_rates(&claims, pcpus);
        let crowds = crowds(&claims, &rates, pcpus);
        for (claim, rate) in claims.iter().zip(&rates).filter(|(claim, rate)| **rate < claim.limit - PRECISION) {
            let level = rate / claim.weight;
            let is_bottleneck = |set: &PcpuSet, taken: f64| {
                let inside = |other: &Claim| other.pcpus.intersection(set) == other.pcpus;
                let used_up = taken > set.iter().count() as f64 - PRECISION;
                let members = || claims.iter().zip(&rates).filter(|(other, _)| inside(other));
                used_up && inside(claim) && members().all(|(other, rate)| rate / other.weight <= level * (1.0 + 1e-6) + PRECISION / other.weight)
            };
            prop_assert!(crowds.iter().any(|(set, taken)| is_bottleneck(set, *taken)), "{claim:?} at {rate}: {rates:?}");
        }
    }
}
