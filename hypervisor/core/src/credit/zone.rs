//! The virtual time of one pcpu.
//!
//! Virtual times are compared between the vcpus of one queue by *key*, which only the queue can read. The
//! *level* of a key is what it is worth elsewhere: how much virtual time a vcpu there has used lately,
//! older use counting ever less. Two pcpus that share vcpus have the same level; one whose vcpus do
//! better than others, since nobody else may come there, has a higher one, in proportion.
//!
//! ```text
//!   origin        clock    keys of those that wait
//!     ├──── level ──┤ · ·· ·   ·
//!     └─> moves after the clock, so that the level follows what one gets here
//! ```

use super::entity::Place;
use super::share::DEFAULT_WEIGHT;

/// Virtual time that passes in a nanosecond for who waits on a pcpu, times the load there.
pub const PER_LOAD: u64 = 1 << 24;
/// Over which time use is remembered: 2^29 ns, some 0.5 s.
const MEMORY_SHIFT: u32 = 29;
/// Where keys begin: levels can be taken from them without falling below zero.
const START: u64 = 1 << 60;
/// Past this, keys begin anew: after years, or after minutes where many vcpus of the least weight run.
const FAR: u64 = 1 << 62;
/// The most virtual time that passes at once.
const MOST: u64 = 1 << 58;

/// Keys and levels of a pcpu.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    clock: u64,
    origin: u64,
    seen: u64,
    /// How often others have brought their level: keys from before mean nothing.
    epoch: u32,
}

impl Zone {
    /// The level of a vcpu of usual weight that is alone: where those begin that have had no rivals.
    pub const COMMON: u64 = (1 << MEMORY_SHIFT) * PER_LOAD / ((DEFAULT_WEIGHT as u64) << 8);

    pub const fn new() -> Self {
        Self { clock: START, origin: START, seen: 0, epoch: 0 }
    }

    /// The key of who has just got what it is entitled to.
    pub const fn clock(&self) -> u64 {
        self.clock
    }

    /// Time since this was asked last, `now` included.
    pub const fn pass(&mut self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.seen);
        if passed != 0 {
            self.seen = now;
        }
        passed
    }

    /// Everybody has got as far as `least` in the last `ns`, in which the pcpu was busy.
    pub fn advance(&mut self, least: u64, ns: u64) {
        self.clock = self.clock.max(least);
        let level = self.level(self.clock);
        let forgotten = (u128::from(level) * u128::from(ns.min(1 << MEMORY_SHIFT))) >> MEMORY_SHIFT;
        self.origin += u64::try_from(forgotten).unwrap_or(level);
    }

    /// Whether keys are to begin anew.
    pub const fn is_far(&self) -> bool {
        self.clock >= FAR
    }

    /// Lets keys begin anew: returns by how much all of them become less. Those from before mean nothing.
    pub const fn begin_anew(&mut self) -> u64 {
        let less = self.clock.saturating_sub(START);
        self.clock -= less;
        self.origin = self.origin.saturating_sub(less);
        self.epoch = self.epoch.wrapping_add(1);
        less
    }

    #[cfg(test)]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Moves on by `more`, as all keys do.
    #[cfg(test)]
    pub const fn skip(&mut self, more: u64) {
        self.clock += more;
        self.origin += more;
    }

    /// What `key` is worth elsewhere.
    pub const fn level(&self, key: u64) -> u64 {
        key.saturating_sub(self.origin)
    }

    /// The key of who is at `level`.
    pub const fn key(&self, level: u64) -> u64 {
        self.origin.saturating_add(level)
    }

    /// Nobody here has had rivals: who is here counts as being at `level`, and keys from before mean nothing.
    pub const fn adopt(&mut self, level: u64) {
        self.origin = self.clock.saturating_sub(level);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The key of `place`, if it was left here and means anything still.
    pub fn own_key(&self, place: &Place) -> Option<u64> {
        (place.epoch == self.epoch).then_some(place.key)
    }

    /// What a vcpu that ends its stay with `key` takes along.
    pub const fn leave(&self, key: u64) -> Place {
        Place { key, level: self.level(key), debt: key.saturating_sub(self.clock), epoch: self.epoch }
    }

    /// The virtual time that passes in `ns` under `load`.
    pub fn span(ns: u64, load: u64) -> u64 {
        divided(ns, PER_LOAD, load.max(1))
    }
}

/// `ns * factor / divisor`, 2^58 at most; quickly if the product fits in 64 bits, as that of times below some minutes does.
pub fn divided(ns: u64, factor: u64, divisor: u64) -> u64 {
    match ns.checked_mul(factor) {
        Some(product) => (product / divisor).min(MOST),
        None => {
            let quotient = u128::from(ns) * u128::from(factor) / u128::from(divisor);
            u64::try_from(quotient).map_or(MOST, |quotient| quotient.min(MOST))
        }
    }
}
