//! Copy on write: a disk that is not written, and changes beside it.
//!
//! ```text
//! read ──> changed? ──yes──> changes (memory)
//!              └─────no───> base            write, discard ──> changes
//! commit: changes ──> base                  discard_changes: the base is as it was
//! ```
//!
//! For clones of one image (BLK-37) and for trials that are taken back (BLK-39).

use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;
use core::ops::Range;

use crate::budget::Account;
use crate::disk::{Disk, Failure, Properties, SECTOR};
use crate::sparse::{DISCARD, Sparse};

/// A disk with changes, which take memory from a budget and are gone with Dom0.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    changes: Rc<Changes>,
}

/// What differs from the base.
#[derive(Debug)]
pub struct Changes {
    sectors: RefCell<Sparse>,
}

impl Changes {
    /// None.
    #[must_use]
    pub fn new(account: Account) -> Rc<Self> {
        Rc::new(Self { sectors: RefCell::new(Sparse::new(account)) })
    }

    /// Bytes that have been written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sectors.borrow().bytes()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written(0).is_none()
    }

    /// Writes them to the base, and forgets them as they are on its medium (T-96). The
    /// overlay must not be in use.
    ///
    /// # Errors
    ///
    /// The base's; all changes are there still, and it can be tried again.
    pub async fn commit(&self, base: &impl Disk) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(range) = self.written(at) {
            let count = range.end.saturating_sub(range.start);
            let bytes = usize::try_from(count).map_err(|_| Failure::OutOfRange)?;
            let mut sectors = vec![0; bytes.saturating_mul(SECTOR)];
            self.sectors.borrow().read(range.start, &mut sectors);
            base.write(range.start, &sectors).await?;
            at = range.end;
        }
        base.flush().await?;
        self.discard();
        Ok(())
    }

    /// Forgets them: the disk is as its base (T-96).
    pub fn discard(&self) {
        self.sectors.borrow_mut().forget(0, u64::MAX);
    }

    fn written(&self, from: u64) -> Option<Range<u64>> {
        self.sectors.borrow().written(from)
    }
}

impl<B: Disk> Overlay<B> {
    /// `base` with `changes`, which are of this base.
    pub fn new(base: B, changes: Rc<Changes>) -> Self {
        Self { base, changes }
    }
}

impl<B: Disk> Disk for Overlay<B> {
    fn properties(&self) -> Properties {
        Properties { read_only: false, discard: Some(DISCARD), ..self.base.properties() }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        let missing = self.changes.sectors.borrow().read(first, to);
        for range in missing {
            let piece = piece(&range, first).and_then(|piece| to.get_mut(piece));
            self.base.read(range.start, piece.ok_or(Failure::OutOfRange)?).await?;
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties().writable(first, from.len())?;
        self.changes.sectors.borrow_mut().write(first, from)
    }

    /// Changes are as safe as they will ever be.
    async fn flush(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        self.properties().sectors(first, count)?;
        match self.changes.sectors.borrow_mut().write_zeros(first, count) {
            // The rest keeps what it holds, which it may.
            Err(Failure::Full) => Ok(()),
            result => result,
        }
    }
}

/// Where sectors are in a buffer that starts with `first`.
fn piece(sectors: &Range<u64>, first: u64) -> Option<Range<usize>> {
    let start = usize::try_from(sectors.start.checked_sub(first)?).ok()?;
    let end = usize::try_from(sectors.end.checked_sub(first)?).ok()?;
    Some(start.checked_mul(SECTOR)?..end.checked_mul(SECTOR)?)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use pollster::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Ram;

    const SECTORS: usize = 128;

    /// A base of ones.
    fn base() -> Rc<Ram> {
        let ram = Ram::new(SECTORS as u64, Account::of(1 << 20));
        block_on(ram.write(0, &[1; SECTORS * SECTOR])).unwrap();
        Rc::new(ram)
    }

    fn contents(disk: &impl Disk) -> Vec<u8> {
        let mut bytes = vec![0xEE; SECTORS * SECTOR];
        block_on(disk.read(0, &mut bytes)).unwrap();
        bytes
    }

    /// T-94.
    #[test]
    fn the_base_stays() {
        let base = base();
        let overlay = Overlay::new(Rc::clone(&base), Changes::new(Account::of(1 << 20)));
        block_on(overlay.write(3, &[2; 10 * SECTOR])).unwrap();
        block_on(overlay.discard(100, 20)).unwrap();
        assert_eq!(contents(&base), [1; SECTORS * SECTOR]);
        let expected = |at: usize| match at / SECTOR {
            3..13 => 2,
            100..120 => 0,
            _ => 1,
        };
        assert!(contents(&overlay).iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    }

    /// The other tasks have their turn between two of them.
    #[test]
    fn one_discard_is_little_work() {
        let (base, account) = (Ram::new(1 << 40, Account::of(0)), Account::of(1 << 20));
        let overlay = Overlay::new(base, Changes::new(account.clone()));
        let most = overlay.properties().discard.unwrap();
        block_on(overlay.discard(0, most.into())).unwrap();
        assert!(account.left() >= (1 << 20) - 1024 * 128, "more than a thousand chunks");
    }

    /// T-96, BLK-39.
    #[test]
    fn committed_or_discarded() {
        let base = base();
        let changes = Changes::new(Account::of(1 << 20));
        let overlay = Overlay::new(Rc::clone(&base), Rc::clone(&changes));
        block_on(overlay.write(7, &[2; SECTOR])).unwrap();
        assert_eq!(changes.bytes(), 512);
        changes.discard();
        assert_eq!(changes.bytes(), 0);
        assert_eq!(contents(&overlay), contents(&base));

        block_on(overlay.write(7, &[3; SECTOR])).unwrap();
        let changed = contents(&overlay);
        block_on(changes.commit(&base)).unwrap();
        assert_eq!(changes.bytes(), 0);
        assert_eq!(contents(&base), changed);
    }

    #[test]
    fn a_failed_commit_loses_nothing() {
        let base = base();
        let changes = Changes::new(Account::of(1 << 20));
        let overlay = Overlay::new(Rc::clone(&base), Rc::clone(&changes));
        block_on(overlay.write(7, &[2; SECTOR])).unwrap();
        let short = Ram::new(5, Account::of(1 << 20));
        assert_eq!(block_on(changes.commit(&short)), Err(Failure::OutOfRange));
        assert_eq!(contents(&overlay)[7 * SECTOR], 2);
    }

    #[test]
    fn without_memory() {
        let overlay = Overlay::new(base(), Changes::new(Account::of(100)));
        assert_eq!(block_on(overlay.write(0, &[2; SECTOR])), Err(Failure::Full));
        block_on(overlay.discard(0, 9)).unwrap();
        assert_eq!(contents(&overlay), [1; SECTORS * SECTOR]);
        assert_eq!(block_on(overlay.write(SECTORS as u64, &[2; SECTOR])), Err(Failure::OutOfRange));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_overlay_is_bytes(steps in prop::collection::vec((0..SECTORS, 1..90_usize, any::<u8>()), 0..20)) {
            let base = base();
            let changes = Changes::new(Account::of(1 << 20));
            let overlay = Overlay::new(Rc::clone(&base), Rc::clone(&changes));
            let mut model = vec![1_u8; SECTORS * SECTOR];
            for (first, count, byte) in steps {
                let bytes = vec![byte; count.min(SECTORS - first) * SECTOR];
                match byte {
                    0 => block_on(overlay.discard(first as u64, (bytes.len() / SECTOR) as u64)).unwrap(),
                    _ => block_on(overlay.write(first as u64, &bytes)).unwrap(),
                }
                model[first * SECTOR..][..bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(contents(&overlay), &model[..]);
            prop_assert_eq!(contents(&base), [1; SECTORS * SECTOR]);
            block_on(changes.commit(&base)).unwrap();
            prop_assert_eq!(contents(&base), model);
        }
    }
}
