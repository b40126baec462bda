//! A part of a disk as a disk: partitions.

use core::ops::Range;

use crate::disk::{Disk, Failure, Properties, SECTOR};

/// Sectors in a row of another disk. Nothing reaches those around.
#[derive(Clone, Debug)]
pub struct Window<D> {
    disk: D,
    sectors: Range<u64>,
}

impl<D: Disk> Window<D> {
    /// `sectors` of `disk`.
    ///
    /// # Errors
    ///
    /// [`Failure::OutOfRange`] where the disk does not have them.
    pub fn new(disk: D, sectors: Range<u64>) -> Result<Self, Failure> {
        let count = sectors.end.checked_sub(sectors.start).ok_or(Failure::OutOfRange)?;
        let sectors = disk.properties().sectors(sectors.start, count)?;
        Ok(Self { disk, sectors })
    }

    /// All sectors of `disk`.
    pub fn whole(disk: D) -> Self {
        let sectors = 0..disk.properties().sectors;
        Self { disk, sectors }
    }

    /// Which sectors of the disk it is made of.
    pub fn sectors(&self) -> Range<u64> {
        self.sectors.clone()
    }

    /// Where `first` is on the disk; the request has been checked.
    fn at(&self, first: u64) -> Result<u64, Failure> {
        self.sectors.start.checked_add(first).ok_or(Failure::OutOfRange)
    }
}

impl<D: Disk> Disk for Window<D> {
    fn properties(&self) -> Properties {
        let disk = self.disk.properties();
        let sectors = self.sectors.end.saturating_sub(self.sectors.start);
        let block_sectors = u64::from(disk.block_bytes) / SECTOR as u64;
        let aligned = self.sectors.start.is_multiple_of(block_sectors.max(1));
        Properties { sectors, block_bytes: if aligned { disk.block_bytes } else { 512 }, ..disk }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        self.disk.read(self.at(first)?, to).await
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties().writable(first, from.len())?;
        self.disk.write(self.at(first)?, from).await
    }

    async fn flush(&self) -> Result<(), Failure> {
        self.disk.flush().await
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        self.properties().sectors(first, count)?;
        self.disk.discard(self.at(first)?, count).await
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use pollster::block_on;

    use super::*;
    use crate::budget::Account;
    use crate::memory::Ram;

    #[test]
    fn nothing_beyond_the_window() {
        let ram = Rc::new(Ram::new(20, Account::of(1 << 20)));
        block_on(ram.write(0, &[1; 20 * SECTOR])).unwrap();
        let window = Window::new(Rc::clone(&ram), 5..10).unwrap();
        assert_eq!(window.properties().sectors, 5);
        assert_eq!(block_on(window.write(5, &[2; SECTOR])), Err(Failure::OutOfRange));
        assert_eq!(block_on(window.write(4, &[2; 2 * SECTOR])), Err(Failure::OutOfRange));
        assert_eq!(block_on(window.read(u64::MAX, &mut [0; SECTOR])), Err(Failure::OutOfRange));
        assert_eq!(block_on(window.discard(0, 6)), Err(Failure::OutOfRange));
        block_on(window.write(0, &[2; 5 * SECTOR])).unwrap();
        block_on(window.discard(4, 1)).unwrap();

        let mut bytes = [0; 20 * SECTOR];
        block_on(ram.read(0, &mut bytes)).unwrap();
        let expected = |at: usize| match at / SECTOR {
            9 => 0,
            5..9 => 2,
            _ => 1,
        };
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    fn windows_that_cannot_be() {
        let ram = Rc::new(Ram::new(20, Account::of(0)));
        for sectors in [10..21, 21..22, 10..5, u64::MAX..u64::MAX] {
            assert_eq!(Window::new(Rc::clone(&ram), sectors).unwrap_err(), Failure::OutOfRange);
        }
        assert_eq!(Window::whole(ram).sectors(), 0..20);
    }
}
