//! Interrupts between four vcpus all arrive, and arrive where they were sent.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::{self, Apic, Mode};
use guest_rt::smp::{self, Start};
use guest_rt::{cpu, hypercall, trap};

use crate::controller::until;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "apic-ipi-ring",
    description: "Interrupts between four vcpus all arrive, and arrive where they were sent.",
    covers: &["CPU-02"],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(4), run),
};

const VECTOR: u8 = 0x50;
const ROUNDS: u64 = 20;
static COUNTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn run(_: &Guest) -> Check {
    trap::set_handler(VECTOR, |_| {
        COUNTS[smp::current() as usize % 4].fetch_add(1, Ordering::AcqRel);
        Apic::enable(mode()).eoi();
    });
    let step = cpu::cpuid(0xb, 0).eax & 31;
    let apic = Apic::enable(mode());
    for vcpu in 1..4 {
        smp::start(vcpu, Start::InitSipi(mode()))
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, || {
            let _ = Apic::enable(mode());
            trap::enable();
            while count(smp::current()) < ROUNDS {
                hypercall::yield_now();
            }
            trap::disable();
        });
    }
    for round in 1..=ROUNDS {
        for vcpu in 1..4 {
            apic.send_interrupt(vcpu << step, VECTOR);
        }
        let arrived = until(2_000, || (1..4).all(|vcpu| count(vcpu) == round));
        ensure!(arrived, "round {round}: {:?}", [count(0), count(1), count(2), count(3)]);
    }
    (1..4).for_each(smp::wait);
    ensure_eq!(count(0), 0, "interrupts at the sender");
    Ok(())
}

fn count(vcpu: u32) -> u64 {
    COUNTS[vcpu as usize % 4].load(Ordering::Acquire)
}

fn mode() -> Mode {
    if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic }
}
