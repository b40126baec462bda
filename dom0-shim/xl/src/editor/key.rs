//! Keys from the bytes of a terminal: UTF-8, the control characters of Emacs, and the escape
//! sequences of ANSI terminals (ECMA-48; xterm's and VT220's cursor keys).
//!
//! What is no key is dropped: broken UTF-8, unknown sequences, control strings.

/// A key that the line editor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// A character to insert.
    Char(char),
    /// The line is complete.
    Enter,
    /// Complete the word.
    Tab,
    /// Delete before the cursor.
    Backspace,
    /// Delete under the cursor.
    Delete,
    /// Delete under the cursor, or end the input where the line is empty.
    DeleteOrEnd,
    /// Cursor keys.
    Left,
    Right,
    Up,
    Down,
    /// To the start and the end of the line.
    Home,
    End,
    /// By words.
    WordLeft,
    WordRight,
    /// Cut: to the line's start, its end, the word before, the word after.
    CutToStart,
    CutToEnd,
    CutWordLeft,
    CutWordRight,
    /// Insert what was cut last.
    Paste,
    /// Swap the two characters before the cursor.
    Swap,
    /// Clear the screen.
    Clear,
    /// Drop the line.
    Interrupt,
}

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;
const BELL: u8 = 0x07;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After a carriage return: a line feed belongs to it.
    Return,
    /// After ESC.
    Escape,
    /// After ESC O.
    Ss3,
    /// After ESC [, with the first number and whether a second one was a modifier.
    Csi { number: u16, modified: bool },
    /// In a control string (ESC ], ESC P, ...) that BEL or ESC \ ends.
    ControlString,
    /// In a character of several bytes.
    Utf8 { bytes: [u8; 4], have: usize, need: usize },
}

/// Makes keys from bytes.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
}

impl Decoder {
    /// Takes a byte; gives the key that it completes.
    pub(crate) fn feed(&mut self, byte: u8) -> Option<Key> {
        let state = core::mem::take(&mut self.state);
        match state {
            State::Return if byte == b'\n' => None,
            State::Ground | State::Return => self.ground(byte),
            State::Utf8 { bytes, have, need } => self.utf8(bytes, have, need, byte),
            State::ControlString => self.control_string(byte),
            // A control character in a sequence: the sequence was none.
            _ if byte < 0x20 => self.ground(byte),
            State::Escape => self.escape(byte),
            State::Ss3 => cursor_key(byte, false),
            State::Csi { number, modified } => self.csi(number, modified, byte),
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        match byte {
            ESCAPE => self.state = State::Escape,
            b'\r' => {
                self.state = State::Return;
                return Some(Key::Enter);
            }
            0..0x20 | DELETE => return control_key(byte),
            0x20..0x80 => return Some(Key::Char(char::from(byte))),
            0xc2..0xe0 => self.start_utf8(byte, 2),
            0xe0..0xf0 => self.start_utf8(byte, 3),
            0xf0..0xf5 => self.start_utf8(byte, 4),
            // A byte that starts nothing in UTF-8.
            _ => {}
        }
        None
    }

    fn start_utf8(&mut self, byte: u8, need: usize) {
        self.state = State::Utf8 { bytes: [byte, 0, 0, 0], have: 1, need };
    }

    fn utf8(&mut self, mut bytes: [u8; 4], have: usize, need: usize, byte: u8) -> Option<Key> {
        if byte & 0xc0 != 0x80 {
            return self.ground(byte);
        }
        *bytes.get_mut(have)? = byte;
        let have = have.saturating_add(1);
        if have < need {
            self.state = State::Utf8 { bytes, have, need };
            return None;
        }
        let text = core::str::from_utf8(bytes.get(..need)?).ok()?;
        text.chars().next().filter(|c| !c.is_control()).map(Key::Char)
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => self.state = State::Csi { number: 0, modified: false },
            b'O' => self.state = State::Ss3,
            b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::ControlString,
            b'b' | b'B' => return Some(Key::WordLeft),
            b'f' | b'F' => return Some(Key::WordRight),
            b'd' | b'D' => return Some(Key::CutWordRight),
            DELETE => return Some(Key::CutWordLeft),
            _ => {}
        }
        None
    }

    /// Parameters are `0`-`?`, intermediates blank-`/`; what follows ends the sequence.
    fn csi(&mut self, number: u16, modified: bool, byte: u8) -> Option<Key> {
        match byte {
            b'0'..=b'9' if !modified => {
                let digit = u16::from(byte.wrapping_sub(b'0'));
                let number = number.saturating_mul(10).saturating_add(digit);
                self.state = State::Csi { number, modified };
            }
            b';' => self.state = State::Csi { number, modified: true },
            0x20..0x40 => self.state = State::Csi { number, modified },
            b'~' => return numbered_key(number),
            _ => return cursor_key(byte, modified),
        }
        None
    }

    fn control_string(&mut self, byte: u8) -> Option<Key> {
        match byte {
            BELL => None,
            // The rest, `\`, is no key after ESC.
            0..0x20 => self.ground(byte),
            _ => {
                self.state = State::ControlString;
                None
            }
        }
    }
}

/// Emacs' control characters.
fn control_key(byte: u8) -> Option<Key> {
    // The letter that is typed with Ctrl.
    match byte ^ 0x40 {
        b'A' => Some(Key::Home),
        b'B' => Some(Key::Left),
        b'C' => Some(Key::Interrupt),
        b'D' => Some(Key::DeleteOrEnd),
        b'E' => Some(Key::End),
        b'F' => Some(Key::Right),
        b'H' | b'?' => Some(Key::Backspace),
        b'I' => Some(Key::Tab),
        b'J' => Some(Key::Enter),
        b'K' => Some(Key::CutToEnd),
        b'L' => Some(Key::Clear),
        b'N' => Some(Key::Down),
        b'P' => Some(Key::Up),
        b'T' => Some(Key::Swap),
        b'U' => Some(Key::CutToStart),
        b'W' => Some(Key::CutWordLeft),
        b'Y' => Some(Key::Paste),
        _ => None,
    }
}

fn cursor_key(byte: u8, modified: bool) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' if modified => Some(Key::WordRight),
        b'D' if modified => Some(Key::WordLeft),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

fn numbered_key(number: u16) -> Option<Key> {
    match number {
        1 | 7 => Some(Key::Home),
        3 => Some(Key::Delete),
        4 | 8 => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect()
    }

    #[test]
    fn a_line_ends_once_however_it_is_written() {
        assert_eq!(keys(b"a\rb\nc\r\nd"), {
            let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(Key::Char);
            [a, Key::Enter, b, Key::Enter, c, Key::Enter, d]
        });
        assert_eq!(keys(b"\r\r\n\n"), [Key::Enter; 3]);
    }

    #[test]
    fn cursor_keys_of_several_terminals() {
        assert_eq!(keys(b"\x1b[A\x1bOA\x10"), [Key::Up; 3]);
        assert_eq!(keys(b"\x1b[H\x1bOH\x1b[1~\x1b[7~\x01"), [Key::Home; 5]);
        assert_eq!(keys(b"\x1b[F\x1bOF\x1b[4~\x1b[8~\x05"), [Key::End; 5]);
        assert_eq!(keys(b"\x1b[3~"), [Key::Delete]);
        assert_eq!(keys(b"\x1b[1;5C\x1bf"), [Key::WordRight; 2]);
        assert_eq!(keys(b"\x1b[1;5D\x1bb"), [Key::WordLeft; 2]);
        assert_eq!(keys(b"\x7f\x08"), [Key::Backspace; 2]);
    }

    #[test]
    fn unknown_sequences_are_dropped_whole() {
        assert_eq!(keys(b"\x1b[200~x\x1b[?25hy\x1b[99999999999z"), ['x', 'y'].map(Key::Char));
        assert_eq!(keys(b"\x1b]0;title\x07x\x1bPq...\x1b\\y\x1bz"), ['x', 'y'].map(Key::Char));
    }

    #[test]
    fn a_line_can_always_be_ended() {
        for start in [&b"\x1b"[..], b"\x1b[", b"\x1b[12;", b"\x1bO", b"\x1b]12", b"\xf0\x9f", b"\x1b\x1b"] {
            let bytes = [start, b"\r"].concat();
            assert_eq!(keys(&bytes), [Key::Enter], "{start:x?}");
        }
    }

    #[test]
    fn characters_are_utf8() {
        assert_eq!(keys("aé日🦀".as_bytes()), ['a', 'é', '日', '🦀'].map(Key::Char));
        // Too long, a surrogate, beyond Unicode, cut short, C1 control.
        for broken in [&b"\xc0\x80"[..], b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe6\x97", b"\xc2\x9b"] {
            let bytes = [broken, b"x"].concat();
            assert_eq!(keys(&bytes), [Key::Char('x')], "{broken:x?}");
        }
    }
}
