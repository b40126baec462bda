//! Dom0 tells of PCI devices; other operations, bad pointers and other domains are refused.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::physdev::{PhysdevOp, PhysdevPciDevice, PhysdevPciDeviceAdd};
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "physdev-op",
    description: "Dom0 tells of PCI devices; other operations, bad pointers and other domains are refused.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

const PHYSDEV_OP: u64 = 33;

fn run(guest: &Guest) -> Check {
    let added = hypercall::physdev_op(PhysdevOp::PciDeviceAdd, &mut PhysdevPciDeviceAdd::new_zeroed());
    if !guest.is_dom0() {
        ensure_eq!(added, Err(Errno::EPERM), "a DomU adds a device");
        return Ok(());
    }
    ensure_eq!(added, Ok(0), "a device is added");
    let removed = hypercall::physdev_op(PhysdevOp::PciDeviceRemove, &mut PhysdevPciDevice::new_zeroed());
    ensure_eq!(removed, Ok(0), "a device is removed");
    for command in [PhysdevOp::MapPirq as u64, 100, u64::from(u32::MAX), u64::MAX] {
        let answer = hypercall::raw(PHYSDEV_OP, [command, 0, 0, 0, 0]);
        expect::errno(answer, Errno::ENOSYS, &format!("operation {command:#x}"))?;
    }
    for pointer in expect::BAD_POINTERS {
        let answer = hypercall::raw(PHYSDEV_OP, [PhysdevOp::PciDeviceAdd as u64, pointer, 0, 0, 0]);
        expect::errno(answer, Errno::EFAULT, &format!("a device at {pointer:#x}"))?;
    }
    Ok(())
}
