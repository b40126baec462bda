//! No interrupt comes between STI and the next instruction, nor behind a load of SS.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::{Apic, Mode};
use guest_rt::{cpu, trap};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "interrupt-shadow",
    description: "No interrupt comes between STI and the next instruction, nor behind a load of SS.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const VECTOR: u8 = 0x72;

fn run(_: &Guest) -> Check {
    let apic = Apic::enable(Mode::XApic);
    trap::set_handler(VECTOR, |frame| {
        RIP.store(frame.rip(), Ordering::Release);
        Apic::enable(Mode::XApic).eoi();
    });
    for _ in 0..50 {
        apic.send_self(VECTOR);
        // STI; NOP; CLI: the interrupt comes behind the NOP, or else never.
        let (behind_nop, _) = cpu::interrupt_window();
        ensure_eq!(RIP.load(Ordering::Acquire), behind_nop, "place of the interrupt");
    }
    Ok(())
}

static RIP: AtomicU64 = AtomicU64::new(0);
