//! What a guest writes to the console, kept back until a line is complete.

use alloc::format;
use alloc::string::String;

use crate::id::DomId;

/// Longest line kept back until its end comes.
const LONGEST: usize = 128;

/// The line that a guest has begun, behind what says whose it is.
#[derive(Debug)]
pub struct GuestLine {
    text: String,
    /// Length of what says whose it is.
    mark: usize,
}

impl GuestLine {
    /// Of domain `id`, which has written nothing yet.
    #[must_use]
    pub fn new(id: DomId) -> Self {
        let text = format!("(d{id}) ");
        Self { mark: text.len(), text }
    }

    /// Takes what the guest writes; `print` gets each line that is complete, or too long.
    /// Control characters other than tab do not reach the administrator's terminal.
    pub fn write(&mut self, bytes: &[u8], mut print: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some((&first, behind)) = rest.split_first() {
            let room = self.mark.saturating_add(LONGEST).saturating_sub(self.text.len());
            let most = rest.get(..room).unwrap_or(rest);
            let len = printable(most);
            let (run, later) = rest.split_at(len);
            // Printable characters are ASCII.
            self.text.push_str(core::str::from_utf8(run).unwrap_or_default());
            rest = if run.is_empty() { behind } else { later };
            if len == room || run.is_empty() && first == b'\n' {
                print(&self.text);
                self.text.truncate(self.mark);
            }
        }
    }
}

/// How many bytes at the beginning of `bytes` are printable characters.
fn printable(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks();
    let whole = chunks.iter().take_while(|chunk| are_printable(u64::from_le_bytes(**chunk))).count() * 8;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|&byte| !is_printable(byte)).unwrap_or(rest.len())
}

/// Whether all eight bytes are from 20h to 7Eh. A byte that is not may make another one look
/// so, not the reverse.
const fn are_printable(bytes: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = bytes.wrapping_sub(ONES * 0x20);
    let above = bytes.wrapping_add(ONES);
    (bytes | below | above) & ONES << 7 == 0
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut line = GuestLine::new(DomId::DOM0);
        let mut printed = Vec::new();
        pieces.iter().for_each(|piece| line.write(piece, |text| printed.push(text.to_string())));
        printed
    }

    #[test]
    fn lines_say_whose_they_are() {
        assert_eq!(lines(&[b"one\ntwo", b" pieces\n", b"kept back"]), ["(d0) one", "(d0) two pieces"]);
        assert_eq!(lines(&[b"\n"]), ["(d0) "]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        assert_eq!(lines(&[b"a\x1b[31mred\x07\tand\x7f\xff more\r\n"]), ["(d0) a[31mred\tand more"]);
    }

    #[test]
    fn a_long_line_is_broken() {
        let printed = lines(&[&[b'x'; LONGEST + 1], b"\n"]);
        assert_eq!(printed.iter().map(|line| line.len() - 5).collect::<Vec<_>>(), [LONGEST, 1]);
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 3 } else { 256 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn eight_bytes_at_a_time_are_as_one_by_one(bytes in any::<[u8; 8]>(), close in any::<[bool; 8]>()) {
            // Most bytes near the limits.
            let near = core::array::from_fn(|i| if close[i] { 0x1e + bytes[i] % 0x63 } else { bytes[i] });
            let expected = near.iter().all(|byte| (0x20..=0x7e).contains(byte));
            prop_assert_eq!(are_printable(u64::from_le_bytes(near)), expected);
            let count = near.iter().take_while(|&&byte| is_printable(byte)).count();
            prop_assert_eq!(printable(&near), count);
        }

        #[test]
        fn what_is_printed_is_what_was_written(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..9)) {
            let mut line = GuestLine::new(DomId::DOM0);
            let mut printed = String::new();
            for piece in &pieces {
                line.write(piece, |text| printed.push_str(text.strip_prefix("(d0) ").unwrap()));
            }
            line.write(b"\n", |text| printed.push_str(text.strip_prefix("(d0) ").unwrap()));
            let written: Vec<u8> = pieces.concat().into_iter().filter(|&byte| is_printable(byte)).collect();
            prop_assert_eq!(printed.into_bytes(), written);
        }
    }
}
