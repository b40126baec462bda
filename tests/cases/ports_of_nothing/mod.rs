//! A DomU reads ones from ports without a device; writes go nowhere.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "ports-of-nothing",
    description: "A DomU reads ones from ports without a device; writes go nowhere.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    for port in [0x80, 0x92, 0x170, 0x1f0, 0x2f8, 0x3c0, 0x3d4, 0x510, 0xc000, 0xfff8] {
        ensure_eq!(cpu::inb(port)?, 0xff, "byte at {port:#x}");
        ensure_eq!(cpu::inw(port)?, 0xffff, "word at {port:#x}");
        ensure_eq!(cpu::inl(port)?, u32::MAX, "doubleword at {port:#x}");
        cpu::outb(port, 0x55)?;
        cpu::outw(port, 0x5555)?;
        cpu::outl(port, 0x5555_5555)?;
    }
    Ok(())
}
