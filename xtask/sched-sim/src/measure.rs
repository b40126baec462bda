//! What is measured of each vcpu, and of the machine.

/// What became of one vcpu, from the end of the warm-up on. Times are ns.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long it ran.
    pub ran: u64,
    /// The longest time that it waited for a pcpu; what its cap kept it from is not counted.
    pub worst_wait: u64,
    /// How long it took from each wake-up until it ran; in ascending order at the end.
    pub latencies: Vec<u64>,
    /// How often it was put on another pcpu than the one that it ran on last.
    pub migrations: u64,
    /// How often it was put on a pcpu.
    pub stays: u64,
}

impl Measured {
    /// The latency that a part of `of` wake-ups, 0 to 1, did not exceed; `None` if it never slept.
    pub fn latency(&self, of: f64) -> Option<u64> {
        let last = self.latencies.len().checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a length")]
        let place = (last as f64 * of.clamp(0.0, 1.0)).ceil() as usize;
        self.latencies.get(place).copied()
    }
}

/// A stay of a vcpu on a pcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stay {
    /// The pcpu.
    pub pcpu: usize,
    /// The vcpu, counted through all domains.
    pub vcpu: usize,
    /// Since when, ns.
    pub from: u64,
    /// Until when, ns.
    pub to: u64,
}

/// A pcpu that had nothing to do while a vcpu waited that may run there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostWork {
    /// When, ns.
    pub at: u64,
    /// The pcpu.
    pub pcpu: usize,
    /// The vcpu, counted through all domains.
    pub vcpu: usize,
}

/// What a simulation found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Each vcpu, domain by domain.
    pub vcpus: Vec<Measured>,
    /// How long was measured, ns.
    pub measured: u64,
    /// The first time that work was lost, if it ever was.
    pub lost_work: Option<LostWork>,
    /// Stays within the first part of the measured time, for the picture.
    pub stays: Vec<Stay>,
    /// At equal distances over the whole time: when, and how long each domain had run until then.
    pub samples: Vec<(u64, Vec<u64>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_by_rank() {
        let measured = Measured { latencies: (0..=100).collect(), ..Measured::default() };
        assert_eq!([0.5, 0.99, 1.0].map(|of| measured.latency(of)), [Some(50), Some(99), Some(100)]);
        assert_eq!(Measured::default().latency(0.5), None);
    }
}
