//! I/O APICs: which device interrupt reaches which pcpu by which vector.
//!
//! Intel 82093AA data sheet, "Registers": an index register at 0x00, a data
//! window at 0x10.

use arrayvec::ArrayVec;
use hv_core::acpi::{ApicId, IoApic, IsaRoute, Polarity, Trigger};
use hv_core::addr::PhysRange;
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
const MAX_PINS: u32 = (0x100 - REDIRECTION) / 2;
/// Destination that means every CPU.
const BROADCAST: u8 = 0xff;

const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

#[derive(Debug)]
struct Unit {
    registers: DeviceMemory,
    gsi_base: u32,
    pins: u32,
}

impl Unit {
    /// Maps the registers and masks all pins. `None` if nothing answers there.
    fn open(io_apic: IoApic) -> Option<Self> {
        let range = PhysRange::from_len(io_apic.addr.get(), REGISTERS_LEN)?;
        // SAFETY: the MADT names the registers, and nothing else drives them.
        let registers = unsafe { memory::map_device(range, 4) }?;
        let mut unit = Self { registers, gsi_base: io_apic.gsi_base, pins: 0 };
        unit.pins = (unit.read(VERSION) >> 16 & 0xff) + 1;
        // All ones is what an address without a device reads as.
        if unit.pins > MAX_PINS {
            return None;
        }
        for pin in 0..unit.pins {
            unit.set_pin(pin, MASKED, 0);
        }
        Some(unit)
    }

    fn read(&self, register: u32) -> u32 {
        self.registers.register::<u32>(INDEX).write(register);
        self.registers.register::<u32>(WINDOW).read()
    }

    fn write(&self, register: u32, value: u32) {
        self.registers.register::<u32>(INDEX).write(register);
        self.registers.register::<u32>(WINDOW).write(value);
    }

    fn set_pin(&self, pin: u32, low: u32, high: u32) {
        // Masked while the two halves do not belong together.
        self.write(REDIRECTION + 2 * pin, MASKED);
        self.write(REDIRECTION + 2 * pin + 1, high);
        self.write(REDIRECTION + 2 * pin, low);
    }
}

static UNITS: Lock<ArrayVec<Unit, MAX_IO_APICS>> = Lock::new(Rank::IoApic, ArrayVec::new_const());

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
/// the 8259s. Returns how many are usable.
pub fn init(listed: impl Iterator<Item = IoApic>) -> usize {
    mask_8259();
    // Mapping takes the page tables' lock, whose rank is below that of `UNITS`.
    let units: ArrayVec<Unit, MAX_IO_APICS> = listed.filter_map(Unit::open).take(MAX_IO_APICS).collect();
    let count = units.len();
    *UNITS.lock() = units;
    count
}

/// Sends interrupts of the line `route` names to `target` as `vector`.
///
/// # Errors
///
/// See [`RouteError`].
pub fn route(route: IsaRoute, vector: u8, target: ApicId) -> Result<(), RouteError> {
    if vector < FIRST_INTERRUPT {
        return Err(RouteError::BadVector);
    }
    let target =
        u8::try_from(target.get()).ok().filter(|&id| id != BROADCAST).ok_or(RouteError::BadTarget)?;
    let units = UNITS.lock();
    let pin_of = |unit: &Unit| route.gsi.checked_sub(unit.gsi_base).filter(|&pin| pin < unit.pins);
    let (unit, pin) = units.iter().find_map(|unit| Some((unit, pin_of(unit)?))).ok_or(RouteError::NoPin)?;
    let polarity = if route.polarity == Polarity::ActiveLow { ACTIVE_LOW } else { 0 };
    let trigger = if route.trigger == Trigger::Level { LEVEL } else { 0 };
    unit.set_pin(pin, u32::from(vector) | polarity | trigger, u32::from(target) << 24);
    Ok(())
}

/// Masks every line of the two 8259s: interrupts come by the I/O APIC.
fn mask_8259() {
    for port in [0x21, 0xa1] {
        // SAFETY: interrupt mask registers; a masked controller raises nothing.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}
