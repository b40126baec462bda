//! I/O APICs: which device interrupt reaches which pcpu by which vector.
//!
//! Intel 82093AA data sheet, "Registers": an index register at 0x00, a data
//! window at 0x10.

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use hv_core::acpi::{ApicId, InterruptLine, IoApic, Polarity, Trigger};
use hv_core::addr::{HostPhysAddr, PhysRange};
use hv_core::vioapic::MAX_PINS;
use spin::Once;
use x86_64::instructions::port::Port;

use crate::memory::{self, DeviceMemory};
use crate::sync::{Lock, Rank};
use crate::trap::FIRST_INTERRUPT;

const MAX_IO_APICS: usize = 32;
const REGISTERS_LEN: u64 = 0x20;
const INDEX: usize = 0x00;
const WINDOW: usize = 0x10;
const VERSION: u32 = 0x01;
const REDIRECTION: u32 = 0x10;
/// Pins whose pair of registers an 8-bit index reaches.
const MOST_PINS: u32 = MAX_PINS as u32;
/// Destination that means every CPU.
const BROADCAST: u8 = 0xff;

const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// Where an I/O APIC is, and which interrupts arrive at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its identifier, as the firmware has it.
    pub id: u8,
    /// Its registers.
    pub address: HostPhysAddr,
    /// The global system interrupt of its first pin.
    pub gsi_base: u32,
    /// How many pins it has.
    pub pins: u8,
}

#[derive(Debug)]
struct Unit {
    place: Place,
    registers: Lock<Registers>,
}

impl Unit {
    /// Maps the registers and masks all pins. `None` if nothing answers there.
    fn open(io_apic: IoApic) -> Option<Self> {
        let range = PhysRange::from_len(io_apic.addr.get(), REGISTERS_LEN)?;
        // SAFETY: the MADT names the registers, and nothing else drives them.
        let memory = unsafe { memory::map_device(range, 4) }?;
        let mut registers = Registers { memory, entries: Vec::new() };
        let pins = (registers.read(VERSION) >> 16 & 0xff) + 1;
        // All ones is what an address without a device reads as.
        let pins = u8::try_from(pins).ok().filter(|_| pins <= MOST_PINS)?;
        registers.entries = (0..pins).map(|_| Entry { low: MASKED, high: 0 }).collect();
        for pin in 0..pins {
            registers.write(low_half(pin), MASKED);
            // The firmware's destination stands there.
            registers.write(low_half(pin) + 1, 0);
        }
        let place = Place { id: io_apic.id, address: io_apic.addr, gsi_base: io_apic.gsi_base, pins };
        Some(Self { place, registers: Lock::new(Rank::IoApic, registers) })
    }

    fn pin(&self, gsi: u32) -> Option<u8> {
        let pin = u8::try_from(gsi.checked_sub(self.place.gsi_base)?).ok()?;
        (pin < self.place.pins).then_some(pin)
    }
}

/// A redirection entry.
#[derive(Clone, Copy, Debug)]
struct Entry {
    low: u32,
    high: u32,
}

#[derive(Debug)]
struct Registers {
    memory: DeviceMemory,
    /// What was written.
    entries: Vec<Entry>,
}

impl Registers {
    fn read(&self, register: u32) -> u32 {
        self.memory.register::<u32>(INDEX).write(register);
        self.memory.register::<u32>(WINDOW).read()
    }

    fn write(&self, register: u32, value: u32) {
        self.memory.register::<u32>(INDEX).write(register);
        self.memory.register::<u32>(WINDOW).write(value);
    }

    /// Writes what is different.
    fn set(&mut self, pin: u8, new: Entry) {
        let Some(entry) = self.entries.get_mut(usize::from(pin)) else { return };
        let old = core::mem::replace(entry, new);
        let high = low_half(pin) + 1;
        if old.high != new.high && old.low == new.low {
            // One that is open stays open: an edge is not lost.
            self.write(high, new.high);
        } else if old.high != new.high {
            // Masked while the two halves do not belong together.
            self.write(low_half(pin), MASKED);
            self.write(high, new.high);
            self.write(low_half(pin), new.low);
        } else if old.low != new.low {
            self.write(low_half(pin), new.low);
        }
    }

    fn mask(&mut self, pin: u8) {
        if let Some(&Entry { low, high }) = self.entries.get(usize::from(pin)) {
            self.set(pin, Entry { low: low | MASKED, high });
        }
    }
}

fn low_half(pin: u8) -> u32 {
    REDIRECTION + 2 * u32::from(pin)
}

static UNITS: Once<ArrayVec<Unit, MAX_IO_APICS>> = Once::new();

fn units() -> &'static [Unit] {
    UNITS.get().map_or(&[], ArrayVec::as_slice)
}

/// Why an interrupt was not routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// No I/O APIC has a pin for it.
    NoPin,
    /// The vector belongs to exceptions.
    BadVector,
    /// The pcpu's APIC id has more than 8 bits, or is the one that means all.
    BadTarget,
}

/// Takes over the I/O APICs that the firmware lists, all pins masked, and masks
/// the 8259s. Once.
pub fn init(listed: impl Iterator<Item = IoApic>) {
    mask_8259();
    // Mapping takes the page tables' lock.
    UNITS.call_once(|| listed.filter_map(Unit::open).take(MAX_IO_APICS).collect());
}

/// The usable I/O APICs.
pub fn places() -> impl Iterator<Item = Place> {
    units().iter().map(|unit| unit.place)
}

/// Sends interrupts of `line` to `target` as `vector`.
///
/// # Errors
///
/// See [`RouteError`].
pub fn route(line: InterruptLine, vector: u8, target: ApicId) -> Result<(), RouteError> {
    if vector < FIRST_INTERRUPT {
        return Err(RouteError::BadVector);
    }
    let target = destination(target).ok_or(RouteError::BadTarget)?;
    let (unit, pin) = find(line.gsi).ok_or(RouteError::NoPin)?;
    let polarity = if line.polarity == Polarity::ActiveLow { ACTIVE_LOW } else { 0 };
    let trigger = if line.trigger == Trigger::Level { LEVEL } else { 0 };
    let entry = Entry { low: u32::from(vector) | polarity | trigger, high: u32::from(target) << 24 };
    unit.registers.lock().set(pin, entry);
    Ok(())
}

/// Whether interrupts can be sent to `target`.
#[must_use]
pub fn reaches(target: ApicId) -> bool {
    destination(target).is_some()
}

fn destination(target: ApicId) -> Option<u8> {
    u8::try_from(target.get()).ok().filter(|&id| id != BROADCAST)
}

/// Masks the pin of `gsi`, if there is one.
pub fn mask(gsi: u32) {
    if let Some((unit, pin)) = find(gsi) {
        unit.registers.lock().mask(pin);
    }
}

fn find(gsi: u32) -> Option<(&'static Unit, u8)> {
    units().iter().find_map(|unit| Some((unit, unit.pin(gsi)?)))
}

/// Masks every line of the two 8259s: interrupts come by the I/O APIC.
fn mask_8259() {
    for port in [0x21, 0xa1] {
        // SAFETY: interrupt mask registers; a masked controller raises nothing.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}
