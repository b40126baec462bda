//! What each vcpu of a scenario is entitled to: the fair rates between one change and the next, added up.
//!
//! A vcpu with bursts counts with its weight all the time, and takes no more than it would without waiting. That is
//! what the scheduler gives it when it can; the real use is less when it waits before each burst.

use std::collections::HashMap;

use hv_core::pcpu_set::PcpuSet;

use crate::ideal::{Claim, fair_rates};
use crate::plan::{self, Step};
use crate::scenario::{SECOND, Scenario};

/// Seconds that each vcpu should run, of those that are measured.
pub fn entitlements(scenario: &Scenario) -> Vec<f64> {
    let mut state = State::new(scenario);
    let mut seconds = vec![0.0; state.vcpus.len()];
    let mut known: HashMap<Vec<ClaimKey>, Vec<f64>> = HashMap::new();
    let mut since = 0;
    let mut steps = plan::steps(scenario).into_iter().peekable();
    while since < scenario.length {
        while let Some((_, step)) = steps.next_if(|&(at, _)| at <= since) {
            state.apply(step);
        }
        let until = steps.peek().map_or(scenario.length, |&(at, _)| at.min(scenario.length));
        let measured = until.saturating_sub(since.max(scenario.warm_up)) as f64 / SECOND as f64;
        if measured > 0.0 {
            let claims = state.claims();
            let key = claims.iter().map(|(number, claim)| ClaimKey::new(*number, claim)).collect();
            let rates = known.entry(key).or_insert_with(|| {
                let claims: Vec<Claim> = claims.iter().map(|&(_, claim)| claim).collect();
                fair_rates(&claims, scenario.pcpus)
            });
            for ((number, _), rate) in claims.iter().zip(rates) {
                seconds[*number] += *rate * measured;
            }
        }
        since = until;
    }
    seconds
}

/// A claim that can be compared.
#[derive(PartialEq, Eq, Hash)]
struct ClaimKey(usize, u64, u64, Vec<u64>);

impl ClaimKey {
    fn new(number: usize, claim: &Claim) -> Self {
        Self(number, claim.weight.to_bits(), claim.limit.to_bits(), claim.pcpus.words().to_vec())
    }
}

/// How domains and vcpus are at a moment.
struct State {
    domains: Vec<Domain>,
    vcpus: Vec<Vcpu>,
}

struct Domain {
    weight: u16,
    cap: u16,
    vcpus: usize,
    lives: bool,
    paused: bool,
}

struct Vcpu {
    domain: usize,
    hard: PcpuSet,
    appetite: f64,
    on: bool,
}

impl State {
    fn new(scenario: &Scenario) -> Self {
        let domains = scenario.domains.iter().map(|domain| Domain {
            weight: domain.weight,
            cap: domain.cap,
            vcpus: domain.vcpus.len(),
            lives: false,
            paused: false,
        });
        let vcpus = scenario.domains.iter().enumerate().flat_map(|(number, domain)| {
            domain.vcpus.iter().map(move |vcpu| Vcpu {
                domain: number,
                hard: vcpu.hard,
                appetite: vcpu.behaviour.appetite(),
                on: false,
            })
        });
        Self { domains: domains.collect(), vcpus: vcpus.collect() }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::On(vcpu) => self.vcpus[vcpu].on = true,
            Step::Off(vcpu) => self.vcpus[vcpu].on = false,
            Step::Start(domain) => self.domains[domain].lives = true,
            Step::Destroy(domain) => self.domains[domain].lives = false,
            Step::Pause(domain) => self.domains[domain].paused = true,
            Step::Unpause(domain) => self.domains[domain].paused = false,
            Step::Weight(domain, weight) => self.domains[domain].weight = weight,
            Step::Cap(domain, cap) => self.domains[domain].cap = cap,
            Step::Hard(vcpu, set) => self.vcpus[vcpu].hard = set,
            Step::Soft(..) => {}
        }
    }

    fn wants_to_run(&self, vcpu: &Vcpu) -> bool {
        let domain = &self.domains[vcpu.domain];
        vcpu.on && domain.lives && !domain.paused
    }

    fn claims(&self) -> Vec<(usize, Claim)> {
        let mut active = vec![0; self.domains.len()];
        for vcpu in self.vcpus.iter().filter(|vcpu| self.wants_to_run(vcpu)) {
            active[vcpu.domain] += 1;
        }
        let runnable = self.vcpus.iter().enumerate().filter(|(_, vcpu)| self.wants_to_run(vcpu));
        let claim = |(number, vcpu): (usize, &Vcpu)| {
            let domain = &self.domains[vcpu.domain];
            let cap = if domain.cap == 0 { 1.0 } else { f64::from(domain.cap) / 100.0 / domain.vcpus as f64 };
            let weight = f64::from(domain.weight) / f64::from(active[vcpu.domain]);
            (number, Claim { weight, limit: cap.min(vcpu.appetite), pcpus: vcpu.hard })
        };
        runnable.map(claim).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Behaviour, What};

    fn assert_seconds(scenario: &Scenario, expected: &[f64]) {
        let found = entitlements(scenario);
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
        assert!(near && found.len() == expected.len(), "{found:?} instead of {expected:?}");
    }

    /// T-04, T-06, T-08: from change to change.
    #[test]
    fn rates_are_added_up_between_changes() {
        let plain = || Scenario { length: 9 * SECOND, ..Scenario::new(1).with(256, 1).with(256, 1) };
        assert_seconds(&plain(), &[4.0, 4.0]);
        assert_seconds(&plain().then(5 * SECOND, What::Weight(768)), &[2.0 + 1.0, 2.0 + 3.0]);
        assert_seconds(&plain().then(5 * SECOND, What::Destroy), &[6.0, 2.0]);
        let paused = plain().then(3 * SECOND, What::Pause).then(5 * SECOND, What::Unpause);
        assert_seconds(&paused, &[5.0, 3.0]);
        assert_seconds(&plain().then(5 * SECOND, What::Cap(10)), &[2.0 + 3.6, 2.0 + 0.4]);
        let half = Behaviour::Phases { on: SECOND, off: SECOND, from: 0 };
        assert_seconds(&plain().doing(half), &[6.0, 2.0]);
        let bursts = Behaviour::Bursts { run: 1, sleep: 3, random: false };
        assert_seconds(&plain().doing(bursts), &[6.0, 2.0]);
    }

    /// CPU-08, CPU-14: weights are divided among runnable vcpus, caps among all.
    #[test]
    fn what_vcpus_have_of_their_domain() {
        let plain = Scenario { warm_up: 0, ..Scenario::new(1).with(256, 2).capped(40).with(256, 1) };
        assert_seconds(&plain, &[2.0, 2.0, 6.0]);
        let mut idle = plain;
        idle.domains[0].cap = 0;
        idle.domains[0].vcpus[1].behaviour = Behaviour::Idle;
        assert_seconds(&idle, &[5.0, 0.0, 5.0]);
    }
}
