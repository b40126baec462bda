//! A device's clock, told from the clock by which the caller says `now`.
//!
//! The models of timers count in their own ticks, while `now` is the TSC, or the
//! time in nanoseconds. Both directions are exact: [`Rate::ticks_in`] rounds down
//! and [`Rate::span_of`] up, so a count has been reached at some `now` if and
//! only if that is not before the deadline computed for the count.

use core::num::NonZeroU64;

/// How fast a device counts in relation to the caller's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    device_hz: NonZeroU64,
    caller_hz: NonZeroU64,
}

impl Rate {
    /// A device of `device_hz` beside a clock of `caller_hz`.
    #[must_use]
    pub const fn new(device_hz: NonZeroU64, caller_hz: NonZeroU64) -> Self {
        Self { device_hz, caller_hz }
    }

    /// The device's frequency in Hz.
    #[must_use]
    pub const fn device_hz(self) -> u64 {
        self.device_hz.get()
    }

    /// Whole ticks of the device in `span` ticks of the caller's clock.
    #[must_use]
    pub fn ticks_in(self, span: u64) -> u64 {
        let ticks = u128::from(span) * u128::from(self.device_hz.get()) / u128::from(self.caller_hz.get());
        saturate(ticks)
    }

    /// Ticks of the caller's clock until `ticks` of the device have passed.
    #[must_use]
    pub fn span_of(self, ticks: u64) -> u64 {
        let scaled = u128::from(ticks) * u128::from(self.caller_hz.get());
        saturate(scaled.div_ceil(u128::from(self.device_hz.get())))
    }
}

fn saturate(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(device_hz: u64, caller_hz: u64) -> Rate {
        Rate::new(NonZeroU64::new(device_hz).unwrap(), NonZeroU64::new(caller_hz).unwrap())
    }

    #[test]
    fn whole_seconds_are_exact() {
        let pm_timer = rate(3_579_545, 2_000_000_000);
        assert_eq!(pm_timer.ticks_in(2_000_000_000), 3_579_545);
        assert_eq!(pm_timer.span_of(3_579_545), 2_000_000_000);
        assert_eq!(pm_timer.ticks_in(1_999_999_999), 3_579_544);
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(rate(u64::MAX, 1).ticks_in(u64::MAX), u64::MAX);
        assert_eq!(rate(1, u64::MAX).span_of(u64::MAX), u64::MAX);
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 1024 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_count_is_reached_at_its_deadline_and_not_before(
            device_hz in 1..10_000_000_000_u64, caller_hz in 1..10_000_000_000_u64, ticks in 1..u64::from(u32::MAX),
        ) {
            let rate = rate(device_hz, caller_hz);
            let deadline = rate.span_of(ticks);
            prop_assert!(rate.ticks_in(deadline) >= ticks);
            prop_assert!(rate.ticks_in(deadline - 1) < ticks);
        }
    }
}
