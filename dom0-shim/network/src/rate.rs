//! How fast an interface may send: `rate=` of a `vif` line, node `rate` in XenStore.

use core::num::NonZeroU64;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// A token bucket, kept as the time at which it would be full again (the virtual scheduling of
/// ITU-T I.371): what is taken puts that time off.
///
/// ```
/// use core::num::NonZeroU64;
/// let mut bucket = network::Bucket::new(NonZeroU64::new(1000).unwrap(), 0);
/// assert_eq!(bucket.take(1500, 0), Ok(()));
/// // One second and a half for those 1500 bytes, less the burst.
/// assert_eq!(bucket.take(1500, 0), Err(1_450_000_000));
/// ```
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Bytes a second.
    rate: NonZeroU64,
    /// What may be taken at once, as time, ns.
    burst: u64,
    /// When everything taken is paid for, ns.
    paid: u64,
    /// What was rounded off, in bytes for [`SECOND`].
    rest: u64,
}

impl Bucket {
    /// The time within which a burst is made up for, ns: that of Xen's `rate=` (50 ms).
    pub const INTERVAL: u64 = 50_000_000;

    /// A full bucket of `rate` bytes a second, with a burst of [`Bucket::INTERVAL`].
    #[must_use]
    pub fn new(rate: NonZeroU64, now_ns: u64) -> Self {
        Self::with_interval(rate, Self::INTERVAL, now_ns)
    }

    /// The same with another burst: what the rate allows within `interval` ns.
    #[must_use]
    pub fn with_interval(rate: NonZeroU64, interval: u64, now_ns: u64) -> Self {
        Self { rate, burst: interval, paid: now_ns, rest: 0 }
    }

    /// Takes `bytes` at a time, if there is something left; a packet may be larger than that
    /// and is made up for before the next one.
    ///
    /// # Errors
    ///
    /// How many ns later to ask again.
    pub fn take(&mut self, bytes: usize, now_ns: u64) -> Result<(), u64> {
        let allowed = now_ns.saturating_add(self.burst);
        if self.paid > allowed {
            return Err(self.paid.abs_diff(allowed));
        }
        if self.paid < now_ns {
            (self.paid, self.rest) = (now_ns, 0);
        }
        let owed = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(SECOND).saturating_add(self.rest);
        // The divisor is not zero, by its type.
        (self.paid, self.rest) = (self.paid.saturating_add(owed / self.rate), owed % self.rate);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU64;

    use proptest::prelude::*;

    use super::{Bucket, SECOND};

    fn rate(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).unwrap()
    }

    #[test]
    fn an_idle_interface_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::with_interval(rate(1_000_000), 1_000_000, 0);
        let late = 3600 * SECOND;
        let mut taken = 0;
        while bucket.take(100, late).is_ok() {
            taken += 100;
        }
        assert_eq!(taken, 1100, "a burst of 1000 bytes, and one packet more");
    }

    #[test]
    fn the_wait_is_exact() {
        let mut bucket = Bucket::new(rate(3000), 5);
        bucket.take(65535, 5).unwrap();
        let wait = bucket.take(1, 5).unwrap_err();
        assert_eq!(bucket.take(1, 5 + wait - 1), Err(1));
        assert_eq!(bucket.take(1, 5 + wait), Ok(()));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::with_interval(rate(1), u64::MAX, u64::MAX);
        assert_eq!(bucket.take(usize::MAX, u64::MAX), Ok(()));
        let mut bucket = Bucket::with_interval(rate(u64::MAX), 0, 0);
        assert_eq!(bucket.take(usize::MAX, 0), Ok(()));
        // A clock that goes backwards.
        let mut bucket = Bucket::new(rate(1000), SECOND);
        bucket.take(2000, SECOND).unwrap();
        assert!(bucket.take(1, 0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Who always takes as much as is allowed gets the rate, to a burst and a packet.
        #[test]
        fn the_rate_is_kept(bytes_per_second in 1000_u64..2_000_000_000, sizes in prop::collection::vec(1_usize..65536, 1..200)) {
            let mut bucket = Bucket::new(rate(bytes_per_second), 0);
            let (mut now, mut taken) = (0_u64, 0_u64);
            for &size in sizes.iter().cycle().take(1000) {
                while let Err(wait) = bucket.take(size, now) {
                    prop_assert!(wait > 0);
                    now += wait;
                }
                taken += size as u64;
            }
            let allowed = u128::from(bytes_per_second) * u128::from(now + Bucket::INTERVAL) / u128::from(SECOND);
            prop_assert!(u128::from(taken) <= allowed + 65536);
            prop_assert!(u128::from(taken) + 65536 >= u128::from(bytes_per_second) * u128::from(now) / u128::from(SECOND));
        }
    }
}
