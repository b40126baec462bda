//! The times that a vcpu spent in each state add up, and grow.

use guest_rt::{clock, hypercall};
use xen_abi::vcpu::{Runstate, VcpuOp, VcpuRunstateInfo};
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "runstate",
    description: "The times that a vcpu spent in each state add up, and grow.",
    covers: &["CPU-24", "CPU-29"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let first = read()?;
    ensure_eq!(first.state, Runstate::Running.get(), "state");
    clock::delay_us(2_000);
    let second = read()?;
    let ran = second.time[0] - first.time[0];
    ensure!(ran >= 1_900_000, "ran {ran} ns in 2 ms");
    let all = |info: &VcpuRunstateInfo| info.time.iter().sum::<u64>();
    ensure!(all(&second) > all(&first), "times {:?} after {:?}", second.time, first.time);
    ensure_eq!(second.time[3], first.time[3], "time offline");
    Ok(())
}

fn read() -> Check<VcpuRunstateInfo> {
    let mut info = VcpuRunstateInfo::new_zeroed();
    hypercall::vcpu_op(VcpuOp::GetRunstateInfo, 0, &mut info)?;
    Ok(info)
}
