//! The back end of virtual disks: blkif of Xen's `io/blkif.h`.
//!
//! ```text
//! ring ──> request ──> mover <── pages of the front end, mapped (persistent) or copied
//!            │           │
//!            └─ server ──┴──> buffers ──> desk: disk requests, several under way ──> Disk
//! ```
//!
//! | module | |
//! |---|---|
//! | [`device`] | [`Device`]: one virtual disk, from its nodes to its end |
//! | `negotiation` | what both ends say in XenStore |
//! | `request` | a request of the ring, copied, then checked |
//! | `server` | takes requests, starts them, answers them |
//! | `mover` | data between buffers and the front end's pages |
//! | `persistent` | pages that stay mapped |
//! | `buffers` | memory that data passes through |
//! | `desk` | disk requests under way |
//!
//! What is offered, its limits and its meaning: `docs/block.md`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod buffers;
mod desk;
pub mod device;
mod mover;
mod negotiation;
mod persistent;
mod request;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use device::{Counts, Device, Options};
