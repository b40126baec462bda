//! The machine's battery-backed clock (MC146818): from its registers to the time.

use crate::vrtc::Calendar;

/// Indexes of the registers: second, minute, hour, day of the month, month, year.
pub const TIME_REGISTERS: [u8; 6] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09];
/// Register A; its bit 7 is set while the time is about to change.
pub const REGISTER_A: u8 = 0x0a;
/// "Update in progress" in register A.
pub const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Register B: how the time is written.
pub const REGISTER_B: u8 = 0x0b;

/// In register B: numbers are binary, not BCD.
const BINARY: u8 = 1 << 2;
/// In register B: hours go up to 23, not 12.
const HOURS_24: u8 = 1 << 1;
/// In the hour: it is after noon.
const PM: u8 = 1 << 7;

/// What was read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// In the order of [`TIME_REGISTERS`].
    pub time: [u8; 6],
    /// Register B.
    pub format: u8,
}

impl Reading {
    /// Seconds since 1970, taking the clock for UTC and the year for one from 1970 to
    /// 2069; `None` if no clock would say so.
    #[must_use]
    pub fn unix_seconds(&self) -> Option<u64> {
        let [second, minute, hour, day, month, year] = self.time;
        let afternoon = self.format & HOURS_24 == 0 && hour & PM != 0;
        let number = |byte: u8| if self.format & BINARY != 0 { Some(byte) } else { from_bcd(byte) };
        let hour = number(if self.format & HOURS_24 == 0 { hour & !PM } else { hour })?;
        let hour =
            if self.format & HOURS_24 == 0 { hour % 12 + if afternoon { 12 } else { 0 } } else { hour };
        let [second, minute, day, month, year] =
            [number(second)?, number(minute)?, number(day)?, number(month)?, number(year)?];
        let sound = second < 61 && minute < 60 && hour < 24 && (1..=31).contains(&day);
        let sound = sound && (1..=12).contains(&month) && year < 100;
        let century = if year < 70 { 2000 } else { 1900 };
        let calendar = Calendar {
            second: second.into(),
            minute: minute.into(),
            hour: hour.into(),
            weekday: 0,
            day: day.into(),
            month: month.into(),
            year: century + i64::from(year),
        };
        u64::try_from(calendar.seconds()).ok().filter(|_| sound)
    }
}

fn from_bcd(byte: u8) -> Option<u8> {
    let (tens, ones) = (byte >> 4, byte & 0xf);
    (tens < 10 && ones < 10).then_some(tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_tell_the_same_time() {
        // 2026-11-22 18:34:11 UTC.
        let expected = Some(1_795_372_451);
        let bcd = Reading { time: [0x11, 0x34, 0x18, 0x22, 0x11, 0x26], format: HOURS_24 };
        let binary = Reading { time: [11, 34, 18, 22, 11, 26], format: HOURS_24 | BINARY };
        let twelve = Reading { time: [0x11, 0x34, 0x86, 0x22, 0x11, 0x26], format: 0 };
        assert_eq!([bcd, binary, twelve].map(|reading| reading.unix_seconds()), [expected; 3]);
    }

    #[test]
    fn twelve_is_the_first_hour_of_each_half() {
        let at = |hour| Reading { time: [0, 0, hour, 1, 1, 0x70], format: 0 }.unix_seconds();
        assert_eq!((at(0x12), at(0x92), at(0x01)), (Some(0), Some(43_200), Some(3_600)));
    }

    #[test]
    fn what_no_clock_says_is_no_time() {
        let reading = |time| Reading { time, format: HOURS_24 }.unix_seconds();
        assert_eq!(reading([0xff; 6]), None, "no clock there");
        assert_eq!(reading([0, 0x60, 0, 1, 1, 0]), None);
        assert_eq!(reading([0, 0, 0x24, 1, 1, 0]), None);
        assert_eq!(reading([0, 0, 0, 0, 1, 0]), None);
        assert_eq!(reading([0, 0, 0, 1, 0x13, 0]), None);
        assert_eq!(reading([0x0a, 0, 0, 1, 1, 0]), None);
    }
}
