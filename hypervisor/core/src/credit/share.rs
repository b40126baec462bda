//! What a domain is entitled to, and what all pcpus may read of a vcpu.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use alloc::sync::Arc;

use crate::pcpu_set::{AtomicPcpuSet, PcpuSet};

use super::zone::divided;

/// Weight of a domain for which none was set.
pub const DEFAULT_WEIGHT: u16 = 256;
/// One vcpu's use of a whole pcpu, as caps count.
const WHOLE: u64 = 100;
const NOWHERE: usize = usize::MAX;

/// What a domain is entitled to. Its weight is divided among those of its vcpus that want to run, its cap
/// among all that are up (requirements CPU-08, CPU-14).
#[derive(Debug)]
pub struct Share {
    weight: AtomicU32,
    cap: AtomicU32,
    vcpus: AtomicU32,
    active: AtomicU32,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(DEFAULT_WEIGHT.into()),
            cap: AtomicU32::new(0),
            vcpus: AtomicU32::new(0),
            active: AtomicU32::new(0),
        }
    }
}

impl Share {
    /// Its weight, 1 to 65535.
    pub fn weight(&self) -> u16 {
        u16::try_from(self.weight.load(Ordering::Relaxed)).unwrap_or(u16::MAX).max(1)
    }

    /// Sets its weight; 0 counts as 1.
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight.into(), Ordering::Relaxed);
    }

    /// The most that it uses, in percent of one pcpu; 0 is no limit.
    pub fn cap(&self) -> u16 {
        u16::try_from(self.cap.load(Ordering::Relaxed)).unwrap_or(u16::MAX)
    }

    /// Sets the most that it uses.
    pub fn set_cap(&self, cap: u16) {
        self.cap.store(cap.into(), Ordering::Relaxed);
    }

    /// One of its vcpus is up, or is not any more: the cap is divided among those that are.
    pub fn note_up(&self, up: bool) {
        if up {
            self.vcpus.fetch_add(1, Ordering::Relaxed);
        } else {
            self.vcpus.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many of its vcpus want to run.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn note_active(&self, active: bool) {
        if active {
            self.active.fetch_add(1, Ordering::Relaxed);
        } else {
            self.active.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// By how much the virtual time of one of its vcpus grows that runs for `ns`: in units of which a domain
    /// of weight 65535 with one vcpu takes one a nanosecond.
    pub(super) fn charge(&self, ns: u64) -> u64 {
        divided(ns, u64::from(self.active().max(1)) << 16, self.weight().into())
    }

    /// What one of its vcpus weighs on a pcpu. A pcpu with a load of `n` in all makes the virtual time of
    /// who waits there grow by [`PER_LOAD`](super::zone::PER_LOAD)` / n` a nanosecond.
    pub(super) fn load(&self) -> u64 {
        (u64::from(self.weight()) << 8) / u64::from(self.active().max(1))
    }

    /// How long one of its vcpus may run in each `period`; `None` without limit.
    pub(super) fn budget(&self, period: u64) -> Option<u64> {
        let cap = u64::from(self.cap());
        let vcpus = u64::from(self.vcpus.load(Ordering::Relaxed).max(1));
        (cap != 0 && cap < vcpus * WHOLE).then(|| (period * cap / (vcpus * WHOLE)).max(1))
    }
}

/// What all pcpus may read of a vcpu.
#[derive(Debug)]
pub struct Tag {
    share: Arc<Share>,
    hard: AtomicPcpuSet,
    soft: AtomicPcpuSet,
    place: AtomicUsize,
    /// What it adds to the load of the queue in which it is.
    load: AtomicU64,
    last_ran: AtomicU64,
}

impl Tag {
    /// A vcpu of the domain with `share`, that may run everywhere.
    #[must_use]
    pub fn new(share: Arc<Share>) -> Self {
        Self {
            share,
            hard: AtomicPcpuSet::new(PcpuSet::ALL),
            soft: AtomicPcpuSet::new(PcpuSet::ALL),
            place: AtomicUsize::new(NOWHERE),
            load: AtomicU64::new(0),
            last_ran: AtomicU64::new(0),
        }
    }

    /// What its domain is entitled to.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Where it may run.
    pub fn hard(&self) -> &AtomicPcpuSet {
        &self.hard
    }

    /// Where it runs best.
    pub fn soft(&self) -> &AtomicPcpuSet {
        &self.soft
    }

    /// Its place in a queue ([`Placed::place`](crate::heap::Placed::place)).
    pub fn place(&self) -> Option<usize> {
        Some(self.place.load(Ordering::Relaxed)).filter(|&place| place != NOWHERE)
    }

    /// Notes its place in a queue.
    pub fn set_place(&self, place: Option<usize>) {
        self.place.store(place.unwrap_or(NOWHERE), Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> u64 {
        self.load.load(Ordering::Relaxed)
    }

    pub(super) fn set_load(&self, load: u64) {
        self.load.store(load, Ordering::Relaxed);
    }

    /// When it was on a pcpu last.
    pub(super) fn last_ran(&self) -> u64 {
        self.last_ran.load(Ordering::Relaxed)
    }

    pub(super) fn note_ran(&self, now: u64) {
        self.last_ran.store(now, Ordering::Relaxed);
    }
}
