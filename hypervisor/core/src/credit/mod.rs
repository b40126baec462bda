//! The credit scheduler: which vcpu runs where, and for how long.
//!
//! Each vcpu has a *virtual time* that grows while it runs, the slower the larger its part of its
//! domain's weight is. A pcpu runs the vcpu with the least virtual time of those that wait in its queue
//! ([`Queue`]); at each turn it looks at the queues of some others as well, and takes from there who is
//! further behind. So vcpus that can reach each other over any chain of pcpus keep level, whatever they
//! are pinned to, and those that cannot do not count for each other (ADR 17).
//!
//! ```text
//!            wake                    pick
//!   Nowhere ──────> Queue (waiting) ──────> Pcpu
//!     ^                 ^                    │
//!     │                 ├──turn is over──────┤
//!     │       refilled  │                    │
//!     │           Queue (parked) <──cap──────┤
//!     └──────sleeps, paused──────────────────┘
//! ```
//!
//! | type | what | who guards it |
//! |---|---|---|
//! | [`Share`] | weight and cap of a domain | atomics |
//! | [`Tag`] | what others read of a vcpu | atomics |
//! | [`Entity`] | a vcpu's place and account | the vcpu's own lock |
//! | [`Queue`] | who waits for a pcpu, and who runs there | a lock for each pcpu, taken after an entity's |
//! | [`Board`] | which pcpus idle, where vcpus wait | atomics |
//!
//! The functions here are generic over a [`Machine`]: the hypervisor is one, the simulator of
//! `cargo xtask sched-sim` another. All times are system time in nanoseconds.

mod board;
mod engine;
mod entity;
mod queue;
mod share;
mod zone;

#[cfg(test)]
mod tests;

pub use board::Board;
pub use engine::{
    Next, Ready, Verdict, follow, leave, pick, ready, reconsider, set_affinity, set_idle, sleep, start, stop,
    stop_for, tick, wakes_at,
};
pub use entity::{At, Entity};
pub use queue::Queue;
pub use share::{Share, Tag};

use crate::heap::Placed;
use crate::id::PcpuId;
use crate::pcpu_set::PcpuSet;

/// How often the cap of a vcpu is filled up, ns: what it may use of each such period goes with the cap.
pub const CAP_PERIOD: u64 = 10_000_000;
/// How long a vcpu waits for its turn at most, whatever its weight, as long as no more vcpus wait with it
/// than get a shortest stay each in this time: ns. It bounds what extreme weights do (requirements CPU-11).
pub const LONGEST_WAIT: u64 = 1_000_000_000;

/// What the administrator sets of the scheduler, in ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// In which time each vcpu that waits for a pcpu has its turn, and the longest stay of one.
    pub slice: u64,
    /// How long a vcpu runs at least before one that has woken up takes its place.
    pub rate_limit: u64,
    /// How long after it has run a vcpu is not taken to another pcpu that has work.
    pub migration_delay: u64,
}

impl Parameters {
    /// What Xen's credit scheduler starts with: 30 ms, 1 ms, 0.
    pub const DEFAULT: Self = Self { slice: 30_000_000, rate_limit: 1_000_000, migration_delay: 0 };
    /// Shortest stay when no rate limit says what it is, ns.
    const SHORTEST_STAY: u64 = 500_000;

    /// How long a vcpu stays at least when others wait.
    fn shortest_stay(&self) -> u64 {
        let least = if self.rate_limit == 0 { Self::SHORTEST_STAY } else { self.rate_limit };
        least.min(self.slice)
    }

    /// How long a vcpu alone on its pcpu stays until it is compared with those that wait elsewhere.
    fn glance(&self) -> u64 {
        (self.slice / 3).max(self.shortest_stay())
    }
}

/// A vcpu, as the scheduler handles it.
pub trait Vcpu: Clone + Placed {
    /// What others read of it.
    fn tag(&self) -> &Tag;

    /// Does something under its lock. Never called with a queue held.
    fn entity<R>(&self, work: impl FnOnce(&mut Entity) -> R) -> R;
}

/// The pcpus on which vcpus are scheduled.
pub trait Machine {
    /// Its vcpus.
    type Vcpu: Vcpu;

    /// Does something with the queue of `pcpu` under its lock. At most one is held at a time.
    fn queue<R>(&self, pcpu: PcpuId, work: impl FnOnce(&mut Queue<Self::Vcpu>) -> R) -> R;

    /// What all pcpus see.
    fn board(&self) -> &Board;

    /// The pcpus that run vcpus.
    fn online(&self) -> PcpuSet;

    /// What the administrator has set.
    fn parameters(&self) -> Parameters;

    /// Makes `pcpu` call [`tick`] soon if it runs a vcpu, and [`pick`] if it idles. No lock is held but
    /// perhaps one vcpu's.
    fn kick(&self, pcpu: PcpuId);

    /// As [`Machine::kick`]; it is enough if `running`, the vcpu that runs there, comes to have [`wakes_at`] looked at
    /// again. A queue is held.
    fn hasten(&self, pcpu: PcpuId, running: Option<&Self::Vcpu>);
}
