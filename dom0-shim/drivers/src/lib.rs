//! Drivers of the machine's disks and network cards.
//!
//! | module | |
//! |---|---|
//! | [`probe`](probe()) | finds all devices that there are drivers for |
//! | [`pci`] | which PCI functions there are, and where their registers are |
//! | [`ahci`] | disks at AHCI controllers |
//! | [`ide`] | disks at IDE controllers |
//! | [`e1000`] | network cards of Intel's 8254x family |
//! | [`virtio`] | virtio disks and network cards |
//! | [`machine`] | what a driver stands on: ports, registers, memory for DMA, interrupts |
//!
//! Network cards implement [`network::Nic`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use core::pin::Pin;

pub mod ahci;
mod ata;
pub mod e1000;
pub mod ide;
pub mod machine;
pub mod pci;
mod probe;
#[cfg(test)]
mod testing;
pub mod virtio;
mod wait;

pub use machine::{Dma, Interrupt, Machine, Registers};
pub use network::Nic;
pub use probe::{AnyDisk, AnyNic, Found, probe};

/// What has to run for a device to work, for ever.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;
