//! Requests and answers as bytes (`io/xs_wire.h`, payloads by `docs/misc/xenstore.txt`).
//!
//! ```text
//! payload   path NUL                    READ DIRECTORY MKDIR RM GET_PERMS
//!           path NUL value              WRITE; the value may hold anything
//!           path NUL string NUL ...     SET_PERMS WATCH UNWATCH DIRECTORY_PART
//! ```

use alloc::vec::Vec;
use core::str::FromStr;

use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::{PAYLOAD_MAX, XsMessage, XsdSockmsg};
use zerocopy::IntoBytes;

/// A message: header and payload.
///
/// # Errors
///
/// `E2BIG`: the payload is longer than the protocol allows.
pub(crate) fn message(kind: XsMessage, request: &XsdSockmsg, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    let len = u32::try_from(payload.len()).map_err(|_| Errno::E2BIG)?;
    if payload.len() > PAYLOAD_MAX {
        return Err(Errno::E2BIG);
    }
    let head = XsdSockmsg { kind: kind.get(), req_id: request.req_id, tx_id: request.tx_id, len };
    Ok([head.as_bytes(), payload].concat())
}

/// The answer that says why a request failed.
pub(crate) fn failure(request: &XsdSockmsg, error: Errno) -> Vec<u8> {
    let name = error_name(error).as_bytes();
    message(XsMessage::Error, request, &[name, b"\0"].concat()).unwrap_or_default()
}

/// The name that the protocol has for an error (`xsd_errors`); `EINVAL` for those it knows not.
pub(crate) fn error_name(error: Errno) -> &'static str {
    match error {
        Errno::EACCES => "EACCES",
        Errno::EEXIST => "EEXIST",
        Errno::EISDIR => "EISDIR",
        Errno::ENOENT => "ENOENT",
        Errno::ENOMEM => "ENOMEM",
        Errno::ENOSPC => "ENOSPC",
        Errno::EIO => "EIO",
        Errno::ENOTEMPTY => "ENOTEMPTY",
        Errno::ENOSYS => "ENOSYS",
        Errno::EROFS => "EROFS",
        Errno::EBUSY => "EBUSY",
        Errno::EAGAIN => "EAGAIN",
        Errno::EISCONN => "EISCONN",
        Errno::E2BIG => "E2BIG",
        Errno::EPERM => "EPERM",
        _ => "EINVAL",
    }
}

/// The payload as one string with its NUL at the end and nowhere else.
///
/// # Errors
///
/// `EINVAL`: it is not.
pub(crate) fn only_string(payload: &[u8]) -> Result<&[u8], Errno> {
    match payload.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text),
        _ => Err(Errno::EINVAL),
    }
}

/// The payload's first string, and the bytes behind its NUL.
///
/// # Errors
///
/// `EINVAL`: no NUL.
pub(crate) fn string_and_rest(payload: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let end = payload.iter().position(|byte| *byte == 0).ok_or(Errno::EINVAL)?;
    let (text, rest) = payload.split_at_checked(end).ok_or(Errno::EINVAL)?;
    Ok((text, rest.get(1..).unwrap_or_default()))
}

/// The strings of the payload; what stands behind the last NUL is none.
pub(crate) fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.split_inclusive(|byte| *byte == 0).filter_map(|part| part.strip_suffix(&[0]))
}

/// The payload as exactly `N` strings or more, of which the first `N` count.
///
/// # Errors
///
/// `EINVAL`: fewer.
pub(crate) fn at_least<const N: usize>(payload: &[u8]) -> Result<[&[u8]; N], Errno> {
    let mut parts = strings(payload);
    let mut found: [&[u8]; N] = [&[]; N];
    for place in &mut found {
        *place = parts.next().ok_or(Errno::EINVAL)?;
    }
    Ok(found)
}

/// A path or command as text; which characters it may have is the taker's to say.
///
/// # Errors
///
/// `EINVAL`: not even text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Errno> {
    core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)
}

/// A decimal number of digits only.
///
/// # Errors
///
/// `EINVAL`: something else, or too large.
pub(crate) fn number<T: FromStr>(digits: &[u8]) -> Result<T, Errno> {
    let digits = text(digits)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::EINVAL);
    }
    digits.parse().map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn one_string_ends_where_the_payload_ends() {
        assert_eq!(only_string(b"a/b\0"), Ok(&b"a/b"[..]));
        for bad in [&b""[..], b"a", b"a\0b\0", b"a\0b", b"a\0\0"] {
            assert_eq!(only_string(bad), Err(Errno::EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn a_value_may_hold_nuls() {
        assert_eq!(string_and_rest(b"p\0x\0y"), Ok((&b"p"[..], &b"x\0y"[..])));
        assert_eq!(string_and_rest(b"p\0"), Ok((&b"p"[..], &b""[..])));
        assert_eq!(string_and_rest(b"p"), Err(Errno::EINVAL));
    }

    #[test]
    fn strings_end_by_nul() {
        assert_eq!(strings(b"a\0\0bc\0d").collect::<Vec<_>>(), vec![&b"a"[..], b"", b"bc"]);
        assert_eq!(at_least::<2>(b"a\0b\0c\0"), Ok([&b"a"[..], b"b"]));
        assert_eq!(at_least::<2>(b"a\0b"), Err(Errno::EINVAL));
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number::<u16>(b"65535"), Ok(65535));
        for bad in [&b""[..], b"65536", b"-1", b"+1", b" 1", b"1 ", b"x"] {
            assert_eq!(number::<u16>(bad), Err(Errno::EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn answers_carry_the_request_s_names() {
        let request = XsdSockmsg { kind: 2, req_id: 7, tx_id: 9, len: 0 };
        let bytes = failure(&request, Errno::ENOENT);
        assert_eq!(&bytes[..16], [16, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(&bytes[16..], b"ENOENT\0");
        assert_eq!(message(XsMessage::Read, &request, &[0; PAYLOAD_MAX + 1]), Err(Errno::E2BIG));
    }
}
