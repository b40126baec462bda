//! Times of the day.

use alloc::format;
use alloc::string::String;

const DAY: u64 = 86_400;

/// Days, hours, minutes and seconds of a number of seconds.
pub(crate) fn parts(seconds: u64) -> (u64, u64, u64, u64) {
    (seconds / DAY, seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60)
}

/// The time of the day, UTC, of seconds since 1970.
pub(crate) fn of_day(wall_seconds: u64) -> String {
    let (_, hour, minute, second) = parts(wall_seconds);
    format!("{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_day() {
        assert_eq!(of_day(0), "00:00:00");
        assert_eq!(of_day(1_269_507_625), "09:00:25");
        assert_eq!(of_day(86_399), "23:59:59");
    }
}
