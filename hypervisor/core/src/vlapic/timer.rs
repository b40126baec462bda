//! The local APIC's timer (SDM "APIC Timer").
//!
//! One-shot and periodic count bus ticks down from the initial count, divided
//! as the divide configuration says; TSC-deadline compares with the TSC. Here
//! nothing counts: the state is when the count began and at which bus tick the
//! next expiry is, and everything else follows from `now`, so periods of any
//! length never drift.

use crate::rate::Rate;

/// Timer mode, bits 18:17 of the LVT entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
    /// The value 3.
    Reserved,
}

impl TimerMode {
    pub(super) const fn from_lvt(lvt: u32) -> Self {
        match lvt >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    const fn counts(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

/// The registers that set the pace, as the guest has them now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) mode: TimerMode,
    pub(super) initial: u32,
    /// Bus ticks for each step of the count, a power of two up to 128.
    pub(super) divisor: u64,
}

impl Setting {
    /// Bus ticks of a period, below 2^39.
    fn period(self) -> u64 {
        u64::from(self.initial) * self.divisor
    }
}

/// Bus ticks for each step of the count (SDM "Divide Configuration Register").
pub(super) const fn divisor(config: u32) -> u64 {
    let code = config & 3 | (config >> 1 & 4);
    // Codes 0 to 6 are 2 to 128, 7 is 1.
    1 << ((code + 1) & 7)
}

#[derive(Clone, Copy, Debug, Default)]
enum Armed {
    #[default]
    No,
    /// Counting since TSC `epoch`; expires `at` bus ticks after it.
    Count { epoch: u64, at: u64 },
    /// Fires at this TSC value, not 0.
    Deadline(u64),
}

/// What is armed. `now` is the TSC as the guest sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    bus: Rate,
    armed: Armed,
}

/// Periodic expiries come at most this often in a second: a period below that
/// skips expiries, since hosts cannot serve a storm and guests cannot either.
const MAX_PERIODIC_HZ: u64 = 10_000;

impl Timer {
    pub(super) const fn new(bus: Rate) -> Self {
        Self { bus, armed: Armed::No }
    }

    pub(super) const fn stop(&mut self) {
        self.armed = Armed::No;
    }

    /// Starts to count, as a write of the initial count does.
    pub(super) fn start(&mut self, setting: Setting, now: u64) {
        self.armed = match setting.period() {
            at if at > 0 && setting.mode.counts() => Armed::Count { epoch: now, at },
            _ => Armed::No,
        };
    }

    /// Goes on from a current count of `count` steps, after the divisor changed.
    pub(super) fn resume(&mut self, count: u32, divisor: u64, now: u64) {
        if let Armed::Count { .. } = self.armed {
            self.armed = Armed::Count { epoch: now, at: u64::from(count.max(1)) * divisor };
        }
    }

    /// The mode changed: only between one-shot and periodic does counting go on
    /// (SDM "TSC-Deadline Mode").
    pub(super) fn change_mode(&mut self, mode: TimerMode) {
        match self.armed {
            Armed::Count { .. } if mode.counts() => {}
            Armed::Deadline(_) if mode == TimerMode::TscDeadline => {}
            _ => self.stop(),
        }
    }

    /// `IA32_TSC_DEADLINE`: 0 when not armed.
    pub(super) const fn tsc_deadline(&self) -> u64 {
        match self.armed {
            Armed::Deadline(at) => at,
            _ => 0,
        }
    }

    /// Writes `IA32_TSC_DEADLINE` in TSC-deadline mode: 0 disarms.
    pub(super) const fn set_tsc_deadline(&mut self, at: u64) {
        self.armed = if at == 0 { Armed::No } else { Armed::Deadline(at) };
    }

    /// The TSC value of the next expiry.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        match self.armed {
            Armed::No => None,
            Armed::Count { epoch, at } => Some(epoch.saturating_add(self.bus.span_of(at))),
            Armed::Deadline(at) => Some(at),
        }
    }

    /// Whether the timer has expired since the last call; periodic ones go on.
    pub(super) fn expire(&mut self, setting: Setting, now: u64) -> bool {
        let expired = self.next_expiry().is_some_and(|at| at <= now);
        if expired {
            self.rearm(setting, now);
        }
        expired
    }

    fn rearm(&mut self, setting: Setting, now: u64) {
        let period = setting.period();
        self.armed = match self.armed {
            Armed::Count { epoch, at } if setting.mode == TimerMode::Periodic && period > 0 => {
                let elapsed = self.bus.ticks_in(now.saturating_sub(epoch));
                let gap = self.bus.device_hz() / MAX_PERIODIC_HZ;
                let earliest = elapsed.saturating_add(1).max(at.saturating_add(gap));
                let periods = earliest.saturating_sub(at).div_ceil(period).max(1);
                Armed::Count { epoch, at: at.saturating_add(periods.saturating_mul(period)) }
            }
            _ => Armed::No,
        };
    }

    /// The current count. `expire` has been called with the same `now`.
    pub(super) fn count(&self, setting: Setting, now: u64) -> u32 {
        let Armed::Count { epoch, at } = self.armed else { return 0 };
        let left = at.saturating_sub(self.bus.ticks_in(now.saturating_sub(epoch)));
        // More than a period is left where expiries are being skipped.
        let steps = left.div_ceil(setting.divisor.max(1));
        let count = match u64::from(setting.initial) {
            initial if initial > 0 && steps > initial => (steps - 1) % initial + 1,
            _ => steps,
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
