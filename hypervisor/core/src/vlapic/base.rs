//! `IA32_APIC_BASE`: where the local APIC is and in which mode.
//!
//! ```text
//!              +------- EN=0 -------+
//!              v                    |
//!   reset -> xAPIC -- EXTD=1 --> x2APIC
//!             ^  |                  |
//!        EN=1 |  | EN=0             | EN=0, EXTD=0
//!             |  v                  |
//!           disabled <--------------+
//! ```
//! Every other way is a #GP (SDM "x2APIC State Transitions").

use super::Fault;

/// The mode that bits EN and EXTD select.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The CPU has no APIC: interrupts come from the 8259 pair alone.
    Disabled,
    /// Registers in a page of memory.
    XApic,
    /// Registers are MSRs.
    X2Apic,
}

/// Address of the registers after reset, and in this hypervisor always.
pub const APIC_ADDRESS: u64 = 0xfee0_0000;
const BSP: u64 = 1 << 8;
const EXTD: u64 = 1 << 10;
const EN: u64 = 1 << 11;

/// The MSR's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ApicBase {
    mode: Mode,
    boot_cpu: bool,
}

impl ApicBase {
    pub(super) const fn reset(boot_cpu: bool) -> Self {
        Self { mode: Mode::XApic, boot_cpu }
    }

    pub(super) const fn mode(self) -> Mode {
        self.mode
    }

    pub(super) const fn boot_cpu(self) -> bool {
        self.boot_cpu
    }

    pub(super) const fn get(self) -> u64 {
        let enable = match self.mode {
            Mode::Disabled => 0,
            Mode::XApic => EN,
            Mode::X2Apic => EN | EXTD,
        };
        APIC_ADDRESS | enable | if self.boot_cpu { BSP } else { 0 }
    }

    /// The state after writing `value`.
    ///
    /// Reserved bits fault, and so does another address: the page of registers
    /// has one place in a domain's memory. The BSP bit keeps its value.
    pub(super) const fn write(self, value: u64) -> Result<Self, Fault> {
        if value & !(BSP | EXTD | EN) != APIC_ADDRESS {
            return Err(Fault);
        }
        let mode = match (value & EN != 0, value & EXTD != 0) {
            (false, false) => Mode::Disabled,
            (true, false) => Mode::XApic,
            (true, true) => Mode::X2Apic,
            (false, true) => return Err(Fault),
        };
        match (self.mode, mode) {
            (Mode::Disabled, Mode::X2Apic) | (Mode::X2Apic, Mode::XApic) => Err(Fault),
            _ => Ok(Self { mode, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = APIC_ADDRESS;

    fn in_mode(mode: Mode) -> ApicBase {
        ApicBase { mode, boot_cpu: true }
    }

    // SDM "x2APIC State Transitions", table of legal states and transitions.
    #[test]
    fn only_the_transitions_of_the_table_are_legal() {
        use Mode::{Disabled, X2Apic, XApic};
        let value = |mode| in_mode(mode).get();
        for (from, to, legal) in [
            (Disabled, Disabled, true),
            (Disabled, XApic, true),
            (Disabled, X2Apic, false),
            (XApic, Disabled, true),
            (XApic, XApic, true),
            (XApic, X2Apic, true),
            (X2Apic, Disabled, true),
            (X2Apic, XApic, false),
            (X2Apic, X2Apic, true),
        ] {
            let after = in_mode(from).write(value(to));
            assert_eq!(after, if legal { Ok(in_mode(to)) } else { Err(Fault) }, "{from:?} to {to:?}");
            assert_eq!(in_mode(from).write(ADDRESS | EXTD), Err(Fault));
        }
    }

    #[test]
    fn reserved_bits_and_other_addresses_fault() {
        for bad in [1, 1 << 7, 1 << 9, 1 << 12, 1 << 36, 1 << 63] {
            assert_eq!(in_mode(Mode::XApic).write((ADDRESS | EN) ^ bad), Err(Fault), "{bad:#x}");
        }
    }

    #[test]
    fn the_boot_cpu_stays_the_boot_cpu() {
        assert_eq!(in_mode(Mode::XApic).get(), 0xfee0_0900);
        assert_eq!(in_mode(Mode::XApic).write(ADDRESS | EN), Ok(in_mode(Mode::XApic)));
        let other = ApicBase::reset(false);
        assert_eq!(other.write(ADDRESS | EN | BSP), Ok(other));
    }
}
