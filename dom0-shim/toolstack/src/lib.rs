//! The toolstack of Dom0: domains from their start to their end, their consoles, their
//! nodes in XenStore (what `libxl`, `xenconsoled` and `xendomains` are to Linux).
//!
//! | module | |
//! |---|---|
//! | [`manager`] | [`Manager`]: what there is, and all that [`xl::toolstack::Toolstack`] orders |
//! | `create`, `tree`, `limits` | how a domain starts, its nodes in XenStore, what there may be |
//! | `placement` | what is said about domains that get in each other's way on the pcpus |
//! | `destroy`, `lifecycle` | how it ends, and what follows |
//! | `devices`, `nodes` | its disks and network interfaces, their nodes in XenStore |
//! | `change`, `inspect` | what is changed, what is told |
//! | `consoles` | their rings, their scroll-back |
//! | `autostart` | domains that start with the machine and stop with it |
//! | [`environment`], [`hypervisor`] | what all this stands on |
//! | [`tar`] | files in an archive |
//!
//! [`Manager`] is shared by reference between the tasks of one thread. It keeps nothing
//! borrowed while it waits.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod autostart;
mod change;
mod consoles;
mod create;
mod destroy;
mod devices;
pub mod environment;
pub mod hypervisor;
mod inspect;
mod lifecycle;
mod limits;
pub mod manager;
mod nodes;
mod placement;
pub mod tar;
#[cfg(test)]
mod testing;
mod tree;

pub use environment::{DeviceId, DeviceKind, Devices, Environment, Files, Platform, Registry};
pub use hypervisor::Hypervisor;
pub use manager::Manager;
pub use xl::toolstack::{Bridge, DiskCounts, NetCounts, Overlay};
