//! A DomU that reads every port reads ones, or a fault.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hostile-ports",
    description: "A DomU that reads every port reads ones, or a fault.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    for port in 0..=u16::MAX {
        match cpu::inb(port) {
            Ok(_) => {}
            Err(fault) => ensure_eq!((fault.vector, fault.error), (13, 0), "port {port:#x}"),
        }
    }
    let mut bytes = [0_u8; 16];
    let _ = cpu::insb(0x80, &mut bytes);
    let _ = cpu::outsb(0x80, &bytes);
    Ok(())
}
