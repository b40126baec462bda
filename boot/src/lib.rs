//! From the boot loader to 64-bit Rust.
//!
//! ```text
//!   GRUB ──multiboot2──> header.rs  (what we ask the loader for)
//!                        entry.rs   32-bit start, early page tables, long mode
//!                        mbi.rs     boot information -> hv_core::boot_info::BootInfo
//!                        kigumi_main, defined by hv_arch::entry!
//!   application CPUs ──> trampoline.rs  16-bit start -> 64-bit entry
//! ```
//!
//! Nothing of the loader's structures leaves this crate.

#![no_std]

mod entry;
mod header;
mod layout;
mod mbi;
pub mod trampoline;

pub use entry::boot_stacks;
pub use layout::{EARLY_IDENTITY_LIMIT, IMAGE_BASE, Image, image};
