//! Sectors in memory, as far as they have been written: what RAM disks and overlays are
//! made of.
//!
//! ```text
//! chunks: 3 -> written 0b0110, bytes        32 sectors each; what no chunk and no bit says
//!         9 -> written 0b1111, no bytes     has not been written; without bytes, zeros
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::ops::Range;

use crate::budget::{Account, Share};
use crate::disk::{Failure, SECTOR};

/// Sectors of a chunk: as many as bits of a word. Small, as guests' file systems write pieces
/// of 4 KiB all over the disk; not smaller, as each one is an allocation.
const SECTORS: u64 = u32::BITS as u64;
/// Bytes of a chunk.
const BYTES: usize = u32::BITS as usize * SECTOR;
/// Sectors that are discarded at once: 1024 chunks, each of which may be allocated or freed
/// without anybody else having a turn.
pub(crate) const DISCARD: u32 = 1 << 15;
/// What a chunk costs besides its bytes, at most.
const OVERHEAD: u64 = 128;

/// Sectors that have been written.
#[derive(Debug)]
pub(crate) struct Sparse {
    chunks: BTreeMap<u64, Chunk>,
    account: Account,
}

impl Sparse {
    /// Without sectors.
    pub(crate) fn new(account: Account) -> Self {
        Self { chunks: BTreeMap::new(), account }
    }

    /// Copies what has been written of the sectors from `first` on; returns the sectors that
    /// have not been, whose bytes it does not touch.
    pub(crate) fn read(&self, first: u64, to: &mut [u8]) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        for (bytes, sector) in to.chunks_exact_mut(SECTOR).zip(first..) {
            match self.chunks.get(&(sector / SECTORS)).filter(|chunk| chunk.has(sector)) {
                Some(chunk) => chunk.read(sector, bytes),
                None => append(&mut missing, sector),
            }
        }
        missing
    }

    /// Keeps sectors from `first` on.
    ///
    /// # Errors
    ///
    /// [`Failure::Full`]; sectors at the start may have been kept then.
    pub(crate) fn write(&mut self, first: u64, from: &[u8]) -> Result<(), Failure> {
        let account = self.account.clone();
        for (bytes, sector) in from.chunks_exact(SECTOR).zip(first..) {
            let chunk = self.chunk(sector, |account| Data::new(account).map(Some))?;
            chunk.write(sector, bytes, &account)?;
        }
        Ok(())
    }

    /// Keeps zeros as the contents of sectors, for little memory.
    ///
    /// # Errors
    ///
    /// [`Failure::Full`], as [`Sparse::write`].
    pub(crate) fn write_zeros(&mut self, first: u64, count: u64) -> Result<(), Failure> {
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            let after = (at / SECTORS).saturating_add(1).saturating_mul(SECTORS).min(end);
            self.chunk(at, |_| Ok(None))?.zero(mask(&(at..after)));
            at = after;
        }
        Ok(())
    }

    /// Forgets sectors: they have not been written afterwards.
    pub(crate) fn forget(&mut self, first: u64, count: u64) {
        let mut at = first;
        let end = first.saturating_add(count);
        // Not by pieces: of a large disk only a few chunks may be there.
        while let Some(index) = self.next_chunk(at).filter(|index| index.saturating_mul(SECTORS) < end) {
            let start = index.saturating_mul(SECTORS);
            let after = start.saturating_add(SECTORS);
            let mask = mask(&(at.max(start)..end.min(after)));
            if let Some(chunk) = self.chunks.get_mut(&index) {
                chunk.written &= !mask;
                if chunk.written == 0 {
                    self.chunks.remove(&index);
                }
            }
            at = after;
        }
    }

    /// The first sectors in a row that have been written, at `from` or later; at most a
    /// chunk's.
    pub(crate) fn written(&self, from: u64) -> Option<Range<u64>> {
        let mut at = from;
        loop {
            let index = self.next_chunk(at)?;
            let start = index.saturating_mul(SECTORS);
            let mut sectors = at.max(start)..start.saturating_add(SECTORS);
            at = sectors.end;
            let chunk = self.chunks.get(&index)?;
            if let Some(first) = sectors.find(|sector| chunk.has(*sector)) {
                let last = sectors.take_while(|sector| chunk.has(*sector)).last();
                return Some(first..last.unwrap_or(first) + 1);
            }
        }
    }

    /// Bytes of sectors that have been written.
    pub(crate) fn bytes(&self) -> u64 {
        let sectors: u64 = self.chunks.values().map(|chunk| u64::from(chunk.written.count_ones())).sum();
        sectors.saturating_mul(SECTOR as u64)
    }

    /// The chunk of `sector`; a new one has what `data` makes.
    fn chunk(
        &mut self,
        sector: u64,
        data: impl FnOnce(&Account) -> Result<Option<Data>, Failure>,
    ) -> Result<&mut Chunk, Failure> {
        match self.chunks.entry(sector / SECTORS) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(slot) => {
                let overhead = self.account.take(OVERHEAD)?;
                let data = data(&self.account)?;
                Ok(slot.insert(Chunk { written: 0, data, _overhead: overhead }))
            }
        }
    }

    fn next_chunk(&self, sector: u64) -> Option<u64> {
        self.chunks.range(sector / SECTORS..).next().map(|(index, _)| *index)
    }
}

#[derive(Debug)]
struct Chunk {
    /// A bit for each sector.
    written: u32,
    /// `None`: all that has been written is zeros.
    data: Option<Data>,
    _overhead: Share,
}

impl Chunk {
    fn has(&self, sector: u64) -> bool {
        self.written & bit(sector) != 0
    }

    fn read(&self, sector: u64, to: &mut [u8]) {
        match self.data.as_ref().and_then(|data| data.bytes.get(place(sector))) {
            Some(bytes) => to.copy_from_slice(bytes),
            None => to.fill(0),
        }
    }

    fn write(&mut self, sector: u64, from: &[u8], account: &Account) -> Result<(), Failure> {
        let data = match &mut self.data {
            Some(data) => data,
            none => none.insert(Data::new(account)?),
        };
        if let Some(bytes) = data.bytes.get_mut(place(sector)) {
            bytes.copy_from_slice(from);
            self.written |= bit(sector);
        }
        Ok(())
    }

    fn zero(&mut self, mask: u32) {
        self.written |= mask;
        if mask == u32::MAX {
            self.data = None;
        }
        let Some(data) = &mut self.data else { return };
        for (sector, bytes) in data.bytes.chunks_exact_mut(SECTOR).enumerate() {
            if mask >> sector & 1 != 0 {
                bytes.fill(0);
            }
        }
    }
}

#[derive(Debug)]
struct Data {
    bytes: Box<[u8]>,
    _share: Share,
}

impl Data {
    /// Zeros; the heap may be short of memory as well as the budget.
    fn new(account: &Account) -> Result<Self, Failure> {
        let share = account.take(BYTES as u64)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(BYTES).map_err(|_| Failure::Full)?;
        bytes.resize(BYTES, 0);
        Ok(Self { bytes: bytes.into_boxed_slice(), _share: share })
    }
}

/// Where a sector's bytes are in its chunk.
fn place(sector: u64) -> Range<usize> {
    let start = usize::try_from(sector % SECTORS).unwrap_or(0) * SECTOR;
    start..start + SECTOR
}

fn bit(sector: u64) -> u32 {
    1 << (sector % SECTORS)
}

/// Bits of sectors of one chunk.
fn mask(sectors: &Range<u64>) -> u32 {
    sectors.clone().map(bit).fold(0, |mask, bit| mask | bit)
}

/// Adds a sector to ranges in order.
fn append(ranges: &mut Vec<Range<u64>>, sector: u64) {
    match ranges.last_mut().filter(|last| last.end == sector) {
        Some(last) => last.end = last.end.saturating_add(1),
        None => ranges.push(sector..sector.saturating_add(1)),
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "models are small")]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// Sectors of the model.
    const SIZE: u64 = 200;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, u64, u8),
        Zero(u64, u64),
        Forget(u64, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range = || (0..SIZE, 0..90_u64).prop_map(|(first, count)| (first, count.min(SIZE - first)));
        let step = prop_oneof![
            (range(), 1..=255_u8).prop_map(|((first, count), byte)| Step::Write(first, count, byte)),
            range().prop_map(|(first, count)| Step::Zero(first, count)),
            range().prop_map(|(first, count)| Step::Forget(first, count)),
        ];
        prop::collection::vec(step, 0..20)
    }

    fn bytes(count: u64, byte: u8) -> Vec<u8> {
        vec![byte; usize::try_from(count).unwrap() * SECTOR]
    }

    #[test]
    fn a_full_budget_keeps_what_was_there() {
        let account = Account::of(BYTES as u64 + 2 * OVERHEAD);
        let mut sparse = Sparse::new(account.clone());
        sparse.write(0, &bytes(1, 7)).unwrap();
        assert_eq!(sparse.write(SECTORS, &bytes(1, 8)), Err(Failure::Full));
        assert_eq!(account.left(), OVERHEAD, "a failure takes nothing");
        sparse.write(1, &bytes(31, 9)).unwrap();
        assert_eq!(sparse.bytes(), BYTES as u64);
        drop(sparse);
        assert_eq!(account.left(), BYTES as u64 + 2 * OVERHEAD);
    }

    #[test]
    fn zeros_take_little() {
        let account = Account::of(10 * OVERHEAD);
        let mut sparse = Sparse::new(account);
        sparse.write_zeros(0, 10 * SECTORS).unwrap();
        assert_eq!(sparse.write_zeros(11 * SECTORS, 1), Err(Failure::Full));
        let mut read = bytes(10 * SECTORS, 1);
        assert!(sparse.read(0, &mut read).is_empty());
        assert!(read.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_last_sectors_of_all() {
        let mut sparse = Sparse::new(Account::of(1 << 20));
        sparse.write(u64::MAX - 2, &bytes(2, 7)).unwrap();
        assert_eq!(sparse.written(0), Some(u64::MAX - 2..u64::MAX));
        sparse.forget(0, u64::MAX);
        assert_eq!(sparse.written(0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_the_model(steps in steps(), first in 0..SIZE) {
            let account = Account::of(1 << 20);
            let mut sparse = Sparse::new(account.clone());
            let mut model: Vec<Option<u8>> = vec![None; SIZE as usize];
            for step in steps {
                let (first, count, value) = match step {
                    Step::Write(first, count, byte) => {
                        sparse.write(first, &bytes(count, byte)).unwrap();
                        (first, count, Some(byte))
                    }
                    Step::Zero(first, count) => {
                        sparse.write_zeros(first, count).unwrap();
                        (first, count, Some(0))
                    }
                    Step::Forget(first, count) => {
                        sparse.forget(first, count);
                        (first, count, None)
                    }
                };
                model[first as usize..(first + count) as usize].fill(value);
            }

            let mut read = bytes(SIZE - first, 0xAA);
            let missing = sparse.read(first, &mut read);
            for (index, sector) in (first..SIZE).enumerate() {
                let expected = model[sector as usize];
                let is_missing = missing.iter().any(|range| range.contains(&sector));
                prop_assert_eq!(is_missing, expected.is_none());
                let bytes = &read[index * SECTOR..][..SECTOR];
                prop_assert!(bytes.iter().all(|byte| *byte == expected.unwrap_or(0xAA)));
            }

            let mut at = 0;
            let mut written = vec![false; SIZE as usize];
            while let Some(range) = sparse.written(at) {
                written[range.start as usize..range.end as usize].fill(true);
                at = range.end;
            }
            prop_assert!(written.iter().zip(&model).all(|(written, byte)| *written == byte.is_some()));

            sparse.forget(0, SIZE);
            prop_assert_eq!(account.left(), 1 << 20);
        }
    }
}
