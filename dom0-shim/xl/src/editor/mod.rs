//! The line editor: bytes of the terminal in, what to show out.
//!
//! It reads and writes nothing itself. `key` makes keys from bytes, `line` is the text, `history`
//! the lines from before, `view` the row on the screen.

mod history;
mod key;
mod line;
mod view;

use alloc::string::String;
use alloc::vec::Vec;

use history::History;
use key::{Decoder, Key};
use line::Line;
use view::View;

const BELL: &str = "\x07";
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// What a byte led to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Nothing that concerns the caller.
    None,
    /// The user entered a line.
    Line(String),
    /// The user dropped the line.
    Interrupt,
    /// The user asks to complete the word that ends this text.
    Complete(String),
}

/// An editor of one line after the other.
#[derive(Debug)]
pub(crate) struct Editor {
    prompt: &'static str,
    keys: Decoder,
    line: Line,
    history: History,
    view: View,
}

impl Editor {
    /// An editor that shows `prompt` before each line.
    pub(crate) fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            keys: Decoder::default(),
            line: Line::default(),
            history: History::default(),
            view: View::default(),
        }
    }

    /// Takes a byte; `out` is what the terminal is to show.
    pub(crate) fn feed(&mut self, byte: u8, out: &mut String) -> Event {
        match self.keys.feed(byte) {
            None => Event::None,
            Some(Key::Char(c)) => self.insert(c, out),
            Some(Key::Enter) => Event::Line(self.enter(out)),
            Some(Key::Interrupt) => self.interrupt(out),
            Some(Key::Tab) => Event::Complete(self.line.before()),
            Some(Key::DeleteOrEnd) if self.line.chars().is_empty() => self.end(out),
            Some(key) => self.edit(key, out),
        }
    }

    /// Draws the prompt and the line.
    pub(crate) fn draw(&mut self) -> String {
        self.view.draw(self.prompt, &self.line)
    }

    /// Puts `text` in the place of the `count` characters before the cursor.
    pub(crate) fn replace_before(&mut self, count: usize, text: &str) -> String {
        let done = self.line.replace_before(count, text);
        self.drawn_or_bell(done)
    }

    fn drawn_or_bell(&mut self, done: bool) -> String {
        if done { self.draw() } else { BELL.into() }
    }

    fn insert(&mut self, c: char, out: &mut String) -> Event {
        if !self.line.insert(&[c]) {
            *out += BELL;
        } else if self.view.shows_appended(self.prompt, &self.line) {
            out.push(c);
        } else {
            *out += &self.draw();
        }
        Event::None
    }

    /// The cursor leaves the row at the end of what it shows.
    fn enter(&mut self, out: &mut String) -> String {
        if self.line.cursor() < self.line.chars().len() {
            self.line.move_to(usize::MAX);
            *out += &self.draw();
        }
        *out += "\n";
        self.view.reset();
        let line = self.line.take();
        self.history.add(&line);
        line
    }

    fn interrupt(&mut self, out: &mut String) -> Event {
        self.line.take();
        self.view.reset();
        *out += "^C\n";
        Event::Interrupt
    }

    /// Ctrl-D in an empty line ends other shells; here it is the machine that would have to end.
    fn end(&mut self, out: &mut String) -> Event {
        *out += "\nThis shell is the host's own: `poweroff` stops the machine, `reset` starts it again.\n";
        *out += &self.draw();
        Event::None
    }

    fn edit(&mut self, key: Key, out: &mut String) -> Event {
        let cursor = self.line.cursor();
        let mut fits = true;
        match key {
            Key::Backspace => self.line.backspace(),
            Key::Delete | Key::DeleteOrEnd => self.line.delete(),
            Key::Left => self.line.move_to(cursor.saturating_sub(1)),
            Key::Right => self.line.move_to(cursor.saturating_add(1)),
            Key::Home => self.line.move_to(0),
            Key::End => self.line.move_to(usize::MAX),
            Key::WordLeft => self.line.move_to(self.line.word_start()),
            Key::WordRight => self.line.move_to(self.line.word_end()),
            Key::CutToStart => self.line.cut_to(0),
            Key::CutToEnd => self.line.cut_to(usize::MAX),
            Key::CutWordLeft => self.line.cut_to(self.line.word_start()),
            Key::CutWordRight => self.line.cut_to(self.line.word_end()),
            Key::Paste => fits = self.line.paste(),
            Key::Swap => self.line.swap(),
            Key::Up => self.recall_older(),
            Key::Down => self.recall_newer(),
            Key::Clear => *out += CLEAR_SCREEN,
            Key::Char(_) | Key::Enter | Key::Tab | Key::Interrupt => {}
        }
        *out += &self.drawn_or_bell(fits);
        Event::None
    }

    fn recall_older(&mut self) {
        if let Some(line) = self.history.older(&self.line.text()) {
            self.line.set(line);
        }
    }

    fn recall_newer(&mut self) {
        if let Some(line) = self.history.newer() {
            self.line.set(line);
        }
    }
}

/// Words in columns, as a list of completions shows them.
pub(crate) fn columns(words: &[String]) -> String {
    const ROW: usize = 79;
    let widest = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let width = widest.saturating_add(2);
    let in_row = (ROW / width).max(1);
    let mut text = String::new();
    for row in words.chunks(in_row) {
        let row: Vec<String> = row.iter().map(|word| alloc::format!("{word:<width$}")).collect();
        text += row.concat().trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the bytes entered, and what they showed.
    fn type_in(bytes: &[u8]) -> (Vec<String>, String) {
        let mut editor = Editor::new("# ");
        let mut lines = Vec::new();
        let mut out = String::new();
        for byte in bytes {
            if let Event::Line(line) = editor.feed(*byte, &mut out) {
                lines.push(line);
            }
        }
        (lines, out)
    }

    fn entered(bytes: &[u8]) -> String {
        type_in(bytes).0.pop().unwrap()
    }

    #[test]
    fn typed_characters_are_echoed_alone() {
        let (lines, out) = type_in(b"list\r");
        assert_eq!(lines, ["list"]);
        assert_eq!(out, "list\n");
        let (lines, out) = type_in(b"list\x02\r");
        assert_eq!(lines, ["list"]);
        assert!(out.ends_with("\r# list\x1b[K\r\x1b[6C\n"));
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(entered(b"st\x01li\x05 -l\r"), "list -l");
        assert_eq!(entered(b"lisst\x02\x02\x7f\r"), "list");
        assert_eq!(entered(b"xlist\x1b[H\x1b[3~\r"), "list");
        assert_eq!(entered(b"xlist\x01\x04\r"), "list");
        assert_eq!(entered(b"pause dom\x17\x17list\r"), "list");
        assert_eq!(entered(b"dom pause\x17\x01\x19 \x0b\x01\x19\r"), "dom pause ");
        assert_eq!(entered(b"list rest\x1b[D\x1b[D\x1b[D\x1b[D\x0b\x7f\r"), "list");
        assert_eq!(entered(b"garbage\x15list\r"), "list");
        assert_eq!(entered(b"one two\x1bb\x1bb\x1bd\x1bf\x1b[C\r"), " two");
        assert_eq!(entered(b"lits\x14\r"), "list");
    }

    #[test]
    fn history_is_recalled() {
        assert_eq!(entered(b"one\rtwo\r\x10\x10\r"), "one");
        assert_eq!(entered(b"one\rtwo\r\x1b[A\x1b[A\x1b[B\r"), "two");
        assert_eq!(entered(b"one\rdra\x10\x0eft\r"), "draft");
    }

    #[test]
    fn an_interrupt_drops_the_line() {
        let (lines, out) = type_in(b"destroy\x03list\r");
        assert_eq!(lines, ["list"]);
        assert!(out.starts_with("destroy^C\nlist"));
    }

    #[test]
    fn the_end_of_input_says_how_to_stop() {
        let (lines, out) = type_in(b"\x04list\r");
        assert_eq!(lines, ["list"]);
        assert!(out.contains("`poweroff`"));
    }

    #[test]
    fn a_line_that_is_too_long_rings() {
        let (lines, out) = type_in(&[&[b'x'; 1030][..], b"\r"].concat());
        assert_eq!(lines[0].len(), line::MAX_LINE);
        assert_eq!(out.matches('\x07').count(), 1030 - line::MAX_LINE);
    }

    #[test]
    fn the_screen_is_cleared_but_not_the_line() {
        let (lines, out) = type_in(b"li\x0cst\r");
        assert_eq!(lines, ["list"]);
        assert!(out.contains("\x1b[H\x1b[2J\r# li"));
    }

    #[test]
    fn completions_are_shown_in_columns() {
        let words: Vec<String> = (0..12).map(|n| alloc::format!("word-{n:02}")).collect();
        let shown = columns(&words);
        assert!(shown.starts_with("word-00  word-01  "));
        assert_eq!(shown.lines().count(), 2);
        assert_eq!(columns(&["x".repeat(200)]).trim_end(), "x".repeat(200));
    }

    proptest! {
        #[test]
        fn any_bytes_leave_a_line_that_can_be_ended(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut editor = Editor::new("# ");
            let mut out = String::new();
            for byte in bytes {
                let _ = editor.feed(byte, &mut out);
                prop_assert!(editor.line.cursor() <= editor.line.chars().len());
            }
            // A line feed may belong to a carriage return before it.
            let _ = editor.feed(b'\r', &mut out);
            for byte in b"list" {
                prop_assert_eq!(editor.feed(*byte, &mut out), Event::None);
            }
            prop_assert_eq!(editor.feed(b'\r', &mut out), Event::Line("list".into()));
        }
    }
}
