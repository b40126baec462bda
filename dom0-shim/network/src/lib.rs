//! Ethernet inside the machine: bridges, addresses, Dom0's own stack.
//!
//! ```text
//!   guest ── netback ──┐                          ┌── stack (Dom0), DHCP server
//!                    Port ── bridge ── bridge ── Port
//!   guest ── netback ──┘        │
//!                             Port ── uplink ── network card
//! ```
//!
//! | module | |
//! |---|---|
//! | [`network`] | [`Network`]: all of it |
//! | [`plan`] | [`Plan`]: which bridges there are, by words of a command line |
//! | [`packet`] | [`Packet`]: a frame with what is left to be done to it |
//! | [`link`] | [`Link`]: where packets go in and come out |
//! | [`switch`] | bridges |
//! | [`uplink`] | between bridges and a card |
//! | [`dhcp`] | a DHCP server |
//! | [`stack`] | Dom0's own IP stack |
//! | [`kernel`] | [`Kernel`]: what that stands on |
//! | [`nic`] | [`Nic`]: a network card |
//! | [`vlan`] | VLAN tags |
//! | [`rate`] | [`Bucket`]: how fast an interface may send |
//!
//! All frames are hostile, those of guests and those from outside.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod checksum;
pub mod dhcp;
mod headers;
pub mod kernel;
pub mod link;
pub mod network;
pub mod nic;
mod offload;
pub mod packet;
pub mod plan;
pub mod rate;
pub mod stack;
pub mod switch;
#[cfg(test)]
mod testing;
pub mod uplink;
pub mod vlan;

pub use kernel::Kernel;
pub use link::{Abilities, Link};
pub use network::Network;
pub use nic::Nic;
pub use packet::{Checksum, MacAddress, Packet, Segments};
pub use plan::Plan;
pub use rate::Bucket;
pub use stack::Stack;
pub use switch::{Port, Role, Switch};
pub use vlan::VlanId;
