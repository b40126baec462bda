//! What is behind virtual disks.
//!
//! | module | |
//! |---|---|
//! | [`disk`] | [`Disk`]: sectors that can be read and written |
//! | [`budget`] | how much memory written sectors may take |
//! | [`memory`] | RAM disks, boot modules |
//! | [`partitions`] | MBR and GPT: what parts a disk has |
//! | [`window`] | a part of a disk as a disk |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod budget;
pub mod disk;
pub mod memory;
pub mod partitions;
mod sparse;
pub mod window;

pub use disk::{Disk, Failure, Properties, SECTOR};
