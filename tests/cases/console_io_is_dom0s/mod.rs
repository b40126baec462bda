//! A DomU may not write to the hypervisor's console.

use guest_rt::hypercall;
use xen_abi::errno::Errno;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "console-io-is-dom0s",
    description: "A DomU may not write to the hypervisor's console.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    ensure_eq!(hypercall::console_write(b"no"), Err(Errno::EPERM), "write");
    let mut key = [0_u8; 4];
    expect::errno(hypercall::raw(18, [1, 4, key.as_mut_ptr() as u64, 0, 0]), Errno::EPERM, "read")
}
