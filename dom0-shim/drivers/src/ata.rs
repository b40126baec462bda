//! What disks at IDE and AHCI controllers have in common: ATA.
//!
//! | module | |
//! |---|---|
//! | `command` | commands, as the registers take them |
//! | `disk` | a drive as a disk: parts, tries, its cache |
//! | `error` | what goes wrong |
//! | `identify` | what a drive says of itself |
//! | `turns` | one command at a time |

mod command;
mod disk;
mod error;
mod identify;
#[cfg(test)]
pub(crate) mod testing;
mod turns;

use alloc::string::String;
use alloc::vec::Vec;

use storage::SECTOR;

use crate::Task;
pub use command::Mode;
pub(crate) use command::{Command, Direction, SECTORS_28, select};
pub use disk::{Disk, Link};
pub use error::Error;
pub(crate) use identify::WORDS;
pub(crate) use turns::{Turn, Turns};

/// Which drive of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drive {
    /// Drive 0, "master"; the only one where there is one.
    First,
    /// Drive 1, "slave".
    Second,
}

/// Data of a command.
pub enum Data<'a> {
    /// Reads sectors.
    In(&'a mut [u8]),
    /// Writes them.
    Out(&'a [u8]),
}

impl Data<'_> {
    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) => bytes.len(),
        }
    }

    /// Sectors.
    pub(crate) fn sectors(&self) -> u16 {
        u16::try_from(self.len() / SECTOR).unwrap_or(u16::MAX)
    }

    pub(crate) fn direction(&self) -> Direction {
        match self {
            Self::In(_) => Direction::Read,
            Self::Out(_) => Direction::Write,
        }
    }
}

/// What is at a controller.
pub struct Found<D> {
    /// Its disks.
    pub disks: Vec<D>,
    /// What has to run for them to work.
    pub tasks: Vec<Task>,
    /// What is wrong with those that cannot be used.
    pub problems: Vec<String>,
}

impl<D> Default for Found<D> {
    fn default() -> Self {
        Self { disks: Vec::new(), tasks: Vec::new(), problems: Vec::new() }
    }
}
