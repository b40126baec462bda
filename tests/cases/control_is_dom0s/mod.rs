//! A DomU can make none of the hypercalls that order other domains or the host.

use guest_rt::hypercall;
use xen_abi::domctl::{self, XenDomctl};
use xen_abi::errno::Errno;
use xen_abi::sysctl::{self, XenSysctl};
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "control-is-dom0s",
    description: "A DomU can make none of the hypercalls that order other domains or the host.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    for op in (1..90).chain([1000, u32::MAX]) {
        let mut call =
            XenDomctl { cmd: op, interface_version: domctl::INTERFACE_VERSION, ..XenDomctl::new_zeroed() };
        let answer = hypercall::raw(36, [(&raw mut call) as u64, 0, 0, 0, 0]);
        ensure!(refused(answer), "domctl {op}: {answer}");
    }
    for op in (1..30).chain([u32::MAX]) {
        let mut call =
            XenSysctl { cmd: op, interface_version: sysctl::INTERFACE_VERSION, ..XenSysctl::new_zeroed() };
        let answer = hypercall::raw(35, [(&raw mut call) as u64, 0, 0, 0, 0]);
        ensure!(refused(answer), "sysctl {op}: {answer}");
    }
    let platform = hypercall::raw(7, [0x1000, 0, 0, 0, 0]);
    ensure!(platform < 0, "platform_op: {platform}");
    Ok(())
}

fn refused(answer: i64) -> bool {
    [Errno::EPERM, Errno::ENOSYS].iter().any(|errno| errno.return_value() == answer)
}
