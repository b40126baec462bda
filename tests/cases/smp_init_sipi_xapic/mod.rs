//! INIT and SIPI work by the memory-mapped registers as well.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::apic::Mode;
use guest_rt::smp::{self, Start};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "smp-init-sipi-xapic",
    description: "INIT and SIPI work by the memory-mapped registers as well.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(4), run),
};

static RAN: AtomicU32 = AtomicU32::new(0);

fn run(_: &Guest) -> Check {
    for vcpu in 1..4 {
        let how = Start::InitSipi(Mode::XApic);
        smp::start(vcpu, how).map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, || {
            RAN.fetch_add(smp::current(), Ordering::AcqRel);
        });
    }
    (1..4).for_each(smp::wait);
    ensure_eq!(RAN.load(Ordering::Acquire), 6, "sum of vcpu numbers");
    Ok(())
}
