//! A line of the shell cut into commands and words, as a Unix shell cuts it.
//!
//! Blanks part words, `;` parts commands, `#` before a word starts a comment. In `'...'` all
//! characters are themselves; in `"..."` a backslash guards `"` and `\`; elsewhere it guards
//! any character.

use alloc::string::String;
use alloc::vec::Vec;

/// A word without its quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    /// What it says.
    pub(crate) text: String,
    /// Where it starts in the line, in bytes.
    pub(crate) start: usize,
}

/// A line in pieces.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Split {
    /// The words of each command; a command may have none.
    pub(crate) commands: Vec<Vec<Word>>,
    /// What the line's end leaves open: a quote, or a backslash with nothing to guard.
    pub(crate) open: Option<char>,
    /// The line ends inside a word or a quote, not between words.
    pub(crate) in_word: bool,
}

/// Cuts a line.
pub(crate) fn split(line: &str) -> Split {
    let mut splitter = Splitter::default();
    for (at, c) in line.char_indices() {
        splitter.take(at, c);
    }
    splitter.finish()
}

/// A word written so that [`split`] gives it back.
pub(crate) fn quote(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len());
    for c in word.chars() {
        if c.is_whitespace() || matches!(c, '\'' | '"' | '\\' | ';' | '#') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Between,
    Word,
    Single,
    Double,
    Guarded,
    GuardedInDouble,
    Comment,
}

#[derive(Default)]
struct Splitter {
    state: State,
    commands: Vec<Vec<Word>>,
    words: Vec<Word>,
    word: Option<Word>,
}

impl Splitter {
    fn take(&mut self, at: usize, c: char) {
        self.state = match (self.state, c) {
            (State::Comment, _) | (State::Between, '#') => State::Comment,
            (State::Single, '\'') | (State::Double, '"') => State::Word,
            (State::Double, '\\') => State::GuardedInDouble,
            (State::Single | State::Double, _) => self.push(at, c),
            (State::GuardedInDouble, _) => self.guarded_in_double(at, c),
            (State::Guarded, _) => {
                self.push(at, c);
                State::Word
            }
            (_, ';') => self.end_command(),
            (_, c) if c.is_whitespace() => self.end_word(),
            (_, '\'') => self.open(at, State::Single),
            (_, '"') => self.open(at, State::Double),
            (_, '\\') => self.open(at, State::Guarded),
            (_, c) => {
                self.push(at, c);
                State::Word
            }
        };
    }

    /// Adds a character to the word, which it may start.
    fn push(&mut self, at: usize, c: char) -> State {
        let state = self.state;
        self.open(at, state);
        if let Some(word) = &mut self.word {
            word.text.push(c);
        }
        state
    }

    /// A backslash guards what means something in double quotes, and is itself before the rest.
    fn guarded_in_double(&mut self, at: usize, c: char) -> State {
        if !matches!(c, '"' | '\\') {
            self.push(at, '\\');
        }
        self.push(at, c);
        State::Double
    }

    fn open(&mut self, at: usize, next: State) -> State {
        self.word.get_or_insert_with(|| Word { text: String::new(), start: at });
        next
    }

    fn end_word(&mut self) -> State {
        self.words.extend(self.word.take());
        State::Between
    }

    fn end_command(&mut self) -> State {
        self.end_word();
        self.commands.push(core::mem::take(&mut self.words));
        State::Between
    }

    fn finish(mut self) -> Split {
        let open = match self.state {
            State::Single => Some('\''),
            State::Double => Some('"'),
            State::Guarded | State::GuardedInDouble => Some('\\'),
            State::Between | State::Word | State::Comment => None,
        };
        let in_word = !matches!(self.state, State::Between | State::Comment);
        self.end_command();
        Split { commands: self.commands, open, in_word }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<Vec<String>> {
        let commands = split(line).commands.into_iter();
        commands.map(|words| words.into_iter().map(|word| word.text).collect()).collect()
    }

    #[test]
    fn blanks_part_words_and_semicolons_commands() {
        assert_eq!(texts("list  -l\tdom; info;"), [vec!["list", "-l", "dom"], vec!["info"], vec![]]);
        assert_eq!(texts("list;info"), [["list"], ["info"]]);
    }

    #[test]
    fn quotes_and_backslashes_guard() {
        assert_eq!(texts(r#"a 'b c;#' "d \"e\" \f" g\ h\;"#), [["a", "b c;#", r#"d "e" \f"#, "g h;"]]);
        assert_eq!(texts(r#"create f 'name="x"' "" ''"#), [["create", "f", r#"name="x""#, "", ""]]);
        assert_eq!(texts("ab'cd'ef"), [["abcdef"]]);
    }

    #[test]
    fn a_comment_ends_the_line() {
        assert_eq!(texts("list # all; of them"), [["list"]]);
        assert_eq!(texts("a#b"), [["a#b"]]);
    }

    #[test]
    fn what_stays_open_is_told() {
        assert_eq!(split("a 'b").open, Some('\''));
        assert_eq!(split("a \"b").open, Some('"'));
        assert_eq!(split("a b\\").open, Some('\\'));
        assert_eq!(split("a b").open, None);
    }

    #[test]
    fn words_know_where_they_start() {
        let split = split("é; list 'x y'");
        let starts: Vec<usize> = split.commands.iter().flatten().map(|word| word.start).collect();
        assert_eq!(starts, [0, 4, 9]);
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec("[ -~é\\t]{1,12}", 1..5)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(texts(&line.join(" ")), vec![words]);
        }

        #[test]
        fn any_line_can_be_cut(line in any::<String>()) {
            let split = split(&line);
            prop_assert!(split.commands.iter().flatten().all(|word| line.is_char_boundary(word.start)));
        }
    }
}
