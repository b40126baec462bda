//! Copy on write that survives: changes are in another disk, a COW file.
//!
//! ```text
//! sector 0     header: magic, version, base's sectors and name, CRC
//! 1 ...        map: 16 entries a sector; entry n says what slot n holds
//!              ┌ 8: chunk + 1, or 0: free ┬ 16: a bit for each sector ┬ 4: CRC ┬ 4: 0 ┐
//! ...          slots of 128 sectors: a chunk's sectors, as far as their bits are set
//! ```
//!
//! Numbers are little-endian; CRCs are CRC-32/ISO-HDLC, as in a GPT. A write goes to its slot,
//! and its bit to the map as it is flushed, after the data: a power failure takes back what
//! was not flushed, never what was. Map sectors are written whole, as disks write them.
//!
//! Slots are not given back before everything is committed or discarded; there is no discarding
//! of single sectors.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;

use async_lock::Mutex;
use crc::{CRC_32_ISO_HDLC, Crc};

use crate::disk::{Disk, Failure, Properties, SECTOR};

const MAGIC: &[u8; 8] = b"KigumiCW";
const VERSION: u32 = 1;
/// Sectors of a chunk.
const CHUNK: u64 = u128::BITS as u64;
/// Bytes of an entry of the map.
const ENTRY: usize = 32;
/// Entries in a sector.
const ENTRIES: u64 = (SECTOR / ENTRY) as u64;
/// Slots at most: 64 GiB of changes, whose map is 32 MiB.
const SLOTS: u64 = 1 << 20;
/// Sectors of the map that are read at once.
const READ: u64 = 128;
/// Bytes of a base's name: those of a target (BLK-18), and some.
const NAME: usize = 256;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A base that is not written, with a disk of changes.
pub struct CowDisk<B, S> {
    base: B,
    store: S,
    /// Slots that the store has room for.
    slots: u64,
    map: RefCell<Map>,
    /// Taken by who writes the map: an older copy must not come last.
    flushing: Mutex<()>,
}

/// What is in which slot.
#[derive(Default)]
struct Map {
    /// By slot; those at the end that are free are not here.
    entries: Vec<Entry>,
    /// Slots by chunk.
    chunks: BTreeMap<u64, usize>,
    /// Sectors of the map that differ from those in the store.
    dirty: BTreeSet<u64>,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    chunk: Option<u64>,
    written: u128,
}

impl<B: Disk, S: Disk> CowDisk<B, S> {
    /// The changes in `store` of a base that is called `name`. A store that starts with zeros
    /// gets an empty map.
    ///
    /// # Errors
    ///
    /// [`Failure::Medium`]: the store holds something else, or changes of another base, or is
    /// too small or damaged. [`Failure::ReadOnly`] where it cannot be written.
    pub async fn open(base: B, name: &str, store: S) -> Result<Self, Failure> {
        if store.properties().read_only {
            return Err(Failure::ReadOnly);
        }
        let slots = slots(store.properties().sectors);
        if slots == 0 || name.len() > NAME {
            return Err(Failure::Medium(String::from("it is too small for changes")));
        }
        let disk = Self { base, store, slots, map: RefCell::default(), flushing: Mutex::new(()) };
        let header = disk.header(name);
        let mut found = [0; SECTOR];
        disk.store.read(0, &mut found).await?;
        if found == [0; SECTOR] {
            disk.clear().await?;
            disk.store.write(0, &header).await?;
            disk.store.flush().await?;
        } else {
            check(&found, &header)?;
            disk.load().await?;
        }
        Ok(disk)
    }

    /// Writes all changes to the base, which has to be open for writing, and forgets them.
    ///
    /// # Errors
    ///
    /// The disks'; all changes are there still, and it can be tried again.
    pub async fn commit(&self) -> Result<(), Failure> {
        let entries = self.map.borrow().entries.clone();
        for (slot, entry) in (0..).zip(entries) {
            let Some(chunk) = entry.chunk else { continue };
            for run in runs(entry.written, 0..CHUNK).filter(|run| run.written) {
                let count = run.sectors.end.saturating_sub(run.sectors.start);
                let mut bytes = vec![0; bytes_of(count)];
                self.store.read(self.place(slot, run.sectors.start), &mut bytes).await?;
                self.base
                    .write(chunk.saturating_mul(CHUNK).saturating_add(run.sectors.start), &bytes)
                    .await?;
            }
        }
        self.base.flush().await?;
        self.forget().await
    }

    /// Forgets all changes.
    ///
    /// # Errors
    ///
    /// The store's; some may be forgotten then.
    pub async fn forget(&self) -> Result<(), Failure> {
        let _flushing = self.flushing.lock().await;
        self.clear().await?;
        self.store.flush().await?;
        *self.map.borrow_mut() = Map::default();
        Ok(())
    }

    /// Writes an empty map.
    async fn clear(&self) -> Result<(), Failure> {
        let end = map_sectors(self.slots).saturating_add(1);
        let mut at = 1;
        while at < end {
            let count = end.saturating_sub(at).min(READ);
            self.store.write(at, &vec![0; bytes_of(count)]).await?;
            at = at.saturating_add(count);
        }
        Ok(())
    }

    async fn load(&self) -> Result<(), Failure> {
        let sectors = self.base.properties().sectors;
        let end = map_sectors(self.slots).saturating_add(1);
        let mut map = Map::default();
        let mut at = 1;
        while at < end {
            let count = end.saturating_sub(at).min(READ);
            let mut bytes = vec![0; bytes_of(count)];
            self.store.read(at, &mut bytes).await?;
            for (slot, bytes) in (at.saturating_sub(1).saturating_mul(ENTRIES)..).zip(bytes.as_chunks().0) {
                let entry = Entry::decode(bytes).filter(|entry| entry.fits(sectors));
                let entry = entry.filter(|entry| slot < self.slots || entry.chunk.is_none());
                let entry = entry.filter(|entry| map.add(slot, *entry));
                entry.ok_or_else(|| Failure::Medium(format!("entry {slot} of its map is damaged")))?;
            }
            at = at.saturating_add(count);
        }
        *self.map.borrow_mut() = map;
        Ok(())
    }

    fn header(&self, name: &str) -> [u8; SECTOR] {
        let mut header = [0; SECTOR];
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        let fields: [&[u8]; 7] = [
            MAGIC,
            &VERSION.to_le_bytes(),
            &length.to_le_bytes(),
            &self.base.properties().sectors.to_le_bytes(),
            &self.slots.to_le_bytes(),
            &CHUNK.to_le_bytes(),
            name.as_bytes(),
        ];
        let (body, checksum) = header.split_at_mut(SECTOR - 4);
        for (to, from) in body.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        checksum.copy_from_slice(&CRC.checksum(body).to_le_bytes());
        header
    }

    /// Where a slot's sector is in the store.
    fn place(&self, slot: u64, sector: u64) -> u64 {
        let start = map_sectors(self.slots).saturating_add(1);
        slot.saturating_mul(CHUNK).saturating_add(start).saturating_add(sector)
    }

    /// The slot of a chunk, and which of its sectors are written.
    fn lookup(&self, chunk: u64) -> Option<(u64, u128)> {
        let map = self.map.borrow();
        let slot = *map.chunks.get(&chunk)?;
        Some((u64::try_from(slot).ok()?, map.entries.get(slot)?.written))
    }

    /// The slot of a chunk, a new one if need be.
    fn allocate(&self, chunk: u64) -> Result<u64, Failure> {
        if let Some((slot, _)) = self.lookup(chunk) {
            return Ok(slot);
        }
        let slot = u64::try_from(self.map.borrow().entries.len()).unwrap_or(u64::MAX);
        let entry = Entry { chunk: Some(chunk), written: 0 };
        let added = slot < self.slots && self.map.borrow_mut().add(slot, entry);
        added.then_some(slot).ok_or(Failure::Full)
    }
}

impl Map {
    /// Adds the entry of the next slot; not one of a chunk that has a slot.
    fn add(&mut self, slot: u64, entry: Entry) -> bool {
        let Some(chunk) = entry.chunk else { return true };
        let Ok(slot) = usize::try_from(slot) else { return false };
        if self.chunks.insert(chunk, slot).is_some() {
            return false;
        }
        self.entries.resize(slot, Entry::default());
        self.entries.push(entry);
        true
    }

    /// Notes sectors of a chunk that have been written.
    fn set(&mut self, slot: u64, sectors: Range<u64>) {
        let Some(entry) = usize::try_from(slot).ok().and_then(|slot| self.entries.get_mut(slot)) else {
            return;
        };
        let written =
            sectors.map(|sector| 1_u128 << (sector % CHUNK)).fold(entry.written, |mask, bit| mask | bit);
        if written != entry.written {
            entry.written = written;
            self.dirty.insert(slot / ENTRIES);
        }
    }

    /// Takes the sectors that have changed, with their bytes.
    fn take_dirty(&mut self) -> Vec<(u64, [u8; SECTOR])> {
        let dirty = core::mem::take(&mut self.dirty);
        let encoded = dirty.into_iter().map(|sector| {
            let first = usize::try_from(sector.saturating_mul(ENTRIES)).unwrap_or(usize::MAX);
            let mut bytes = [0; SECTOR];
            for (to, entry) in bytes.as_chunks_mut().0.iter_mut().zip(self.entries.iter().skip(first)) {
                *to = entry.encode();
            }
            (sector, bytes)
        });
        encoded.collect()
    }
}

impl Entry {
    /// Whether a base of `sectors` has what it holds.
    fn fits(&self, sectors: u64) -> bool {
        let last = u64::from(u128::BITS - self.written.leading_zeros()).saturating_sub(1);
        self.chunk
            .is_none_or(|chunk| chunk.checked_mul(CHUNK).is_some_and(|at| at.saturating_add(last) < sectors))
    }

    fn encode(&self) -> [u8; ENTRY] {
        let Some(chunk) = self.chunk.and_then(|chunk| chunk.checked_add(1)) else { return [0; ENTRY] };
        let mut bytes = [0; ENTRY];
        let (body, checksum) = bytes.split_at_mut(24);
        let (number, written) = body.split_at_mut(8);
        number.copy_from_slice(&chunk.to_le_bytes());
        written.copy_from_slice(&self.written.to_le_bytes());
        let (checksum, _) = checksum.split_at_mut(4);
        checksum.copy_from_slice(&CRC.checksum(body).to_le_bytes());
        bytes
    }

    /// `None` where the checksum is wrong.
    fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        if *bytes == [0; ENTRY] {
            return Some(Self::default());
        }
        let (number, rest) = bytes.split_first_chunk()?;
        let (written, _) = rest.split_first_chunk()?;
        let chunk = u64::from_le_bytes(*number).checked_sub(1)?;
        let entry = Self { chunk: Some(chunk), written: u128::from_le_bytes(*written) };
        (entry.encode() == *bytes).then_some(entry)
    }
}

/// Sectors of a chunk that are all written, or all not.
struct Run {
    sectors: Range<u64>,
    written: bool,
}

/// The runs of a part of a chunk.
fn runs(written: u128, sectors: Range<u64>) -> impl Iterator<Item = Run> {
    let has = move |sector: u64| written >> (sector % CHUNK) & 1 != 0;
    let mut at = sectors.start;
    core::iter::from_fn(move || {
        let first = (at < sectors.end).then_some(at)?;
        at = (first..sectors.end).find(|sector| has(*sector) != has(first)).unwrap_or(sectors.end);
        Some(Run { sectors: first..at, written: has(first) })
    })
}

/// Chunks of a request, and the part of each.
fn pieces(sectors: Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> {
    let mut at = sectors.start;
    core::iter::from_fn(move || {
        let first = (at < sectors.end).then_some(at)?;
        let chunk = first / CHUNK;
        let start = chunk.saturating_mul(CHUNK);
        at = start.saturating_add(CHUNK).min(sectors.end);
        Some((chunk, first.saturating_sub(start)..at.saturating_sub(start)))
    })
}

/// How many slots a store has room for, beside the header and the map.
fn slots(sectors: u64) -> u64 {
    let room = sectors.saturating_sub(1);
    // A sector of the map for as many slots as it has entries; the last one may have fewer.
    let slots = room.saturating_mul(ENTRIES) / (CHUNK * ENTRIES + 1);
    let fits = slots.saturating_mul(CHUNK).saturating_add(map_sectors(slots)) <= room;
    if fits { slots.min(SLOTS) } else { slots.saturating_sub(1).min(SLOTS) }
}

fn map_sectors(slots: u64) -> u64 {
    slots.div_ceil(ENTRIES)
}

fn bytes_of(sectors: u64) -> usize {
    usize::try_from(sectors).unwrap_or(usize::MAX).saturating_mul(SECTOR)
}

/// Compares the header of a store with that of a new one.
fn check(found: &[u8; SECTOR], expected: &[u8; SECTOR]) -> Result<(), Failure> {
    let words = match found == expected {
        true => return Ok(()),
        false if !found.starts_with(MAGIC) => {
            String::from("it holds something else than changes: use a new file, or clear its first sector")
        }
        false => {
            let name =
                found.get(40..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
            let name = String::from_utf8_lossy(name.get(..name.len().min(NAME)).unwrap_or_default());
            format!("its changes are of `{name}`, or of another size of it or of this file, or it is damaged")
        }
    };
    Err(Failure::Medium(words))
}

impl<B: Disk, S: Disk> Disk for CowDisk<B, S> {
    fn properties(&self) -> Properties {
        Properties { read_only: false, discard: None, ..self.base.properties() }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        let mut rest = to;
        for (chunk, sectors) in pieces(self.properties().range(first, rest.len())?) {
            let (slot, written) = self.lookup(chunk).unwrap_or_default();
            for run in runs(written, sectors) {
                let count = run.sectors.end.saturating_sub(run.sectors.start);
                let piece = rest.split_off_mut(..bytes_of(count)).ok_or(Failure::OutOfRange)?;
                match run.written {
                    true => self.store.read(self.place(slot, run.sectors.start), piece).await?,
                    false => {
                        let at = chunk.saturating_mul(CHUNK).saturating_add(run.sectors.start);
                        self.base.read(at, piece).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        let mut rest = from;
        for (chunk, sectors) in pieces(self.properties().writable(first, rest.len())?) {
            let slot = self.allocate(chunk)?;
            let count = sectors.end.saturating_sub(sectors.start);
            let piece = rest.split_off(..bytes_of(count)).ok_or(Failure::OutOfRange)?;
            self.store.write(self.place(slot, sectors.start), piece).await?;
            self.map.borrow_mut().set(slot, sectors);
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        let _flushing = self.flushing.lock().await;
        // What is written from now on is not in these copies, so that no bit comes before
        // its data.
        let dirty = self.map.borrow_mut().take_dirty();
        let mut flushed = self.store.flush().await;
        for (sector, bytes) in &dirty {
            if flushed.is_ok() {
                flushed = self.store.write(sector.saturating_add(1), bytes).await;
            }
        }
        if flushed.is_ok() && !dirty.is_empty() {
            flushed = self.store.flush().await;
        }
        if flushed.is_err() {
            self.map.borrow_mut().dirty.extend(dirty.iter().map(|(sector, _)| *sector));
        }
        flushed
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
        Err(Failure::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;

    use pollster::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Account;
    use crate::memory::Ram;

    const SECTORS: usize = 600;

    fn ram(sectors: u64) -> Rc<Ram> {
        Rc::new(Ram::new(sectors, Account::of(1 << 22)))
    }

    /// A base of ones.
    fn base() -> Rc<Ram> {
        let base = ram(SECTORS as u64);
        block_on(base.write(0, &vec![1; SECTORS * SECTOR])).unwrap();
        base
    }

    fn open(base: &Rc<Ram>, store: &Rc<Ram>) -> Result<CowDisk<Rc<Ram>, Rc<Ram>>, Failure> {
        block_on(CowDisk::open(Rc::clone(base), "/dev/hda2", Rc::clone(store)))
    }

    fn contents(disk: &impl Disk) -> Vec<u8> {
        let mut bytes = vec![0xEE; SECTORS * SECTOR];
        block_on(disk.read(0, &mut bytes)).unwrap();
        bytes
    }

    fn words(result: Result<CowDisk<Rc<Ram>, Rc<Ram>>, Failure>) -> String {
        format!("{}", result.err().expect("it should be refused"))
    }

    /// A disk whose writes are safe after a flush only.
    struct Volatile {
        ram: Ram,
        /// What the sectors held that were written since.
        lost: RefCell<Vec<(u64, Vec<u8>)>>,
        /// How often it is flushed before it fails.
        flushes: Cell<u32>,
    }

    impl Volatile {
        /// Takes writes back, each sector by itself; bits say which ones stay.
        fn fail(&self, survivors: u64) {
            for (number, (sector, before)) in self.lost.take().into_iter().enumerate().rev() {
                if survivors >> (number % 64) & 1 == 0 {
                    block_on(self.ram.write(sector, &before)).unwrap();
                }
            }
        }
    }

    impl Disk for Volatile {
        fn properties(&self) -> Properties {
            self.ram.properties()
        }

        async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
            self.ram.read(first, to).await
        }

        async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
            for (sector, bytes) in (first..).zip(from.chunks(SECTOR)) {
                let mut before = vec![0; SECTOR];
                self.ram.read(sector, &mut before).await?;
                self.lost.borrow_mut().push((sector, before));
                self.ram.write(sector, bytes).await?;
            }
            Ok(())
        }

        async fn flush(&self) -> Result<(), Failure> {
            let left = self.flushes.get().checked_sub(1).ok_or(Failure::Unsupported)?;
            self.flushes.set(left);
            self.lost.borrow_mut().clear();
            Ok(())
        }

        async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
            Err(Failure::Unsupported)
        }
    }

    #[test]
    fn room_for_slots() {
        for sectors in (0..5000).chain([1 << 20, u64::MAX]) {
            let slots = slots(sectors);
            let used = |slots| 1_u64.saturating_add(slots * CHUNK + map_sectors(slots));
            assert!(slots == 0 || used(slots) <= sectors, "{sectors}");
            assert!(slots == SLOTS || used(slots + 1) > sectors, "{sectors}");
        }
    }

    /// T-94: changes survive, the base stays.
    #[test]
    fn what_was_flushed_survives() {
        let (base, store) = (base(), ram(2000));
        let disk = open(&base, &store).unwrap();
        block_on(disk.write(100, &[2; 100 * SECTOR])).unwrap();
        block_on(disk.flush()).unwrap();
        block_on(disk.write(300, &[3; SECTOR])).unwrap();
        block_on(disk.write(100, &[4; SECTOR])).unwrap();
        drop(disk);
        let expected = |at: usize| match at / SECTOR {
            100 => 4,
            101..200 => 2,
            _ => 1,
        };
        let found = contents(&open(&base, &store).unwrap());
        assert!(found.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
        assert_eq!(contents(&base), vec![1; SECTORS * SECTOR]);
    }

    #[test]
    fn a_store_that_is_full() {
        let (base, store) = (base(), ram(1 + 1 + 2 * CHUNK));
        let disk = open(&base, &store).unwrap();
        block_on(disk.write(0, &[2; SECTOR])).unwrap();
        block_on(disk.write(500, &[2; SECTOR])).unwrap();
        assert_eq!(block_on(disk.write(200, &[2; SECTOR])), Err(Failure::Full));
        block_on(disk.write(1, &[2; SECTOR])).unwrap();
        block_on(disk.forget()).unwrap();
        block_on(disk.write(200, &[2; SECTOR])).unwrap();
    }

    #[test]
    fn what_is_no_store() {
        let base = base();
        assert_eq!(words(open(&base, &ram(100))), "it is too small for changes");
        let store = ram(2000);
        block_on(store.write(0, &[7; SECTOR])).unwrap();
        let other = "it holds something else than changes: use a new file, or clear its first sector";
        assert_eq!(words(open(&base, &store)), other);

        let store = ram(2000);
        block_on(block_on(CowDisk::open(Rc::clone(&base), "/dev/hdb", Rc::clone(&store))).unwrap().flush())
            .unwrap();
        let other =
            "its changes are of `/dev/hdb`, or of another size of it or of this file, or it is damaged";
        assert_eq!(words(open(&base, &store)), other);

        let store = ram(2000);
        let disk = open(&base, &store).unwrap();
        block_on(disk.write(0, &[2; SECTOR])).unwrap();
        block_on(disk.flush()).unwrap();
        let mut map = [0; SECTOR];
        block_on(store.read(1, &mut map)).unwrap();
        map.copy_within(..ENTRY, ENTRY);
        block_on(store.write(1, &map)).unwrap();
        assert_eq!(words(open(&base, &store)), "entry 1 of its map is damaged");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        /// As bytes; after a flush and a restart too, and in the base after a commit (T-96).
        #[test]
        fn changes_are_bytes(
            steps in prop::collection::vec((0..SECTORS, 0..300_usize, any::<u8>(), any::<bool>()), 0..20),
        ) {
            let (base, store) = (base(), ram(2000));
            let mut disk = open(&base, &store).unwrap();
            let mut model = vec![1_u8; SECTORS * SECTOR];
            for (first, count, byte, restart) in steps {
                let bytes = vec![byte; count.min(SECTORS - first) * SECTOR];
                block_on(disk.write(first as u64, &bytes)).unwrap();
                model[first * SECTOR..][..bytes.len()].copy_from_slice(&bytes);
                prop_assert_eq!(&contents(&disk), &model);
                if restart {
                    block_on(disk.flush()).unwrap();
                    disk = open(&base, &store).unwrap();
                    prop_assert_eq!(&contents(&disk), &model);
                }
            }
            prop_assert_eq!(contents(&base), vec![1; SECTORS * SECTOR]);
            block_on(disk.commit()).unwrap();
            prop_assert_eq!(&contents(&base), &model);
            let again = open(&base, &store).unwrap();
            prop_assert!(again.map.borrow().entries.is_empty());
        }

        /// After a power failure each sector is as it was at a flush, or as written since.
        #[test]
        fn power_failures(
            steps in prop::collection::vec((0..SECTORS, 1..300_usize, any::<bool>()), 1..12),
            survivors in any::<u64>(),
            flushes in 1..12_u32,
        ) {
            let base = base();
            let ram = Ram::new(2000, Account::of(1 << 22));
            let store = Rc::new(Volatile { ram, lost: RefCell::default(), flushes: Cell::new(flushes) });
            let disk = block_on(CowDisk::open(Rc::clone(&base), "b", Rc::clone(&store))).unwrap();
            // What each sector may hold.
            let mut model = vec![vec![1_u8]; SECTORS];
            for (byte, (first, count, flush)) in (2..).zip(steps) {
                let count = count.min(SECTORS - first);
                block_on(disk.write(first as u64, &vec![byte; count * SECTOR])).unwrap();
                model[first..first + count].iter_mut().for_each(|sector| sector.push(byte));
                if flush && block_on(disk.flush()).is_ok() {
                    model.iter_mut().for_each(|sector| *sector = sector.split_off(sector.len() - 1));
                }
            }
            drop(disk);
            store.fail(survivors);
            store.flushes.set(u32::MAX);
            let found = contents(&block_on(CowDisk::open(Rc::clone(&base), "b", store)).unwrap());
            for (bytes, allowed) in found.as_chunks::<SECTOR>().0.iter().zip(&model) {
                prop_assert!(allowed.contains(&bytes[0]), "{} of {allowed:?}", bytes[0]);
            }
        }

        /// Whatever is in a store: no panic, and sectors that the base has.
        #[test]
        fn damaged_stores(damage in prop::collection::vec((0..2 * SECTOR, any::<u8>()), 1..6)) {
            let (base, store) = (base(), ram(2000));
            let disk = open(&base, &store).unwrap();
            block_on(disk.write(0, &[2; 400 * SECTOR])).unwrap();
            block_on(disk.flush()).unwrap();
            let mut start = [0; 2 * SECTOR];
            block_on(store.read(0, &mut start)).unwrap();
            let before = start;
            damage.into_iter().for_each(|(at, byte)| start[at] = byte);
            block_on(store.write(0, &start)).unwrap();
            let opened = open(&base, &store);
            prop_assert_eq!(opened.is_ok(), before == start);
        }
    }
}
