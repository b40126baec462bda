//! Yield returns; unknown operations and bad pointers are refused and end nobody.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::sched::SchedOp;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-op",
    description: "Yield returns; unknown operations and bad pointers are refused and end nobody.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const SCHED_OP: u64 = 29;

fn run(_: &Guest) -> Check {
    for _ in 0..10 {
        ensure_eq!(hypercall::sched_op(SchedOp::Yield, &mut ()), Ok(0), "yield");
    }
    for command in [8, 100, u64::from(u32::MAX)] {
        let answer = hypercall::raw(SCHED_OP, [command, 0, 0, 0, 0]);
        expect::errno(answer, Errno::ENOSYS, &format!("operation {command:#x}"))?;
    }
    for pointer in expect::BAD_POINTERS {
        let shutdown = hypercall::raw(SCHED_OP, [SchedOp::Shutdown as u64, pointer, 0, 0, 0]);
        expect::errno(shutdown, Errno::EFAULT, &format!("shutdown at {pointer:#x}"))?;
    }
    Ok(())
}
