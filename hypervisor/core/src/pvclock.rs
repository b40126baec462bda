//! The PV clock (`struct vcpu_time_info`) and the wall clock of the shared info page.
//!
//! System time *is* what guests compute from the time stamp counter:
//!
//! ```text
//!   ns = (ticks shifted by tsc_shift) * tsc_to_system_mul / 2^32
//! ```
//!
//! with the factor closest to the counter's rate. The hypervisor's own clock and timers use the same
//! function ([`SystemClock::ns_at`], [`SystemClock::tsc_at`]), so a timer that a guest sets does not fire
//! early by the guest's clock. The factor is off by at most 2^-32: 0.84 us in an hour, far below what a
//! calibration of the counter can promise.
//!
//! A record tells one point of that line. A guest rounds down from there; hence the point's time is
//! rounded *up*: what a guest computed from any earlier record is never ahead of a later one. Yet two
//! records of different points can differ by a few nanoseconds at the same tick. So vcpus whose records
//! carry [`PvclockFlags::TSC_STABLE`] must all have the record of the same point. That of the epoch serves
//! for ever, and is exact.

use core::num::NonZeroU64;

use xen_abi::xen::{PvclockFlags, VcpuTimeInfo};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A factor from ticks to nanoseconds as `struct vcpu_time_info` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TscScale {
    mul: u32,
    shift: i8,
    /// 2^94 / `mul`, rounded down; 0 if that does not fit, as for counters of 2^63 Hz and more.
    inverse: u64,
}

impl TscScale {
    /// The factor closest to that of a counter of `hz`.
    #[must_use]
    pub fn from_hz(hz: NonZeroU64) -> Self {
        let hz = u128::from(hz.get());
        // The largest factor that fits has the most bits. A counter of 1 Hz needs shift 30 and one of
        // 2^61 Hz shift -31, so every counter has one in the range.
        let closest = |shift: i8| {
            let numerator = u128::from(NS_PER_SECOND) << (64 - i32::from(shift));
            let whole = numerator / hz;
            // In 2^-32 units still: round to the nearest whole.
            (whole + (1 << 31)) >> 32
        };
        let fitting =
            (-31..=31).find_map(|shift| Some(Self::new(u32::try_from(closest(shift)).ok()?, shift)));
        fitting.unwrap_or(Self::new(1, 0))
    }

    fn new(mul: u32, shift: i8) -> Self {
        let inverse = (1_u128 << 94).checked_div(mul.into()).and_then(|inverse| u64::try_from(inverse).ok());
        Self { mul, shift, inverse: inverse.unwrap_or(0) }
    }

    /// `tsc_to_system_mul`.
    #[must_use]
    pub const fn mul(self) -> u32 {
        self.mul
    }

    /// `tsc_shift`.
    #[must_use]
    pub const fn shift(self) -> i8 {
        self.shift
    }

    /// Nanoseconds that a guest computes for `ticks`.
    #[must_use]
    pub const fn guest_ns(self, ticks: u64) -> u64 {
        let shifted = match self.shift {
            left @ 0.. => ticks.wrapping_shl(left.unsigned_abs() as u32),
            right => ticks.wrapping_shr(right.unsigned_abs() as u32),
        };
        #[expect(clippy::cast_possible_truncation, reason = "guests keep 64 bits")]
        let ns = ((shifted as u128 * self.mul as u128) >> 32) as u64;
        ns
    }

    /// The least ticks for which [`TscScale::guest_ns`] is `ns`, or `u64::MAX`.
    fn ticks_until(self, ns: u64) -> u64 {
        let wanted = u128::from(ns) << 32;
        let distance = u32::from(self.shift.unsigned_abs());
        if self.inverse != 0 && ns < 1 << 61 {
            // A few too small at most. The product has 127 bits at most.
            let mut shifted = saturate((u128::from(ns) * u128::from(self.inverse)) >> 62);
            while u128::from(shifted) * u128::from(self.mul) < wanted {
                shifted += 1;
            }
            let lost = u64::MAX >> distance;
            return match self.shift {
                ..0 if shifted > lost => u64::MAX,
                ..0 => shifted << distance,
                _ => shifted.saturating_add((1 << distance) - 1) >> distance,
            };
        }
        let shifted = wanted.div_ceil(u128::from(self.mul));
        // The quotient has at most 96 bits, the distance is at most 31.
        saturate(if self.shift < 0 { shifted << distance } else { shifted.div_ceil(1 << distance) })
    }

    /// Nanoseconds for `ticks`, rounded up.
    const fn ns_rounded_up(self, ticks: u64) -> u64 {
        // The shift is between -31 and 31.
        let bits = (32 - self.shift as i32).unsigned_abs();
        saturate((ticks as u128 * self.mul as u128 + (1 << bits) - 1) >> bits)
    }
}

/// System time of the machine: nanoseconds since the counter was at `epoch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemClock {
    epoch: u64,
    scale: TscScale,
}

impl SystemClock {
    /// System time that is 0 when the counter, of `hz`, is at `epoch`.
    #[must_use]
    pub fn new(hz: NonZeroU64, epoch: u64) -> Self {
        Self { epoch, scale: TscScale::from_hz(hz) }
    }

    /// The factor.
    #[must_use]
    pub const fn scale(&self) -> TscScale {
        self.scale
    }

    /// System time when the counter is at `tsc`, rounded down; 0 before the epoch.
    #[must_use]
    pub const fn ns_at(&self, tsc: u64) -> u64 {
        self.scale.guest_ns(self.ticks(tsc))
    }

    /// Where the counter is when system time reaches `ns`, or `u64::MAX` if that is past its end.
    #[must_use]
    pub fn tsc_at(&self, ns: u64) -> u64 {
        self.epoch.saturating_add(self.scale.ticks_until(ns))
    }

    /// The record of the point `tsc`, for a vcpu whose counter is ahead of the machine's by `tsc_offset`
    /// (as the VMCS has it, modulo 2^64).
    #[must_use]
    pub const fn record(&self, tsc: u64, tsc_offset: u64, flags: PvclockFlags) -> VcpuTimeInfo {
        VcpuTimeInfo {
            version: 0,
            _pad0: 0,
            tsc_timestamp: tsc.wrapping_add(tsc_offset),
            system_time: self.scale.ns_rounded_up(self.ticks(tsc)),
            tsc_to_system_mul: self.scale.mul,
            tsc_shift: self.scale.shift,
            flags: flags.bits(),
            _pad1: [0; 2],
        }
    }

    const fn ticks(&self, tsc: u64) -> u64 {
        tsc.saturating_sub(self.epoch)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked")]
const fn saturate(wide: u128) -> u64 {
    if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
}

/// The version for while a record is written, odd, after `last` stood there.
///
/// Write it, then the fields, then [`version_done`] of it, in that order: a reader takes what it read if
/// the version was even and the same before and after.
#[must_use]
pub const fn version_writing(last: u32) -> u32 {
    last.wrapping_add(1) | 1
}

/// The version for when the record is complete, even.
#[must_use]
pub const fn version_done(writing: u32) -> u32 {
    writing.wrapping_add(1)
}

/// The wall clock of the shared info page: UTC when system time was 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallClock {
    seconds: u64,
    ns: u32,
}

impl WallClock {
    /// It is `unix_ns` nanoseconds after 1970 when system time is `system_time`.
    ///
    /// A machine that thinks it is before 1970 + `system_time` has the clock of 1970.
    #[must_use]
    pub const fn new(unix_ns: u128, system_time: u64) -> Self {
        let boot = unix_ns.saturating_sub(system_time as u128);
        #[expect(clippy::cast_possible_truncation, reason = "below 10^9")]
        let ns = (boot % NS_PER_SECOND as u128) as u32;
        Self { seconds: saturate(boot / NS_PER_SECOND as u128), ns }
    }

    /// The clock of a domain that lives `seconds` ahead (`XEN_DOMCTL_settimeoffset`).
    #[must_use]
    pub const fn ahead(self, seconds: i64) -> Self {
        Self { seconds: self.seconds.saturating_add_signed(seconds), ns: self.ns }
    }

    /// Nanoseconds after 1970 at `system_time`.
    #[must_use]
    pub const fn unix_ns(self, system_time: u64) -> u128 {
        self.seconds as u128 * NS_PER_SECOND as u128 + self.ns as u128 + system_time as u128
    }

    /// `wc_sec`: the low half of the seconds.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    pub const fn sec(self) -> u32 {
        self.seconds as u32
    }

    /// `wc_sec_hi`: the high half of the seconds.
    #[must_use]
    pub const fn sec_hi(self) -> u32 {
        (self.seconds >> 32) as u32
    }

    /// `wc_nsec`.
    #[must_use]
    pub const fn nsec(self) -> u32 {
        self.ns
    }
}

#[cfg(test)]
mod tests;
