//! What is simulated: a machine, domains, and what happens to them. [`Scenario::read`] reads it from a file
//! (`tests/sched/*.toml`, docs/sched-sim.md), tests make it by hand.

mod behaviour;
mod file;

use std::path::Path;

use anyhow::{Context, Result};
use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;

pub use behaviour::Behaviour;

/// One second, in the unit of all times: ns.
pub const SECOND: u64 = 1_000_000_000;
/// One millisecond, ns.
pub const MILLISECOND: u64 = 1_000_000;
/// One microsecond, ns.
pub const MICROSECOND: u64 = 1_000;

/// What is simulated. All times are ns, points of time count from the begin.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows.
    pub description: String,
    /// Requirements.
    pub covers: Vec<String>,
    /// The machine's pcpus.
    pub pcpus: usize,
    /// The scheduler's time slice.
    pub slice: u64,
    /// The scheduler's rate limit.
    pub rate_limit: u64,
    /// How long a vcpu that has run stays where it is.
    pub migration_delay: u64,
    /// What it costs to change from one vcpu to another.
    pub switch_cost: u64,
    /// For how long it goes on.
    pub length: u64,
    /// From when on it is measured.
    pub warm_up: u64,
    /// Where random times begin.
    pub seed: u64,
    /// Its domains.
    pub domains: Vec<Domain>,
    /// What an administrator does, in any order.
    pub changes: Vec<Change>,
}

/// A domain.
#[derive(Clone, PartialEq, Debug)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// 1 to 65535.
    pub weight: u16,
    /// Percent of one pcpu; 0 is no limit.
    pub cap: u16,
    /// Its vcpus.
    pub vcpus: Vec<Vcpu>,
    /// When it comes into being.
    pub start: u64,
}

/// A vcpu.
#[derive(Clone, PartialEq, Debug)]
pub struct Vcpu {
    /// Where it may run.
    pub hard: PcpuSet,
    /// Where it runs best.
    pub soft: PcpuSet,
    /// What it does.
    pub behaviour: Behaviour,
}

/// What an administrator does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// When.
    pub at: u64,
    /// To which domain, by its place.
    pub domain: usize,
    /// What.
    pub what: What,
}

/// What can be done to a domain that runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What {
    /// A new weight.
    Weight(u16),
    /// A new cap.
    Cap(u16),
    /// A new hard affinity, of one vcpu or all.
    Hard(Option<usize>, PcpuSet),
    /// A new soft affinity, of one vcpu or all.
    Soft(Option<usize>, PcpuSet),
    /// None of its vcpus runs.
    Pause,
    /// They run again.
    Unpause,
    /// It is gone for good.
    Destroy,
}

impl Scenario {
    /// A machine without domains: 10 s long, measured after the first.
    pub fn new(pcpus: usize) -> Self {
        Self {
            description: String::new(),
            covers: Vec::new(),
            pcpus,
            slice: 30 * MILLISECOND,
            rate_limit: MILLISECOND,
            migration_delay: 0,
            switch_cost: 0,
            length: 10 * SECOND,
            warm_up: SECOND,
            seed: 1,
            domains: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and what to write instead.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// A scenario from the text of a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self> {
        file::parse(text)
    }

    /// Adds a domain of `vcpus` vcpus that are busy and run anywhere.
    #[must_use]
    pub fn with(mut self, weight: u16, vcpus: usize) -> Self {
        let name = format!("d{}", self.domains.len() + 1);
        let vcpu = Vcpu { hard: PcpuSet::ALL, soft: PcpuSet::ALL, behaviour: Behaviour::Busy };
        self.domains.push(Domain { name, weight, cap: 0, vcpus: vec![vcpu; vcpus], start: 0 });
        self
    }

    /// The domain added last gets a cap.
    #[must_use]
    pub fn capped(mut self, cap: u16) -> Self {
        if let Some(domain) = self.domains.last_mut() {
            domain.cap = cap;
        }
        self
    }

    /// The vcpus of the domain added last may run on `pcpus` only.
    #[must_use]
    pub fn on(mut self, pcpus: &[usize]) -> Self {
        let hard = pcpus.iter().filter_map(|&pcpu| PcpuId::new(pcpu)).collect();
        for vcpu in self.domains.iter_mut().rev().take(1).flat_map(|domain| &mut domain.vcpus) {
            vcpu.hard = hard;
        }
        self
    }

    /// The vcpus of the domain added last do this.
    #[must_use]
    pub fn doing(mut self, behaviour: Behaviour) -> Self {
        for vcpu in self.domains.iter_mut().rev().take(1).flat_map(|domain| &mut domain.vcpus) {
            vcpu.behaviour = behaviour;
        }
        self
    }

    /// At `at`, the domain added last is changed.
    #[must_use]
    pub fn then(mut self, at: u64, what: What) -> Self {
        let domain = self.domains.len() - 1;
        self.changes.push(Change { at, domain, what });
        self
    }
}
