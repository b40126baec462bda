//! Requests of a disk, every field of them.

use alloc::format;
use alloc::vec::Vec;

use xen_abi::io::blkif::{
    BlkifOp, BlkifRequest, BlkifRequestDiscard, BlkifRequestIndirect, BlkifRequestSegment, BlkifResponse,
    BlkifSringEntry, BlkifStatus, MAX_SEGMENTS_PER_REQUEST,
};
use xen_backend::Memory as _;
use zerocopy::{FromZeros, IntoBytes};

use super::{Attack, Pages, done};
use crate::disk::Disk;
use crate::front::Front;
use crate::ground::Check;
use crate::random::Random;

/// Turns of an attack, and requests of each.
const TURNS: u64 = 48;
const REQUESTS: u64 = 24;
/// Segments of a request, with pages of their own, that is valid.
const SEGMENTS: usize = 16;
/// Bytes of a ring's header.
const HEADER: usize = 64;
const SLOT: usize = size_of::<BlkifSringEntry>();

/// Requests of which most are wrong somewhere. All are answered, the good ones done.
pub(super) async fn fields(front: &Front, order: u32, persistent: bool, attack: &mut Attack) -> Check {
    let mut disk = Disk::connect(front.clone(), order, persistent).await?;
    let read_only = front.back_number("info").await.is_some_and(|info| info & 4 != 0);
    for turn in 0..TURNS {
        let mut asked = Vec::new();
        for number in 0..REQUESTS {
            let ask =
                Ask::new(turn << 32 | number, disk.sectors, read_only, &attack.pages, &mut attack.random);
            disk.put_slot(&ask.slot);
            asked.push(ask);
        }
        disk.kick();
        answers(&mut disk, asked).await?;
        attack.pages.check()?;
    }
    front.start_anew().await?;
    done("fields", front, TURNS * REQUESTS, "requests");
    Ok(())
}

/// Grants that are taken back while requests use them.
pub(super) async fn grants(front: &Front, attack: &mut Attack) -> Check {
    for persistent in [true, false] {
        let mut disk = Disk::connect(front.clone(), 0, persistent).await?;
        for turn in 0..TURNS / 4 {
            let mut asked = Vec::new();
            for number in 0..REQUESTS {
                let mut ask = Ask::good(turn << 32 | number, disk.sectors, &attack.pages, &mut attack.random);
                ask.outcome = None;
                disk.put_slot(&ask.slot);
                asked.push(ask);
            }
            disk.kick();
            attack.pages.set_granted(false);
            answers(&mut disk, asked).await?;
            attack.pages.set_granted(true);
            attack.pages.check()?;
        }
        front.start_anew().await?;
    }
    done("grants", front, TURNS / 2 * REQUESTS, "requests");
    Ok(())
}

/// Requests that change while they are read. As many are answered as were asked.
pub(super) async fn races(front: &Front, attack: &mut Attack) -> Check {
    let mut disk = Disk::connect(front.clone(), 0, false).await?;
    let slots = HEADER..HEADER + SLOT * disk.ring.entries() as usize;
    attack.scribbler.begin(disk.ring.memory().clone(), slots, attack.random.clone());
    for turn in 0..TURNS {
        for number in 0..REQUESTS {
            let ask = Ask::good(turn << 32 | number, disk.sectors, &attack.pages, &mut attack.random);
            disk.put_slot(&ask.slot);
        }
        disk.kick();
        for _ in 0..REQUESTS {
            if disk.response().await?.is_none() {
                attack.scribbler.rest();
                return Err("requests that change: the back end has closed".into());
            }
        }
    }
    attack.scribbler.rest();
    attack.pages.check()?;
    front.start_anew().await?;
    done("races", front, TURNS * REQUESTS, "requests");
    Ok(())
}

/// Takes an answer to each.
async fn answers(disk: &mut Disk, mut asked: Vec<Ask>) -> Check {
    while !asked.is_empty() {
        let Some(response) = disk.response().await? else {
            let state = disk.front.back_state().await;
            return Err(format!("{} requests are not answered: the back end is {state:?}", asked.len()));
        };
        let place = asked.iter().position(|ask| ask.is_answered_by(&response));
        let place = place.ok_or_else(|| format!("nobody asked for {response:?}"))?;
        let ask = asked.swap_remove(place);
        let status = BlkifStatus::new(response.status);
        if status.is_none() || ask.outcome.is_some_and(|outcome| Some(outcome) != status) {
            return Err(format!("{response:?}, not {:?}", ask.outcome));
        }
    }
    Ok(())
}

/// A request, and what is to come of it.
struct Ask {
    slot: BlkifSringEntry,
    /// `None`: anything.
    outcome: Option<BlkifStatus>,
}

impl Ask {
    fn new(id: u64, sectors: u64, read_only: bool, pages: &Pages, random: &mut Random) -> Self {
        let mut ask = match random.below(8) {
            0 => Self::of(&discard(id, sectors, random)),
            1 | 2 => indirect(id, sectors, pages, random),
            _ => Self::good(id, sectors, pages, random),
        };
        if read_only {
            let reads = ask.operation() == BlkifOp::Read.get();
            ask.outcome = ask.outcome.filter(|_| reads);
        }
        if random.once_in(16) {
            random.fill(ask.slot.as_mut_bytes());
            ask.outcome = None;
        }
        for _ in 0..random.below(4) {
            ask.spoil(pages, random);
        }
        ask
    }

    /// One that is right.
    fn good(id: u64, sectors: u64, pages: &Pages, random: &mut Random) -> Self {
        let mut request = BlkifRequest::new_zeroed();
        let operations = [BlkifOp::Read, BlkifOp::Write, BlkifOp::WriteBarrier, BlkifOp::FlushDiskcache];
        let operation =
            if random.once_in(8) { operations[random.index(4)] } else { operations[random.index(2)] };
        (request.id, request.operation) = (id, operation.get());
        // All places hold good segments, whether they count or not.
        request.seg = core::array::from_fn(|_| segment(pages, random));
        let count = 1 + random.index(MAX_SEGMENTS_PER_REQUEST);
        request.nr_segments = u8::try_from(count).unwrap_or(1);
        request.sector_number = first(sectors, request.seg.get(..count).unwrap_or_default(), random);
        Self::of(&request)
    }

    fn of<T: IntoBytes + zerocopy::Immutable>(request: &T) -> Self {
        let mut slot = BlkifSringEntry::new_zeroed();
        let bytes = request.as_bytes();
        if let Some(place) = slot.as_mut_bytes().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Self { slot, outcome: Some(BlkifStatus::Okay) }
    }

    /// Makes a field wrong, or lets it be by chance.
    fn spoil(&mut self, pages: &Pages, random: &mut Random) {
        /// Offset and bytes: operation, segments or flag, handle, id, sector; a discard's sectors, an indirect
        /// request's operation, segments and handle.
        const FIELDS: [(usize, usize); 8] =
            [(0, 1), (1, 1), (2, 2), (4, 4), (8, 8), (16, 8), (24, 8), (2, 2)];
        self.outcome = None;
        let segment = 24 + random.index(MAX_SEGMENTS_PER_REQUEST) * 8;
        let (at, count, value) = match random.below(4) {
            0 => (segment, 4, pages.none(random).into()),
            1 => (segment + 4 + random.index(4), 1, random.odd()),
            _ => {
                let (at, count) = FIELDS[random.index(FIELDS.len())];
                // Grants of two kinds of requests are there.
                let grants = u64::from(pages.none(random)) | u64::from(pages.none(random)) << 32;
                (at, count, if at == 24 { grants } else { random.odd() })
            }
        };
        let bytes = value.to_le_bytes();
        if let Some(place) = self.slot.as_mut_bytes().get_mut(at..at + count) {
            place.copy_from_slice(bytes.get(..count).unwrap_or_default());
        }
    }

    fn operation(&self) -> u8 {
        self.slot.view::<BlkifRequest>().operation
    }

    /// An answer names the request and what was to be done; of an indirect request that may be what is done with its
    /// segments.
    fn is_answered_by(&self, response: &BlkifResponse) -> bool {
        let indirect = self.slot.view::<BlkifRequestIndirect>();
        let operations = [self.operation(), indirect.indirect_op];
        let is_indirect = self.operation() == BlkifOp::Indirect.get();
        let operations = operations.get(..1 + usize::from(is_indirect)).unwrap_or_default();
        self.slot.view::<BlkifRequest>().id == response.id && operations.contains(&response.operation)
    }
}

fn discard(id: u64, sectors: u64, random: &mut Random) -> BlkifRequestDiscard {
    let mut request = BlkifRequestDiscard::new_zeroed();
    (request.id, request.operation) = (id, BlkifOp::Discard.get());
    request.sector_number = random.below(sectors);
    request.nr_sectors = 1 + random.below((sectors - request.sector_number).min(256));
    request
}

/// A request with its segments in a page.
fn indirect(id: u64, sectors: u64, pages: &Pages, random: &mut Random) -> Ask {
    let references = pages.tables.references();
    let table = random.index(references.len());
    let segments: [BlkifRequestSegment; SEGMENTS] = core::array::from_fn(|_| segment(pages, random));
    let count = 1 + random.index(SEGMENTS);
    let used = segments.get(..count).unwrap_or_default();
    pages.tables.pages().write(table * 4096, segments.as_bytes());
    let mut request = BlkifRequestIndirect::new_zeroed();
    (request.id, request.operation) = (id, BlkifOp::Indirect.get());
    let operation = if random.once_in(2) { BlkifOp::Read } else { BlkifOp::Write };
    (request.indirect_op, request.sector_number) = (operation.get(), first(sectors, used, random));
    request.nr_segments = u16::try_from(count).unwrap_or(1);
    request.indirect_grefs = [references.get(table).copied().unwrap_or(0); 8];
    // The next one may use the same page before this one is read.
    Ask { outcome: None, ..Ask::of(&request) }
}

/// Some sectors of a page.
fn segment(pages: &Pages, random: &mut Random) -> BlkifRequestSegment {
    let last = random.u8() % 8;
    BlkifRequestSegment {
        gref: pages.some(random),
        first_sect: random.u8() % (last + 1),
        last_sect: last,
        _pad: 0,
    }
}

/// A place on the disk that has room for these segments.
fn first(sectors: u64, segments: &[BlkifRequestSegment], random: &mut Random) -> u64 {
    let length: u64 = segments.iter().map(|it| u64::from(it.last_sect - it.first_sect) + 1).sum();
    random.below(sectors.saturating_sub(length).max(1))
}

const _: () = assert!(SEGMENTS * size_of::<BlkifRequestSegment>() <= 4096);
