//! The proleptic Gregorian calendar, and times of the day.

/// Seconds in a day.
pub(super) const DAY: i64 = 86_400;
/// Days in 400 years.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// A moment. Years are counted from 0, weekdays from Sunday = 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Calendar {
    pub(crate) second: i64,
    pub(crate) minute: i64,
    pub(crate) hour: i64,
    pub(crate) weekday: i64,
    pub(crate) day: i64,
    pub(crate) month: i64,
    pub(crate) year: i64,
}

impl Calendar {
    /// The moment `seconds` after the start of 1970.
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date(days);
        Self {
            second: time % 60,
            minute: time / 60 % 60,
            hour: time / 3600,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4).rem_euclid(7),
            day,
            month,
            year,
        }
    }

    /// Seconds since the start of 1970. The weekday follows from the rest;
    /// fields out of range (at most 255, years 25755) count on: 61 s are 1 min 1 s.
    pub(crate) fn seconds(&self) -> i64 {
        // Months from March on, so that the day that leaps is the year's last.
        let months = self.year * 12 + self.month - 3;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days = year * 365 + leaps + days_before(month) + self.day - 1 - EPOCH;
        ((days * 24 + self.hour) * 60 + self.minute) * 60 + self.second
    }
}

/// Days before `month`, which is 0 for March: months of 31 and 30 days alternate
/// in groups of five (153 days).
const fn days_before(month: i64) -> i64 {
    (153 * month + 2) / 5
}

/// Year, month and day, `days` after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    // Of an era's days every 1461st, but not every 36525th, but the last, leaps.
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let from_january = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month >= 10);
    (year, from_january, day - days_before(month) + 1)
}

/// The first second of the day, from `start` on, whose parts are the given ones;
/// `None` matches any. The parts are in range.
pub(super) fn next_time(
    start: i64,
    hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
) -> Option<i64> {
    // At each level: the part of `start` itself, else the first later one, after
    // which the lower parts begin anew.
    first_from(start / 3600, 24, hour, |h, same| {
        first_from(if same { start / 60 % 60 } else { 0 }, 60, minute, |m, same_minute| {
            let from = if same && same_minute { start % 60 } else { 0 };
            first_from(from, 60, second, |s, _| Some((h * 60 + m) * 60 + s))
        })
    })
}

/// Tries the values from `start` up to `end` that are `wanted`, and tells `next`
/// whether the value is `start`. The first hit counts.
fn first_from(
    start: i64,
    end: i64,
    wanted: Option<i64>,
    mut next: impl FnMut(i64, bool) -> Option<i64>,
) -> Option<i64> {
    (start..end).filter(|&v| wanted.is_none_or(|w| w == v)).find_map(|v| next(v, v == start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        let at = |days| date(days);
        assert_eq!(at(0), (1970, 1, 1));
        assert_eq!(at(-1), (1969, 12, 31));
        assert_eq!((at(11_016), at(11_017)), ((2000, 2, 29), (2000, 3, 1)));
        assert_eq!((at(-719_528), at(2_932_896)), ((0, 1, 1), (9999, 12, 31)));
        assert_eq!(Calendar::from_seconds(951_782_400).weekday, 2);
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let days = if cfg!(miri) { 60 } else { ERA + 400 };
        let leaps = |y: i64| y % 4 == 0 && y % 100 != 0 || y % 400 == 0;
        let (mut year, mut month, mut day) = date(10_957);
        for n in 10_958..10_957 + days {
            let length = match month {
                2 => 28 + i64::from(leaps(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, d) if d == length => (year, month + 1, 1),
                (_, d) => (year, month, d + 1),
            };
            assert_eq!(date(n), (year, month, day));
            assert_eq!(Calendar::from_seconds(n * DAY + 7).seconds(), n * DAY + 7);
        }
    }

    #[test]
    fn fields_out_of_range_count_on() {
        let wild = Calendar { second: 61, minute: 60, hour: 24, weekday: 0, day: 0, month: 14, year: 2025 };
        let tame = Calendar { second: 1, minute: 1, hour: 1, weekday: 0, day: 1, month: 2, year: 2026 };
        assert_eq!(wild.seconds(), tame.seconds());
    }

    #[test]
    fn next_times_equal_a_search() {
        let parts = [None, Some(0), Some(7), Some(23)];
        let starts =
            if cfg!(miri) { [25_627, 86_399].as_slice() } else { &[0, 25_626, 25_627, 25_628, 86_390] };
        for (h, m, s) in parts.iter().flat_map(|&h| parts.iter().flat_map(move |&m| parts.map(|s| (h, m, s))))
        {
            let hit = |want: Option<i64>, have| want.is_none_or(|w| w == have);
            for &start in starts {
                let limit = if cfg!(miri) { DAY.min(start + 20) } else { DAY };
                let found =
                    (start..limit).find(|t| hit(h, t / 3600) && hit(m, t / 60 % 60) && hit(s, t % 60));
                let next = next_time(start, h, m, s);
                assert!(next == found || cfg!(miri) && found.is_none(), "{start} {h:?} {m:?} {s:?}");
            }
        }
    }
}
