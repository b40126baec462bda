//! Watchdogs of a domain (`SCHEDOP_watchdog`): it is ended if it does not poke one
//! in time.

use xen_abi::errno::Errno;

/// How many a domain has (`NR_DOMAIN_WATCHDOG_TIMERS`).
const COUNT: usize = 2;

/// The watchdogs of a domain. Times are in system time, ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watchdogs([Option<u64>; COUNT]);

impl Watchdogs {
    /// None set.
    #[must_use]
    pub const fn new() -> Self {
        Self([None; COUNT])
    }

    /// With `id` 0 sets a new one, which bites at `at`, and returns its number from 1
    /// on. Otherwise gives `id` another time, or with `None` stops it, and returns 0.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a number that there is not, for one that is not set, and for a new
    /// one without a time; `ENOSPC` if all are set.
    pub fn set(&mut self, id: u32, at: Option<u64>) -> Result<u32, Errno> {
        let Some(index) = id.checked_sub(1) else { return self.set_new(at.ok_or(Errno::EINVAL)?) };
        let slot = usize::try_from(index).ok().and_then(|index| self.0.get_mut(index));
        let slot = slot.filter(|slot| slot.is_some()).ok_or(Errno::EINVAL)?;
        *slot = at;
        Ok(0)
    }

    fn set_new(&mut self, at: u64) -> Result<u32, Errno> {
        let (number, free) = (1..).zip(&mut self.0).find(|(_, slot)| slot.is_none()).ok_or(Errno::ENOSPC)?;
        *free = Some(at);
        Ok(number)
    }

    /// When the next one bites.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.0.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_and_they_bite_in_time() {
        let mut dogs = Watchdogs::new();
        assert_eq!(dogs.deadline(), None);
        assert_eq!(dogs.set(0, Some(100)), Ok(1));
        assert_eq!(dogs.set(0, Some(50)), Ok(2));
        assert_eq!(dogs.deadline(), Some(50));
        assert_eq!(dogs.set(2, Some(200)), Ok(0));
        assert_eq!(dogs.deadline(), Some(100));
        assert_eq!(dogs.set(1, None), Ok(0));
        assert_eq!(dogs.deadline(), Some(200));
        assert_eq!(dogs.set(0, Some(1)), Ok(1));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut dogs = Watchdogs::new();
        assert_eq!(dogs.set(0, None), Err(Errno::EINVAL));
        assert_eq!(dogs.set(1, Some(5)), Err(Errno::EINVAL));
        assert_eq!(dogs.set(3, Some(5)), Err(Errno::EINVAL));
        assert_eq!(dogs.set(u32::MAX, None), Err(Errno::EINVAL));
        assert_eq!((dogs.set(0, Some(5)), dogs.set(0, Some(5))), (Ok(1), Ok(2)));
        assert_eq!(dogs.set(0, Some(5)), Err(Errno::ENOSPC));
    }
}
