//! The interface of everything that has sectors.

use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;
use core::ops::Range;

/// Bytes of a sector, whatever the medium's own blocks are.
pub const SECTOR: usize = 512;

/// What is known of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Properties {
    /// Sectors.
    pub sectors: u64,
    /// Bytes of the medium's blocks, a power of two, at least [`SECTOR`]: smaller accesses
    /// work and are slower.
    pub block_bytes: u32,
    /// Writing fails.
    pub read_only: bool,
    /// Sectors that can be discarded at once; `None` where discarding does nothing.
    pub discard: Option<u32>,
}

impl Properties {
    /// The sectors that a request of `bytes` from `first` on is for.
    ///
    /// # Errors
    ///
    /// [`Failure::OutOfRange`] where the disk does not have all of them,
    /// [`Failure::Unsupported`] where the bytes are no whole sectors.
    pub fn range(&self, first: u64, bytes: usize) -> Result<Range<u64>, Failure> {
        if !bytes.is_multiple_of(SECTOR) {
            return Err(Failure::Unsupported);
        }
        self.sectors(first, u64::try_from(bytes / SECTOR).unwrap_or(u64::MAX))
    }

    /// `count` sectors from `first` on.
    ///
    /// # Errors
    ///
    /// [`Failure::OutOfRange`] where the disk does not have all of them.
    pub fn sectors(&self, first: u64, count: u64) -> Result<Range<u64>, Failure> {
        let end = first.checked_add(count).filter(|end| *end <= self.sectors);
        end.map(|end| first..end).ok_or(Failure::OutOfRange)
    }

    /// The sectors that a request writes, as [`Properties::range`].
    ///
    /// # Errors
    ///
    /// Those, and [`Failure::ReadOnly`].
    pub fn writable(&self, first: u64, bytes: usize) -> Result<Range<u64>, Failure> {
        if self.read_only {
            return Err(Failure::ReadOnly);
        }
        self.range(first, bytes)
    }
}

/// Why the medium did not do what it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Sectors that it does not have.
    OutOfRange,
    /// It can only be read.
    ReadOnly,
    /// No room: of an overlay, of a file system.
    Full,
    /// It cannot do such a thing.
    Unsupported,
    /// The device or the file system failed, in words.
    Medium(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("sectors beyond the end"),
            Self::ReadOnly => f.write_str("it can only be read"),
            Self::Full => f.write_str("no room is left"),
            Self::Unsupported => f.write_str("it cannot do that"),
            Self::Medium(words) => f.write_str(words),
        }
    }
}

impl core::error::Error for Failure {}

/// Sectors. Several requests may be under way; those that touch the same sectors have no
/// order unless one has ended before the other begins.
///
/// Buffers are whole sectors of the kernel's own memory (never mapped pages of others), so
/// that devices may be pointed at them. A request that has been started and is dropped may
/// still reach the medium, never its buffer.
pub trait Disk {
    /// What it is.
    fn properties(&self) -> Properties;

    /// Reads sectors from `first` on.
    ///
    /// # Errors
    ///
    /// [`Failure`]; `to` may hold anything then.
    fn read(&self, first: u64, to: &mut [u8]) -> impl Future<Output = Result<(), Failure>>;

    /// Writes sectors from `first` on. They are safe after the next [`Disk::flush`].
    ///
    /// # Errors
    ///
    /// [`Failure`]; the sectors may be old, new or neither then.
    fn write(&self, first: u64, from: &[u8]) -> impl Future<Output = Result<(), Failure>>;

    /// Waits until all writes that have ended are on the medium.
    ///
    /// # Errors
    ///
    /// [`Failure`]; nobody knows then what is.
    fn flush(&self) -> impl Future<Output = Result<(), Failure>>;

    /// Gives sectors back; what they hold afterwards is zeros or what they held.
    ///
    /// # Errors
    ///
    /// [`Failure::Unsupported`] where [`Properties::discard`] is `None`.
    fn discard(&self, first: u64, count: u64) -> impl Future<Output = Result<(), Failure>>;
}

impl<D: Disk> Disk for Rc<D> {
    fn properties(&self) -> Properties {
        (**self).properties()
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        (**self).read(first, to).await
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        (**self).write(first, from).await
    }

    async fn flush(&self) -> Result<(), Failure> {
        (**self).flush().await
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        (**self).discard(first, count).await
    }
}
