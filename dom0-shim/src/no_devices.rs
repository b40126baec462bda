//! A kernel without back ends: domains that have disks or network interfaces do not start.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use toolstack::{Bridge, DeviceId, Devices, DiskCounts, NetCounts, Overlay};
use xl::toolstack::{Done, Failure};
use xl_config::domain::{Disk, Vif};

/// No devices at all.
pub struct NoDevices;

impl Devices for NoDevices {
    /// None is ever open.
    type Open = Infallible;

    async fn open_disk(&self, _: &str, _: &Disk) -> Done<Infallible> {
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

    fn bridges(&self) -> Vec<Bridge> {
        Vec::new()
    }

    fn overlays(&self) -> Vec<Overlay> {
        Vec::new()
    }

    async fn commit_overlay(&self, owner: &str) -> Done {
        Err(no_overlay(owner))
    }

    async fn discard_overlay(&self, owner: &str) -> Done {
        Err(no_overlay(owner))
    }
}

fn no_overlay(owner: &str) -> Failure {
    Failure(format!("{owner} has no overlay: there are no disks"))
}
