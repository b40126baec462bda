//! Drivers of the machine's disks and network cards.
//!
//! | module | |
//! |---|---|
//! | [`machine`] | what a driver stands on: ports, registers, memory for DMA, interrupts |
//! | [`nic`] | [`Nic`]: a network card |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod machine;
pub mod nic;

pub use machine::{Dma, Interrupt, Machine, Registers};
pub use nic::Nic;
