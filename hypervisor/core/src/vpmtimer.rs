//! Virtual ACPI power management timer (ACPI "Power Management Timer").
//!
//! A counter of 3.579545 MHz that nothing stops, and a status bit that is set
//! whenever its highest bit changes.

use core::num::NonZeroU64;

use crate::rate::Rate;

/// Frequency of the counter, Hz.
pub const PM_TIMER_HZ: NonZeroU64 = NonZeroU64::new(3_579_545).unwrap();

/// Width of the counter, as `TMR_VAL_EXT` of the FADT says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 24 bits, the rest reads as 0.
    Bits24,
    /// 32 bits.
    Bits32,
}

impl Width {
    const fn bits(self) -> u32 {
        match self {
            Self::Bits24 => 24,
            Self::Bits32 => 32,
        }
    }
}

/// The timer of a domain. `now` is the TSC.
#[derive(Clone, Copy, Debug)]
pub struct Vpmtimer {
    rate: Rate,
    epoch: u64,
    width: Width,
    /// Changes of the highest bit that [`Vpmtimer::expire`] has told.
    changes: u64,
}

impl Vpmtimer {
    /// A timer that is 0 at `now`, on a machine whose TSC runs at `tsc_hz`.
    #[must_use]
    pub const fn new(width: Width, tsc_hz: NonZeroU64, now: u64) -> Self {
        Self { rate: Rate::new(PM_TIMER_HZ, tsc_hz), epoch: now, width, changes: 0 }
    }

    /// The register `PM_TMR`.
    #[must_use]
    pub fn read(&self, now: u64) -> u32 {
        let mask = u64::from(u32::MAX >> (32 - self.width.bits()));
        // The mask leaves 32 bits.
        u32::try_from(self.ticks(now) & mask).unwrap_or(u32::MAX)
    }

    /// Whether `TMR_STS` of the PM1 status register is to be set: the highest
    /// bit has changed since the last call.
    pub fn expire(&mut self, now: u64) -> bool {
        let changes = self.ticks(now) >> self.half_shift();
        let changed = changes > self.changes;
        self.changes = self.changes.max(changes);
        changed
    }

    /// When [`Vpmtimer::expire`] is to be called, if `TMR_EN` is set.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        let ticks = u128::from(self.changes.saturating_add(1)) << self.half_shift();
        self.epoch.saturating_add(self.rate.span_of(u64::try_from(ticks).unwrap_or(u64::MAX)))
    }

    fn ticks(&self, now: u64) -> u64 {
        self.rate.ticks_in(now.saturating_sub(self.epoch))
    }

    /// The highest bit changes each 2^n ticks.
    const fn half_shift(&self) -> u32 {
        self.width.bits() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TSC_HZ: u64 = 2_400_000_000;

    fn timer(width: Width) -> Vpmtimer {
        Vpmtimer::new(width, NonZeroU64::new(TSC_HZ).unwrap(), 1000)
    }

    #[test]
    fn it_counts_at_its_frequency() {
        let timer = timer(Width::Bits32);
        assert_eq!((timer.read(1000), timer.read(0)), (0, 0));
        assert_eq!(timer.read(1000 + TSC_HZ), 3_579_545);
        assert_eq!(timer.read(999 + TSC_HZ), 3_579_544);
        let hour = 3600 * 3_579_545_u64;
        assert_eq!(u64::from(timer.read(1000 + 3600 * TSC_HZ)), hour % (1 << 32));
    }

    #[test]
    fn the_narrow_counter_wraps_at_24_bits() {
        let timer = timer(Width::Bits24);
        assert_eq!(timer.read(1000 + 10 * TSC_HZ), 35_795_450 % (1 << 24));
    }

    #[test]
    fn the_status_is_set_when_the_highest_bit_changes() {
        for (width, half) in [(Width::Bits24, 1_u64 << 23), (Width::Bits32, 1 << 31)] {
            let mut timer = timer(width);
            for n in 1..5 {
                let at = timer.next_deadline();
                assert_eq!(at, 1000 + timer.rate.span_of(n * half));
                assert!(!timer.expire(at - 1) && timer.expire(at) && !timer.expire(at));
            }
            let at = timer.next_deadline() + 100 * TSC_HZ;
            assert!(width == Width::Bits32 || timer.expire(at) && !timer.expire(at));
        }
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn the_value_is_exact(tsc in any::<u64>(), narrow in any::<bool>()) {
            let width = if narrow { Width::Bits24 } else { Width::Bits32 };
            let mut timer = timer(width);
            let ticks = u128::from(tsc.saturating_sub(1000)) * 3_579_545 / u128::from(TSC_HZ);
            prop_assert_eq!(u128::from(timer.read(tsc)), ticks % (1 << width.bits()));
            timer.expire(tsc);
            prop_assert!(timer.next_deadline() > tsc || timer.next_deadline() == u64::MAX);
        }
    }
}
