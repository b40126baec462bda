//! Four vcpus see one time: what one reads after another is later.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::clock;
use guest_rt::smp::{self, Start};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "pv-clock-of-all-vcpus",
    description: "Four vcpus see one time: what one reads after another is later.",
    covers: &["TIM-01"],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(4), run),
};

static LATEST: AtomicU64 = AtomicU64::new(0);
static BACK: AtomicU64 = AtomicU64::new(0);

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    for vcpu in 1..4 {
        smp::start(vcpu, Start::Hypercall)
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        smp::run(vcpu, || (0..2_000).for_each(|_| look()));
    }
    (0..2_000).for_each(|_| look());
    (1..4).for_each(smp::wait);
    ensure_eq!(BACK.load(Ordering::Acquire), 0, "ns that time went back");
    Ok(())
}

/// Compares this vcpu's time with the latest that any vcpu saw before.
fn look() {
    let before = LATEST.load(Ordering::SeqCst);
    let now = clock::pv_ns(smp::current());
    BACK.fetch_max(before.saturating_sub(now), Ordering::AcqRel);
    LATEST.fetch_max(now, Ordering::SeqCst);
}
