//! What is wrong with a configuration, in words for who wrote it.
//!
//! ```text
//! web.cfg:3:9: error: expected a number from 1 to 32, found 33
//!    3 | vcpus = 33
//!      |         ^^
//!      = help: ...
//! ```

use alloc::string::String;
use core::fmt;

use crate::source::{Source, Span};

/// Characters of a line that an excerpt shows.
const EXCERPT: usize = 72;
/// Characters of a long line that it shows before the place.
const LEAD: usize = 40;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The domain cannot be made.
    Error,
    /// The domain can be made, but something may not be as its author thinks.
    Warning,
}

/// One thing that is wrong. Its [`Display`](fmt::Display) form is what the module's header shows,
/// without a line feed at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; one line.
    pub message: String,
    /// What to do, where that can be said.
    pub help: Option<String>,
    /// The name of the file or word.
    pub source: String,
    /// Where in it; `None` for what is missing.
    pub place: Option<Place>,
}

/// A place in a text, with an excerpt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Character of that line, from 1.
    pub column: usize,
    /// The line, or the part of it that is near; control characters are replaced.
    excerpt: String,
    /// Characters of the excerpt before the place.
    lead: usize,
    /// Characters that the place has, one at least.
    width: usize,
}

impl Place {
    /// The place of `span` in its source.
    pub(crate) fn of(source: &Source, span: Span) -> Self {
        let text = &source.text;
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(text.len(), |at| start + at);
        let column = count(text, line_start, start);
        let width = count(text, start, end.min(line_end)).max(1);
        let skipped = if column + width > EXCERPT { column.saturating_sub(LEAD) } else { 0 };
        let line = text.get(line_start..line_end).unwrap_or_default().trim_end_matches('\r');
        Self {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            excerpt: line.chars().skip(skipped).take(EXCERPT).map(printable).collect(),
            lead: column - skipped,
            width: width.min(EXCERPT.saturating_sub(column - skipped).max(1)),
        }
    }
}

/// The beginning of the character that `at` is in.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// How many characters a part has.
fn count(text: &str, start: usize, end: usize) -> usize {
    text.get(start..end).map_or(0, |part| part.chars().count())
}

/// Terminals shall not act on what a file holds.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.source)?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}: ", self.severity)?;
        self.message.chars().try_for_each(|c| write!(f, "{}", printable(c)))?;
        if let Some(place) = &self.place {
            write!(f, "\n{:>5} | {}", place.line, place.excerpt)?;
            write!(f, "\n      | {:lead$}{:^<width$}", "", "", lead = place.lead, width = place.width)?;
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n      = help: {help}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use proptest::prelude::*;

    use super::*;

    fn diagnostic(text: &str, start: usize, end: usize) -> Diagnostic {
        let source = Source { name: "a.cfg".into(), text: text.into() };
        Diagnostic {
            severity: Severity::Error,
            message: "no".into(),
            help: None,
            source: source.name.clone(),
            place: Some(Place::of(&source, Span { source: 0, start, end })),
        }
    }

    #[test]
    fn the_place_is_underlined() {
        let shown = diagnostic("name = 'a'\r\n\tvcpus = 33\r\n", 21, 23).to_string();
        assert_eq!(shown, "a.cfg:2:10: error: no\n    2 |  vcpus = 33\n      |          ^^");
    }

    #[test]
    fn columns_are_characters() {
        let shown = diagnostic("ä=é", 3, 5).to_string();
        assert_eq!(shown, "a.cfg:1:3: error: no\n    1 | ä=é\n      |   ^");
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        assert_eq!(diagnostic("a\n", 2, 2).to_string(), "a.cfg:2:1: error: no\n    2 | \n      | ^");
    }

    #[test]
    fn of_a_long_line_the_part_is_shown() {
        let text = "x".repeat(5000) + "!" + &"y".repeat(5000);
        let shown = diagnostic(&text, 5000, 5001).to_string();
        let lines: alloc::vec::Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "a.cfg:1:5001: error: no");
        assert_eq!(lines[1].find('!'), lines[2].find('^'));
        assert!(lines[1].len() <= 80);
    }

    #[test]
    fn what_is_missing_has_no_place() {
        let missing = Diagnostic { place: None, help: Some("do".into()), ..diagnostic("", 0, 0) };
        assert_eq!(missing.to_string(), "a.cfg: error: no\n      = help: do");
    }

    #[test]
    fn a_terminal_does_not_act_on_a_file() {
        assert!(!diagnostic("\x1b[2J", 0, 1).to_string().contains('\x1b'));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_place_can_be_shown(text in ".{0,200}", start in 0usize..300, end in 0usize..300) {
            let shown = diagnostic(&text, start, end).to_string();
            prop_assert!(shown.lines().count() >= 3);
            prop_assert!(shown.contains('^'));
        }
    }
}
