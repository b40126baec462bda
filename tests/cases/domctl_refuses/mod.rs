//! domctl refuses other versions, unknown operations and domains, and bad pointers.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::domctl::{self, DomctlOp, GetDomainInfo, XenDomctl};
use xen_abi::errno::Errno;
use xen_control::calls;
use zerocopy::FromZeros;

use crate::controller::Controller;
use crate::expect;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domctl-refuses",
    description: "domctl refuses other versions, unknown operations and domains, and bad pointers.",
    covers: &[],
    needs: &[],
    kind: Kind::Dom0(control),
};

const DOMCTL: u64 = 36;

fn control(controller: &Controller) -> Check {
    let host = controller.host()?;
    if calls::domctl(host, DomctlOp::GetDomainInfo, 0, &mut GetDomainInfo::new_zeroed()) == Err(Errno::ENOSYS)
    {
        skip!("no domctl");
    }
    for pointer in expect::BAD_POINTERS {
        expect::errno(raw(pointer), Errno::EFAULT, &format!("argument at {pointer:#x}"))?;
    }
    for version in [0, 1, domctl::INTERFACE_VERSION - 1, domctl::INTERFACE_VERSION + 1, u32::MAX] {
        let what = format!("version {version:#x}");
        expect::errno(call(DomctlOp::GetDomainInfo.get(), version, 0), Errno::EACCES, &what)?;
    }
    for op in [0, 6, 23, 41, 80, 87, 2_000, u32::MAX] {
        let answer = call(op, domctl::INTERFACE_VERSION, 0);
        ensure!(answer < 0, "operation {op}: {answer}");
    }
    for op in [2, 3, 4, 11, 14, 15, 17, 27, 28, 33] {
        for domain in [0x3fff, 0x7fef] {
            let what = format!("operation {op} on domain {domain:#x}");
            expect::errno(call(op, domctl::INTERFACE_VERSION, domain), Errno::ESRCH, &what)?;
        }
    }
    let own = call(DomctlOp::DestroyDomain.get(), domctl::INTERFACE_VERSION, 0);
    ensure!(own < 0, "Dom0 destroyed itself: {own}");
    let own = call(DomctlOp::PauseDomain.get(), domctl::INTERFACE_VERSION, 0);
    ensure!(own < 0, "Dom0 paused itself: {own}");
    Ok(())
}

fn call(cmd: u32, interface_version: u32, domain: u16) -> i64 {
    let mut call = XenDomctl { cmd, interface_version, domain, ..XenDomctl::new_zeroed() };
    raw((&raw mut call) as u64)
}

fn raw(pointer: u64) -> i64 {
    hypercall::raw(DOMCTL, [pointer, 0, 0, 0, 0])
}
