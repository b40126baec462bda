//! Ports that the hypervisor keeps for itself read as if nothing were there.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "ports-of-the-hypervisor",
    description: "Ports that the hypervisor keeps for itself read as if nothing were there.",
    covers: &["BPM-02", "LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

/// The serial port that the hypervisor's console uses.
const COM1: u16 = 0x3f8;

fn run(_: &Guest) -> Check {
    for port in COM1..COM1 + 8 {
        ensure_eq!(cpu::inb(port)?, 0xff, "port {port:#x}");
        cpu::outb(port, 0)?;
    }
    ensure_eq!(cpu::inw(COM1)?, 0xffff, "word");
    ensure_eq!(cpu::inl(COM1)?, u32::MAX, "doubleword");
    Ok(())
}
