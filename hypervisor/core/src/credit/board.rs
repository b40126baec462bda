//! What all pcpus see without a lock. What it says of queues may be out of date by the time that the
//! queue is looked at.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::id::{MAX_PCPUS, PcpuId};
use crate::pcpu_set::{AtomicPcpuSet, PcpuSet};

/// Spreads what is multiplied by it: 2^64 by the golden ratio.
pub const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// No vcpu: the level above all others.
pub const NOBODY: u64 = u64::MAX;

/// What all pcpus see.
#[derive(Debug)]
pub struct Board {
    idle: AtomicPcpuSet,
    /// Pcpus in whose queues vcpus wait that may run elsewhere.
    waiting: AtomicPcpuSet,
    /// Pcpus that run a vcpu until something happens.
    unlimited: AtomicPcpuSet,
    queues: [Shown; MAX_PCPUS],
    /// Whom to look at next.
    turn: AtomicUsize,
    /// Whom to ask next; a count of its own, or who looks would choose who is asked.
    asked: AtomicUsize,
    /// Of the next vcpu that gets a cap, as a fraction of 2^64.
    phase: AtomicU64,
}

/// What all pcpus see of the queue of one: a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Shown {
    /// The level of the first of those that wait and may run elsewhere.
    first: AtomicU64,
    load: AtomicU64,
    /// How far those are that share the pcpu.
    level: AtomicU64,
}

impl Shown {
    /// An empty one.
    const fn new() -> Self {
        Self { first: AtomicU64::new(NOBODY), load: AtomicU64::new(0), level: AtomicU64::new(0) }
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// Of pcpus that are all idle.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            idle: AtomicPcpuSet::new(PcpuSet::NONE),
            waiting: AtomicPcpuSet::new(PcpuSet::NONE),
            unlimited: AtomicPcpuSet::new(PcpuSet::NONE),
            queues: [const { Shown::new() }; MAX_PCPUS],
            turn: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            phase: AtomicU64::new(0),
        }
    }

    /// The pcpus that wait for work.
    pub const fn idle(&self) -> &AtomicPcpuSet {
        &self.idle
    }

    pub(super) const fn unlimited(&self) -> &AtomicPcpuSet {
        &self.unlimited
    }

    /// Says how the queue of `pcpu` is.
    #[inline]
    pub(super) fn publish(&self, pcpu: PcpuId, first: u64, load: u64, level: u64) {
        let shown = &self.queues[pcpu.index()];
        shown.level.store(level, Ordering::Relaxed);
        shown.first.store(first, Ordering::Relaxed);
        shown.load.store(load, Ordering::Relaxed);
        if first == NOBODY {
            self.waiting.remove(pcpu);
        } else if !self.waiting.contains(pcpu) {
            self.waiting.insert(pcpu);
        }
    }

    #[inline]
    pub(super) fn first(&self, pcpu: PcpuId) -> u64 {
        self.queues[pcpu.index()].first.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn load(&self, pcpu: PcpuId) -> u64 {
        self.queues[pcpu.index()].load.load(Ordering::Relaxed)
    }

    /// Whether vcpus wait in the queues of other pcpus than `me` that may run elsewhere.
    #[inline]
    pub(super) fn is_waiting_elsewhere(&self, me: PcpuId) -> bool {
        self.waiting.has_others(me)
    }

    /// The other pcpus than `me` in whose queues vcpus wait that may run elsewhere.
    pub(super) fn waiting_elsewhere(&self, me: PcpuId) -> PcpuSet {
        let mut waiting = self.waiting.load();
        waiting.remove(me);
        waiting
    }

    /// The level of a pcpu of `allowed` that is busy.
    pub(super) fn level(&self, allowed: &PcpuSet) -> Option<u64> {
        let busy = allowed.without(&self.idle.load());
        self.some_of::<1>(&busy).next().map(|pcpu| self.level_of(pcpu))
    }

    /// How far those are that share `pcpu`.
    #[inline]
    pub(super) fn level_of(&self, pcpu: PcpuId) -> u64 {
        self.queues[pcpu.index()].level.load(Ordering::Relaxed)
    }

    /// A member of `set`, all of them in turn.
    pub(super) fn next_to_ask(&self, set: &PcpuSet) -> Option<PcpuId> {
        let pcpu = set.next_from(self.asked.load(Ordering::Relaxed)).or_else(|| set.next_from(0))?;
        self.asked.store(pcpu.index() + 1, Ordering::Relaxed);
        Some(pcpu)
    }

    /// A point of time in a period of `length` ns: those that are taken are spread evenly, however many they are.
    pub(super) fn next_phase(&self, length: u64) -> u64 {
        let fraction = self.phase.fetch_add(SPREAD, Ordering::Relaxed);
        u64::try_from((u128::from(fraction) * u128::from(length)) >> 64).unwrap_or(0)
    }

    /// Up to `N` members of `set`, others at each call.
    pub(super) fn some_of<const N: usize>(&self, set: &PcpuSet) -> impl Iterator<Item = PcpuId> + use<N> {
        let mut next = self.turn.load(Ordering::Relaxed);
        let mut chosen = [None; N];
        for place in 0..N {
            let Some(pcpu) = set.next_from(next).or_else(|| set.next_from(0)) else { break };
            if place > 0 && chosen[0] == Some(pcpu) {
                break;
            }
            chosen[place] = Some(pcpu);
            next = pcpu.index() + 1;
        }
        self.turn.store(next, Ordering::Relaxed);
        chosen.into_iter().flatten()
    }
}
