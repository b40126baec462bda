//! Dom0 reaches PCI configuration space by its ports; a DomU finds nothing there.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "pci-configuration",
    description: "Dom0 reaches PCI configuration space by its ports; a DomU finds nothing there.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

fn run(guest: &Guest) -> Check {
    if guest.is_dom0() {
        return host_bridge();
    }
    for register in [0, 8, 0x3c] {
        cpu::outl(ADDRESS, ENABLE | register)?;
        ensure_eq!(cpu::inl(ADDRESS)?, u32::MAX, "the address port of a DomU");
        ensure_eq!(cpu::inl(DATA)?, u32::MAX, "register {register:#x} of a DomU");
        cpu::outl(DATA, 0)?;
    }
    Ok(())
}

/// Device 0 of bus 0, which every PC has.
fn host_bridge() -> Check {
    cpu::outl(ADDRESS, ENABLE)?;
    ensure_eq!(cpu::inl(ADDRESS)?, ENABLE, "the address");
    let id = cpu::inl(DATA)?;
    if id == u32::MAX {
        skip!("the machine has no PCI");
    }
    let [a, b, c, d] = id.to_le_bytes();
    for (offset, byte) in (0..).zip([a, b, c, d]) {
        ensure_eq!(cpu::inb(DATA + offset)?, byte, "byte {offset} of the identifier");
    }
    ensure_eq!(cpu::inw(DATA + 2)?, u16::from_le_bytes([c, d]), "the device's half");
    // Class: a bridge to the host.
    cpu::outl(ADDRESS, ENABLE | 8)?;
    ensure_eq!(cpu::inl(DATA)? >> 16, 0x0600, "the class of device 0");
    // The interrupt line is a byte for software to write.
    cpu::outl(ADDRESS, ENABLE | 0x3c)?;
    let line = cpu::inb(DATA)?;
    cpu::outb(DATA, line)?;
    ensure_eq!(cpu::inb(DATA)?, line, "the interrupt line");
    // Narrow accesses leave the address alone, and the machine running.
    cpu::outb(ADDRESS + 1, 6)?;
    cpu::outw(ADDRESS, 0)?;
    ensure_eq!(cpu::inl(ADDRESS)?, ENABLE | 0x3c, "the address after narrow writes");
    // Nothing is there without the enable bit.
    cpu::outl(ADDRESS, 0)?;
    ensure_eq!(cpu::inl(DATA)?, u32::MAX, "data without an address");
    Ok(())
}
