//! What is behind virtual disks.
//!
//! ```text
//! "overlay:/dev/hda1" ──> Pool ──> Volume: claims, overlay ──> window ──> the machine's disk
//!                                                          └─> image ──> file system ──┘
//! ```
//!
//! | module | |
//! |---|---|
//! | [`disk`] | [`Disk`]: sectors that can be read and written |
//! | [`pool`] | [`Pool`]: everything by name, and who uses it |
//! | [`volume`] | all kinds of disks as one type |
//! | [`access`] | reading or writing, and what excludes what |
//! | [`budget`] | how much memory written sectors may take |
//! | `claims` | who uses which disk or partition |
//! | [`cow`] | copy on write whose changes survive |
//! | [`fat`] | FAT file systems, files as disks |
//! | [`memory`] | RAM disks, boot modules |
//! | [`overlay`] | copy on write |
//! | [`partitions`] | MBR and GPT: what parts a disk has |
//! | [`window`] | a part of a disk as a disk |
//!
//! What is on disks was written by guests or by nobody knows whom: tables and file systems are
//! checked, and what is wrong with them is told in words.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod budget;
mod claims;
pub mod cow;
pub mod disk;
pub mod fat;
pub mod memory;
pub mod overlay;
pub mod partitions;
pub mod pool;
mod sparse;
mod target;
pub mod volume;
pub mod window;

pub use access::Access;
pub use disk::{Disk, Failure, Properties, SECTOR};
pub use pool::{Pool, Refusal};
pub use volume::Volume;
