//! Numbers as `strtol` with base 0 reads them: decimal, `0x` hexadecimal, octal after a `0`.

/// Why a text is no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberError {
    /// It has other characters than digits, or none.
    Digits,
    /// It is not from -2^63 to 2^63 - 1.
    Range,
}

/// The whole number that a text is.
///
/// # Errors
///
/// Why it is none.
pub fn integer(text: &str) -> Result<i64, NumberError> {
    let text = text.trim_matches([' ', '\t']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::Digits);
    }
    let number = u64::from_str_radix(digits, radix).map_err(|_| NumberError::Range)?;
    let signed = if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() };
    signed.ok_or(NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_notations() {
        let good = [("0", 0), ("512", 512), ("0x1F", 31), ("010", 8), ("-5", -5), ("+5", 5), (" 7 ", 7)];
        assert!(good.iter().all(|&(text, number)| integer(text) == Ok(number)));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
    }

    #[test]
    fn what_is_no_number() {
        let bad = ["", "-", "0x", "08", "5M", "1.5", "x", "--1", "-+1", "1 2"];
        assert!(bad.iter().all(|text| integer(text) == Err(NumberError::Digits)));
        assert_eq!(integer("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(integer("99999999999999999999999"), Err(NumberError::Range));
    }
}
