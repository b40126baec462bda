//! A drive as a disk.

use alloc::format;
use alloc::string::{String, ToString};
use core::cell::Cell;

use storage::{Failure, Properties, SECTOR};

use super::identify::{Flush, Identity, WORDS};
use super::{Data, Error, Mode};

/// The way to one drive.
pub trait Link {
    /// Sectors of the longest transfer, at most 256.
    const MOST_SECTORS: u16;
    /// Whether the CPU can transfer what cannot go by DMA.
    const BY_CPU: bool;

    /// Transfers sectors from `first` on: at most [`Link::MOST_SECTORS`], all of which the drive
    /// has.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn transfer(
        &self,
        mode: Mode,
        first: u64,
        data: &mut Data<'_>,
    ) -> impl Future<Output = Result<(), Error>>;

    /// Has the drive write its cache to the medium, by the command for 48-bit addresses or not.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn flush(&self, ext: bool) -> impl Future<Output = Result<(), Error>>;
}

/// A drive.
pub struct Disk<L> {
    link: L,
    identity: Identity,
    /// How transfers are tried first.
    mode: Cell<Mode>,
}

impl<L: Link> Disk<L> {
    /// The drive that gave this answer to IDENTIFY DEVICE; `dma`: whether its controller can
    /// transfer by DMA.
    ///
    /// # Errors
    ///
    /// In words, when it is no disk that can be used.
    pub(crate) fn new(link: L, answer: &[u16; WORDS], dma: bool) -> Result<Self, String> {
        let identity = Identity::parse(answer)?;
        let mode = if dma && identity.dma { Mode::Dma } else { Mode::Pio };
        Ok(Self { link, identity, mode: Cell::new(mode) })
    }

    /// What the drive calls itself.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.identity.model
    }

    /// Bytes of the longest transfer.
    const LONGEST: usize = L::MOST_SECTORS as usize * SECTOR;

    /// Transfers at most [`Self::LONGEST`] bytes. What goes wrong is tried again, the last time
    /// by the CPU if it can; when that helps where DMA failed, it is not asked for any more.
    async fn transfer(&self, first: u64, mut data: Data<'_>) -> Result<(), Failure> {
        let mode = self.mode.get();
        let mut failed = None;
        for mode in [mode, mode, if L::BY_CPU { Mode::Pio } else { mode }] {
            match self.link.transfer(mode, first, &mut data).await {
                Ok(()) => {
                    if matches!(failed, Some(Error::Bus | Error::Timeout)) {
                        self.mode.set(mode);
                    }
                    return Ok(());
                }
                Err(error) => failed = Some(error),
            }
        }
        let error = failed.map_or_else(String::new, |error| error.to_string());
        Err(Failure::Medium(format!("sector {first}: {error}")))
    }
}

impl<L: Link> storage::Disk for Disk<L> {
    fn properties(&self) -> Properties {
        let Identity { sectors, block_bytes, .. } = self.identity;
        Properties { sectors, block_bytes, read_only: false, discard: None }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        for (first, part) in (first..).step_by(L::MOST_SECTORS.into()).zip(to.chunks_mut(Self::LONGEST)) {
            self.transfer(first, Data::In(part)).await?;
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties().writable(first, from.len())?;
        for (first, part) in (first..).step_by(L::MOST_SECTORS.into()).zip(from.chunks(Self::LONGEST)) {
            self.transfer(first, Data::Out(part)).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        let ext = match self.identity.flush {
            Flush::Ext => true,
            Flush::Plain => false,
            Flush::NoCache => return Ok(()),
        };
        // Not again: what the drive could not write may be what it drops (ATA/ATAPI-6, 8.10).
        let flushed = self.link.flush(ext).await;
        flushed.map_err(|error| Failure::Medium(format!("its cache is not on the medium: {error}")))
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
        Err(Failure::Unsupported)
    }
}
