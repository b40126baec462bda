//! Virtual I/O APIC (Intel 82093AA; "I/O APIC" in the chipset's datasheet).
//!
//! ```text
//!   set_line(pin) --> redirection entry --> take_message --> local APICs
//!                          ^ remote IRR                          |
//!                          +-------------- end_of_interrupt <----+
//! ```
//!
//! Whatever changes a line or an entry can make messages due; the caller then
//! takes them one by one until there is none.

use crate::vlapic::{Delivery, Destination, Message, Trigger, Vector};

/// Pins of the I/O APIC, as many as Xen's.
pub const PINS: u8 = 48;

/// Version 20H has the EOI register; bits 23:16 are the highest entry.
const VERSION: u32 = ((PINS as u32) - 1) << 16 | 0x20;
const MASKED: u64 = 1 << 16;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const LOGICAL: u64 = 1 << 11;
/// Delivery status is always idle, the remote IRR belongs to the device.
const WRITABLE: u64 = 0xff << 56 | MASKED | LEVEL | 1 << 13 | LOGICAL | 0x7ff;

/// A pin, below [`PINS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct IoApicPin(u8);

impl IoApicPin {
    /// The pin numbered `raw`, or `None` from [`PINS`] on.
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw < PINS { Some(Self(raw)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..PINS).map(Self)
    }
}

/// Offsets of the registers in the page (datasheet "Memory Mapped Registers").
const SELECT: u16 = 0x00;
const WINDOW: u16 = 0x10;
const EOI: u16 = 0x40;

/// What the select register can choose.
enum Selected {
    Id,
    Version,
    Arbitration,
    EntryLow(IoApicPin),
    EntryHigh(IoApicPin),
    Nothing,
}

impl Selected {
    fn from_index(index: u8) -> Self {
        let entry = index.checked_sub(0x10).and_then(|n| IoApicPin::new(n >> 1));
        match (index, entry) {
            (0, _) => Self::Id,
            (1, _) => Self::Version,
            (2, _) => Self::Arbitration,
            (_, Some(pin)) if index & 1 == 0 => Self::EntryLow(pin),
            (_, Some(pin)) => Self::EntryHigh(pin),
            _ => Self::Nothing,
        }
    }
}

/// The I/O APIC of a domain.
#[derive(Clone, Debug)]
pub struct Vioapic {
    entries: [u64; PINS as usize],
    select: u8,
    id: u8,
    /// Lines that are active, by pin.
    lines: u64,
    /// Edges that have not been sent, by pin.
    edges: u64,
}

impl Vioapic {
    /// The state after reset: all entries masked.
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self { entries: [MASKED; PINS as usize], select: 0, id: id & 0xf, lines: 0, edges: 0 }
    }

    /// Loads 32 bits at `offset` of the page.
    #[must_use]
    pub fn read(&self, offset: u16) -> u32 {
        match offset {
            SELECT => self.select.into(),
            WINDOW => self.read_selected(),
            _ => 0,
        }
    }

    fn read_selected(&self) -> u32 {
        match Selected::from_index(self.select) {
            Selected::Id | Selected::Arbitration => u32::from(self.id) << 24,
            Selected::Version => VERSION,
            Selected::EntryLow(pin) => halves(self.entry(pin))[0],
            Selected::EntryHigh(pin) => halves(self.entry(pin))[1],
            Selected::Nothing => 0,
        }
    }

    /// Stores 32 bits at `offset` of the page. Messages may be due then.
    pub fn write(&mut self, offset: u16, value: u32) {
        let [low_byte, ..] = value.to_le_bytes();
        match offset {
            SELECT => self.select = low_byte,
            WINDOW => self.write_selected(value),
            EOI => self.end(low_byte),
            _ => {}
        }
    }

    fn write_selected(&mut self, value: u32) {
        match Selected::from_index(self.select) {
            Selected::Id => self.id = value.to_le_bytes()[3] & 0xf,
            Selected::EntryLow(pin) => {
                self.write_entry(pin, self.entry(pin) >> 32 << 32 | u64::from(value));
            }
            Selected::EntryHigh(pin) => {
                self.write_entry(pin, u64::from(value) << 32 | self.entry(pin) & 0xffff_ffff);
            }
            Selected::Version | Selected::Arbitration | Selected::Nothing => {}
        }
    }

    fn write_entry(&mut self, pin: IoApicPin, value: u64) {
        // An entry made edge-triggered forgets its remote IRR, by which old
        // kernels free a stuck pin.
        let remote_irr = if value & LEVEL != 0 { self.entry(pin) & REMOTE_IRR } else { 0 };
        self.set_entry(pin, value & WRITABLE | remote_irr);
    }

    /// Drives the line of `pin`. Messages may be due then.
    ///
    /// Polarity is in the wiring: `active` is whether the device asks.
    pub fn set_line(&mut self, pin: IoApicPin, active: bool) {
        let rising = active && self.lines & pin.bit() == 0;
        if active {
            self.lines |= pin.bit();
        } else {
            self.lines &= !pin.bit();
        }
        // The 82093AA does not remember edges while the entry is masked.
        if rising && self.entry(pin) & MASKED == 0 {
            self.edges |= pin.bit();
        }
    }

    /// The level-triggered interrupt `vector` has ended at a local APIC.
    /// Messages may be due then, for lines that are still active.
    pub fn end_of_interrupt(&mut self, vector: Vector) {
        self.end(vector.get());
    }

    fn end(&mut self, vector: u8) {
        for entry in &mut self.entries {
            if entry.to_le_bytes()[0] == vector && *entry & LEVEL != 0 {
                *entry &= !REMOTE_IRR;
            }
        }
    }

    /// Takes a message that is due. Each call sends one pin on its way, so at
    /// most [`PINS`] follow one change.
    pub fn take_message(&mut self) -> Option<Message> {
        let candidates = self.lines | self.edges;
        IoApicPin::all().filter(|pin| candidates & pin.bit() != 0).find_map(|pin| self.send(pin))
    }

    fn send(&mut self, pin: IoApicPin) -> Option<Message> {
        let entry = self.entry(pin);
        let edge = self.edges & pin.bit() != 0;
        self.edges &= !pin.bit();
        let [low, high] = halves(entry);
        let delivery = Delivery::from_bits(low).filter(|_| entry & MASKED == 0)?;
        // Only what a local APIC ends can be triggered by a level.
        let level = delivery.uses_vector() && entry & LEVEL != 0;
        if level {
            let active = self.lines & pin.bit() != 0;
            if !active || entry & REMOTE_IRR != 0 {
                return None;
            }
            self.set_entry(pin, entry | REMOTE_IRR);
        } else if !edge {
            return None;
        }
        Some(Message {
            destination: Destination::from_xapic(high.to_le_bytes()[3], entry & LOGICAL != 0),
            delivery,
            vector: low.to_le_bytes()[0],
            trigger: if level { Trigger::Level } else { Trigger::Edge },
        })
    }

    /// Whether the pair of 8259s reaches the CPU through `pin`.
    #[must_use]
    pub fn passes_ext_int(&self, pin: IoApicPin) -> bool {
        let entry = self.entry(pin);
        entry & MASKED == 0 && Delivery::from_bits(halves(entry)[0]) == Some(Delivery::ExtInt)
    }

    fn entry(&self, pin: IoApicPin) -> u64 {
        self.entries.get(usize::from(pin.0)).copied().unwrap_or(MASKED)
    }

    fn set_entry(&mut self, pin: IoApicPin, value: u64) {
        if let Some(entry) = self.entries.get_mut(usize::from(pin.0)) {
            *entry = value;
        }
    }
}

fn halves(entry: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = entry.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::ApicId;
    use proptest::prelude::*;

    fn pin(raw: u8) -> IoApicPin {
        IoApicPin::new(raw).unwrap()
    }

    fn write_entry(io: &mut Vioapic, at: u8, low: u32, high: u32) {
        for (index, value) in [(0x11 + 2 * at, high), (0x10 + 2 * at, low)] {
            io.write(SELECT, index.into());
            io.write(WINDOW, value);
        }
    }

    fn read_entry(io: &mut Vioapic, at: u8) -> u32 {
        io.write(SELECT, (0x10 + 2 * at).into());
        io.read(WINDOW)
    }

    #[test]
    fn registers_after_reset() {
        let mut io = Vioapic::new(9);
        for (index, value) in
            [(0, 0x0900_0000), (1, 0x002f_0020), (2, 0x0900_0000), (0x10, 0x1_0000), (0x6f, 0)]
        {
            io.write(SELECT, index);
            assert_eq!((io.read(SELECT), io.read(WINDOW)), (index, value));
        }
        for (index, value) in [(3, 0), (0x70, 0), (0xff, 0)] {
            io.write(SELECT, index);
            io.write(WINDOW, u32::MAX);
            assert_eq!(io.read(WINDOW), value);
        }
    }

    #[test]
    fn read_only_bits_stay() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 47, u32::MAX, u32::MAX);
        assert_eq!(read_entry(&mut io, 47), 0x0001_afff);
        io.write(SELECT, 0x6f);
        assert_eq!(io.read(WINDOW), 0xff00_0000);
    }

    #[test]
    fn an_edge_makes_one_message() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 4, 0x0931, 0x0300_0000);
        io.set_line(pin(4), true);
        let message = Message {
            destination: Destination::Logical(3),
            delivery: Delivery::LowestPriority,
            vector: 0x31,
            trigger: Trigger::Edge,
        };
        assert_eq!(io.take_message(), Some(message));
        io.set_line(pin(4), true);
        assert_eq!(io.take_message(), None);
        io.set_line(pin(4), false);
        io.set_line(pin(4), true);
        assert_eq!(io.take_message(), Some(message));
    }

    #[test]
    fn edges_on_a_masked_pin_are_lost() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 4, 0x1_0031, 0);
        io.set_line(pin(4), true);
        write_entry(&mut io, 4, 0x31, 0);
        assert_eq!(io.take_message(), None);
    }

    #[test]
    fn a_level_asks_again_after_its_end() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 20, 0x1_8042, 0x0500_0000);
        io.set_line(pin(20), true);
        assert_eq!(io.take_message(), None, "masked");
        write_entry(&mut io, 20, 0x8042, 0x0500_0000);
        let message = io.take_message().unwrap();
        assert_eq!((message.vector, message.trigger), (0x42, Trigger::Level));
        assert_eq!(message.destination, Destination::Physical(ApicId::new(5)));
        assert_eq!((io.take_message(), read_entry(&mut io, 20)), (None, 0xc042));
        io.end_of_interrupt(Vector::new(0x43).unwrap());
        assert_eq!(io.take_message(), None);
        io.end_of_interrupt(Vector::new(0x42).unwrap());
        assert!(io.take_message().is_some());
        io.set_line(pin(20), false);
        io.write(EOI, 0x42);
        assert_eq!((io.take_message(), read_entry(&mut io, 20)), (None, 0x8042));
    }

    #[test]
    fn pins_that_share_a_vector_end_together() {
        let mut io = Vioapic::new(0);
        for at in [16, 17] {
            write_entry(&mut io, at, 0x8050, 0);
            io.set_line(pin(at), true);
        }
        assert!(io.take_message().is_some() && io.take_message().is_some() && io.take_message().is_none());
        io.end_of_interrupt(Vector::new(0x50).unwrap());
        assert!(io.take_message().is_some() && io.take_message().is_some() && io.take_message().is_none());
    }

    #[test]
    fn an_entry_made_edge_triggered_forgets_its_remote_irr() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 9, 0x8042, 0);
        io.set_line(pin(9), true);
        assert!(io.take_message().is_some());
        write_entry(&mut io, 9, 0x0042, 0);
        assert_eq!((io.take_message(), read_entry(&mut io, 9)), (None, 0x42));
        write_entry(&mut io, 9, 0x8042, 0);
        assert!(io.take_message().is_some());
    }

    #[test]
    fn an_nmi_comes_once_for_each_edge_even_if_called_level() {
        let mut io = Vioapic::new(0);
        write_entry(&mut io, 2, 0x8400, 0);
        io.set_line(pin(2), true);
        assert_eq!(io.take_message().map(|m| (m.delivery, m.trigger)), Some((Delivery::Nmi, Trigger::Edge)));
        assert_eq!(io.take_message(), None);
        write_entry(&mut io, 0, 0x0700, 0);
        assert!(io.passes_ext_int(pin(0)) && !io.passes_ext_int(pin(2)));
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 2 } else { 512 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn any_traffic_makes_bounded_messages(
            steps in prop::collection::vec((0..4_u8, any::<u8>(), any::<u32>()), 1..if cfg!(miri) { 8 } else { 300 })
        ) {
            let mut io = Vioapic::new(0);
            for (action, at, value) in steps {
                match action {
                    0 => io.write(SELECT, (0x10 + at % 0x64).into()),
                    1 => io.write([WINDOW, WINDOW, EOI, at.into()][usize::from(at % 4)], value),
                    _ => {
                        if let Some(pin) = IoApicPin::new(at % 64) {
                            io.set_line(pin, value & 1 != 0);
                        }
                    }
                }
                let mut sent = 0;
                while let Some(message) = io.take_message() {
                    prop_assert!(message.trigger == Trigger::Edge || message.delivery.uses_vector());
                    sent += 1;
                    prop_assert!(sent <= PINS);
                }
                let _ = io.read(WINDOW);
                for entry in io.entries {
                    prop_assert!(entry & REMOTE_IRR == 0 || entry & LEVEL != 0);
                }
            }
        }
    }
}
