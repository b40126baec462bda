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
