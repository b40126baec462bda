//! The part of the line that the terminal's row shows. A line that is longer than the row is
//! scrolled sideways; `<` and `>` tell that there is more.

use alloc::format;
use alloc::string::String;

use super::line::Line;

/// Columns of the terminal.
const COLUMNS: usize = 80;

/// Fewest columns for the line, however long the prompt.
const MIN_COLUMNS: usize = 16;

/// What the row shows.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The first character that is shown.
    left: usize,
}

impl View {
    /// Starts again at the line's start.
    pub(crate) fn reset(&mut self) {
        self.left = 0;
    }

    /// Whether the row can show the character that was just added at the line's end by that
    /// character alone.
    pub(crate) fn shows_appended(&self, prompt: &str, line: &Line) -> bool {
        let end = line.chars().len();
        line.cursor() == end && end.saturating_sub(self.left) < width(prompt)
    }

    /// Draws the row anew and puts the cursor in its place.
    pub(crate) fn draw(&mut self, prompt: &str, line: &Line) -> String {
        let width = width(prompt);
        self.scroll(width, line.cursor());
        let shown = self.shown(width, line.chars());
        let column = prompt.chars().count().saturating_add(line.cursor().saturating_sub(self.left));
        let mut row = format!("\r{prompt}{shown}\x1b[K\r");
        if column > 0 {
            row += &format!("\x1b[{column}C");
        }
        row
    }

    /// Moves by half a row, so that not every key scrolls.
    fn scroll(&mut self, width: usize, cursor: usize) {
        let column = cursor.checked_sub(self.left);
        // The marks take the first and the last column.
        let first = usize::from(self.left > 0);
        if column.is_none_or(|column| column < first || column >= width.saturating_sub(1)) {
            self.left = cursor.saturating_sub(width / 2);
        }
        if cursor < width.saturating_sub(1) {
            self.left = 0;
        }
    }

    fn shown(&self, width: usize, chars: &[char]) -> String {
        let mut shown: String = chars.iter().skip(self.left).take(width).collect();
        if chars.len() > self.left.saturating_add(width) {
            shown.pop();
            shown.push('>');
        }
        if self.left > 0 {
            shown = core::iter::once('<').chain(shown.chars().skip(1)).collect();
        }
        shown
    }
}

/// Columns for the line. The last one stays free: some terminals go on to the next row there.
fn width(prompt: &str) -> usize {
    COLUMNS.saturating_sub(prompt.chars().count()).saturating_sub(1).max(MIN_COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize, cursor: usize) -> Line {
        let mut line = Line::default();
        line.set(&"0123456789".chars().cycle().take(length).collect::<String>());
        line.move_to(cursor);
        line
    }

    #[test]
    fn a_short_line_is_shown_whole() {
        let mut view = View::default();
        assert_eq!(view.draw("# ", &line(3, 1)), "\r# 012\x1b[K\r\x1b[3C");
        assert_eq!(view.draw("", &line(0, 0)), "\r\x1b[K\r");
    }

    #[test]
    fn a_long_line_stays_in_its_row() {
        let mut view = View::default();
        for cursor in (0..=300).chain((0..=300).rev()) {
            let line = line(300, cursor);
            let row = view.draw("# ", &line);
            let shown = row.strip_prefix("\r# ").unwrap().split("\x1b[K").next().unwrap();
            assert!(shown.len() <= 77, "{cursor}: {shown}");
            let column = cursor - view.left;
            assert!(column <= 77, "{cursor}");
            // The cursor is on its own character, not on a mark, but for the end.
            let under = shown.chars().nth(column);
            assert_eq!(under, line.chars().get(cursor).copied(), "{cursor}: {shown}");
            assert_eq!(shown.starts_with('<'), view.left > 0);
            assert_eq!(shown.ends_with('>'), view.left + 77 < 300);
        }
    }
}
