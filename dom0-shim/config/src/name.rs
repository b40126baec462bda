//! Names of domains (LIF-23).

use core::fmt;

/// Characters of the longest name.
const LONGEST: usize = 50;

/// Why a name is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// A character that is no ASCII letter, digit or `_`.
    Character(char),
    /// It has more than 50 characters.
    TooLong(usize),
    /// It has digits only, so it could be a domain's number.
    Digits,
    /// `auto`, `scripts` and what begins with `xmexample` are names beside configurations.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a domain's name is not empty"),
            Self::Character(c) => {
                write!(f, "a domain's name has letters, digits and `_` only, found {c:?}")
            }
            Self::TooLong(length) => {
                write!(f, "a domain's name has {LONGEST} characters at most, found {length}")
            }
            Self::Digits => f.write_str("a domain's name has other characters than digits"),
            Self::Reserved => {
                f.write_str("a domain's name is not `auto` or `scripts` and does not begin with `xmexample`")
            }
        }
    }
}

impl core::error::Error for NameError {}

/// Checks a domain's name; that no other domain has it is for [`admission`](crate::admission).
///
/// # Errors
///
/// Why it is refused.
pub fn check(name: &str) -> Result<(), NameError> {
    let other = |c: &char| !(c.is_ascii_alphanumeric() || *c == '_');
    match name.chars().find(other) {
        Some(c) => Err(NameError::Character(c)),
        None if name.is_empty() => Err(NameError::Empty),
        None if name.len() > LONGEST => Err(NameError::TooLong(name.len())),
        None if name.bytes().all(|byte| byte.is_ascii_digit()) => Err(NameError::Digits),
        None if matches!(name, "auto" | "scripts") || name.starts_with("xmexample") => {
            Err(NameError::Reserved)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-60.
    #[test]
    fn good_names() {
        let fifty = "a".repeat(50);
        assert!(
            ["domain_1", "guest_dom1", "1a", "_", "autos", &fifty].iter().all(|name| check(name).is_ok())
        );
    }

    /// T-61; of duplicates see `admission`.
    #[test]
    fn bad_names() {
        assert_eq!(check("123"), Err(NameError::Digits));
        assert_eq!(check("auto"), Err(NameError::Reserved));
        assert_eq!(check("scripts"), Err(NameError::Reserved));
        assert_eq!(check("xmexample1"), Err(NameError::Reserved));
        assert_eq!(check("a-b"), Err(NameError::Character('-')));
        assert_eq!(check(&"a".repeat(51)), Err(NameError::TooLong(51)));
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check("é"), Err(NameError::Character('é')));
        assert_eq!(check("a\n"), Err(NameError::Character('\n')));
    }
}
