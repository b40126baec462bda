//! Pure logic of the hypervisor.
//!
//! Nothing here reads a clock, a CPU register or a global: what a function
//! needs comes in as an argument, what should happen goes out as a value.
//! So all of it runs under `cargo test`, proptest and miri on the host.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod addr;
pub mod boot_info;
pub mod cmdline;
pub mod frame;
pub mod id;
pub mod image;
pub mod log;
pub mod memmap;
pub mod msr;
pub mod multiboot2;
pub mod paging;
pub mod symbols;
pub mod vmx_caps;
