//! A kernel without back ends: domains that have disks or network interfaces do not start.

use core::convert::Infallible;

use alloc::string::String;
use toolstack::{DeviceId, Devices, DiskCounts, NetCounts};
use xl::toolstack::{Done, Failure};
use xl_config::domain::{Disk, Vif};

/// No devices at all.
pub struct NoDevices;

impl Devices for NoDevices {
    /// None is ever open.
    type Open = Infallible;

    async fn open_disk(&self, _: &Disk) -> Done<Infallible> {
        Err(Failure(String::from("there is no back end for disks; remove it from `disk`")))
    }

    fn open_net(&self, _: &Vif) -> Done<Infallible> {
        Err(Failure(String::from("there is no back end for network interfaces; remove it from `vif`")))
    }

    fn serve(&self, _: DeviceId, open: Infallible) -> Done {
        match open {}
    }

    async fn closed(&self, _: DeviceId) {}

    async fn close(&self, _: DeviceId) {}

    fn forget(&self, _: DeviceId) {}

    fn disk_counts(&self, _: DeviceId) -> DiskCounts {
        DiskCounts::default()
    }

    fn net_counts(&self, _: DeviceId) -> NetCounts {
        NetCounts::default()
    }

    fn default_bridge(&self) -> String {
        String::from("xenbr0")
    }
}
