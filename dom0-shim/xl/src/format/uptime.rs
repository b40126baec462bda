//! `xl uptime`.

use alloc::format;
use alloc::string::String;

use super::time::{of_day, parts};
use crate::find::name;
use crate::toolstack::Domain;

/// The header's line.
pub(crate) fn header() -> String {
    format!("{:<33} {:>4} {}", "Name", "ID", "Uptime")
}

/// A domain's line.
pub(crate) fn row(domain: &Domain, uptime_ns: u64) -> String {
    let (days, hours, minutes, seconds) = parts(uptime_ns / 1_000_000_000);
    format!("{:<33} {:>4} {}{hours:>2}:{minutes:02}:{seconds:02}", name(domain), domain.id, days_prefix(days))
}

/// A domain's line of `-s`; `now` is the wall clock, seconds.
pub(crate) fn short(domain: &Domain, uptime_ns: u64, now: u64) -> String {
    let (days, hours, minutes, _) = parts(uptime_ns / 1_000_000_000);
    format!(
        " {} up {}{hours:>2}:{minutes:02}, {} ({})",
        of_day(now),
        days_prefix(days),
        name(domain),
        domain.id
    )
}

fn days_prefix(days: u64) -> String {
    match days {
        0 => String::new(),
        1 => "1 day, ".into(),
        days => format!("{days} days, "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::domain;

    const S: u64 = 1_000_000_000;

    #[test]
    fn columns_are_xls() {
        let guest = domain(3, "guest");
        assert_eq!(header(), "Name                                ID Uptime");
        assert_eq!(row(&guest, 3_725 * S), "guest                                3  1:02:05");
        assert_eq!(row(&guest, 86_400 * S), "guest                                3 1 day,  0:00:00");
        assert_eq!(
            row(&guest, (3 * 86_400 + 36_000) * S),
            "guest                                3 3 days, 10:00:00"
        );
        assert_eq!(short(&guest, 3_725 * S, 32_425), " 09:00:25 up  1:02, guest (3)");
    }
}
