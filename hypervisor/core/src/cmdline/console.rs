//! Options of the console: where it goes, what it shows, who reads its keyboard.

use super::{Problem, value};
use crate::log::{Reach, Threshold};

bitflags::bitflags! {
    /// Where messages go.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Consoles: u8 {
        /// The screen.
        const VGA = 1 << 0;
        /// The first serial port.
        const COM1 = 1 << 1;
        /// The second serial port.
        const COM2 = 1 << 2;
    }
}

/// What each line of the log begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timestamps {
    /// Nothing.
    None,
    /// `[YYYY-MM-DD HH:MM:SS]`
    Date,
    /// `[YYYY-MM-DD HH:MM:SS.mmm]`
    DateMs,
    /// Since boot: `[SSSSSS.uuuuuu]`
    Boot,
    /// The bare counter: `[XXXXXXXXXXXXXXXX]`
    Raw,
}

/// Which key switches serial input between hypervisor and Dom0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConSwitch {
    /// Pressed three times with CTRL; a lower case letter.
    key: u8,
    /// Whether input goes to Dom0 as soon as that boots.
    pub to_dom0_at_boot: bool,
}

impl ConSwitch {
    /// `conswitch=a`.
    pub const DEFAULT: Self = Self { key: b'a', to_dom0_at_boot: true };

    /// The letter of the key, in lower case.
    #[must_use]
    pub const fn key(self) -> char {
        self.key as char
    }

    /// The byte that a terminal sends for CTRL and the key.
    #[must_use]
    pub const fn control_code(self) -> u8 {
        self.key & 0x1f
    }
}

/// `console=`: what is there of the list is used, also when something in it is not.
pub(super) fn destinations(text: &str, consoles: &mut Consoles) -> Result<(), Problem> {
    let mut chosen = Consoles::empty();
    let mut outcome = Ok(());
    for item in text.split(',') {
        match item {
            "vga" => chosen |= Consoles::VGA,
            "com1" => chosen |= Consoles::COM1,
            "com2" => chosen |= Consoles::COM2,
            "none" => {}
            _ => {
                outcome = Err(Problem::Unsupported("of its list only vga, com1, com2 and none are followed"))
            }
        }
    }
    // A list of which nothing is there must not silence the machine.
    if outcome.is_ok() || !chosen.is_empty() {
        *consoles = chosen;
    }
    outcome
}

pub(super) fn timestamps(given: Option<&str>) -> Result<Timestamps, Problem> {
    match given.unwrap_or("on") {
        "date" => Ok(Timestamps::Date),
        "datems" => Ok(Timestamps::DateMs),
        "boot" => Ok(Timestamps::Boot),
        "raw" => Ok(Timestamps::Raw),
        "none" => Ok(Timestamps::None),
        // It was a boolean once.
        text => match value::boolean(text) {
            Some(true) => Ok(Timestamps::Date),
            Some(false) => Ok(Timestamps::None),
            None => Err(Problem::Expected("none, date, datems, boot or raw")),
        },
    }
}

pub(super) fn conswitch(text: &str) -> Result<ConSwitch, Problem> {
    match *text.as_bytes() {
        [key @ b'a'..=b'z'] => Ok(ConSwitch { key, to_dom0_at_boot: true }),
        [key @ b'a'..=b'z', b'x'] => Ok(ConSwitch { key, to_dom0_at_boot: false }),
        _ => Err(Problem::Expected("a letter from a to z, and x to keep input with the hypervisor")),
    }
}

/// `<level>[/<rate-limited level>]`
pub(super) fn threshold(text: &str) -> Result<Threshold, Problem> {
    let (always, limited) = text.split_once('/').unwrap_or((text, text));
    reach(always)
        .zip(reach(limited))
        .map(|(always, limited)| Threshold::new(always, limited))
        .ok_or(Problem::Expected("none, error, warning, info, debug or all, and another behind a slash"))
}

fn reach(word: &str) -> Option<Reach> {
    match word {
        "none" => Some(Reach::None),
        "error" => Some(Reach::Error),
        "warning" => Some(Reach::Warning),
        "info" => Some(Reach::Info),
        "debug" | "all" => Some(Reach::All),
        _ => None,
    }
}
