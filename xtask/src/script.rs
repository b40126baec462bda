//! The language of dialogues with a machine: one directive per line, `#` begins a comment.
//!
//! ```text
//! expect /REGEX/ [within SECONDS] [silence SECONDS]
//! send "TEXT"                          \r \n \t \e \\ \" \xHH
//! never /REGEX/
//! sleep SECONDS
//! expect-end poweroff|reboot|triple-fault|halt [within SECONDS]
//! ```
//!
//! [`Script::parse`] checks all of it before a machine is started; [`crate::session`] carries it out.

use std::fmt;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

/// A checked script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// The directive as written.
    pub(crate) text: String,
    pub(crate) action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    Expect {
        pattern: Regex,
        within: Option<Duration>,
        /// The machine may write nothing for so long.
        silence: Option<Duration>,
    },
    Never(Regex),
    Send(Vec<u8>),
    Sleep(Duration),
    ExpectEnd {
        end: End,
        within: Option<Duration>,
    },
}

/// How a machine is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerOff,
    /// The machine resets and starts again; the script goes on.
    Reboot,
    TripleFault,
    /// The machine stays on and is silent.
    Halt,
}

/// Where a script is wrong. Columns count characters from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for ParseError {}

impl Script {
    /// Checks `text`, whose first line is line `first` of its file.
    pub(crate) fn parse(text: &str, first: usize) -> Result<Self, ParseError> {
        let mut steps = Vec::new();
        for (number, line) in (first..).zip(text.lines()) {
            let mut cursor = Cursor { line: number, text: line, at: 0 };
            if let Some(action) = cursor.directive()? {
                let written = line.get(..cursor.at).unwrap_or(line).trim().to_owned();
                cursor.end_of_line()?;
                steps.push(Step { line: number, text: written, action });
            }
        }
        Ok(Self { steps })
    }
}

/// A place in one line.
struct Cursor<'a> {
    line: usize,
    text: &'a str,
    /// Offset in bytes, always at a character.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn directive(&mut self) -> Result<Option<Action>, ParseError> {
        if self.at_end() {
            return Ok(None);
        }
        let start = self.at;
        let action = match self.word() {
            "expect" => Action::Expect {
                pattern: self.regex()?,
                within: self.within()?,
                silence: self.limit("silence", "expected `silence SECONDS` or the end of the line")?,
            },
            "never" => Action::Never(self.regex()?),
            "send" => Action::Send(self.string()?),
            "sleep" => Action::Sleep(self.seconds()?),
            "expect-end" => Action::ExpectEnd { end: self.end()?, within: self.within()? },
            _ => return Err(self.error(start, "expected one of expect, never, send, sleep, expect-end")),
        };
        Ok(Some(action))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Whether only space and a comment are left.
    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty() || self.rest().starts_with('#')
    }

    fn end_of_line(&mut self) -> Result<(), ParseError> {
        if self.at_end() { Ok(()) } else { Err(self.error(self.at, "expected the end of the line")) }
    }

    /// The next run of characters without space; empty at the end.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        self.at += word.len();
        word
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn error(&self, at: usize, what: impl Into<String>) -> ParseError {
        let column = self.text.get(..at).unwrap_or(self.text).chars().count() + 1;
        ParseError { line: self.line, column, what: what.into() }
    }

    fn open(&mut self, delimiter: char, what: &str) -> Result<usize, ParseError> {
        self.skip_space();
        let start = self.at;
        if self.next() == Some(delimiter) {
            Ok(start)
        } else {
            Err(self.error(start, format!("expected {what}")))
        }
    }

    /// `/…/`, in which `\/` stands for a slash.
    fn regex(&mut self) -> Result<Regex, ParseError> {
        let start = self.open('/', "a regular expression between slashes")?;
        let mut pattern = String::new();
        loop {
            match self.next() {
                None => return Err(self.error(start, "expected a closing slash")),
                Some('/') => break,
                Some('\\') => match self.next() {
                    Some('/') => pattern.push('/'),
                    other => pattern.extend(['\\'].into_iter().chain(other)),
                },
                Some(c) => pattern.push(c),
            }
        }
        let built = RegexBuilder::new(&pattern).multi_line(true).build();
        built.map_err(|error| {
            self.error(start, format!("expected a valid regular expression: {}", last_line(&error)))
        })
    }

    /// `"…"` with escapes.
    fn string(&mut self) -> Result<Vec<u8>, ParseError> {
        let start = self.open('"', "a text between double quotes")?;
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(self.error(start, "expected a closing double quote")),
                Some('"') => return Ok(bytes),
                Some('\\') => bytes.push(self.escape(at)?),
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    /// What follows a backslash at `start`.
    fn escape(&mut self, start: usize) -> Result<u8, ParseError> {
        Ok(match self.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('e') => 0x1b,
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => {
                let digit =
                    |c: Option<char>| c.and_then(|c| c.to_digit(16)).and_then(|d| u8::try_from(d).ok());
                let (high, low) = (digit(self.next()), digit(self.next()));
                let digits =
                    high.zip(low).ok_or_else(|| self.error(start, "expected two hex digits after \\x"));
                digits.map(|(high, low)| high << 4 | low)?
            }
            _ => return Err(self.error(start, r#"expected one of \r \n \t \e \\ \" \xHH"#)),
        })
    }

    /// `[within SECONDS]`.
    fn within(&mut self) -> Result<Option<Duration>, ParseError> {
        if self.peeks("silence") {
            return Ok(None);
        }
        self.limit("within", "expected `within SECONDS` or the end of the line")
    }

    fn peeks(&mut self, word: &str) -> bool {
        self.skip_space();
        self.rest().split(char::is_whitespace).next() == Some(word)
    }

    /// `[NAME SECONDS]`.
    fn limit(&mut self, name: &str, expected: &str) -> Result<Option<Duration>, ParseError> {
        if self.at_end() {
            return Ok(None);
        }
        let start = self.at;
        if self.word() == name { self.seconds().map(Some) } else { Err(self.error(start, expected)) }
    }

    fn seconds(&mut self) -> Result<Duration, ParseError> {
        self.skip_space();
        let start = self.at;
        crate::cli::parse_seconds(self.word()).map_err(|what| self.error(start, what))
    }

    fn end(&mut self) -> Result<End, ParseError> {
        self.skip_space();
        let start = self.at;
        match self.word() {
            "poweroff" => Ok(End::PowerOff),
            "reboot" => Ok(End::Reboot),
            "triple-fault" => Ok(End::TripleFault),
            "halt" => Ok(End::Halt),
            _ => Err(self.error(start, "expected one of poweroff, reboot, triple-fault, halt")),
        }
    }
}

/// The line of a regex error that says what is wrong; those before it draw the place.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str) -> Vec<Action> {
        Script::parse(text, 1).unwrap().steps.into_iter().map(|step| step.action).collect()
    }

    fn error(text: &str) -> (usize, usize, String) {
        let error = Script::parse(text, 1).unwrap_err();
        (error.line, error.column, error.what)
    }

    #[test]
    fn every_directive() {
        let parsed = actions(
            "# a comment\n\n  expect /4 CPUs/ within 20 # why\nnever /panic/\nsend \"a b\\r\"\nsleep 0.5\n\
             expect-end poweroff within 3\nexpect /x/",
        );
        assert!(matches!(&parsed[0], Action::Expect { pattern, within: Some(w), silence: None }
            if pattern.as_str() == "4 CPUs" && w.as_secs() == 20));
        assert!(matches!(&parsed[1], Action::Never(pattern) if pattern.as_str() == "panic"));
        assert!(matches!(&parsed[2], Action::Send(bytes) if bytes == b"a b\r"));
        assert!(matches!(&parsed[3], Action::Sleep(time) if time.as_millis() == 500));
        assert!(matches!(&parsed[4], Action::ExpectEnd { end: End::PowerOff, within: Some(_) }));
        assert!(matches!(&parsed[5], Action::Expect { within: None, .. }));
        assert_eq!(parsed.len(), 6);
    }

    #[test]
    fn step_knows_its_line_and_text() {
        let script = Script::parse("\n  sleep 1 # nap\n", 1).unwrap();
        assert_eq!((script.steps[0].line, script.steps[0].text.as_str()), (2, "sleep 1"));
    }

    #[test]
    fn escapes_in_text() {
        let parsed = actions(r#"send "\x01\xfF\e\t\\\"\n é#""#);
        assert!(matches!(&parsed[0], Action::Send(bytes) if bytes == b"\x01\xff\x1b\t\\\"\n \xc3\xa9#"));
    }

    #[test]
    fn slash_and_hash_in_a_regex() {
        let parsed = actions(r"expect /a\/b\d #1/");
        assert!(matches!(&parsed[0], Action::Expect { pattern, .. } if pattern.as_str() == r"a/b\d #1"));
    }

    #[test]
    fn anchors_match_at_lines() {
        let parsed = actions("expect /^b$/");
        assert!(matches!(&parsed[0], Action::Expect { pattern, .. } if pattern.is_match(b"a\nb\nc")));
    }

    #[test]
    fn ends() {
        for (word, end) in [
            ("poweroff", End::PowerOff),
            ("reboot", End::Reboot),
            ("triple-fault", End::TripleFault),
            ("halt", End::Halt),
        ] {
            assert!(
                matches!(actions(&format!("expect-end {word}"))[0], Action::ExpectEnd { end: e, .. } if e == end)
            );
        }
    }

    #[test]
    fn errors_name_the_place_and_what_was_expected() {
        for (text, line, column, expected) in [
            ("\nfoo", 2, 1, "one of expect, never"),
            ("expect foo", 1, 8, "between slashes"),
            ("expect", 1, 7, "between slashes"),
            ("expect /foo", 1, 8, "closing slash"),
            ("expect /(/", 1, 8, "unclosed group"),
            ("expect /a/ 5", 1, 12, "within SECONDS"),
            ("expect /a/ within x", 1, 19, "positive number"),
            ("never /a/ within 5", 1, 11, "end of the line"),
            ("send a", 1, 6, "double quotes"),
            ("send \"é", 1, 6, "closing double quote"),
            ("send \"é\\q\"", 1, 8, "\\xHH"),
            ("send \"\\x4\"", 1, 7, "hex digits"),
            ("sleep -1", 1, 7, "positive number"),
            ("sleep", 1, 6, "positive number"),
            ("expect-end off", 1, 12, "poweroff"),
            ("sleep 1 2", 1, 9, "end of the line"),
        ] {
            let (l, c, what) = error(text);
            assert_eq!((l, c), (line, column), "{text}: {what}");
            assert!(what.contains(expected), "{text}: {what}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        for text in ["é", "expect /é", "send \"\\xé\"", "send \"\\", "expect /\\", "\u{0}", "send \"\\x+1\""]
        {
            let _ = Script::parse(text, 1);
        }
        assert_eq!(error("send \"\\x+1\"").1, 7);
    }
}
