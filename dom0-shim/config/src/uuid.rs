//! UUIDs: 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12 with dashes between, or without
//! dashes.

use core::fmt;

/// How many digits there are, in a text that is no UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UuidError(usize);

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = "expected a UUID as 0134beef-1234-5678-9abc-def012345678, 32 hexadecimal digits";
        write!(f, "{form}, found {}", self.0)
    }
}

impl core::error::Error for UuidError {}

/// Reads a UUID.
///
/// # Errors
///
/// How many digits it has instead.
pub fn parse(text: &str) -> Result<[u8; 16], UuidError> {
    let digits = || text.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok());
    let error = UuidError(digits().count());
    if !has_form(text) {
        return Err(error);
    }
    let mut uuid = [0; 16];
    let (mut high, mut low) = (digits().step_by(2), digits().skip(1).step_by(2));
    for byte in &mut uuid {
        *byte = high.next().ok_or(error)? << 4 | low.next().ok_or(error)?;
    }
    Ok(uuid)
}

/// Whether there are 32 digits, and dashes at their places or nowhere.
fn has_form(text: &str) -> bool {
    let dashed = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    };
    match text.len() {
        36 => text.char_indices().all(dashed),
        32 => text.chars().all(|c| c.is_ascii_hexdigit()),
        _ => false,
    }
}

/// A UUID in the usual form.
pub(crate) struct Shown(pub [u8; 16]);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            f.write_str(if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" })?;
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn both_forms() {
        let text = "0134beef-1234-5678-9abc-def012345678";
        let uuid = parse(text).unwrap();
        assert_eq!(uuid[..4], [0x01, 0x34, 0xbe, 0xef]);
        assert_eq!(parse(&text.replace('-', "")), Ok(uuid));
        assert_eq!(parse(&text.to_uppercase()), Ok(uuid));
        assert_eq!(Shown(uuid).to_string(), text);
    }

    /// CFG-02: the sample that is one digit short is no UUID.
    #[test]
    fn what_is_no_uuid() {
        assert_eq!(parse("46fd295-6e1e-6027-8226-4faa158952fc"), Err(UuidError(31)));
        assert_eq!(parse(""), Err(UuidError(0)));
        assert_eq!(parse("0134beef1234-5678-9abc-def012345678-"), Err(UuidError(32)));
        assert_eq!(parse("é134beef-1234-5678-9abc-def01234567"), Err(UuidError(30)));
    }
}
