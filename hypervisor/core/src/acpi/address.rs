//! Where a hardware register lies: the Generic Address Structure and its plain forerunner.

use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::addr::HostPhysAddr;

/// "Generic Address Structure".
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct GenericAddress {
    space: u8,
    _bit_width: u8,
    _bit_offset: u8,
    _access_size: u8,
    address: U64,
}

/// A register of the chipset, in whichever space it lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Register {
    /// An I/O port.
    Port(u16),
    /// A physical address.
    Memory(HostPhysAddr),
    /// Configuration space of a device on PCI segment 0, bus 0.
    PciConfig {
        /// Device on the bus, below 32.
        device: u8,
        /// Function of the device, below 8.
        function: u8,
        /// Offset in its configuration space.
        offset: u16,
    },
}

impl GenericAddress {
    const SYSTEM_MEMORY: u8 = 0;
    const SYSTEM_IO: u8 = 1;
    const PCI_CONFIG: u8 = 2;

    /// The register, or `None` if there is none or it lies in a space that we do not know.
    pub(super) fn register(&self) -> Option<Register> {
        let address = self.address.get();
        match self.space {
            _ if address == 0 => None,
            Self::SYSTEM_MEMORY => HostPhysAddr::new(address).map(Register::Memory),
            Self::SYSTEM_IO => u16::try_from(address).ok().map(Register::Port),
            Self::PCI_CONFIG => pci_config(address),
            _ => None,
        }
    }
}

/// Bits 47:32 device, 31:16 function, 15:0 offset; the rest is reserved.
fn pci_config(address: u64) -> Option<Register> {
    let [o0, o1, f0, f1, d0, d1, 0, 0] = address.to_le_bytes() else { return None };
    let (device, function) = (u16::from_le_bytes([d0, d1]), u16::from_le_bytes([f0, f1]));
    let device = u8::try_from(device).ok().filter(|&device| device < 32)?;
    let function = u8::try_from(function).ok().filter(|&function| function < 8)?;
    Some(Register::PciConfig { device, function, offset: u16::from_le_bytes([o0, o1]) })
}

/// The I/O port in a 32-bit field of the FADT, where zero means none.
pub(super) fn port(address: u32) -> Option<Register> {
    u16::try_from(address).ok().filter(|&port| port != 0).map(Register::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(space: u8, address: u64) -> Option<Register> {
        let mut bytes = [space, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[4..].copy_from_slice(&address.to_le_bytes());
        GenericAddress::ref_from_bytes(&bytes).unwrap().register()
    }

    #[test]
    fn an_address_names_a_register_in_a_known_space() {
        assert_eq!(register(0, 0xfed0_0000), HostPhysAddr::new(0xfed0_0000).map(Register::Memory));
        assert_eq!(register(1, 0xcf9), Some(Register::Port(0xcf9)));
        let pci = Register::PciConfig { device: 31, function: 7, offset: 0x44 };
        assert_eq!(register(2, 0x1f_0007_0044), Some(pci));
        assert_eq!(port(0x608), Some(Register::Port(0x608)));
    }

    #[test]
    fn what_cannot_be_a_register_is_none() {
        for (space, address) in [
            (0, 0),
            (0, HostPhysAddr::LIMIT),
            (1, 0),
            (1, 0x1_0000),
            (2, 0x20_0000_0040),
            (2, 0x08_0040),
            (2, 1 << 48),
            (3, 1),
            (0x7f, 0x10),
        ] {
            assert_eq!(register(space, address), None, "space {space}, {address:#x}");
        }
        assert_eq!((port(0), port(0x1_0000)), (None, None));
    }
}
