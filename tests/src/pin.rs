//! A pin of an I/O APIC, programmed as a kernel would.

use guest_rt::apic::{self, Mode};
use guest_rt::{acpi, cpu};

use crate::verdict::{Check, Problem};

/// Of an entry's lower half: level-triggered.
pub const LEVEL: u32 = 1 << 15;
/// Of an entry's lower half: masked.
pub const MASKED: u32 = 1 << 16;
const WINDOW: u64 = 0x10;
const ENTRIES: u32 = 0x10;

/// A pin.
pub struct Pin {
    registers: u64,
    number: u32,
}

impl Pin {
    /// That of a global system interrupt.
    ///
    /// # Errors
    ///
    /// An ERROR without an I/O APIC.
    pub fn of(gsi: u32) -> Check<Self> {
        let owner = acpi::io_apics().into_iter().filter(|io_apic| io_apic.gsi_base <= gsi);
        let owner = owner.max_by_key(|io_apic| io_apic.gsi_base);
        let owner = owner.ok_or_else(|| Problem::Error(alloc::format!("no I/O APIC has {gsi}")))?;
        Ok(Self { registers: owner.address, number: gsi - owner.gsi_base })
    }

    /// Sends its interrupts to the local APIC `id`, and masks it.
    pub fn direct(&self, id: u32) -> Check {
        self.write(MASKED)?;
        cpu::poke_u32(self.registers, ENTRIES + 2 * self.number + 1)?;
        Ok(cpu::poke_u32(self.registers + WINDOW, id << 24)?)
    }

    /// Writes the entry's lower half.
    pub fn write(&self, low: u32) -> Check {
        cpu::poke_u32(self.registers, ENTRIES + 2 * self.number)?;
        Ok(cpu::poke_u32(self.window(), low)?)
    }

    /// Where what was written last can be written again.
    pub fn window(&self) -> u64 {
        self.registers + WINDOW
    }
}

/// The mode of the local APIC that costs least.
pub fn apic_mode() -> Mode {
    if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic }
}
