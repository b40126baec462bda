//! Hypercall numbers without a meaning, and those of PV guests, answer -ENOSYS.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hypercalls-unknown",
    description: "Hypercall numbers without a meaning, and those of PV guests, answer -ENOSYS.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let pv = [0, 1, 2, 3, 4, 5, 8, 9, 10, 14, 22, 25, 26, 30];
    let holes = [11, 43, 47, 50, 56, 63, 64, 127, 128, 0xffff, u64::from(u32::MAX)];
    for number in pv.into_iter().chain(holes) {
        let answer = hypercall::raw(number, [u64::MAX; 5]);
        expect::errno(answer, Errno::ENOSYS, &format!("number {number:#x}"))?;
    }
    Ok(())
}
