//! The lines that were entered before, the newest last, none of them twice.

use alloc::collections::VecDeque;
use alloc::string::String;

/// Most lines that are kept.
const MAX_LINES: usize = 100;

/// Lines from before, and which of them is shown.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<String>,
    /// How far back the shown line is; 0 is the line that is being written.
    back: usize,
    /// The line that was being written when an older one was asked for.
    draft: String,
}

impl History {
    /// Keeps a line as the newest.
    pub(crate) fn add(&mut self, line: &str) {
        self.back = 0;
        if line.trim().is_empty() {
            return;
        }
        self.lines.retain(|older| older != line);
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// The line before the shown one; `current` is what is shown.
    pub(crate) fn older(&mut self, current: &str) -> Option<&str> {
        let back = self.back.saturating_add(1);
        let index = self.lines.len().checked_sub(back)?;
        if self.back == 0 {
            self.draft = current.into();
        }
        self.back = back;
        self.lines.get(index).map(String::as_str)
    }

    /// The line after the shown one; in the end the one that was being written.
    pub(crate) fn newer(&mut self) -> Option<&str> {
        self.back = self.back.checked_sub(1)?;
        if self.back == 0 {
            return Some(&self.draft);
        }
        let index = self.lines.len().checked_sub(self.back)?;
        self.lines.get(index).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn goes_back_and_forth_and_keeps_the_draft() {
        let mut history = History::default();
        history.add("list");
        history.add("info");
        assert_eq!(history.older("dra"), Some("info"));
        assert_eq!(history.older("info"), Some("list"));
        assert_eq!(history.older("list"), None);
        assert_eq!(history.newer(), Some("info"));
        assert_eq!(history.newer(), Some("dra"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn no_line_is_kept_twice_nor_an_empty_one() {
        let mut history = History::default();
        for line in ["list", "info", "list", "", "  "] {
            history.add(line);
        }
        assert_eq!(history.lines, ["info", "list"]);
    }

    #[test]
    fn the_oldest_line_goes() {
        let mut history = History::default();
        for number in 0..=MAX_LINES {
            history.add(&format!("line {number}"));
        }
        assert_eq!(history.lines.len(), MAX_LINES);
        assert_eq!(history.lines[0], "line 1");
    }
}
