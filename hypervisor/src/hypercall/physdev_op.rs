//! `physdev_op`: what Dom0 tells of the machine's devices.

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::physdev::{
    PhysdevOp, PhysdevPciDevice, PhysdevPciDeviceAdd, PhysdevPciMmcfgReserved, PhysdevSetupGsi,
};

use super::{Answer, Call, Reply};
use crate::{guest_copy, irq};

/// `HYPERVISOR_physdev_op(cmd, arg)`, for Dom0.
///
/// | operation | In | effect |
/// |---|---|---|
/// | `setup_gsi` | interrupt, trigger, polarity | none: Dom0 programs its I/O APIC |
/// | `pci_device_add` | the device's address | none: every device is Dom0's |
/// | `pci_device_remove` | the device's address | none |
/// | `pci_mmcfg_reserved` | the region | none: Dom0 reaches it at its own address |
///
/// Errors: `EPERM` for other domains, `EFAULT`; `EINVAL` for an interrupt that no I/O APIC has
/// a pin for, or that is not Dom0's, and for a trigger or polarity other than 0 and 1; `ENOSYS`
/// for interrupts that a PVH domain does not have as event channels, as in Xen, and for all
/// else.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(PhysdevOp::new).ok_or(Errno::ENOSYS)? {
        PhysdevOp::SetupGsi => setup_gsi(call, argument),
        PhysdevOp::PciDeviceAdd => noted::<PhysdevPciDeviceAdd>(call, argument),
        PhysdevOp::PciDeviceRemove => noted::<PhysdevPciDevice>(call, argument),
        PhysdevOp::PciMmcfgReserved => noted::<PhysdevPciMmcfgReserved>(call, argument),
        _ => Err(Errno::ENOSYS),
    }
}

/// How a pin is wired Dom0 says again in the entry by which it unmasks it.
fn setup_gsi(call: &Call<'_, '_>, argument: u64) -> Reply {
    let setup: PhysdevSetupGsi = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let gsi = u32::try_from(setup.gsi).map_err(|_| Errno::EINVAL)?;
    let is_passed = call.vcpu.domain().devices().has_gsi(gsi) && irq::is_passed(gsi);
    if !is_passed || setup.triggering > 1 || setup.polarity > 1 {
        return Err(Errno::EINVAL);
    }
    Ok(Answer::Value(0))
}

/// Without an IOMMU there is nothing to keep about a device.
fn noted<T: zerocopy::FromBytes + zerocopy::IntoBytes>(call: &Call<'_, '_>, argument: u64) -> Reply {
    guest_copy::read_obj::<T>(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    Ok(Answer::Value(0))
}
