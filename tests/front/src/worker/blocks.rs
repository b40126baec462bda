//! Blocks of a disk that are written and read again.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use guest_rt::shared::Granted;
use xen_abi::io::blkif::{BlkifOp, BlkifStatus};
use xen_abi::io::xenbus::XenbusState;
use xen_backend::Memory as _;

use super::Tally;
use crate::disk::{Disk, whole};
use crate::front::Front;
use crate::ground::{Check, report};
use crate::random::Random;

const BLOCK: usize = 4096;
const BLOCK_SECTORS: u64 = 8;
/// Blocks that are used, at most.
const MOST_BLOCKS: u64 = 256;
/// Requests under way.
const DEPTH: usize = 16;
/// Rounds between two looks at the back end's state.
const ROUNDS: u64 = 8;

/// Uses a disk until it is taken away or the guest shuts down.
pub(super) async fn work(front: Front, tally: &Tally) -> Check {
    let number = front.number;
    // Rings and ways to move data of all kinds, by the disk's letter.
    let disk = Disk::connect(front, number / 16 % 3, (number / 16).is_multiple_of(2)).await?;
    report(&format!("worker: vbd {number} of {} sectors", disk.sectors));
    let mut blocks = Blocks::new(disk)?;
    for round in 1_u64.. {
        let served = if tally.stop.get() { blocks.verify().await? } else { blocks.round().await? };
        if !served || tally.stop.get() {
            break;
        }
        tally.requests.set(tally.requests.get() + DEPTH as u64);
        let state = if round % ROUNDS == 0 { Some(blocks.disk.front.back_state().await) } else { None };
        if state.is_some_and(|state| state != XenbusState::Connected) {
            break;
        }
    }
    blocks.disk.front.close().await
}

struct Blocks {
    disk: Disk,
    pages: Granted,
    /// How often each block was written.
    writes: Vec<u64>,
    random: Random,
}

/// A block that is read or written in a page.
struct Under {
    block: u64,
    reads: bool,
}

impl Blocks {
    fn new(disk: Disk) -> Check<Self> {
        let count = (disk.sectors / BLOCK_SECTORS).clamp(1, MOST_BLOCKS);
        // A power of two, so that odd steps meet no block twice.
        let count = 1_usize << count.ilog2();
        if count < DEPTH {
            return Err(format!("a disk of {} sectors is too small", disk.sectors));
        }
        let pages = disk.front.ground.share(DEPTH, true);
        let random = Random(disk.front.number.into());
        Ok(Self { disk, pages, writes: vec![0; count], random })
    }

    /// Reads and writes some blocks; `false` when the back end does not serve any more.
    async fn round(&mut self) -> Check<bool> {
        let begin = self.random.index(self.writes.len());
        let step = 1 + 2 * self.random.index(8);
        let blocks = (0..DEPTH).map(|place| ((begin + place * step) % self.writes.len()) as u64);
        let under =
            (0..).zip(blocks).map(|(place, block)| (place, Under { block, reads: self.random.once_in(2) }));
        let under = under.collect();
        self.exchange(under).await
    }

    /// Reads all blocks.
    async fn verify(&mut self) -> Check<bool> {
        for begin in (0..self.writes.len()).step_by(DEPTH) {
            let blocks = begin as u64..self.writes.len().min(begin + DEPTH) as u64;
            let under = (0..).zip(blocks.map(|block| Under { block, reads: true })).collect();
            if !self.exchange(under).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does what is to be done in each page; reads are compared.
    async fn exchange(&mut self, mut under: BTreeMap<u64, Under>) -> Check<bool> {
        for (&place, Under { block, reads }) in &under {
            if !reads {
                self.count_write(*block);
                let bytes = contents(*block, self.writes_of(*block));
                self.pages.pages().write(index(place) * BLOCK, &bytes);
            }
            let operation = if *reads { BlkifOp::Read } else { BlkifOp::Write };
            let gref = self.pages.references().get(index(place)).copied().unwrap_or(0);
            self.disk.put(place, operation, block * BLOCK_SECTORS, &[whole(gref)]);
        }
        self.disk.kick();
        while !under.is_empty() {
            let Some(response) = self.disk.response().await? else { return Ok(false) };
            let done = under.remove(&response.id);
            let done = done.ok_or_else(|| format!("an answer to request {:#x}", response.id))?;
            if response.status != BlkifStatus::Okay.get() {
                return Err(format!("block {}: status {}", done.block, response.status));
            }
            if done.reads {
                self.compare(response.id, done.block)?;
            }
        }
        Ok(true)
    }

    fn compare(&self, place: u64, block: u64) -> Check {
        let mut bytes = vec![0; BLOCK];
        self.pages.pages().read(index(place) * BLOCK, &mut bytes);
        let writes = self.writes_of(block);
        if bytes == contents(block, writes) {
            return Ok(());
        }
        Err(format!("block {block} is not as it was written the last of {writes} times"))
    }

    fn writes_of(&self, block: u64) -> u64 {
        self.writes.get(index(block)).copied().unwrap_or(0)
    }

    fn count_write(&mut self, block: u64) {
        if let Some(writes) = self.writes.get_mut(index(block)) {
            *writes += 1;
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a block holds after so many writes; before the first one zeros.
fn contents(block: u64, writes: u64) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    if writes > 0 {
        let word = Random(block << 32 | writes).next();
        for (chunk, place) in bytes.chunks_mut(8).zip(0_u64..) {
            chunk.copy_from_slice(&word.wrapping_add(place).to_le_bytes());
        }
    }
    bytes
}
