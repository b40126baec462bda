//! I/O ports that guests reach by a VM exit. Where there is no device, reads give
//! all ones and writes go nowhere, as on a bus.

use hv_arch::vcpu::Loaded;
use hv_core::exit::{Direction, IoAccess, Size};
use hv_core::gpr::Gpr;

use xen_abi::arch_x86::HVM_DEBUGCONS_IOPORT;

use crate::exit::Outcome;
use crate::vcpu::Vcpu;

mod string;

/// Ports of devices that the hypervisor drives or answers for, and that Dom0 must
/// not reach: interrupt controllers, timer, speaker gate, clock, PCI configuration.
pub const OWN_PORTS: [core::ops::RangeInclusive<u16>; 7] =
    [0x20..=0x21, 0xa0..=0xa1, 0x40..=0x43, 0x61..=0x61, 0x70..=0x71, 0x4d0..=0x4d1, 0xcf8..=0xcff];

/// Handles an I/O instruction.
pub fn handle(cpu: &mut Loaded<'_>, vcpu: &Vcpu, access: IoAccess) -> Outcome {
    if access.string {
        return string::handle(cpu, vcpu, access);
    }
    if access.direction == Direction::In {
        let registers = cpu.registers_mut();
        let old = registers.get(Gpr::Rax);
        match access.size {
            Size::Byte => registers.set(Gpr::Rax, old | 0xff),
            Size::Word => registers.set(Gpr::Rax, old | 0xffff),
            Size::Dword => registers.set_32(Gpr::Rax, u32::MAX),
        }
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
