//! A DomU reads its parameters, and changes none that is not its own to change.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::hvm_op::{HvmOp, HvmParamArg};
use xen_abi::hvm_params::HvmParam;
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hvm-params",
    description: "A DomU reads its parameters, and changes none that is not its own to change.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let console = hypercall::hvm_param(HvmParam::ConsolePfn)?;
    ensure!(console > 0, "no console");
    ensure!(hypercall::hvm_param(HvmParam::StorePfn)? > 0, "no XenStore");
    for (index, errno) in [(39, Errno::EINVAL), (1_000, Errno::EINVAL), (u32::MAX, Errno::EINVAL)] {
        ensure_eq!(call(HvmOp::GetParam, DOMID_SELF, index, 0), Err(errno), "get {index}");
        ensure_eq!(call(HvmOp::SetParam, DOMID_SELF, index, 0), Err(errno), "set {index}");
    }
    for param in [HvmParam::ConsolePfn, HvmParam::StorePfn, HvmParam::IdentPt, HvmParam::DmDomain] {
        let answer = call(HvmOp::SetParam, DOMID_SELF, param.get(), 5);
        ensure!(answer.is_err(), "set {param:?}: {answer:?}");
    }
    ensure_eq!(hypercall::hvm_param(HvmParam::ConsolePfn)?, console, "console after a refusal");
    for domain in [0, 0x3fff] {
        let answer = call(HvmOp::GetParam, domain, HvmParam::ConsolePfn.get(), 0);
        ensure!(matches!(answer, Err(Errno::EPERM | Errno::ESRCH)), "of domain {domain}: {answer:?}");
    }
    for pointer in expect::BAD_POINTERS {
        for op in [0, 1] {
            let answer = hypercall::raw(34, [op, pointer, 0, 0, 0]);
            expect::errno(answer, Errno::EFAULT, &format!("operation {op} with {pointer:#x}"))?;
        }
    }
    Ok(())
}

fn call(op: HvmOp, domid: u16, index: u32, value: u64) -> Result<u64, Errno> {
    hypercall::hvm_op(op, &mut HvmParamArg { domid, index, value, ..HvmParamArg::new_zeroed() })
}
