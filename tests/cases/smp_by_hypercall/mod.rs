//! Vcpus start in long mode by VCPUOP_initialise and VCPUOP_up.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::smp::{self, Start};
use guest_rt::{cpu, hypercall};
use xen_abi::vcpu::VcpuOp;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "smp-by-hypercall",
    description: "Vcpus start in long mode by VCPUOP_initialise and VCPUOP_up.",
    covers: &["CPU-05"],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(8), run),
};

const NO_MSR: u32 = u32::MAX;

static RAN: AtomicU32 = AtomicU32::new(0);

fn run(_: &Guest) -> Check {
    for vcpu in 1..8 {
        ensure_eq!(hypercall::vcpu_op(VcpuOp::IsUp, vcpu, &mut ()), Ok(0), "vcpu {vcpu} before its start");
        smp::start(vcpu, Start::Hypercall)
            .map_err(|error| Problem::Failure(format!("vcpu {vcpu}: {error:?}")))?;
        ensure_eq!(hypercall::vcpu_op(VcpuOp::IsUp, vcpu, &mut ()), Ok(1), "vcpu {vcpu} after its start");
        smp::run(vcpu, || {
            // From a fault it returns as from an interrupt: with segments of its own.
            if cpu::rdmsr(NO_MSR).is_err() {
                RAN.fetch_add(smp::current(), Ordering::AcqRel);
            }
        });
    }
    (1..8).for_each(smp::wait);
    ensure_eq!(RAN.load(Ordering::Acquire), 28, "sum of vcpu numbers");
    Ok(())
}
