//! PCI configuration space by I/O ports (PCI Local Bus Specification, "Configuration
//! Mechanism #1"): an address at 0xcf8, data at 0xcfc.
//!
//! The hypervisor drives no PCI device: what is written here is Dom0's, like what it writes
//! to the I/O ports that it has.

use x86_64::instructions::port::Port;

use crate::sync::{Lock, Rank};

/// Port of the address.
pub const ADDRESS: u16 = 0xcf8;
/// First of the four ports of the data.
pub const DATA: u16 = 0xcfc;
/// Bits of the address that there are: enable, bus, device, function, doubleword.
const ADDRESS_BITS: u32 = 0x80ff_fffc;

/// The two ports belong together.
static PORTS: Lock<()> = Lock::new(Rank::PciConfig, ());

/// Part of a doubleword of configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    address: u32,
    data: u16,
    bytes: u8,
}

impl Place {
    /// `bytes` bytes (1, 2 or 4) at `offset` of the doubleword that `address` selects, in the
    /// form of port 0xcf8. `None` if they are not in it, or not aligned as on the bus.
    #[must_use]
    pub fn new(address: u32, offset: u8, bytes: u8) -> Option<Self> {
        let fits = matches!((bytes, offset), (1, 0..=3) | (2, 0 | 2) | (4, 0));
        let place = Self { address: address & ADDRESS_BITS, data: DATA + u16::from(offset), bytes };
        fits.then_some(place)
    }

    /// Reads it.
    #[must_use]
    pub fn read(self) -> u32 {
        let _ports = PORTS.lock();
        self.select();
        match self.bytes {
            // SAFETY: reading configuration space changes nothing that the hypervisor relies on.
            1 => unsafe { Port::<u8>::new(self.data).read() }.into(),
            // SAFETY: as above.
            2 => unsafe { Port::<u16>::new(self.data).read() }.into(),
            // SAFETY: as above.
            _ => unsafe { Port::<u32>::new(self.data).read() },
        }
    }

    /// Writes it; of `value` the lowest bytes count.
    pub fn write(self, value: u32) {
        let [a, b, ..] = value.to_le_bytes();
        let _ports = PORTS.lock();
        self.select();
        match self.bytes {
            // SAFETY: the devices are Dom0's, which could have them write to any memory anyway.
            1 => unsafe { Port::new(self.data).write(a) },
            // SAFETY: as above.
            2 => unsafe { Port::new(self.data).write(u16::from_le_bytes([a, b])) },
            // SAFETY: as above.
            _ => unsafe { Port::new(self.data).write(value) },
        }
    }

    fn select(self) {
        // SAFETY: selects a register; only the data port acts. A doubleword's write does not
        // reach the reset register at 0xcf9.
        unsafe { Port::new(ADDRESS).write(self.address) };
    }
}
