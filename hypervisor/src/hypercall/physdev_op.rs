//! `physdev_op`: what Dom0 tells of the machine's devices.

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::physdev::{PhysdevOp, PhysdevPciDevice, PhysdevPciDeviceAdd, PhysdevPciMmcfgReserved};

use super::{Answer, Call, Reply};
use crate::guest_copy;

/// `HYPERVISOR_physdev_op(cmd, arg)`, for Dom0.
///
/// | operation | In | effect |
/// |---|---|---|
/// | `pci_device_add` | the device's address | none: every device is Dom0's |
/// | `pci_device_remove` | the device's address | none |
/// | `pci_mmcfg_reserved` | the region | none: Dom0 reaches it at its own address |
///
/// Errors: `EPERM` for other domains, `EFAULT`; `ENOSYS` for interrupts that a PVH domain
/// does not have as event channels, as in Xen, and for all else.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(PhysdevOp::new).ok_or(Errno::ENOSYS)? {
        PhysdevOp::PciDeviceAdd => noted::<PhysdevPciDeviceAdd>(call, argument),
        PhysdevOp::PciDeviceRemove => noted::<PhysdevPciDevice>(call, argument),
        PhysdevOp::PciMmcfgReserved => noted::<PhysdevPciMmcfgReserved>(call, argument),
        _ => Err(Errno::ENOSYS),
    }
}

/// Without an IOMMU there is nothing to keep about a device.
fn noted<T: zerocopy::FromBytes + zerocopy::IntoBytes>(call: &Call<'_, '_>, argument: u64) -> Reply {
    guest_copy::read_obj::<T>(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    Ok(Answer::Value(0))
}
