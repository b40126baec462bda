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
/// Over which time use is remembered: 2^31 ns, some 2 s.
const MEMORY_SHIFT: u32 = 31;
/// Where keys begin: levels can be taken from them without falling below zero.
const START: u128 = 1 << 100;

/// Keys and levels of a pcpu.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    clock: u128,
    origin: u128,
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
    pub const fn clock(&self) -> u128 {
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
    pub fn advance(&mut self, least: u128, ns: u64) {
        self.clock = self.clock.max(least);
        let forgotten = (self.clock - self.origin) * u128::from(ns.min(1 << MEMORY_SHIFT));
        self.origin += forgotten >> MEMORY_SHIFT;
    }

    /// What `key` is worth elsewhere.
    pub fn level(&self, key: u128) -> u64 {
        u64::try_from(key.saturating_sub(self.origin)).unwrap_or(u64::MAX)
    }

    /// The key of who is at `level`.
    pub fn key(&self, level: u64) -> u128 {
        self.origin + u128::from(level)
    }

    /// Nobody here has had rivals: who is here counts as being at `level`, and keys from before mean nothing.
    pub fn adopt(&mut self, level: u64) {
        self.origin = self.clock - u128::from(level);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The key of `place`, if it was left here and means anything still.
    pub fn own_key(&self, place: &Place) -> Option<u128> {
        (place.epoch == self.epoch).then_some(place.key)
    }

    /// What a vcpu that ends its stay with `key` takes along.
    pub fn leave(&self, key: u128) -> Place {
        Place { key, level: self.level(key), debt: key.saturating_sub(self.clock), epoch: self.epoch }
    }

    /// The virtual time that passes in `ns` under `load`.
    pub fn span(ns: u64, load: u64) -> u128 {
        divided(ns, PER_LOAD, load.max(1))
    }
}

/// `ns * factor / divisor`; quickly if the product fits in 64 bits, as that of times below some minutes does.
pub fn divided(ns: u64, factor: u64, divisor: u64) -> u128 {
    match ns.checked_mul(factor) {
        Some(product) => u128::from(product / divisor),
        None => u128::from(ns) * u128::from(factor) / u128::from(divisor),
    }
}
