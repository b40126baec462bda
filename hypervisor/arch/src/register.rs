//! Chipset registers that ACPI tables name: in I/O, memory or PCI space.
//!
//! What such a register does is the firmware's word; it is taken.

use hv_core::acpi::Register;
use hv_core::addr::PhysRange;
use x86_64::instructions::port::Port;

use crate::memory::{self, DeviceMemory};

/// A register within reach.
#[derive(Debug)]
pub(crate) enum Access {
    Port(u16),
    Memory(DeviceMemory),
    /// CONFIG_ADDRESS value and the byte in CONFIG_DATA (PCI Local Bus
    /// Specification, "Configuration Mechanism #1").
    PciConfig(u32, u16),
}

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

impl Access {
    /// Makes `register`, `bytes` wide (a power of two), accessible. `None` if it
    /// is not aligned, or cannot be mapped or addressed.
    ///
    /// # Safety
    ///
    /// The firmware's tables name it, and the caller drives that device.
    pub(crate) unsafe fn new(register: Register, bytes: u64) -> Option<Self> {
        match register {
            Register::Port(port) if u64::from(port) + bytes <= 1 << 16 => Some(Self::Port(port)),
            Register::Memory(address) => {
                let range = PhysRange::from_len(address.get(), bytes)?;
                // SAFETY: by the caller.
                unsafe { memory::map_device(range, bytes) }.map(Self::Memory)
            }
            Register::PciConfig { device, function, offset }
                if offset < 0x100 && u64::from(offset).is_multiple_of(bytes) =>
            {
                let address =
                    1 << 31 | u32::from(device) << 11 | u32::from(function) << 8 | u32::from(offset & !3);
                Some(Self::PciConfig(address, CONFIG_DATA + (offset & 3)))
            }
            Register::Port(_) | Register::PciConfig { .. } => None,
        }
    }

    pub(crate) fn read_u16(&self) -> u16 {
        match *self {
            // SAFETY: reading the register is what `new`'s caller is allowed to do.
            Self::Port(port) => unsafe { Port::new(port).read() },
            Self::Memory(ref device) => device.register::<u16>(0).read(),
            Self::PciConfig(address, data) => {
                select(address);
                // SAFETY: as above.
                unsafe { Port::new(data).read() }
            }
        }
    }

    pub(crate) fn read_u32(&self) -> u32 {
        match *self {
            // SAFETY: as above.
            Self::Port(port) => unsafe { Port::new(port).read() },
            Self::Memory(ref device) => device.register::<u32>(0).read(),
            Self::PciConfig(address, data) => {
                select(address);
                // SAFETY: as above.
                unsafe { Port::new(data).read() }
            }
        }
    }

    pub(crate) fn write_u8(&self, value: u8) {
        match *self {
            // SAFETY: as above, for writing.
            Self::Port(port) => unsafe { Port::new(port).write(value) },
            Self::Memory(ref device) => device.register::<u8>(0).write(value),
            Self::PciConfig(address, data) => {
                select(address);
                // SAFETY: as above.
                unsafe { Port::new(data).write(value) };
            }
        }
    }

    pub(crate) fn write_u16(&self, value: u16) {
        match *self {
            // SAFETY: as above, for writing.
            Self::Port(port) => unsafe { Port::new(port).write(value) },
            Self::Memory(ref device) => device.register::<u16>(0).write(value),
            Self::PciConfig(address, data) => {
                select(address);
                // SAFETY: as above.
                unsafe { Port::new(data).write(value) };
            }
        }
    }
}

fn select(address: u32) {
    // SAFETY: selects a register; only CONFIG_DATA acts.
    unsafe { Port::new(CONFIG_ADDRESS).write(address) };
}
