//! A vcpu that is taken down stands still, and goes on where it was when it is brought
//! up.

use alloc::format;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_rt::smp::{self, Start};
use guest_rt::{clock, hypercall};
use xen_abi::vcpu::VcpuOp;

use crate::controller::until;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "vcpu-down-and-up",
    description: "A vcpu that is taken down stands still, and goes on where it was when it is brought up.",
    covers: &["CPU-06"],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

static COUNTER: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn run(_: &Guest) -> Check {
    smp::start(1, Start::Hypercall).map_err(|error| Problem::Failure(format!("{error:?}")))?;
    smp::run(1, || {
        while !STOP.load(Ordering::Acquire) {
            COUNTER.fetch_add(1, Ordering::AcqRel);
            hypercall::yield_now();
        }
    });
    ensure!(until(1_000, || count() > 10), "vcpu 1 does not run");
    hypercall::vcpu_op(VcpuOp::Down, 1, &mut ())?;
    ensure_eq!(hypercall::vcpu_op(VcpuOp::IsUp, 1, &mut ()), Ok(0), "is up");
    // It may be on its pcpu for a moment.
    clock::delay_us(20_000);
    let before = count();
    clock::delay_us(20_000);
    ensure_eq!(count(), before, "counter while down");
    hypercall::vcpu_op(VcpuOp::Up, 1, &mut ())?;
    ensure!(until(1_000, || count() > before), "vcpu 1 does not go on");
    STOP.store(true, Ordering::Release);
    smp::wait(1);
    Ok(())
}

fn count() -> u64 {
    COUNTER.load(Ordering::Acquire)
}
