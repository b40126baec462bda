//! Eight vcpus start by INIT and SIPI, each with its own APIC id.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::{self, Apic, Mode};
use guest_rt::smp::{self, Start};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "smp-init-sipi",
    description: "Eight vcpus start by INIT and SIPI, each with its own APIC id.",
    covers: &["CPU-05", "LIM-03"],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(8), run),
};

static SEEN: AtomicU64 = AtomicU64::new(0);

fn run(_: &Guest) -> Check {
    let mode = if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic };
    let boot = Apic::enable(mode).id();
    SEEN.fetch_or(1 << boot, Ordering::AcqRel);
    for vcpu in 1..8 {
        smp::start(vcpu, Start::InitSipi(mode))
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, || {
            let id = Apic::enable(if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic }).id();
            SEEN.fetch_or(1 << (id % 64), Ordering::AcqRel);
        });
        smp::wait(vcpu);
    }
    ensure_eq!(SEEN.load(Ordering::Acquire).count_ones(), 8, "different APIC ids");
    Ok(())
}
