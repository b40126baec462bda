//! Strings: the characters between quotes, where `\` begins an escape.
//!
//! | Escape | |
//! |---|---|
//! | `\\ \' \"` | the character |
//! | `\a \b \f \n \r \t \v` | as in C |
//! | `\xHH`, `\N \NN \NNN` | an ASCII character by its hexadecimal or octal number, not NUL |

use alloc::string::String;

/// What is wrong with a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuoteError {
    /// The line or the text ends before the quote that would close it.
    Open,
    /// What follows `\` is no escape.
    Escape,
    /// The number of a character is not from 1 to 127.
    Character,
}

/// The string that begins with the quote at the beginning of `text`, and the bytes that it takes.
///
/// # Errors
///
/// What is wrong, with the bytes from where to where.
pub fn unquote(text: &str) -> Result<(String, usize), (QuoteError, usize, usize)> {
    let mut chars = Chars { rest: text, taken: 0 };
    let quote = chars.next();
    let mut string = String::new();
    loop {
        let at = chars.taken;
        match chars.next() {
            None | Some('\n') => return Err((QuoteError::Open, 0, at)),
            Some('\\') => {
                let escaped = escape(&mut chars);
                string.push(escaped.map_err(|error| (error, at, chars.taken))?);
            }
            Some('\0') => return Err((QuoteError::Character, at, chars.taken)),
            c if c == quote => return Ok((string, chars.taken)),
            Some(c) => string.push(c),
        }
    }
}

/// The character that is meant by what follows a backslash.
fn escape(chars: &mut Chars<'_>) -> Result<char, QuoteError> {
    Ok(match chars.peek() {
        Some(c @ ('\\' | '\'' | '"')) => chars.skip(c),
        Some('a') => chars.skip('\x07'),
        Some('b') => chars.skip('\x08'),
        Some('f') => chars.skip('\x0c'),
        Some('n') => chars.skip('\n'),
        Some('r') => chars.skip('\r'),
        Some('t') => chars.skip('\t'),
        Some('v') => chars.skip('\x0b'),
        Some('x') => {
            chars.next();
            character(chars.digits(16, 2), 2)?
        }
        Some('0'..='7') => character(chars.digits(8, 3), 1)?,
        _ => return Err(QuoteError::Escape),
    })
}

/// The character of a number that should have `least` digits.
fn character((number, digits): (u32, usize), least: usize) -> Result<char, QuoteError> {
    let ascii = u8::try_from(number).ok().filter(|byte| (1..=127).contains(byte));
    match (digits < least, ascii) {
        (true, _) => Err(QuoteError::Escape),
        (false, None) => Err(QuoteError::Character),
        (false, Some(byte)) => Ok(char::from(byte)),
    }
}

/// What is left of a text.
struct Chars<'t> {
    rest: &'t str,
    taken: usize,
}

impl Chars<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.taken += self.rest.len() - chars.as_str().len();
        self.rest = chars.as_str();
        next
    }

    /// Skips a character that means `meant`.
    fn skip(&mut self, meant: char) -> char {
        self.next();
        meant
    }

    /// The number that up to `most` digits make, and how many there are.
    fn digits(&mut self, radix: u32, most: usize) -> (u32, usize) {
        let mut number = 0_u32;
        for count in 0..most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else { return (number, count) };
            number = number.saturating_mul(radix).saturating_add(digit);
            self.next();
        }
        (number, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unquoted(text: &str) -> String {
        unquote(text).unwrap().0
    }

    #[test]
    fn both_quotes() {
        assert_eq!(unquote("'a\"b' c"), Ok(("a\"b".into(), 5)));
        assert_eq!(unquote("\"a'b\""), Ok(("a'b".into(), 5)));
        assert_eq!(unquote("''"), Ok((String::new(), 2)));
    }

    #[test]
    fn escapes() {
        assert_eq!(unquoted(r#"'\\\'\"'"#), "\\'\"");
        assert_eq!(unquoted(r"'\a\b\f\n\r\t\v'"), "\x07\x08\x0c\n\r\t\x0b");
        assert_eq!(unquoted(r"'\x41\x7fg'"), "A\x7fg");
        assert_eq!(unquoted(r"'\101\60\7x\1011'"), "A0\x07xA1");
    }

    #[test]
    fn a_line_feed_closes_nothing() {
        assert_eq!(unquote("'ab\n'"), Err((QuoteError::Open, 0, 3)));
        assert_eq!(unquote("'ab"), Err((QuoteError::Open, 0, 3)));
        assert_eq!(unquote("'ab\\"), Err((QuoteError::Escape, 3, 4)));
    }

    #[test]
    fn what_is_no_escape() {
        assert_eq!(unquote(r"'a\q'"), Err((QuoteError::Escape, 2, 3)));
        assert_eq!(unquote(r"'\x4'"), Err((QuoteError::Escape, 1, 4)));
        assert_eq!(unquote(r"'\0'"), Err((QuoteError::Character, 1, 3)));
        assert_eq!(unquote(r"'\xff'"), Err((QuoteError::Character, 1, 5)));
        assert_eq!(unquote(r"'\777'"), Err((QuoteError::Character, 1, 5)));
    }
}
