//! Tokens.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use super::quoted::{self, QuoteError};

/// A piece of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token<'t> {
    /// A name, as of a parameter.
    Word(&'t str),
    /// A number, or what begins like one.
    Number(&'t str),
    /// A string.
    Quoted(String),
    /// `=`
    Assign,
    /// `+=`
    Append,
    /// `[`
    Open,
    /// `]`
    Close,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// The end of a line.
    Newline,
    /// The end of the text.
    End,
    /// What the grammar does not know: a message and what to do.
    Bad(String, &'static str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Number(text) => write!(f, "`{text}`"),
            Self::Quoted(_) => f.write_str("a string"),
            Self::Assign => f.write_str("`=`"),
            Self::Append => f.write_str("`+=`"),
            Self::Open => f.write_str("`[`"),
            Self::Close => f.write_str("`]`"),
            Self::Comma => f.write_str("`,`"),
            Self::Semicolon => f.write_str("`;`"),
            Self::Newline => f.write_str("the end of the line"),
            Self::End => f.write_str("the end of the text"),
            Self::Bad(message, _) => f.write_str(message),
        }
    }
}

/// A text and how far it was read.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    /// At the beginning of a text; a byte order mark there is skipped.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: text.len() - text.trim_start_matches('\u{feff}').len() }
    }

    /// The next token, where it begins and where it ends.
    pub fn next(&mut self) -> (Token<'t>, usize, usize) {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let (token, length) = token(rest);
        if let Token::Bad(_, _) = token {
            // A wrong place within a string is shown alone.
            let (from, to) = bad_part(rest, length);
            self.at += length;
            return (token, start + from, start + to);
        }
        self.at += length;
        (token, start, self.at)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Blanks and the text of a comment, not the line feed after it.
    fn skip_blanks(&mut self) {
        let rest = self.rest().trim_start_matches([' ', '\t']);
        let comment = if rest.starts_with('#') { rest.find('\n').unwrap_or(rest.len()) } else { 0 };
        self.at = self.text.len() - rest.len() + comment;
    }
}

/// The token at the beginning of `rest`, and the bytes that it takes.
fn token(rest: &str) -> (Token<'_>, usize) {
    let mut chars = rest.chars();
    let Some(first) = chars.next() else { return (Token::End, 0) };
    let second = chars.next();
    match (first, second) {
        ('\n', _) => (Token::Newline, 1),
        ('\r', Some('\n')) => (Token::Newline, 2),
        ('+', Some('=')) => (Token::Append, 2),
        ('=', _) => (Token::Assign, 1),
        ('[', _) => (Token::Open, 1),
        (']', _) => (Token::Close, 1),
        (',', _) => (Token::Comma, 1),
        (';', _) => (Token::Semicolon, 1),
        ('\'' | '"', _) => string(rest),
        ('0'..='9', _) | ('-', Some('0'..='9')) => word(rest, Token::Number),
        ('a'..='z' | 'A'..='Z' | '_', _) => word(rest, Token::Word),
        _ => (unexpected(first), first.len_utf8()),
    }
}

/// A word: letters, digits, `_`, `.` and `-`.
fn word<'t>(rest: &'t str, make: fn(&'t str) -> Token<'t>) -> (Token<'t>, usize) {
    let other = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let text = rest.split(other).next().unwrap_or_default();
    (make(text), text.len())
}

fn string(rest: &str) -> (Token<'_>, usize) {
    let (error, length) = match quoted::unquote(rest) {
        Ok((string, length)) => return (Token::Quoted(string), length),
        Err((error, _, end)) => (error, end),
    };
    let (message, help) = match error {
        QuoteError::Open => ("a string without its closing quote", "strings end in the line they begin in"),
        QuoteError::Escape => (
            "an unknown escape",
            "escapes are \\\\ \\' \\\" \\a \\b \\f \\n \\r \\t \\v \\xHH and \\NNN (octal)",
        ),
        QuoteError::Character => (
            "the number of a character that is not from 1 to 127",
            "other characters are written as they are, in UTF-8",
        ),
    };
    (Token::Bad(message.to_string(), help), length)
}

/// The part of a bad token that is to be shown.
fn bad_part(rest: &str, length: usize) -> (usize, usize) {
    match quoted::unquote(rest) {
        Err((_, from, to)) if rest.starts_with(['\'', '"']) => (from, to),
        _ => (0, length),
    }
}

fn unexpected(c: char) -> Token<'static> {
    let help = match c {
        '(' | ')' | '{' | '}' | ':' | '+' | '*' | '%' => {
            "xl.cfg has strings, numbers and lists only, no Python"
        }
        '\r' => "lines end with a line feed, or with carriage return and line feed",
        '\u{2018}'..='\u{201f}' => "strings are in straight quotes, ' or \"",
        _ => "a line is: name = value; strings are in quotes",
    };
    let shown = if c.is_control() { format!("U+{:04X}", u32::from(c)) } else { format!("`{c}`") };
    Token::Bad(shown, help)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        core::iter::from_fn(|| Some(lexer.next().0).filter(|token| *token != Token::End)).collect()
    }

    #[test]
    fn a_line() {
        let line = tokens("vif+= ['a', 0x1f,]; # no");
        let expected = vec![
            Token::Word("vif"),
            Token::Append,
            Token::Open,
            Token::Quoted("a".into()),
            Token::Comma,
            Token::Number("0x1f"),
            Token::Comma,
            Token::Close,
            Token::Semicolon,
        ];
        assert_eq!(line, expected);
    }

    #[test]
    fn ends_of_lines() {
        assert_eq!(tokens("# a\n"), [Token::Newline]);
        assert_eq!(tokens("\r\n"), [Token::Newline]);
        assert_eq!(tokens("# a\r\n1"), [Token::Newline, Token::Number("1")]);
        assert!(matches!(&tokens("\r")[..], [Token::Bad(_, help)] if help.contains("line feed")));
    }

    #[test]
    fn a_comment_ends_with_the_text() {
        assert_eq!(tokens("#"), []);
        assert_eq!(tokens("'#'"), [Token::Quoted("#".into())]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(tokens("\u{feff}a"), [Token::Word("a")]);
    }

    #[test]
    fn words() {
        assert_eq!(tokens("full-screen"), [Token::Word("full-screen")]);
        assert_eq!(tokens("-5 1.5"), [Token::Number("-5"), Token::Number("1.5")]);
    }

    #[test]
    fn the_wrong_part_of_a_string() {
        let (token, start, end) = Lexer::new(r" 'a\q'").next();
        assert!(matches!(token, Token::Bad(message, _) if message.contains("escape")));
        assert_eq!((start, end), (3, 4));
    }

    #[test]
    fn python_is_named() {
        assert!(matches!(&tokens("(")[..], [Token::Bad(_, help)] if help.contains("Python")));
    }
}
