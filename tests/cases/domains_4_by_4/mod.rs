//! Four domains with four vcpus each run at once, and each comes to its end.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::Mode;
use guest_rt::cpu;
use guest_rt::smp::{self, Start};

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "domains-4-by-4",
    description: "Four domains with four vcpus each run at once, and each comes to its end.",
    covers: &["LIF-30", "CPU-31"],
    needs: &[],
    kind: Kind::Control(control, run),
};

fn control(controller: &Controller) -> Check {
    // The hypervisor's heap grows once for so many vcpus, and keeps what it has.
    four_by_four(controller)?;
    controller.rebase();
    four_by_four(controller)
}

fn four_by_four(controller: &Controller) -> Check {
    let mut domains = Vec::new();
    for _ in 0..4 {
        domains.push(controller.spawn("domains-4-by-4", "", Shape::vcpus(4))?);
    }
    for domain in &domains {
        domain.start()?;
    }
    for domain in &mut domains {
        domain.wait(4 * LIMIT_MS)?;
        domain.verdict()?;
    }
    Ok(())
}

static SUM: AtomicU64 = AtomicU64::new(0);

fn run(_: &Guest) -> Check {
    for vcpu in 1..4 {
        smp::start(vcpu, Start::InitSipi(Mode::XApic))
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, work);
    }
    work();
    (1..4).for_each(smp::wait);
    ensure_eq!(SUM.load(Ordering::Acquire), 4 * 20_000, "work");
    Ok(())
}

fn work() {
    for round in 0..20_000 {
        SUM.fetch_add(1, Ordering::AcqRel);
        if round % 1_000 == 0 {
            let _ = cpu::cpuid(0, 0);
        }
    }
}
