//! Numbers with one decimal, made from integers, and sets of numbers as ranges.

use alloc::format;
use alloc::string::String;
use core::fmt;

/// A number with one decimal, in tenths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Tenths(u128);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.0 / 10, self.0 % 10))
    }
}

/// Nanoseconds as seconds, rounded.
pub(crate) fn seconds(ns: u64) -> Tenths {
    ratio(ns.into(), 1_000_000_000, 1)
}

/// A part as percent of a whole, rounded; 0 of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> Tenths {
    ratio(part.into(), whole.into(), 100)
}

fn ratio(part: u128, whole: u128, scale: u128) -> Tenths {
    let tenths = part.saturating_mul(scale).saturating_mul(10).saturating_add(whole / 2);
    Tenths(tenths.checked_div(whole).unwrap_or_default())
}

/// A set of ascending numbers below `count` as `xl` writes it: `all`, `none`, `1-2,4`.
pub(crate) fn ranges(numbers: &[u32], count: u32) -> String {
    let mut runs: alloc::vec::Vec<(u32, u32)> = alloc::vec::Vec::new();
    for number in numbers.iter().copied().filter(|number| *number < count) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    match runs.as_slice() {
        [] => "none".into(),
        [(0, last)] if last.checked_add(1) == Some(count) => "all".into(),
        runs => {
            let runs =
                runs.iter().map(
                    |(first, last)| {
                        if first == last { format!("{first}") } else { format!("{first}-{last}") }
                    },
                );
            runs.collect::<alloc::vec::Vec<_>>().join(",")
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// T-52, T-53.
    #[test]
    fn percents_of_the_samples() {
        for (part, whole, expected) in [
            (2_097_200, 8_387_576, "25.0"),
            (1_048_344, 8_387_576, "12.5"),
            (1_048_576, 8_387_576, "12.5"),
            (4_096_928, 14_643_664, "28.0"),
            (4_194_304, 14_643_664, "28.6"),
            (2_121_664, 14_643_664, "14.5"),
            (2_121_792, 14_643_664, "14.5"),
            (1, 0, "0.0"),
            (u64::MAX, 1, "1844674407370955161500.0"),
        ] {
            assert_eq!(percent(part, whole).to_string(), expected);
        }
    }

    #[test]
    fn seconds_are_rounded() {
        assert_eq!(seconds(0).to_string(), "0.0");
        assert_eq!(seconds(49_999_999).to_string(), "0.0");
        assert_eq!(seconds(50_000_000).to_string(), "0.1");
        assert_eq!(seconds(40_684_650_000_000).to_string(), "40684.7");
        assert_eq!(format!("[{:>8}]", seconds(1_500_000_000)), "[     1.5]");
    }

    #[test]
    fn sets_are_ranges() {
        for (numbers, count, expected) in [
            (&[0, 1, 2, 3][..], 4, "all"),
            (&[], 4, "none"),
            (&[1, 2], 4, "1-2"),
            (&[0, 1, 3], 4, "0-1,3"),
            (&[3], 4, "3"),
            (&[1, 2, 3], 4, "1-3"),
            (&[0, 1, 2, 3, 4, 5], 4, "all"),
            (&[0], 1, "all"),
            (&[u32::MAX], 1, "none"),
        ] {
            assert_eq!(ranges(numbers, count), expected);
        }
    }
}
