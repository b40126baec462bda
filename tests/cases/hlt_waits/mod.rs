//! HLT gives the pcpu away and goes on behind itself when the timer interrupts.

use guest_rt::apic::{Apic, Mode, TimerMode};
use guest_rt::{println, trap};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hlt-waits",
    description: "HLT gives the pcpu away and goes on behind itself when the timer interrupts.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const VECTOR: u8 = 0x71;

fn run(_: &Guest) -> Check {
    let apic = Apic::enable(Mode::XApic);
    trap::set_handler(VECTOR, |_| Apic::enable(Mode::XApic).eoi());
    for round in 1..=5 {
        println!("round {round}");
        apic.start_timer(TimerMode::OneShot, VECTOR, 500_000);
        trap::wait();
        ensure_eq!(trap::count(VECTOR), round, "interrupts");
    }
    // Pending before the HLT: it must not be lost.
    apic.send_self(VECTOR);
    trap::wait();
    ensure_eq!(trap::count(VECTOR), 6, "interrupt that was pending");
    Ok(())
}
