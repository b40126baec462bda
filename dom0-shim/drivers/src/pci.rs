//! PCI functions: which there are, where their registers are, which interrupt they raise.
//!
//! Configuration space is reached by mechanism #1, ports 0xcf8 and 0xcfc (PCI Local Bus
//! Specification 3.0, "Configuration Mechanism"). The firmware has assigned addresses and bus
//! numbers; nothing here moves anything. Values that a function returns are not believed: no
//! bus is visited twice, no list is followed for longer than it can be.
//!
//! `pci_types` is not used: it panics where a base address register is reserved, and what
//! implements its accesses is unsafe code.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::Machine;

const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;

/// Offsets in the header (PCI 3.0, "Configuration Space Header").
mod offset {
    pub const VENDOR: u8 = 0x00;
    pub const COMMAND: u8 = 0x04;
    pub const STATUS: u8 = 0x06;
    pub const CLASS: u8 = 0x08;
    pub const HEADER_TYPE: u8 = 0x0e;
    pub const BARS: u8 = 0x10;
    pub const SECONDARY_BUS: u8 = 0x19;
    pub const CAPABILITIES: u8 = 0x34;
    pub const INTERRUPT_LINE: u8 = 0x3c;
    pub const INTERRUPT_PIN: u8 = 0x3d;
}

/// Bits of the command register.
mod command {
    pub const PORTS: u32 = 1;
    pub const MEMORY: u32 = 1 << 1;
    pub const BUS_MASTER: u32 = 1 << 2;
    pub const NO_INTX: u32 = 1 << 10;
}

/// The status register's bit for a list of capabilities.
const HAS_CAPABILITIES: u32 = 1 << 4;
/// Capabilities have at least 4 bytes behind the header.
const MOST_CAPABILITIES: usize = (0x100 - 0x40) / 4;

/// Where a function is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    /// Bus.
    pub bus: u8,
    /// Device, below 32.
    pub device: u8,
    /// Function, below 8.
    pub function: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

impl Address {
    /// Reads configuration space: 1, 2 or 4 bytes; `offset` is a multiple of that.
    pub fn read<M: Machine>(self, machine: &M, offset: u8, bytes: u8) -> u32 {
        machine.write_port(ADDRESS_PORT, 4, self.select(offset));
        machine.read_port(DATA_PORT + u16::from(offset & 3), bytes)
    }

    /// Writes configuration space: 1, 2 or 4 bytes; `offset` is a multiple of that.
    pub fn write<M: Machine>(self, machine: &M, offset: u8, bytes: u8, value: u32) {
        machine.write_port(ADDRESS_PORT, 4, self.select(offset));
        machine.write_port(DATA_PORT + u16::from(offset & 3), bytes, value);
    }

    fn select(self, offset: u8) -> u32 {
        let Self { bus, device, function } = self;
        1 << 31
            | u32::from(bus) << 16
            | u32::from(device & 31) << 11
            | u32::from(function & 7) << 8
            | u32::from(offset & !3)
    }

    fn read_u8<M: Machine>(self, machine: &M, offset: u8) -> u8 {
        low_byte(self.read(machine, offset, 1))
    }
}

/// A function that drivers may be for: one with a header of type 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Vendor.
    pub vendor: u16,
    /// Device, by the vendor's numbers.
    pub device: u16,
    /// Class and subclass, as one number: 0x0101 is an IDE controller.
    pub class: u16,
    /// Programming interface.
    pub interface: u8,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{:04x}:{:04x}]", self.address, self.vendor, self.device)
    }
}

/// Where a function's registers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bar {
    /// I/O ports.
    Ports {
        /// The first.
        base: u16,
        /// How many.
        len: u32,
    },
    /// Memory.
    Memory {
        /// The first byte's physical address.
        address: u64,
        /// Bytes.
        bytes: u64,
    },
}

/// A capability in a function's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// What it is for.
    pub id: u8,
    /// Where it begins in configuration space.
    pub offset: u8,
}

/// All functions behind the first host bridge, in the order of their addresses on each bus.
pub fn functions<M: Machine>(machine: &M) -> Vec<Function> {
    let mut scan = Scan { machine, visited: [false; 256], found: Vec::new() };
    scan.all();
    scan.found
}

struct Scan<'m, M> {
    machine: &'m M,
    visited: [bool; 256],
    found: Vec<Function>,
}

impl<M: Machine> Scan<'_, M> {
    fn all(&mut self) {
        let mut buses = Vec::from([0]);
        while let Some(bus) = buses.pop() {
            if !core::mem::replace(&mut self.visited[usize::from(bus)], true) {
                (0..32).for_each(|device| self.device(bus, device, &mut buses));
            }
        }
    }

    fn device(&mut self, bus: u8, device: u8, buses: &mut Vec<u8>) {
        let first = Address { bus, device, function: 0 };
        let Some(several) = self.function(first, buses) else { return };
        if several {
            for function in 1..8 {
                self.function(Address { function, ..first }, buses);
            }
        }
    }

    /// Looks at a function; tells whether its device may have several.
    fn function(&mut self, address: Address, buses: &mut Vec<u8>) -> Option<bool> {
        const BRIDGE: u8 = 1;
        let id = address.read(self.machine, offset::VENDOR, 4);
        let (vendor, device) = (low_half(id), low_half(id >> 16));
        if vendor == 0xffff || vendor == 0 {
            return None;
        }
        let header = address.read_u8(self.machine, offset::HEADER_TYPE);
        match header & 0x7f {
            0 => {
                let class = address.read(self.machine, offset::CLASS, 4);
                let (class, interface) = (low_half(class >> 16), low_byte(class >> 8));
                self.found.push(Function { address, vendor, device, class, interface });
            }
            BRIDGE => buses.push(address.read_u8(self.machine, offset::SECONDARY_BUS)),
            _ => {}
        }
        Some(header & 0x80 != 0)
    }
}

impl Function {
    /// Where the registers of base address register `slot` are; `None` where it has none,
    /// nobody gave it an address, or it makes no sense.
    ///
    /// The function does not answer while it is asked.
    pub fn bar<M: Machine>(&self, machine: &M, slot: u8) -> Option<Bar> {
        let before = self.address.read(machine, offset::COMMAND, 2);
        let silent = before & !(command::PORTS | command::MEMORY);
        self.address.write(machine, offset::COMMAND, 2, silent);
        let bar = self.sized(machine, slot);
        self.address.write(machine, offset::COMMAND, 2, before);
        bar
    }

    fn sized<M: Machine>(&self, machine: &M, slot: u8) -> Option<Bar> {
        const PORTS: u32 = 1;
        let (value, mask) = self.probe(machine, slot)?;
        if value & PORTS != 0 {
            // The upper half may not be implemented.
            let len = size(u64::from(mask & !3 | 0xffff_0000) | 0xffff_ffff << 32)?;
            let base = u16::try_from(value & !3).ok().filter(|base| *base != 0)?;
            return Some(Bar::Ports { base, len: u32::try_from(len).ok()? });
        }
        let (high, high_mask) = match value >> 1 & 3 {
            0 => (0, u32::MAX),
            2 => self.probe(machine, slot.checked_add(1)?)?,
            _ => return None,
        };
        let address = u64::from(high) << 32 | u64::from(value & !15);
        let bytes = size(u64::from(high_mask) << 32 | u64::from(mask & !15))?;
        (address != 0 && address.checked_add(bytes).is_some()).then_some(Bar::Memory { address, bytes })
    }

    /// A base address register, and which of its bits can be changed.
    fn probe<M: Machine>(&self, machine: &M, slot: u8) -> Option<(u32, u32)> {
        let at = offset::BARS + slot.checked_mul(4).filter(|offset| *offset < 24)?;
        let value = self.address.read(machine, at, 4);
        self.address.write(machine, at, 4, u32::MAX);
        let mask = self.address.read(machine, at, 4);
        self.address.write(machine, at, 4, value);
        Some((value, mask))
    }

    /// Lets the function answer at its registers, read and write memory, and interrupt.
    pub fn enable<M: Machine>(&self, machine: &M) {
        const ON: u32 = command::PORTS | command::MEMORY | command::BUS_MASTER;
        let before = self.address.read(machine, offset::COMMAND, 2);
        self.address.write(machine, offset::COMMAND, 2, before & !command::NO_INTX | ON);
    }

    /// Keeps the function from reading and writing memory and from interrupting.
    pub fn disable<M: Machine>(&self, machine: &M) {
        let before = self.address.read(machine, offset::COMMAND, 2);
        let after = before & !command::BUS_MASTER | command::NO_INTX;
        self.address.write(machine, offset::COMMAND, 2, after);
    }

    /// The I/O APICs' pin that the function's interrupt arrives at; it is level-triggered.
    ///
    /// It is what the firmware has put into the interrupt line register: the pin of the 8259
    /// that the chipset routes the function's INTx to, which has the same number at the I/O APIC
    /// on the machines that are supported (`docs/devices.md`).
    ///
    /// # Errors
    ///
    /// In words, when the function has no interrupt or the firmware routed none.
    pub fn gsi<M: Machine>(&self, machine: &M) -> Result<u32, String> {
        if self.address.read_u8(machine, offset::INTERRUPT_PIN) == 0 {
            return Err(format!("PCI {self}: it has no interrupt pin"));
        }
        match self.address.read_u8(machine, offset::INTERRUPT_LINE) {
            line @ 1..16 => Ok(u32::from(line)),
            line => Err(format!("PCI {self}: the firmware routed no interrupt to it (line {line:#x})")),
        }
    }

    /// Its capabilities, as far as the list makes sense.
    pub fn capabilities<M: Machine>(&self, machine: &M) -> Vec<Capability> {
        let mut found = Vec::new();
        if self.address.read(machine, offset::STATUS, 2) & HAS_CAPABILITIES == 0 {
            return found;
        }
        let mut offset = self.address.read_u8(machine, offset::CAPABILITIES) & !3;
        while offset >= 0x40 && found.len() < MOST_CAPABILITIES {
            let header = self.address.read(machine, offset, 2);
            found.push(Capability { id: low_byte(header), offset });
            offset = low_byte(header >> 8) & !3;
        }
        found
    }
}

/// What a mask of bits that can be changed says of the size.
fn size(mask: u64) -> Option<u64> {
    let bytes = 1_u64.checked_shl(mask.trailing_zeros())?;
    // The bits above it must all be there.
    (mask == !(bytes - 1)).then_some(bytes)
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

fn low_half(value: u32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Config, Device, Fake};

    struct Nothing;

    impl Device for Nothing {
        fn line(&self) -> bool {
            false
        }
    }

    const AT: Address = Address { bus: 0, device: 3, function: 0 };

    fn machine(functions: impl IntoIterator<Item = (Address, Config)>) -> Rc<Fake<Nothing>> {
        Fake::new(Nothing, functions)
    }

    fn one(config: Config) -> (Rc<Fake<Nothing>>, Function) {
        let machine = machine([(AT, config)]);
        let function = functions(&*machine)[0];
        (machine, function)
    }

    fn network_card() -> Config {
        Config::new(0x100e_8086, 0x0200_0003)
    }

    #[test]
    fn functions_behind_bridges_are_found_and_loops_are_left() {
        let mut bridge = Config::new(0x1234_8086, 0x0604_0000);
        (bridge.words[3], bridge.words[6]) = (0x81 << 16, 5 << 8);
        let mut back = bridge.clone();
        back.words[6] = 0;
        let behind = Address { bus: 5, device: 31, function: 7 };
        let machine = machine([
            (AT, bridge),
            (Address { bus: 5, device: 31, function: 0 }, back),
            (behind, network_card()),
            // Nobody looks at functions of a device without a first one.
            (Address { bus: 0, device: 4, function: 1 }, network_card()),
        ]);
        let found = functions(&*machine);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].address, found[0].class, found[0].device), (behind, 0x0200, 0x100e));
    }

    #[test]
    fn registers_have_places_and_sizes() {
        let (machine, card) = one(network_card().bar(0, 0xfebc_0000, 0x2_0000).bar(1, 0xc001, 0x40).bar(
            3,
            0x8000_000c,
            0x4000,
        ));
        machine.functions.borrow_mut().get_mut(&AT).unwrap().writable[8] = u32::MAX;
        machine.functions.borrow_mut().get_mut(&AT).unwrap().words[8] = 2;
        card.address.write(&*machine, 4, 2, 7);
        assert_eq!(card.bar(&*machine, 0), Some(Bar::Memory { address: 0xfebc_0000, bytes: 0x2_0000 }));
        assert_eq!(card.bar(&*machine, 1), Some(Bar::Ports { base: 0xc000, len: 0x40 }));
        assert_eq!(card.bar(&*machine, 2), None);
        assert_eq!(card.bar(&*machine, 3), Some(Bar::Memory { address: 0x2_8000_0000, bytes: 0x4000 }));
        assert_eq!(card.bar(&*machine, 6), None);
        // All is as it was.
        assert_eq!(card.address.read(&*machine, 4, 2), 7);
        assert_eq!(card.address.read(&*machine, 0x10, 4), 0xfebc_0000);
    }

    #[test]
    fn a_function_is_on_only_when_enabled() {
        let (machine, card) = one(network_card());
        card.enable(&*machine);
        assert_eq!(card.address.read(&*machine, 4, 2), 7);
        card.disable(&*machine);
        assert_eq!(card.address.read(&*machine, 4, 2), 0x403);
    }

    #[test]
    fn interrupt_is_the_firmwares_line() {
        let gsi = |pin, line| {
            let (machine, card) = one(network_card().interrupt(pin, line));
            card.gsi(&*machine)
        };
        assert_eq!(gsi(1, 11), Ok(11));
        assert!(gsi(0, 11).unwrap_err().contains("no interrupt pin"));
        assert!(gsi(1, 0xff).unwrap_err().contains("routed no interrupt"));
        assert!(gsi(1, 0).is_err());
    }

    proptest! {
        #[test]
        fn any_configuration_space_is_read_to_an_end(words in proptest::collection::vec(any::<u32>(), 64)) {
            let mut config = Config::new(0x100e_8086, 0);
            config.words.copy_from_slice(&words);
            config.words[0] = 0x100e_8086;
            config.words[3] &= !0x7f_0000;
            config.writable.fill(0xf0f0_ffff);
            let (machine, function) = one(config);
            for slot in 0..=255 {
                if let Some(Bar::Memory { address, bytes }) = function.bar(&*machine, slot) {
                    prop_assert!(address.checked_add(bytes).is_some() && bytes.is_power_of_two());
                }
            }
            prop_assert!(function.capabilities(&*machine).len() <= MOST_CAPABILITIES);
        }
    }
}
