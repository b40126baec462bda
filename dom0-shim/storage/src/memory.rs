//! Disks in memory: RAM disks, and boot modules that can only be read.

use core::cell::RefCell;

use crate::budget::Account;
use crate::disk::{Disk, Failure, Properties, SECTOR};
use crate::sparse::{DISCARD, Sparse};

/// A disk of zeros until it is written; memory is taken as it is written, and given back as
/// it is discarded (BLK-36). It is gone with Dom0.
#[derive(Debug)]
pub struct Ram {
    sectors: u64,
    written: RefCell<Sparse>,
}

impl Ram {
    /// A disk of `sectors` that takes memory from `account`.
    #[must_use]
    pub fn new(sectors: u64, account: Account) -> Self {
        Self { sectors, written: RefCell::new(Sparse::new(account)) }
    }
}

impl Disk for Ram {
    fn properties(&self) -> Properties {
        let block_bytes = 512;
        Properties { sectors: self.sectors, block_bytes, read_only: false, discard: Some(DISCARD) }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        to.fill(0);
        self.written.borrow().read(first, to);
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties().writable(first, from.len())?;
        self.written.borrow_mut().write(first, from)
    }

    async fn flush(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        self.properties().sectors(first, count)?;
        self.written.borrow_mut().forget(first, count);
        Ok(())
    }
}

/// A boot module: GRUB's copy of a file, which nobody writes. The last sector is filled up
/// with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    bytes: &'static [u8],
}

impl Module {
    /// A disk of `bytes`.
    #[must_use]
    pub fn new(bytes: &'static [u8]) -> Self {
        Self { bytes }
    }
}

impl Disk for Module {
    fn properties(&self) -> Properties {
        let sectors = u64::try_from(self.bytes.len().div_ceil(SECTOR)).unwrap_or(u64::MAX);
        Properties { sectors, block_bytes: 512, read_only: true, discard: None }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        let start = usize::try_from(first).map_err(|_| Failure::OutOfRange)?.saturating_mul(SECTOR);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let (there, beyond) = to.split_at_mut(rest.len().min(to.len()));
        let (copied, _) = rest.split_at(there.len());
        there.copy_from_slice(copied);
        beyond.fill(0);
        Ok(())
    }

    async fn write(&self, _: u64, _: &[u8]) -> Result<(), Failure> {
        Err(Failure::ReadOnly)
    }

    async fn flush(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
        Err(Failure::Unsupported)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "models are small")]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use pollster::block_on;
    use proptest::prelude::*;

    use super::*;

    fn read(disk: &impl Disk, first: u64, sectors: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0xEE; sectors * SECTOR];
        block_on(disk.read(first, &mut bytes)).map(|()| bytes)
    }

    #[test]
    fn a_module() {
        static BYTES: [u8; 700] = [7; 700];
        let module = Module::new(&BYTES);
        assert_eq!(module.properties().sectors, 2);
        let whole = read(&module, 0, 2).unwrap();
        assert!(whole.iter().enumerate().all(|(at, byte)| *byte == if at < 700 { 7 } else { 0 }));
        assert_eq!(read(&module, 1, 1).unwrap(), &whole[SECTOR..]);
        assert_eq!(read(&module, 1, 2), Err(Failure::OutOfRange));
        assert_eq!(read(&module, u64::MAX, 1), Err(Failure::OutOfRange));
        assert_eq!(block_on(module.write(0, &[0; 512])), Err(Failure::ReadOnly));
        assert_eq!(Module::new(&[]).properties().sectors, 0);
    }

    /// T-72: 10 GiB take memory as far as they are written.
    #[test]
    fn ten_sparse_gigabytes() {
        let account = Account::of(1 << 20);
        let sectors = 10 << 21;
        let ram = Ram::new(sectors, account.clone());
        block_on(ram.write(sectors - 1, &[1; SECTOR])).unwrap();
        assert_eq!(read(&ram, sectors - 2, 2).unwrap()[SECTOR..], [1; SECTOR]);
        assert!(account.left() > 1_000_000);
        block_on(ram.discard(0, sectors)).unwrap();
        assert_eq!(account.left(), 1 << 20);
    }

    #[test]
    fn what_a_ram_disk_refuses() {
        let ram = Ram::new(8, Account::of(1 << 20));
        assert_eq!(read(&ram, 8, 1), Err(Failure::OutOfRange));
        assert_eq!(read(&ram, 7, 2), Err(Failure::OutOfRange));
        assert_eq!(block_on(ram.write(u64::MAX, &[0; SECTOR])), Err(Failure::OutOfRange));
        assert_eq!(block_on(ram.write(0, &[0; 100])), Err(Failure::Unsupported));
        assert_eq!(block_on(ram.discard(1, 8)), Err(Failure::OutOfRange));
        let poor = Ram::new(8, Account::of(100));
        assert_eq!(block_on(poor.write(0, &[1; SECTOR])), Err(Failure::Full));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_ram_disk_is_bytes(steps in prop::collection::vec((0..64_u64, 1..40_usize, any::<u8>()), 0..20)) {
            let ram = Ram::new(64, Account::of(1 << 20));
            let mut model = vec![0_u8; 64 * SECTOR];
            for (first, count, byte) in steps {
                let count = count.min(64 - first as usize);
                let bytes = vec![byte; count * SECTOR];
                match byte {
                    0 => block_on(ram.discard(first, count as u64)).unwrap(),
                    _ => block_on(ram.write(first, &bytes)).unwrap(),
                }
                model[first as usize * SECTOR..][..bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(read(&ram, 0, 64).unwrap(), model);
        }
    }
}
