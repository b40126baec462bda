//! The console: text out, lines in. What cannot be shown there goes to the debug port.

use alloc::string::String;

use guest_rt::rings::Rings;
use guest_rt::{cpu, timer};

/// How long a full ring is waited for, ns: longer than a toolstack that works needs.
const PATIENCE_NS: u64 = 2_000_000_000;
/// Bytes of a line.
const LONGEST: usize = 240;
const DEBUG_PORT: u16 = 0xe9;

const CTRL_C: u8 = 3;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 0x7f;
const ESCAPE: u8 = 0x1b;

/// Writes a line to the debug port, which the hypervisor logs.
pub(crate) fn debug(line: &str) {
    for byte in line.bytes().chain([b'\n']) {
        // A domain whose port faults is mute.
        let _ = cpu::outb(DEBUG_PORT, byte);
    }
}

/// The console, as far as there is one.
pub(crate) struct Console {
    rings: Option<Rings>,
    /// Nobody has emptied the ring for a while: nothing is waited for until somebody does.
    stalled: bool,
    line: Line,
}

impl Console {
    pub(crate) fn open() -> Self {
        let rings = Rings::console();
        if let Err(error) = rings {
            debug(&alloc::format!("demo: no console: {error:?}"));
        }
        Self { rings: rings.ok(), stalled: false, line: Line::default() }
    }

    /// Shows `text`; `\n` ends a line. What does not fit in time is lost.
    pub(crate) async fn write(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.send(b"\r\n").await;
            }
            self.send(line.as_bytes()).await;
        }
    }

    async fn send(&mut self, mut bytes: &[u8]) {
        while let Some(rings) = self.rings.as_ref().filter(|_| !bytes.is_empty()) {
            match rings.write(bytes) {
                Ok(0) if self.stalled => return,
                Ok(0) => self.stalled = timer::within(PATIENCE_NS, rings.event()).await.is_none(),
                Ok(count) => {
                    self.stalled = false;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) => {
                    debug(&alloc::format!("demo: console: {error:?}"));
                    self.rings = None;
                }
            }
        }
    }

    /// A key that was pressed.
    pub(crate) fn key(&mut self) -> Option<u8> {
        let mut byte = [0];
        let rings = self.rings.as_ref()?;
        matches!(rings.read(&mut byte), Ok(1..)).then_some(byte[0])
    }

    /// Takes a key as part of a line, and shows it.
    pub(crate) async fn edit(&mut self, key: u8) -> Option<Entered> {
        let edited = self.line.press(key);
        match &edited {
            Edited::Nothing => {}
            Edited::Added(byte) => self.send(&[*byte]).await,
            Edited::Removed(count) => {
                for _ in 0..*count {
                    self.send(b"\x08 \x08").await;
                }
            }
            Edited::Ended(_) => self.send(b"\r\n").await,
        }
        if let Edited::Ended(entered) = edited { Some(entered) } else { None }
    }

    /// Waits for a key, or for room.
    pub(crate) async fn changed(&self) {
        match &self.rings {
            Some(rings) => rings.event().await,
            None => core::future::pending().await,
        }
    }
}

/// A line that was ended.
pub(crate) enum Entered {
    Line(String),
    /// By Ctrl-C.
    Abandoned,
}

/// What a key did to the line.
enum Edited {
    Nothing,
    Added(u8),
    Removed(usize),
    Ended(Entered),
}

/// The line being typed: printable ASCII.
#[derive(Default)]
struct Line {
    text: String,
    escape: Escape,
}

/// How far in a terminal's key sequence; all of them are ignored.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// Behind `ESC [` or `ESC O`, up to a letter or a tilde.
    Sequence,
}

impl Line {
    fn press(&mut self, key: u8) -> Edited {
        match (self.escape, key) {
            (Escape::Begun, b'[' | b'O') => {
                self.escape = Escape::Sequence;
                return Edited::Nothing;
            }
            (Escape::Sequence, _) => {
                if matches!(key, b'@'..=b'~') {
                    self.escape = Escape::None;
                }
                return Edited::Nothing;
            }
            _ => self.escape = Escape::None,
        }
        match key {
            b'\r' | b'\n' => Edited::Ended(Entered::Line(core::mem::take(&mut self.text))),
            CTRL_C => {
                self.text.clear();
                Edited::Ended(Entered::Abandoned)
            }
            CTRL_U => Edited::Removed(core::mem::take(&mut self.text).len()),
            BACKSPACE | DELETE => Edited::Removed(usize::from(self.text.pop().is_some())),
            ESCAPE => {
                self.escape = Escape::Begun;
                Edited::Nothing
            }
            b' '..=b'~' if self.text.len() < LONGEST => {
                self.text.push(char::from(key));
                Edited::Added(key)
            }
            _ => Edited::Nothing,
        }
    }
}
