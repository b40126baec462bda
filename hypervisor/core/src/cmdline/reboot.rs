//! `reboot=`: how to reset the machine, and whether to do so after a crash.

use super::{Options, Problem};

/// A way to reset the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RebootMethod {
    /// RESET_REG of the FADT.
    Acpi,
    /// The keyboard controller.
    Keyboard,
    /// The reset control register at port CF9H.
    Pci,
    /// The same, with power off for a moment.
    PowerCycle,
    /// A triple fault.
    Triple,
}

/// A list of methods, of which the last counts, and `no`. A word may be cut
/// short, down to its first letter.
pub(super) fn parse(text: &str, options: &mut Options<'_>) -> Result<(), Problem> {
    let (mut method, mut noreboot) = (options.reboot, options.noreboot);
    for item in text.split(',') {
        match item.bytes().next() {
            Some(b'n') if "no".starts_with(item) => noreboot = true,
            Some(b'a') if "acpi".starts_with(item) => method = Some(RebootMethod::Acpi),
            Some(b'k') if "kbd".starts_with(item) => method = Some(RebootMethod::Keyboard),
            Some(b'p') if "pci".starts_with(item) => method = Some(RebootMethod::Pci),
            Some(b'P') if "Power".starts_with(item) => method = Some(RebootMethod::PowerCycle),
            Some(b't') if "triple".starts_with(item) => method = Some(RebootMethod::Triple),
            // They only tell the BIOS whether to test its memory.
            Some(b'w') if "warm".starts_with(item) => {}
            Some(b'c') if "cold".starts_with(item) => {}
            _ => return Err(Problem::Expected("acpi, kbd, pci, Power, triple or no")),
        }
    }
    (options.reboot, options.noreboot) = (method, noreboot);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Option<RebootMethod>, bool), Problem> {
        let mut options = Options::default();
        parse(text, &mut options).map(|()| (options.reboot, options.noreboot))
    }

    #[test]
    fn words_may_be_cut_down_to_a_letter() {
        for (word, method) in [
            ("acpi", RebootMethod::Acpi),
            ("a", RebootMethod::Acpi),
            ("kbd", RebootMethod::Keyboard),
            ("pci", RebootMethod::Pci),
            ("P", RebootMethod::PowerCycle),
            ("tri", RebootMethod::Triple),
            ("k,t,warm", RebootMethod::Triple),
        ] {
            assert_eq!(parsed(word), Ok((Some(method), false)), "{word}");
        }
        assert_eq!(parsed("no"), Ok((None, true)));
        assert_eq!(parsed("n,cold"), Ok((None, true)));
    }

    #[test]
    fn a_method_that_is_not_there_is_refused() {
        assert!(["", "efi", "xen", "kbc", "a,"].iter().all(|bad| parsed(bad).is_err()));
    }
}
