//! Interrupts wait for IF, come in the order of their priority, and respect TPR.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::{self, Apic, Mode, Register};
use guest_rt::{cpu, trap};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-self-ipi",
    description: "Interrupts wait for IF, come in the order of their priority, and respect TPR.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

static ORDER: AtomicU64 = AtomicU64::new(0);

fn run(_: &Guest) -> Check {
    for mode in [Mode::XApic, Mode::X2Apic] {
        if mode == Mode::XApic || apic::has_x2apic() {
            in_mode(mode)?;
        }
    }
    Ok(())
}

fn in_mode(mode: Mode) -> Check {
    let apic = Apic::enable(mode);
    ORDER.store(0, Ordering::Release);
    trap::set_handler(0x41, |_| note(1));
    trap::set_handler(0x62, |_| note(2));
    trap::set_handler(0x83, |_| note(3));
    for vector in [0x62, 0x41, 0x83] {
        apic.send_self(vector);
    }
    ensure_eq!(ORDER.load(Ordering::Acquire), 0, "{mode:?}: order with IF clear");
    ensure_eq!(apic.read(Register(Register::IRR.0 + 2)), 1 << 1, "{mode:?}: IRR of 0x41");
    apic.write(Register::TPR, 0x60);
    trap::enable();
    let _ = cpu::cpuid(0, 0);
    ensure_eq!(ORDER.load(Ordering::Acquire), 3, "{mode:?}: order with TPR 0x60");
    apic.write(Register::TPR, 0);
    let _ = cpu::cpuid(0, 0);
    trap::disable();
    ensure_eq!(ORDER.load(Ordering::Acquire), 0x321, "{mode:?}: order in the end");
    ensure_eq!(apic.read(Register(Register::ISR.0 + 2)), 0, "{mode:?}: ISR in the end");
    Ok(())
}

/// Notes a digit, and ends the interrupt.
fn note(digit: u64) {
    let place = ORDER.load(Ordering::Acquire);
    let shift = (64 - place.leading_zeros()).div_ceil(4) * 4;
    ORDER.store(place | digit << shift, Ordering::Release);
    let mode = if cpu::rdmsr(apic::APIC_BASE).is_ok_and(|base| base & 1 << 10 != 0) {
        Mode::X2Apic
    } else {
        Mode::XApic
    };
    Apic::enable(mode).eoi();
}
