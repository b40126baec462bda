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

#[cfg(test)]
mod tests {
    use super::*;

    fn consoles(text: &str) -> (Consoles, bool) {
        let mut consoles = Consoles::COM1 | Consoles::VGA;
        let outcome = destinations(text, &mut consoles);
        (consoles, outcome.is_ok())
    }

    #[test]
    fn bpm_03_console_takes_a_list() {
        assert_eq!(consoles("vga"), (Consoles::VGA, true));
        assert_eq!(consoles("com2,vga"), (Consoles::COM2 | Consoles::VGA, true));
        assert_eq!(consoles("none"), (Consoles::empty(), true));
    }

    #[test]
    fn bpm_03_a_console_that_is_not_there_never_silences_the_machine() {
        assert_eq!(consoles("com2,pv"), (Consoles::COM2, false));
        assert_eq!(consoles("com1H,xhci"), (Consoles::COM1 | Consoles::VGA, false));
        assert_eq!(consoles(""), (Consoles::COM1 | Consoles::VGA, false));
    }

    #[test]
    fn timestamps_have_names_and_were_a_boolean_once() {
        assert_eq!(timestamps(None), Ok(Timestamps::Date));
        assert_eq!(timestamps(Some("no")), Ok(Timestamps::None));
        assert_eq!(timestamps(Some("none")), Ok(Timestamps::None));
        assert_eq!(timestamps(Some("1")), Ok(Timestamps::Date));
        assert_eq!(timestamps(Some("datems")), Ok(Timestamps::DateMs));
        assert_eq!(timestamps(Some("boot")), Ok(Timestamps::Boot));
        assert_eq!(timestamps(Some("raw")), Ok(Timestamps::Raw));
        assert!(timestamps(Some("")).is_err());
    }

    #[test]
    fn the_switch_key_is_a_letter() {
        assert_eq!(conswitch("a"), Ok(ConSwitch::DEFAULT));
        let kept = conswitch("bx").unwrap();
        assert_eq!((kept.key(), kept.control_code(), kept.to_dom0_at_boot), ('b', 2, false));
        assert!(["", "A", "1", "ay", "axx", "é"].iter().all(|bad| conswitch(bad).is_err()));
    }

    #[test]
    fn levels_come_alone_or_in_pairs() {
        assert_eq!(threshold("all"), Ok(Threshold::new(Reach::All, Reach::All)));
        assert_eq!(threshold("none/warning"), Ok(Threshold::GUEST_DEFAULT));
        assert_eq!(threshold("error/debug"), Ok(Threshold::new(Reach::Error, Reach::All)));
        assert!(["", "/", "all/", "loud", "info/warning/error"].iter().all(|bad| threshold(bad).is_err()));
    }

    #[test]
    fn what_a_threshold_prints_reads_back() {
        let reaches = [Reach::None, Reach::Error, Reach::Warning, Reach::Info, Reach::All];
        for always in reaches {
            for limited in reaches {
                let wanted = Threshold::new(always, limited);
                assert_eq!(threshold(&std::format!("{wanted}")), Ok(wanted));
            }
        }
    }
}
