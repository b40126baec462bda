//! What happens to domains and vcpus by the clock, in order, whatever the scheduler does.

use hv_core::pcpu_set::PcpuSet;

use crate::scenario::{Behaviour, Scenario, What};

/// One thing that happens. Vcpus are numbered through all domains.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Step {
    /// A vcpu wants to run from now on.
    On(usize),
    /// A vcpu does not want to run any more.
    Off(usize),
    /// A domain comes into being.
    Start(usize),
    Pause(usize),
    Unpause(usize),
    Destroy(usize),
    Weight(usize, u16),
    Cap(usize, u16),
    Hard(usize, PcpuSet),
    Soft(usize, PcpuSet),
}

/// The number of the first vcpu of each domain, and of all.
pub(crate) fn first_vcpus(scenario: &Scenario) -> Vec<usize> {
    let mut next = 0;
    let firsts = scenario.domains.iter().map(|domain| {
        let first = next;
        next += domain.vcpus.len();
        first
    });
    let mut firsts: Vec<usize> = firsts.collect();
    firsts.push(next);
    firsts
}

/// Everything up to the scenario's end, in order.
pub(crate) fn steps(scenario: &Scenario) -> Vec<(u64, Step)> {
    let mut steps = Vec::new();
    let firsts = first_vcpus(scenario);
    for (number, domain) in scenario.domains.iter().enumerate() {
        steps.push((domain.start, Step::Start(number)));
        for (vcpu, first) in domain.vcpus.iter().zip(firsts[number]..) {
            let phases = phases(vcpu.behaviour, scenario.length);
            steps.extend(
                phases.into_iter().map(|(at, on)| (at, if on { Step::On(first) } else { Step::Off(first) })),
            );
        }
    }
    for change in &scenario.changes {
        let domain = change.domain;
        let vcpus = |one: Option<usize>| {
            let all = 0..scenario.domains[domain].vcpus.len();
            let first = firsts[domain];
            all.filter(move |&vcpu| one.is_none_or(|one| one == vcpu)).map(move |vcpu| first + vcpu)
        };
        let mut push = |step| steps.push((change.at, step));
        match change.what {
            What::Weight(weight) => push(Step::Weight(domain, weight)),
            What::Cap(cap) => push(Step::Cap(domain, cap)),
            What::Hard(vcpu, set) => vcpus(vcpu).for_each(|vcpu| push(Step::Hard(vcpu, set))),
            What::Soft(vcpu, set) => vcpus(vcpu).for_each(|vcpu| push(Step::Soft(vcpu, set))),
            What::Pause => push(Step::Pause(domain)),
            What::Unpause => push(Step::Unpause(domain)),
            What::Destroy => push(Step::Destroy(domain)),
        }
    }
    steps.retain(|&(at, _)| at < scenario.length);
    steps.sort_by_key(|&(at, _)| at);
    steps
}

/// When a vcpu begins to want to run, and ends; `true` is a begin.
fn phases(behaviour: Behaviour, length: u64) -> Vec<(u64, bool)> {
    match behaviour {
        Behaviour::Busy | Behaviour::Bursts { .. } => vec![(0, true)],
        Behaviour::Idle => Vec::new(),
        Behaviour::Phases { on, off, from } => {
            let begins = (0..).map(|round| from + round * (on + off)).take_while(|&at| at < length);
            begins.flat_map(|at| [(at, true), (at + on, false)]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SECOND;

    #[test]
    fn phases_go_by_the_clock() {
        let behaviour = Behaviour::Phases { on: SECOND, off: 2 * SECOND, from: SECOND };
        let scenario = Scenario { length: 6 * SECOND, ..Scenario::new(1).with(256, 1).doing(behaviour) };
        let expected = [
            (0, Step::Start(0)),
            (SECOND, Step::On(0)),
            (2 * SECOND, Step::Off(0)),
            (4 * SECOND, Step::On(0)),
            (5 * SECOND, Step::Off(0)),
        ];
        assert_eq!(steps(&scenario), expected);
    }

    #[test]
    fn changes_come_in_order() {
        let set = PcpuSet::ALL;
        let scenario = Scenario::new(2)
            .with(256, 1)
            .with(256, 2)
            .then(2 * SECOND, What::Pause)
            .then(SECOND, What::Hard(None, set))
            .then(SECOND, What::Soft(Some(1), set))
            .then(20 * SECOND, What::Destroy);
        let steps: Vec<Step> =
            steps(&scenario).into_iter().filter(|&(at, _)| at > 0).map(|(_, step)| step).collect();
        assert_eq!(steps, [Step::Hard(1, set), Step::Hard(2, set), Step::Soft(2, set), Step::Pause(1)]);
    }
}
