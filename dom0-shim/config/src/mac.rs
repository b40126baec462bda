//! MAC addresses of network interfaces (NET-09).

use core::fmt;

/// Why a MAC address is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacError {
    /// It is not six bytes in hexadecimal with colons between.
    Form,
    /// Its first byte is odd: it is of a group, not of one interface.
    Multicast,
    /// All of it is zero.
    Zero,
}

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "expected a MAC address as 02:17:42:2F:00:01",
            Self::Multicast => "the first byte of an interface's MAC address is even; this one is of a group",
            Self::Zero => "a MAC address of zeros is of no interface",
        })
    }
}

impl core::error::Error for MacError {}

/// Reads a MAC address. Any address of one interface will do, in either case.
///
/// # Errors
///
/// Why it is refused.
pub fn parse(text: &str) -> Result<[u8; 6], MacError> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for slot in &mut mac {
        *slot = bytes.next().and_then(byte).ok_or(MacError::Form)?;
    }
    match mac {
        _ if bytes.next().is_some() => Err(MacError::Form),
        [0, 0, 0, 0, 0, 0] => Err(MacError::Zero),
        [first, ..] if first & 1 != 0 => Err(MacError::Multicast),
        mac => Ok(mac),
    }
}

/// One or two hexadecimal digits, as `xl` takes them.
fn byte(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// An address in the usual form.
pub(crate) struct Shown(pub [u8; 6]);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// T-62.
    #[test]
    fn the_products_range() {
        assert_eq!(parse("02:17:42:2F:00:00"), Ok([0x02, 0x17, 0x42, 0x2f, 0, 0]));
        assert_eq!(parse("02:17:42:2F:06:76"), Ok([0x02, 0x17, 0x42, 0x2f, 0x06, 0x76]));
        assert_eq!(parse("02:17:42:2F:FF:FF"), Ok([0x02, 0x17, 0x42, 0x2f, 0xff, 0xff]));
    }

    /// T-63, but lower case and other prefixes are taken, as today's `xl` does.
    #[test]
    fn others() {
        assert_eq!(parse("02:17:42:2f:00:01"), parse("02:17:42:2F:00:01"));
        assert_eq!(parse("00:16:3e:1:2:3"), Ok([0, 0x16, 0x3e, 1, 2, 3]));
        assert_eq!(parse("03:17:42:2F:00:01"), Err(MacError::Multicast));
        assert_eq!(parse("FF:FF:FF:FF:FF:FF"), Err(MacError::Multicast));
        assert_eq!(parse("00:00:00:00:00:00"), Err(MacError::Zero));
        let malformed =
            ["", "02:17:42:2F:00", "02:17:42:2F:00:01:02", "02-17-42-2F-00-01", "02:17:42:2F:00:0g"];
        assert!(malformed.iter().all(|text| parse(text) == Err(MacError::Form)));
        assert!(
            ["02:17:42:2F:00:001", "+2:17:42:2F:00:01"].iter().all(|text| parse(text) == Err(MacError::Form))
        );
    }

    #[test]
    fn the_usual_form() {
        assert_eq!(Shown([2, 0x17, 0x42, 0x2f, 0, 1]).to_string(), "02:17:42:2f:00:01");
    }
}
