//! Booleans, integers and sizes ("Types of parameter" in Xen's manual).

use core::ops::RangeInclusive;

use super::Problem;

/// A boolean option: its name alone switches it on.
pub(super) fn flag(given: Option<&str>) -> Result<bool, Problem> {
    given.map_or(Some(true), boolean).ok_or(Problem::Expected("on or off"))
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "on" | "true" | "enable" | "1" => Some(true),
        "no" | "off" | "false" | "disable" | "0" => Some(false),
        _ => None,
    }
}

/// An integer in `range`; `form` tells the user what that is.
pub(super) fn integer(text: &str, range: RangeInclusive<u32>, form: &'static str) -> Result<u32, Problem> {
    let value = unsigned(text).and_then(|value| u32::try_from(value).ok());
    value.filter(|value| range.contains(value)).ok_or(Problem::Expected(form))
}

/// Decimal, hexadecimal behind `0x`, or octal behind `0`.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match (hex, text.strip_prefix('0')) {
        (Some(digits), _) => number(digits, 16),
        (None, Some("")) => Some(0),
        (None, Some(digits)) => number(digits, 8),
        (None, None) => number(text, 10),
    }
}

/// An integer in `radix`, without sign or prefix.
pub(super) fn number(digits: &str, radix: u32) -> Option<u64> {
    // `from_str_radix` would take a sign.
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))
}

/// Bytes: an integer and one of B, K, M, G, T; without a suffix it counts KiB.
pub(super) fn size(text: &str) -> Option<u64> {
    let shift = match text.chars().next_back()? {
        'B' | 'b' if !text.starts_with("0x") => 0,
        'K' | 'k' => 10,
        'M' | 'm' => 20,
        'G' | 'g' => 30,
        'T' | 't' => 40,
        _ => return unsigned(text)?.checked_mul(1 << 10),
    };
    let digits = text.get(..text.len() - 1)?;
    unsigned(digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config;
    use super::*;

    #[test]
    fn booleans_have_five_words_each() {
        assert!(["yes", "on", "true", "enable", "1"].iter().all(|word| boolean(word) == Some(true)));
        assert!(["no", "off", "false", "disable", "0"].iter().all(|word| boolean(word) == Some(false)));
        assert!(["", "ON", "2", "y"].iter().all(|word| boolean(word).is_none()));
        assert_eq!((flag(None), flag(Some("off"))), (Ok(true), Ok(false)));
        assert!(flag(Some("")).is_err());
    }

    #[test]
    fn integers_come_in_three_radices() {
        assert_eq!(unsigned("115200"), Some(115_200));
        assert_eq!((unsigned("0x3f8"), unsigned("0X3F8")), (Some(0x3f8), Some(0x3f8)));
        assert_eq!((unsigned("010"), unsigned("0")), (Some(8), Some(0)));
        for bad in ["", "0x", "-1", "+1", "0x+1", "0+1", "08", "1 ", "ten", "18446744073709551616"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_count_kib_without_a_suffix() {
        assert_eq!(size("16"), Some(16 << 10));
        for (text, shift) in [("3B", 0), ("3k", 10), ("3K", 10), ("3m", 20), ("3G", 30), ("3T", 40)] {
            assert_eq!(size(text), Some(3 << shift), "{text}");
        }
        assert_eq!(size("0x10M"), Some(16 << 20));
        // A hexadecimal digit, not a suffix.
        assert_eq!(size("0x1b"), Some(0x1b << 10));
        for bad in ["", "K", "1KB", "1.5G", "-1M", "1P", "99999999999999T", "1é"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_text_is_survived(text in any::<std::string::String>()) {
            let _ = (unsigned(&text), size(&text), flag(Some(&text)));
        }
    }
}
