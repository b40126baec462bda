//! The language of dialogues with a machine: one directive per line, `#` begins a comment.
//!
//! ```text
//! expect /REGEX/ [within SECONDS] [silence SECONDS]
//! send "TEXT"                          \r \n \t \e \\ \" \xHH
//! never /REGEX/
//! sleep SECONDS
//! stage "NAME"
//! expect-end poweroff|reboot|triple-fault|halt [within SECONDS]
//! check FIGURE [+|- FIGURE ...] ==|!=|<|<=|>|>= FIGURE [+|- FIGURE ...]
//! ```
//!
//! `(?<name>...)` in an `expect` captures a value: `${name}` stands for it in later patterns and texts, its name
//! alone in a `check`. The machine's `${cpus}` is there from the start.
//!
//! [`Script::parse`] checks all of it before a machine is started; [`crate::session`] carries it out.

mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

pub(crate) use values::{Comparison, Pattern, Text, Values};

/// Name of the value that is there from the start: the machine's CPUs.
pub(crate) const CPUS: &str = "cpus";

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
        pattern: Pattern,
        within: Option<Duration>,
        /// The machine may write nothing for so long.
        silence: Option<Duration>,
    },
    Never(Pattern),
    Send(Text),
    Sleep(Duration),
    /// What follows is timed under this name.
    Stage(String),
    Check(Comparison),
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
        let mut known = BTreeSet::from([CPUS.to_owned()]);
        for (number, line) in (first..).zip(text.lines()) {
            let mut cursor = Cursor { line: number, text: line, at: 0 };
            if let Some(action) = cursor.directive()? {
                let written = line.get(..cursor.at).unwrap_or(line).trim().to_owned();
                cursor.end_of_line()?;
                if let Some(name) = action.names().into_iter().find(|name| !known.contains(name)) {
                    let at = line.find(&name).unwrap_or(0);
                    return Err(cursor.error(at, format!("nothing has captured `{name}` before")));
                }
                known.extend(action.captures().iter().cloned());
                steps.push(Step { line: number, text: written, action });
            }
        }
        Ok(Self { steps })
    }
}

impl Action {
    /// Names of the values that it needs.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Expect { pattern, .. } | Self::Never(pattern) => pattern.names(),
            Self::Send(text) => text.names(),
            Self::Check(comparison) => comparison.names(),
            Self::Sleep(_) | Self::Stage(_) | Self::ExpectEnd { .. } => Vec::new(),
        }
    }

    /// Names of the values that it captures.
    fn captures(&self) -> &[String] {
        if let Self::Expect { pattern, .. } = self { &pattern.captures } else { &[] }
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
            "send" => Action::Send(self.text()?),
            "check" => Action::Check(self.comparison()?),
            "sleep" => Action::Sleep(self.seconds()?),
            "stage" => Action::Stage(String::from_utf8_lossy(&self.string()?).into_owned()),
            "expect-end" => Action::ExpectEnd { end: self.end()?, within: self.within()? },
            _ => {
                let known = "expected one of expect, never, send, sleep, stage, check, expect-end";
                return Err(self.error(start, known));
            }
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
    fn regex(&mut self) -> Result<Pattern, ParseError> {
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
        Pattern::parse(&pattern).map_err(|what| self.error(start, what))
    }

    fn text(&mut self) -> Result<Text, ParseError> {
        let start = self.at + 1;
        Text::parse(self.string()?).map_err(|what| self.error(start, what))
    }

    /// The rest of the line, up to a comment.
    fn comparison(&mut self) -> Result<Comparison, ParseError> {
        let start = self.at;
        let mut words = Vec::new();
        while !self.at_end() {
            words.push((self.at, self.word()));
        }
        let texts: Vec<_> = words.iter().map(|(_, word)| *word).collect();
        Comparison::parse(&texts).map_err(|(wrong, what)| {
            let place = words.iter().find(|(_, word)| Some(*word) == wrong).map_or(start + 1, |(at, _)| *at);
            self.error(place, what)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str) -> Vec<Action> {
        Script::parse(text, 1).unwrap().steps.into_iter().map(|step| step.action).collect()
    }

    fn typed(text: &Text) -> Vec<u8> {
        text.bytes(&Values::new()).unwrap()
    }

    fn error(text: &str) -> (usize, usize, String) {
        let error = Script::parse(text, 1).unwrap_err();
        (error.line, error.column, error.what)
    }

    #[test]
    fn every_directive() {
        let parsed = actions(
            "# a comment\n\n  expect /4 CPUs/ within 20 # why\nnever /panic/\nsend \"a b\\r\"\nsleep 0.5\n\
             expect-end poweroff within 3\nexpect /x/\nstage \"a b\"",
        );
        assert!(matches!(&parsed[0], Action::Expect { pattern, within: Some(w), silence: None }
            if pattern.source() == "4 CPUs" && w.as_secs() == 20));
        assert!(matches!(&parsed[1], Action::Never(pattern) if pattern.source() == "panic"));
        assert!(matches!(&parsed[2], Action::Send(text) if typed(text) == b"a b\r"));
        assert!(matches!(&parsed[3], Action::Sleep(time) if time.as_millis() == 500));
        assert!(matches!(&parsed[4], Action::ExpectEnd { end: End::PowerOff, within: Some(_) }));
        assert!(matches!(&parsed[5], Action::Expect { within: None, .. }));
        assert!(matches!(&parsed[6], Action::Stage(name) if name == "a b"));
        assert_eq!(parsed.len(), 7);
    }

    #[test]
    fn values_are_known_behind_their_expect() {
        let parsed = actions("expect /(?<id>\\d+) of ${cpus}/\nsend \"${id}\"\ncheck id - 1 <= cpus # why");
        assert!(matches!(&parsed[0], Action::Expect { pattern, .. } if pattern.captures == ["id"]));
        assert!(matches!(&parsed[2], Action::Check(comparison) if comparison.names() == ["id", "cpus"]));
    }

    #[test]
    fn step_knows_its_line_and_text() {
        let script = Script::parse("\n  sleep 1 # nap\n", 1).unwrap();
        assert_eq!((script.steps[0].line, script.steps[0].text.as_str()), (2, "sleep 1"));
    }

    #[test]
    fn escapes_in_text() {
        let parsed = actions(r#"send "\x01\xfF\e\t\\\"\n é#""#);
        assert!(matches!(&parsed[0], Action::Send(text) if typed(text) == b"\x01\xff\x1b\t\\\"\n \xc3\xa9#"));
    }

    #[test]
    fn slash_and_hash_in_a_regex() {
        let parsed = actions(r"expect /a\/b\d #1/");
        assert!(matches!(&parsed[0], Action::Expect { pattern, .. } if pattern.source() == r"a/b\d #1"));
    }

    #[test]
    fn anchors_match_at_lines() {
        let parsed = actions("expect /^b$/");
        assert!(matches!(&parsed[0], Action::Expect { pattern, .. }
            if pattern.regex(&Values::new()).unwrap().is_match(b"a\nb\nc")));
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
            ("send \"${id}\"", 1, 9, "nothing has captured `id` before"),
            ("expect /(?<id>.) ${id}/", 1, 12, "nothing has captured `id`"),
            ("send \"${\"", 1, 6, "a name and a brace"),
            ("check cpus", 1, 7, "one of =="),
            ("check cpus == 1 2 # x", 1, 17, "+ or -"),
            ("check cpus == C", 1, 15, "number or the name"),
            ("check cpus == free", 1, 15, "nothing has captured `free`"),
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
