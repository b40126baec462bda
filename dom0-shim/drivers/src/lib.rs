//! Drivers of the machine's disks and network cards.
//!
//! | module | |
//! |---|---|
//! | [`machine`] | what a driver stands on: ports, registers, memory for DMA, interrupts |
//!
//! Network cards implement [`network::Nic`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod machine;

pub use machine::{Dma, Interrupt, Machine, Registers};
pub use network::Nic;
