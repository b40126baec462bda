//! Ethernet inside the machine.
//!
//! | module | |
//! |---|---|
//! | [`packet`] | [`Packet`]: a frame with what is left to be done to it |
//! | [`link`] | [`Link`]: where packets go in and come out |
//! | [`nic`] | [`Nic`]: a network card |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod link;
pub mod nic;
pub mod packet;

pub use link::{Abilities, Link};
pub use nic::Nic;
pub use packet::{Checksum, MacAddress, Packet, Segments};
