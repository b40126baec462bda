//! Dom0 tells of PCI devices and interrupts; other operations, bad pointers and other domains are refused.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::physdev::{PhysdevOp, PhysdevPciDevice, PhysdevPciDeviceAdd, PhysdevSetupGsi};
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "physdev-op",
    description: "Dom0 tells of PCI devices and interrupts; other operations, bad pointers and other domains are refused.",
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
    setup_gsi()?;
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

/// The keyboard's interrupt is Dom0's; that of the interval timer, pin 2 of PCs, is not.
fn setup_gsi() -> Check {
    let cases = [
        (1, 0, 0, Ok(0)),
        (1, 1, 1, Ok(0)),
        (1, 2, 0, Err(Errno::EINVAL)),
        (1, 0, 2, Err(Errno::EINVAL)),
        (2, 0, 0, Err(Errno::EINVAL)),
        (-1, 0, 0, Err(Errno::EINVAL)),
        (i32::MAX, 0, 0, Err(Errno::EINVAL)),
    ];
    for (gsi, triggering, polarity, expected) in cases {
        let mut setup = PhysdevSetupGsi { gsi, triggering, polarity, _pad: 0 };
        let answer = hypercall::physdev_op(PhysdevOp::SetupGsi, &mut setup);
        ensure_eq!(answer, expected, "interrupt {gsi}, trigger {triggering}, polarity {polarity}");
    }
    Ok(())
}
