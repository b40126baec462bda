//! A multicall makes its calls in their order, and each has its own result.

use alloc::format;
use alloc::vec::Vec;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::xen::MulticallEntry;
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "multicall",
    description: "A multicall makes its calls in their order, and each has its own result.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const MULTICALL: u64 = 13;

fn run(_: &Guest) -> Check {
    let version =
        |command| MulticallEntry { op: 17, args: [command, 0, 0, 0, 0, 0], ..MulticallEntry::new_zeroed() };
    let mut calls = [version(0), version(7), version(0x1000), version(0)];
    calls[3].op = 0xffff;
    hypercall::multicall(&mut calls)?;
    let results = calls.map(|call| call.result.cast_signed());
    let enosys = Errno::ENOSYS.return_value();
    ensure_eq!(results, [4 << 16 | 17, 4096, enosys, enosys], "results");
    hypercall::multicall(&mut [])?;
    for pointer in expect::BAD_POINTERS {
        let answer = hypercall::raw(MULTICALL, [pointer, 1, 0, 0, 0]);
        expect::errno(answer, Errno::EFAULT, &format!("calls at {pointer:#x}"))?;
    }
    let mut many: Vec<_> = (0..200).map(|_| version(7)).collect();
    hypercall::multicall(&mut many)?;
    ensure!(many.iter().all(|call| call.result == 4096), "results of 200 calls");
    Ok(())
}
