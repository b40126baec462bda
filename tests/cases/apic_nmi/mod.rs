//! An NMI comes with interrupts off, and wakes a vcpu that waits.

use alloc::format;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_rt::apic::{self, Apic, Mode};
use guest_rt::smp::{self, Start};
use guest_rt::{cpu, trap};

use crate::controller::until;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "apic-nmi",
    description: "An NMI comes with interrupts off, and wakes a vcpu that waits.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

const NMI: u8 = 2;
static WAITS: AtomicBool = AtomicBool::new(false);

fn run(_: &Guest) -> Check {
    trap::set_handler(NMI, |_| {});
    let apic = Apic::enable(mode());
    apic.send_nmi(apic.id());
    ensure!(until(1_000, || trap::count(NMI) == 1), "no NMI to the sender itself");
    smp::start(1, Start::InitSipi(mode())).map_err(|error| Problem::Failure(format!("{error:?}")))?;
    // HLT with interrupts off: only the NMI ends it.
    smp::run(1, || {
        WAITS.store(true, Ordering::Release);
        cpu::halt_once();
    });
    ensure!(until(1_000, || WAITS.load(Ordering::Acquire)), "vcpu 1 does not run");
    until(20, || false);
    ensure!(!smp::is_idle(1), "vcpu 1 did not wait");
    apic.send_nmi(1 << (cpu::cpuid(0xb, 0).eax & 31));
    ensure!(until(1_000, || smp::is_idle(1)), "vcpu 1 was not woken");
    ensure_eq!(trap::count(NMI), 2, "NMIs");
    Ok(())
}

fn mode() -> Mode {
    if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic }
}
