//! Shared rings between domains (`io/`): XenStore, consoles, block and network devices.

pub mod blkif;
pub mod console;
pub mod netif;
pub mod protocols;
pub mod ring;
pub mod xenbus;
pub mod xs_wire;
