//! What is behind virtual disks.
//!
//! | module | |
//! |---|---|
//! | [`disk`] | [`Disk`]: sectors that can be read and written |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod disk;

pub use disk::{Disk, Failure, Properties, SECTOR};
