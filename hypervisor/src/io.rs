//! I/O ports that guests reach by a VM exit. Where there is no device, reads give
//! all ones and writes go nowhere, as on a bus.

use hv_arch::vcpu::Loaded;
use hv_core::exit::{Direction, IoAccess, Size};
use hv_core::gpr::Gpr;

use hv_arch::pci::{self, Place};
use xen_abi::arch_x86::HVM_DEBUGCONS_IOPORT;

use crate::exit::Outcome;
use crate::vcpu::Vcpu;

mod string;

/// Ports of devices that the hypervisor drives or answers for, and that Dom0 must
/// not reach: interrupt controllers, timer, speaker gate, clock, PCI configuration, which is
/// reached by the hypervisor only.
pub const OWN_PORTS: [core::ops::RangeInclusive<u16>; 7] =
    [0x20..=0x21, 0xa0..=0xa1, 0x40..=0x43, 0x61..=0x61, 0x70..=0x71, 0x4d0..=0x4d1, 0xcf8..=0xcff];

/// Handles an I/O instruction.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu, access: IoAccess) -> Outcome {
    if access.string {
        return string::handle(cpu, vcpu, access);
    }
    if access.direction == Direction::In {
        let value = read(vcpu, access);
        let registers = cpu.registers_mut();
        let old = registers.get(Gpr::Rax);
        match access.size {
            Size::Byte => registers.set(Gpr::Rax, old & !0xff | u64::from(value & 0xff)),
            Size::Word => registers.set(Gpr::Rax, old & !0xffff | u64::from(value & 0xffff)),
            Size::Dword => registers.set_32(Gpr::Rax, value),
        }
    } else if PCI_PORTS.contains(&access.port) && vcpu.domain().is_privileged() {
        write_pci(vcpu, access, cpu.registers().get_32(Gpr::Rax));
    } else if is_log(access) {
        let [byte, ..] = cpu.registers().get(Gpr::Rax).to_le_bytes();
        vcpu.domain().console_write(&[byte]);
    }
    Outcome::Done
}

/// The hypervisor's log takes what a kernel has to say before it has a console.
fn is_log(access: IoAccess) -> bool {
    access.port == HVM_DEBUGCONS_IOPORT && access.size == Size::Byte
}

fn read(vcpu: &Vcpu, access: IoAccess) -> u32 {
    if PCI_PORTS.contains(&access.port) && vcpu.domain().is_privileged() {
        return read_pci(vcpu, access);
    }
    u32::MAX
}

/// PCI configuration space: an address, data.
const PCI_PORTS: core::ops::RangeInclusive<u16> = pci::ADDRESS..=pci::DATA + 3;
/// Of the address: the data port reaches configuration space.
const PCI_ENABLE: u32 = 1 << 31;

/// Dom0 finds and sets up the machine's devices. Narrow accesses to the address's port reach
/// other registers, of which the one that resets the machine is not Dom0's.
fn read_pci(vcpu: &Vcpu, access: IoAccess) -> u32 {
    if (access.port, access.size) == (pci::ADDRESS, Size::Dword) {
        return vcpu.domain().devices().pci_address();
    }
    pci_place(vcpu, access).map_or(u32::MAX, Place::read)
}

fn write_pci(vcpu: &Vcpu, access: IoAccess, value: u32) {
    if (access.port, access.size) == (pci::ADDRESS, Size::Dword) {
        vcpu.domain().devices().set_pci_address(value);
    } else if let Some(place) = pci_place(vcpu, access) {
        place.write(value);
    }
}

fn pci_place(vcpu: &Vcpu, access: IoAccess) -> Option<Place> {
    let address = vcpu.domain().devices().pci_address();
    let offset = u8::try_from(access.port.checked_sub(pci::DATA)?).ok()?;
    let place = Place::new(address, offset, access.size.bytes())?;
    (address & PCI_ENABLE != 0).then_some(place)
}
