//! The back end of virtual network interfaces: netif of Xen's `io/netif.h`.
//!
//! ```text
//! tx ring ──> transmit ──copies──> Link::send          one server task for both rings,
//! rx ring <── receive  <─copies─── Link::receive       in turns
//! ```
//!
//! | module | |
//! |---|---|
//! | [`device`] | [`Device`]: one virtual interface, from its nodes to its end |
//! | `negotiation` | what both ends say in XenStore |
//! | `server` | turns, and what is waited for between them |
//! | `transmit` | packets from the front end |
//! | `extras` | what the slots behind a packet's first one tell |
//! | `receive` | packets to the front end |
//! | `groups` | multicast groups that it wants |
//!
//! What is offered, its limits and its meaning: `docs/netif.md`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod device;
mod extras;
mod groups;
mod negotiation;
mod receive;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transmit;

pub use device::{Counts, Device};

/// Bytes of a page: no slot of a ring tells of more.
const PAGE: usize = 4096;

/// Copies of one call of the hypervisor's.
const BATCH: usize = 64;
