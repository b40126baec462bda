//! Virtual I/O APIC (Intel 82093AA; "I/O APIC" in the chipset's datasheet).
//!
//! ```text
//!   set_line(pin) --> redirection entry --> take_message --> local APICs
//!                          ^ remote IRR                          |
//!                          +-------------- end_of_interrupt <----+
//! ```
//!
//! Whatever changes a line or an entry can make messages due; the caller then
//! takes them one by one until there is none. Who drives lines from elsewhere
//! ([`crate::passthrough`]) asks which entries have changed.

use crate::vlapic::{Delivery, Destination, Message, Trigger, Vector};

/// Most pins of an I/O APIC: as many as an 8-bit register number reaches.
pub const MAX_PINS: u8 = 120;
/// Pins of an I/O APIC that is modelled on no real one, as many as Xen's.
pub const DEFAULT_PINS: u8 = 48;

/// Version 20H has the EOI register.
const VERSION: u32 = 0x20;
const MASKED: u64 = 1 << 16;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const LOGICAL: u64 = 1 << 11;
const ACTIVE_LOW: u64 = 1 << 13;
/// Delivery status is always idle, the remote IRR belongs to the device.
const WRITABLE: u64 = 0xff << 56 | MASKED | LEVEL | ACTIVE_LOW | LOGICAL | 0x7ff;

/// A pin, below [`MAX_PINS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct IoApicPin(u8);

impl IoApicPin {
    /// The pin numbered `raw`, or `None` from [`MAX_PINS`] on.
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw < MAX_PINS { Some(Self(raw)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    const fn bit(self) -> u128 {
        1 << self.0
    }
}

/// A set of pins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pins(u128);

impl Pins {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether `pin` is one of them.
    #[must_use]
    pub const fn contains(self, pin: IoApicPin) -> bool {
        self.0 & pin.bit() != 0
    }

    /// Adds `pin`.
    pub const fn insert(&mut self, pin: IoApicPin) {
        self.0 |= pin.bit();
    }

    /// Takes `pin` out; says whether it was one of them.
    pub const fn remove(&mut self, pin: IoApicPin) -> bool {
        let had = self.contains(pin);
        self.0 &= !pin.bit();
        had
    }

    /// Those that are here or there.
    #[must_use]
    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The lowest.
    #[must_use]
    const fn first(self) -> Option<IoApicPin> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
        match self.0.checked_ilog2() {
            None => None,
            Some(_) => IoApicPin::new(self.0.trailing_zeros() as u8),
        }
    }

    /// In ascending order.
    fn iter(mut self) -> impl Iterator<Item = IoApicPin> {
        core::iter::from_fn(move || {
            let first = self.first()?;
            self.remove(first);
            Some(first)
        })
    }
}

/// What an entry that is not masked does with its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// What of the line counts.
    pub trigger: Trigger,
    /// Whether the low level is the active one.
    pub active_low: bool,
    /// Whom it interrupts.
    pub destination: Destination,
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
    fn from_index(index: u8, pins: u8) -> Self {
        let entry = index.checked_sub(0x10).map(|n| n >> 1).filter(|&n| n < pins).and_then(IoApicPin::new);
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
    entries: [u64; MAX_PINS as usize],
    pins: u8,
    select: u8,
    id: u8,
    /// Lines that are active.
    lines: Pins,
    /// Edges that have not been sent.
    edges: Pins,
    /// Entries that were written, or whose level-triggered interrupt has ended.
    changed: Pins,
}

impl Vioapic {
    /// The state after reset: all entries masked. There are `pins` of them, from 1 to
    /// [`MAX_PINS`].
    #[must_use]
    pub fn new(id: u8, pins: u8) -> Self {
        Self {
            entries: [MASKED; MAX_PINS as usize],
            pins: pins.clamp(1, MAX_PINS),
            select: 0,
            id: id & 0xf,
            lines: Pins::NONE,
            edges: Pins::NONE,
            changed: Pins::NONE,
        }
    }

    /// How many pins there are.
    #[must_use]
    pub const fn pins(&self) -> u8 {
        self.pins
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
        match Selected::from_index(self.select, self.pins) {
            Selected::Id | Selected::Arbitration => u32::from(self.id) << 24,
            // Bits 23:16 are the highest entry.
            Selected::Version => u32::from(self.pins - 1) << 16 | VERSION,
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
        match Selected::from_index(self.select, self.pins) {
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
        self.changed.insert(pin);
    }

    /// Takes a pin whose entry was written, or whose level-triggered interrupt has ended,
    /// since it was taken last.
    pub const fn take_changed(&mut self) -> Option<IoApicPin> {
        let Some(pin) = self.changed.first() else { return None };
        self.changed.remove(pin);
        Some(pin)
    }

    /// What the entry of `pin` does with its line. `None` while it is masked, or if it is for
    /// no interrupt of a device.
    #[must_use]
    pub fn setup(&self, pin: IoApicPin) -> Option<Setup> {
        let entry = self.entry(pin);
        let [low, high] = halves(entry);
        Delivery::from_bits(low).filter(|delivery| entry & MASKED == 0 && delivery.uses_vector())?;
        Some(Setup {
            trigger: if entry & LEVEL != 0 { Trigger::Level } else { Trigger::Edge },
            active_low: entry & ACTIVE_LOW != 0,
            destination: destination(high, entry),
        })
    }

    /// Whether a level-triggered interrupt of `pin` has been sent that has not ended.
    #[must_use]
    pub fn is_in_service(&self, pin: IoApicPin) -> bool {
        self.entry(pin) & REMOTE_IRR != 0
    }

    /// Drives the line of `pin`. Messages may be due then.
    ///
    /// Polarity is in the wiring: `active` is whether the device asks.
    pub fn set_line(&mut self, pin: IoApicPin, active: bool) {
        if !active {
            self.lines.remove(pin);
            return;
        }
        let rising = !self.lines.contains(pin);
        self.lines.insert(pin);
        // The 82093AA does not remember edges while the entry is masked.
        if rising && self.entry(pin) & MASKED == 0 {
            self.edges.insert(pin);
        }
    }

    /// The level-triggered interrupt `vector` has ended at a local APIC.
    /// Messages may be due then, for lines that are still active.
    pub fn end_of_interrupt(&mut self, vector: Vector) {
        self.end(vector.get());
    }

    fn end(&mut self, vector: u8) {
        for (entry, pin) in self.entries.iter_mut().zip((0..self.pins).map(IoApicPin)) {
            if entry.to_le_bytes()[0] == vector && *entry & LEVEL != 0 {
                *entry &= !REMOTE_IRR;
                self.changed.insert(pin);
            }
        }
    }

    /// Takes a message that is due. Each call sends one pin on its way, so at
    /// most [`Self::pins`] follow one change.
    pub fn take_message(&mut self) -> Option<Message> {
        self.lines.or(self.edges).iter().find_map(|pin| self.send(pin))
    }

    fn send(&mut self, pin: IoApicPin) -> Option<Message> {
        let entry = self.entry(pin);
        let edge = self.edges.remove(pin);
        let [low, high] = halves(entry);
        let delivery = Delivery::from_bits(low).filter(|_| entry & MASKED == 0)?;
        // Only what a local APIC ends can be triggered by a level.
        let level = delivery.uses_vector() && entry & LEVEL != 0;
        if level {
            if !self.lines.contains(pin) || entry & REMOTE_IRR != 0 {
                return None;
            }
            self.set_entry(pin, entry | REMOTE_IRR);
        } else if !edge {
            return None;
        }
        Some(Message {
            destination: destination(high, entry),
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

fn destination(high: u32, entry: u64) -> Destination {
    Destination::from_xapic(high.to_le_bytes()[3], entry & LOGICAL != 0)
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
        let mut io = Vioapic::new(9, DEFAULT_PINS);
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
        let mut io = Vioapic::new(0, DEFAULT_PINS);
        write_entry(&mut io, 47, u32::MAX, u32::MAX);
        assert_eq!(read_entry(&mut io, 47), 0x0001_afff);
        io.write(SELECT, 0x6f);
        assert_eq!(io.read(WINDOW), 0xff00_0000);
    }

    #[test]
    fn an_edge_makes_one_message() {
        let mut io = Vioapic::new(0, DEFAULT_PINS);
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
        let mut io = Vioapic::new(0, DEFAULT_PINS);
        write_entry(&mut io, 4, 0x1_0031, 0);
        io.set_line(pin(4), true);
        write_entry(&mut io, 4, 0x31, 0);
        assert_eq!(io.take_message(), None);
    }

    #[test]
    fn a_level_asks_again_after_its_end() {
        let mut io = Vioapic::new(0, DEFAULT_PINS);
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
        let mut io = Vioapic::new(0, DEFAULT_PINS);
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
        let mut io = Vioapic::new(0, DEFAULT_PINS);
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
        let mut io = Vioapic::new(0, DEFAULT_PINS);
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
            let mut io = Vioapic::new(0, 64);
            for (action, at, value) in steps {
                match action {
                    0 => io.write(SELECT, (0x10 + at % 0x64).into()),
                    1 => io.write([WINDOW, WINDOW, EOI, at.into()][usize::from(at % 4)], value),
                    _ => {
                        if let Some(pin) = IoApicPin::new(at % 128) {
                            io.set_line(pin, value & 1 != 0);
                        }
                    }
                }
                let mut sent = 0;
                while let Some(message) = io.take_message() {
                    prop_assert!(message.trigger == Trigger::Edge || message.delivery.uses_vector());
                    sent += 1;
                    prop_assert!(sent <= MAX_PINS);
                }
                let _ = io.read(WINDOW);
                prop_assert!(core::iter::from_fn(|| io.take_changed()).count() <= 64);
                for entry in io.entries {
                    prop_assert!(entry & REMOTE_IRR == 0 || entry & LEVEL != 0);
                }
            }
        }
    }
}
