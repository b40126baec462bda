//! The timers that a vcpu sets by hypercall: `VCPUOP_set_singleshot_timer`,
//! `VCPUOP_set_periodic_timer`, `set_timer_op`, and the time limit of `SCHEDOP_poll`.
//!
//! All times are system time in nanoseconds. Nothing counts: [`VcpuTimers::deadline`] says
//! when to look next, [`VcpuTimers::expire`] what is due. A period is counted from when the
//! timer was set, so that it never drifts; ticks that nobody could take are left out.

use xen_abi::errno::Errno;
use xen_abi::vcpu::SingleshotFlags;

/// Shortest period (Xen, `common/domain.c`).
const MIN_PERIOD_NS: u64 = 1_000_000;
/// Longest period (Xen, `STIME_DELTA_MAX`).
const MAX_PERIOD_NS: u64 = u64::MAX >> 2;
/// A `set_timer_op` further ahead than this, or with bit 63 set, is a wrapped-around
/// number (Xen, `do_set_timer_op`) ...
const FAR_NS: u64 = 1 << 50;
/// ... and fires after this time: neither never nor in a busy loop.
const FAR_SUBSTITUTE_NS: u64 = 100_000_000;

/// The timers of one vcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VcpuTimers {
    singleshot: Option<u64>,
    periodic: Option<Periodic>,
    poll: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Periodic {
    period: u64,
    next: u64,
}

/// What was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Expired {
    /// A timer fired: `VIRQ_TIMER` for the vcpu.
    pub timer: bool,
    /// `SCHEDOP_poll` has waited long enough: the vcpu goes on.
    pub poll: bool,
}

impl VcpuTimers {
    /// No timer is set.
    #[must_use]
    pub const fn new() -> Self {
        Self { singleshot: None, periodic: None, poll: None }
    }

    /// `VCPUOP_set_singleshot_timer`: fires at `timeout`, at once if that has passed.
    ///
    /// # Errors
    ///
    /// `ETIME`: `timeout` has passed and [`SingleshotFlags::FUTURE`] is set; the timer stays as it
    /// was. As in Xen, flags without a meaning have none.
    pub const fn set_singleshot(&mut self, timeout: u64, flags: u32, now: u64) -> Result<(), Errno> {
        if SingleshotFlags::from_bits_truncate(flags).contains(SingleshotFlags::FUTURE) && timeout < now {
            return Err(Errno::ETIME);
        }
        self.singleshot = Some(timeout);
        Ok(())
    }

    /// `VCPUOP_stop_singleshot_timer`.
    pub const fn stop_singleshot(&mut self) {
        self.singleshot = None;
    }

    /// `set_timer_op`: the singleshot timer by another number; 0 stops it.
    pub const fn set_timer_op(&mut self, timeout: u64, now: u64) {
        self.singleshot = match timeout {
            0 => None,
            wrapped if wrapped > i64::MAX as u64 => Some(now.saturating_add(FAR_SUBSTITUTE_NS)),
            far if far.saturating_sub(now) >= FAR_NS => Some(now.saturating_add(FAR_SUBSTITUTE_NS)),
            near => Some(near),
        };
    }

    /// `VCPUOP_set_periodic_timer`: fires each `period` ns from `now` on.
    ///
    /// # Errors
    ///
    /// `EINVAL`: shorter than 1 ms or longer than 2^62 - 1 ns; the timer stays as it was.
    pub const fn set_periodic(&mut self, period: u64, now: u64) -> Result<(), Errno> {
        if period < MIN_PERIOD_NS || period > MAX_PERIOD_NS {
            return Err(Errno::EINVAL);
        }
        self.periodic = Some(Periodic { period, next: now.saturating_add(period) });
        Ok(())
    }

    /// `VCPUOP_stop_periodic_timer`.
    pub const fn stop_periodic(&mut self) {
        self.periodic = None;
    }

    /// `SCHEDOP_poll` waits until `timeout`; 0 waits without limit.
    pub const fn set_poll(&mut self, timeout: u64) {
        self.poll = if timeout == 0 { None } else { Some(timeout) };
    }

    /// `SCHEDOP_poll` has ended; returns whether it had a limit that lies ahead.
    pub const fn stop_poll(&mut self) -> bool {
        self.poll.take().is_some()
    }

    /// When to call [`VcpuTimers::expire`] next.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let periodic = self.periodic.map(|periodic| periodic.next);
        [self.singleshot, periodic, self.poll].into_iter().flatten().min()
    }

    /// Takes what is due at `now`.
    pub fn expire(&mut self, now: u64) -> Expired {
        let singleshot = take_due(&mut self.singleshot, now);
        let periodic = self.periodic.as_mut().is_some_and(|periodic| periodic.expire(now));
        Expired { timer: singleshot || periodic, poll: take_due(&mut self.poll, now) }
    }
}

impl Periodic {
    /// Whether a tick is due; the next one is then the first multiple of the period after `now`.
    const fn expire(&mut self, now: u64) -> bool {
        let Some(late) = now.checked_sub(self.next) else { return false };
        // The period is not 0, and what is added is at most `late` and one period more.
        let into_period = late % self.period;
        self.next = now.saturating_add(self.period - into_period);
        true
    }
}

fn take_due(timer: &mut Option<u64>, now: u64) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRED: Expired = Expired { timer: true, poll: false };
    const NOTHING: Expired = Expired { timer: false, poll: false };
    const MS: u64 = 1_000_000;

    #[test]
    fn a_singleshot_fires_once() {
        let mut timers = VcpuTimers::new();
        assert_eq!(timers.set_singleshot(100, 0, 50), Ok(()));
        assert_eq!(timers.deadline(), Some(100));
        assert_eq!(timers.expire(99), NOTHING);
        assert_eq!(timers.expire(100), FIRED);
        assert_eq!(timers.expire(200), NOTHING);
        assert_eq!(timers.deadline(), None);
        assert_eq!(timers.set_singleshot(300, 0, 250), Ok(()));
        timers.stop_singleshot();
        assert_eq!(timers.expire(300), NOTHING);
    }

    #[test]
    fn a_timeout_in_the_past_fires_at_once_unless_the_guest_says_future() {
        let mut timers = VcpuTimers::new();
        assert_eq!(timers.set_singleshot(10, 0, 50), Ok(()));
        assert_eq!(timers.expire(50), FIRED);
        assert_eq!(timers.set_singleshot(70, 1, 50), Ok(()));
        assert_eq!(timers.set_singleshot(49, 1, 50), Err(Errno::ETIME));
        assert_eq!(timers.deadline(), Some(70), "as it was");
        assert_eq!(timers.set_singleshot(50, 1, 50), Ok(()), "now is not the past");
        assert_eq!(timers.set_singleshot(40, 2, 50), Ok(()), "not the flag");
    }

    #[test]
    fn set_timer_op_knows_wrapped_numbers() {
        let mut timers = VcpuTimers::new();
        for (timeout, deadline) in [
            (7, Some(7)),
            (1_000 + (1 << 50) - 1, Some(1_000 + (1 << 50) - 1)),
            (1_000 + (1 << 50), Some(1_000 + 100 * MS)),
            (u64::MAX, Some(1_000 + 100 * MS)),
            (0, None),
        ] {
            timers.set_timer_op(timeout, 1_000);
            assert_eq!(timers.deadline(), deadline, "{timeout}");
        }
    }

    #[test]
    fn periods_have_limits() {
        let mut timers = VcpuTimers::new();
        for bad in [0, MS - 1, 1 << 62, u64::MAX] {
            assert_eq!(timers.set_periodic(bad, 0), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(timers.deadline(), None);
        assert_eq!(timers.set_periodic((1 << 62) - 1, u64::MAX), Ok(()));
        assert_eq!(timers.deadline(), Some(u64::MAX));
        assert_eq!(timers.set_periodic(MS, 5), Ok(()));
        assert_eq!(timers.deadline(), Some(MS + 5));
        timers.stop_periodic();
        assert_eq!(timers.expire(u64::MAX), NOTHING);
    }

    #[test]
    fn the_limit_of_a_poll_is_told_apart() {
        let mut timers = VcpuTimers::new();
        timers.set_poll(30);
        assert_eq!(timers.set_singleshot(20, 0, 0), Ok(()));
        assert_eq!(timers.expire(20), FIRED);
        assert_eq!(timers.deadline(), Some(30));
        assert_eq!(timers.expire(30), Expired { timer: false, poll: true });
        timers.set_poll(40);
        assert!(timers.stop_poll() && !timers.stop_poll());
        timers.set_poll(0);
        assert_eq!(timers.deadline(), None);
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_period_never_drifts(
            start in 0..1_u64 << 50, period in MS..1_000 * MS,
            lateness in prop::collection::vec(0..3_000 * MS, 1..100),
        ) {
            let mut timers = VcpuTimers::new();
            prop_assert_eq!(timers.set_periodic(period, start), Ok(()));
            for late in lateness {
                let due = timers.deadline().unwrap();
                prop_assert_eq!((due - start) % period, 0, "a multiple of the period");
                let now = due + late;
                prop_assert_eq!(timers.expire(due - 1), NOTHING);
                prop_assert_eq!(timers.expire(now), FIRED);
                prop_assert_eq!(timers.expire(now), NOTHING, "one tick, however late");
                let next = timers.deadline().unwrap();
                prop_assert!(next > now && next <= now + period);
            }
        }

        #[test]
        fn extremes_do_not_overflow(period in MS..=MAX_PERIOD_NS, start in any::<u64>(), now in any::<u64>()) {
            let mut timers = VcpuTimers::new();
            prop_assert_eq!(timers.set_periodic(period, start), Ok(()));
            let _ = timers.expire(now);
            timers.set_timer_op(start, now);
            let _ = timers.expire(now);
        }
    }
}
