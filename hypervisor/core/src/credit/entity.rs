//! What the scheduler knows of a vcpu, guarded by the vcpu's lock.

use crate::id::PcpuId;
use crate::pcpu_set::PcpuSet;
use crate::runstate::RunstateAccount;

use super::{CAP_PERIOD, Share};

/// Where a vcpu is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// In no queue: it sleeps or may not run.
    Nowhere,
    /// In the queue of a pcpu: it waits for its turn, or has used up its cap.
    Queue(PcpuId),
    /// On a pcpu.
    Pcpu(PcpuId),
}

/// How far a vcpu was when it left a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its key there.
    pub key: u64,
    /// What that is worth elsewhere.
    pub level: u64,
    /// By how much it was ahead of what it was entitled to.
    pub debt: u64,
    /// Of which time there the key is.
    pub epoch: u32,
}

impl Place {
    /// It takes back `lead`.
    pub fn without(self, lead: u64) -> Self {
        let more = |value: u64| value.saturating_add(lead);
        Self { key: more(self.key), level: more(self.level), debt: more(self.debt), ..self }
    }
}

/// What the scheduler knows of a vcpu.
#[derive(Debug)]
pub struct Entity {
    pub(super) at: At,
    /// It is in the queue for its cap to be filled up.
    pub(super) parked: bool,
    /// It counts among those of its domain that want to run.
    pub(super) active: bool,
    /// Where it ran last: the zone of `place`.
    pub(super) home: PcpuId,
    /// How far it was when it left there; `None` before it has run.
    pub(super) place: Option<Place>,
    /// By how much it waits further ahead than it deserves, since it has woken up.
    pub(super) lead: u64,
    /// Where it goes from its pcpu, for the sake of one that cannot go there.
    pub(super) next: Option<PcpuId>,
    /// When it left there.
    pub(super) left: u64,
    pub(super) affinity: PcpuSet,
    pub(super) preferred: PcpuSet,
    /// What is left of its cap, ns; below 0 if it has run too long.
    pub(super) budget: i64,
    /// When its cap is filled up next.
    pub(super) refill: u64,
    pub(super) account: RunstateAccount,
}

/// What others have kept a vcpu from using of its cap is not lost at once: it keeps up to that many periods' worth.
const SAVED_PERIODS: i64 = 3;

impl Entity {
    /// A vcpu that comes into being at `now`, sleeps, and may run everywhere; it starts on `home`.
    #[must_use]
    pub const fn new(home: PcpuId, now: u64) -> Self {
        Self {
            at: At::Nowhere,
            parked: false,
            active: false,
            home,
            place: None,
            lead: 0,
            next: None,
            left: now,
            affinity: PcpuSet::ALL,
            preferred: PcpuSet::ALL,
            budget: 0,
            refill: 0,
            account: RunstateAccount::new(now),
        }
    }

    /// Where it is.
    pub const fn at(&self) -> At {
        self.at
    }

    /// Whether it is on a pcpu.
    pub const fn is_running(&self) -> bool {
        matches!(self.at, At::Pcpu(_))
    }

    /// Whether it has used up its cap.
    pub const fn is_parked(&self) -> bool {
        self.parked
    }

    /// The pcpu that runs it, for which it waits, or which ran it last.
    pub const fn pcpu(&self) -> PcpuId {
        match self.at {
            At::Queue(pcpu) | At::Pcpu(pcpu) => pcpu,
            At::Nowhere => self.home,
        }
    }

    /// Where it may run.
    pub const fn affinity(&self) -> PcpuSet {
        self.affinity
    }

    /// Where it runs best.
    pub const fn preferred(&self) -> PcpuSet {
        self.preferred
    }

    /// Where its time went.
    pub const fn account(&self) -> &RunstateAccount {
        &self.account
    }

    /// Fills up its cap, if it is time; says how long it may run, `None` without limit. The first time that is done
    /// by `phase` of a period, so that not all vcpus with caps run at once and leave pcpus idle later.
    #[inline]
    pub(super) fn budget(&mut self, share: &Share, phase: impl FnOnce() -> u64, now: u64) -> Option<i64> {
        if share.cap() == 0 {
            return None;
        }
        self.budget_of_cap(share, phase, now)
    }

    fn budget_of_cap(&mut self, share: &Share, phase: impl FnOnce() -> u64, now: u64) -> Option<i64> {
        let most = i64::try_from(share.budget(CAP_PERIOD)?).unwrap_or(i64::MAX);
        let saved = most.saturating_mul(SAVED_PERIODS);
        if now >= self.refill {
            let missed = (now - self.refill) / CAP_PERIOD + 1;
            let filled = i64::try_from(missed).unwrap_or(i64::MAX).saturating_mul(most);
            // What it ran before it had a cap is no debt.
            let debt = -i64::try_from(CAP_PERIOD).unwrap_or(i64::MAX);
            self.budget = self.budget.max(debt).saturating_add(filled).min(saved);
            if self.refill == 0 {
                let left = CAP_PERIOD.saturating_sub(phase()).max(1);
                self.budget = scaled(most, left);
                self.refill = now + left;
            } else {
                self.refill += missed * CAP_PERIOD;
            }
        }
        Some(self.budget.min(saved))
    }

    /// It has slept: what it did not use of its cap meanwhile is lost. Says how long it may run, `None` without limit.
    pub(super) fn lose_savings(&mut self, share: &Share) -> Option<i64> {
        let most = i64::try_from(share.budget(CAP_PERIOD)?).unwrap_or(i64::MAX);
        self.budget = self.budget.min(most);
        Some(self.budget)
    }

    /// It has run for `ns`.
    pub(super) fn spend(&mut self, ns: u64) {
        self.budget = self.budget.saturating_sub_unsigned(ns);
    }
}

/// What `most` for a period is in `left` of it.
fn scaled(most: i64, left: u64) -> i64 {
    let part = i128::from(most) * i128::from(left) / i128::from(CAP_PERIOD);
    i64::try_from(part).unwrap_or(most).max(1)
}
