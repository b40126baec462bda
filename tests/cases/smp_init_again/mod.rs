//! A vcpu that runs is stopped by INIT, and starts afresh by SIPI.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::apic::Mode;
use guest_rt::smp::{self, Start};

use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "smp-init-again",
    description: "A vcpu that runs is stopped by INIT, and starts afresh by SIPI.",
    covers: &[],
    needs: &[Need::X2apic],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

static ROUNDS: AtomicU32 = AtomicU32::new(0);

fn run(_: &Guest) -> Check {
    let mode = Mode::X2Apic;
    for round in 1..=3 {
        let failed = |error| Problem::Failure(format!("round {round}: {error:?}"));
        smp::restart(1, Start::InitSipi(mode)).map_err(failed)?;
        smp::run(1, || {
            ROUNDS.fetch_add(1, Ordering::AcqRel);
        });
        smp::wait(1);
        ensure_eq!(ROUNDS.load(Ordering::Acquire), round, "rounds");
    }
    Ok(())
}
