//! How much a vcpu has to do until it sleeps, and for how long it does.

use crate::scenario::Behaviour;

/// The bursts of one vcpu. All times are ns.
#[derive(Debug)]
pub(crate) struct Work {
    behaviour: Behaviour,
    random: fastrand::Rng,
    /// What is left of the burst; `None` if it never ends by itself.
    left: Option<u64>,
}

impl Work {
    /// The work of vcpu `number` in a scenario with `seed`.
    pub(crate) fn new(behaviour: Behaviour, seed: u64, number: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let own = random.u64(..).wrapping_add(number as u64);
        let mut work = Self { behaviour, random: fastrand::Rng::with_seed(own), left: None };
        work.begin();
        work
    }

    /// When the burst ends that goes on from `from`.
    pub(crate) fn done_at(&self, from: u64) -> Option<u64> {
        self.left.map(|left| from.saturating_add(left))
    }

    /// It has run for `ns`.
    pub(crate) fn progress(&mut self, ns: u64) {
        self.left = self.left.map(|left| left.saturating_sub(ns));
    }

    /// The burst has ended: for how long it sleeps now. Then the next one begins.
    pub(crate) fn sleep(&mut self) -> u64 {
        self.begin();
        match self.behaviour {
            Behaviour::Bursts { sleep, random: true, .. } => self.around(sleep),
            Behaviour::Bursts { sleep, .. } => sleep,
            _ => 0,
        }
    }

    fn begin(&mut self) {
        self.left = match self.behaviour {
            Behaviour::Bursts { run, random: true, .. } => Some(self.around(run)),
            Behaviour::Bursts { run, .. } => Some(run),
            _ => None,
        };
    }

    /// A time that is exponentially distributed, with this mean.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and far below 2^63"
    )]
    fn around(&mut self, mean: u64) -> u64 {
        let time = -(1.0 - self.random.f64()).ln() * mean as f64;
        (time as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_ends_when_its_work_is_done() {
        let mut work = Work::new(Behaviour::Bursts { run: 100, sleep: 50, random: false }, 1, 0);
        assert_eq!(work.done_at(1000), Some(1100));
        work.progress(60);
        assert_eq!(work.done_at(2000), Some(2040));
        assert_eq!(work.sleep(), 50);
        assert_eq!(work.done_at(0), Some(100));
        assert_eq!(Work::new(Behaviour::Busy, 1, 0).done_at(5), None);
    }

    #[test]
    fn random_times_have_their_mean_and_come_back_with_the_seed() {
        let behaviour = Behaviour::Bursts { run: 1, sleep: 10_000, random: true };
        let sleeps = |seed, number| {
            let mut work = Work::new(behaviour, seed, number);
            (0..20_000).map(|_| work.sleep()).collect::<Vec<_>>()
        };
        let mean = sleeps(1, 0).iter().sum::<u64>() / 20_000;
        assert!((9_700..10_300).contains(&mean), "{mean}");
        assert_eq!(sleeps(1, 0), sleeps(1, 0));
        assert_ne!(sleeps(1, 0), sleeps(1, 1));
        assert_ne!(sleeps(1, 0), sleeps(2, 0));
    }
}
