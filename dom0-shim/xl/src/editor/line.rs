//! The line that is being edited: characters, the cursor, what was cut.

use alloc::string::String;
use alloc::vec::Vec;

/// Most characters of a line.
pub(crate) const MAX_LINE: usize = 1024;

/// A line with a cursor.
#[derive(Debug, Default)]
pub(crate) struct Line {
    chars: Vec<char>,
    /// Not past the end of `chars`.
    cursor: usize,
    cut: Vec<char>,
}

impl Line {
    /// The characters.
    pub(crate) fn chars(&self) -> &[char] {
        &self.chars
    }

    /// The cursor's place, in characters.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The line as text.
    pub(crate) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// What is before the cursor.
    pub(crate) fn before(&self) -> String {
        self.chars.iter().take(self.cursor).collect()
    }

    /// Replaces the line; the cursor is at the end. What is too long is left out.
    pub(crate) fn set(&mut self, text: &str) {
        self.chars = text.chars().take(MAX_LINE).collect();
        self.cursor = self.chars.len();
    }

    /// Gives the line away and starts an empty one.
    pub(crate) fn take(&mut self) -> String {
        let text = self.text();
        self.set("");
        text
    }

    /// Inserts at the cursor; `false` where the line would be too long.
    pub(crate) fn insert(&mut self, text: &[char]) -> bool {
        if self.chars.len().saturating_add(text.len()) > MAX_LINE {
            return false;
        }
        self.chars.splice(self.cursor..self.cursor, text.iter().copied());
        self.cursor = self.cursor.saturating_add(text.len());
        true
    }

    /// Puts `text` in the place of the `count` characters before the cursor; `false` where the
    /// line would be too long, and nothing happens.
    pub(crate) fn replace_before(&mut self, count: usize, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let start = self.cursor.saturating_sub(count);
        let kept = self.chars.len().saturating_sub(self.cursor.saturating_sub(start));
        if kept.saturating_add(text.len()) > MAX_LINE {
            return false;
        }
        self.remove(start, self.cursor);
        self.insert(&text)
    }

    /// Moves the cursor to a place, or to the end where that is past it.
    pub(crate) fn move_to(&mut self, place: usize) {
        self.cursor = place.min(self.chars.len());
    }

    /// Where the word before the cursor starts.
    pub(crate) fn word_start(&self) -> usize {
        let before = self.chars.get(..self.cursor).unwrap_or_default();
        let blanks = before.iter().rev().take_while(|c| c.is_whitespace()).count();
        let word = before.iter().rev().skip(blanks).take_while(|c| !c.is_whitespace()).count();
        self.cursor.saturating_sub(blanks).saturating_sub(word)
    }

    /// Where the word after the cursor ends.
    pub(crate) fn word_end(&self) -> usize {
        let after = self.chars.get(self.cursor..).unwrap_or_default();
        let blanks = after.iter().take_while(|c| c.is_whitespace()).count();
        let word = after.iter().skip(blanks).take_while(|c| !c.is_whitespace()).count();
        self.cursor.saturating_add(blanks).saturating_add(word)
    }

    /// Deletes the character before the cursor.
    pub(crate) fn backspace(&mut self) {
        self.remove(self.cursor.saturating_sub(1), self.cursor);
    }

    /// Deletes the character under the cursor.
    pub(crate) fn delete(&mut self) {
        self.remove(self.cursor, self.cursor.saturating_add(1));
    }

    /// Cuts what is between the cursor and a place.
    pub(crate) fn cut_to(&mut self, place: usize) {
        let cut = self.remove(place.min(self.cursor), place.max(self.cursor));
        if !cut.is_empty() {
            self.cut = cut;
        }
    }

    /// Inserts what was cut last; `false` where the line would be too long.
    pub(crate) fn paste(&mut self) -> bool {
        let cut = self.cut.clone();
        self.insert(&cut)
    }

    /// Swaps the characters at the cursor's two sides; at the end the last two.
    pub(crate) fn swap(&mut self) {
        let at = self.cursor.min(self.chars.len().saturating_sub(1));
        if at > 0 {
            self.chars.swap(at.saturating_sub(1), at);
            self.cursor = at.saturating_add(1);
        }
    }

    /// Removes a range, as far as there is one; the cursor is where it was.
    fn remove(&mut self, start: usize, end: usize) -> Vec<char> {
        let end = end.min(self.chars.len());
        if start >= end {
            return Vec::new();
        }
        self.cursor = start;
        self.chars.drain(start..end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, cursor: usize) -> Line {
        let mut line = Line::default();
        line.set(text);
        line.move_to(cursor);
        line
    }

    #[test]
    fn inserts_and_deletes_at_the_cursor() {
        let mut line = line("lst é", 1);
        assert!(line.insert(&['i']));
        assert_eq!((line.text().as_str(), line.cursor()), ("list é", 2));
        line.backspace();
        line.delete();
        assert_eq!((line.text().as_str(), line.cursor()), ("lt é", 1));
        line.move_to(99);
        line.delete();
        line.backspace();
        assert_eq!(line.text(), "lt ");
        line.move_to(0);
        line.backspace();
        assert_eq!(line.text(), "lt ");
    }

    #[test]
    fn cuts_words_and_pastes_them() {
        let mut line = line("pause  one two", 11);
        line.cut_to(line.word_start());
        assert_eq!((line.text().as_str(), line.cursor()), ("pause  two", 7));
        line.cut_to(line.word_end());
        assert_eq!(line.text(), "pause  ");
        assert!(line.paste() && line.paste());
        assert_eq!(line.text(), "pause  twotwo");
        line.cut_to(0);
        // Cutting nothing keeps what was cut.
        line.cut_to(0);
        assert!(line.paste());
        assert_eq!(line.text(), "pause  twotwo");
    }

    #[test]
    fn swaps_two_characters() {
        let mut line = line("ilst", 1);
        line.swap();
        assert_eq!((line.text().as_str(), line.cursor()), ("list", 2));
        line.set("ab");
        line.swap();
        assert_eq!(line.text(), "ba");
        line.set("a");
        line.swap();
        line.set("");
        line.swap();
        assert_eq!(line.text(), "");
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = Line::default();
        for _ in 0..MAX_LINE {
            assert!(line.insert(&['x']));
        }
        assert!(!line.insert(&['x']));
        assert!(!line.replace_before(1, "yy"));
        assert!(line.replace_before(1, "y"));
        assert_eq!(line.chars().len(), MAX_LINE);
        assert!(line.text().ends_with('y'));
    }
}
