//! Data between buffers and a front end's pages: through pages that stay mapped, or by
//! copies of the hypervisor's, many at once.

use arrayvec::ArrayVec;
use xen_abi::grant_table::GrantResult;
use xen_abi::io::blkif::{BlkifRequestSegment, BlkifStatus};
use xen_abi::{RawDomid, RawGrantRef};
use xen_backend::{Direction, Host, Memory, Piece};
use zerocopy::IntoBytes;

use crate::persistent::Persistent;
use crate::request::{Indirect, MAX_INDIRECT_SEGMENTS, Request, Segment};

/// Copies of one call.
const BATCH: usize = 64;

/// Places of requests, a bit each.
pub(crate) type Places = u64;

/// The places in a set, lowest first.
pub(crate) fn places(mut set: Places) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = set.trailing_zeros();
        set &= set.checked_sub(1)?;
        Some(place as usize)
    })
}

/// A front end's pages.
#[derive(Debug)]
pub(crate) struct Mover<'a, H: Host> {
    host: &'a H,
    domain: RawDomid,
    persistent: Persistent<H::Memory>,
}

impl<'a, H: Host> Mover<'a, H> {
    /// At most so many pages stay mapped.
    pub(crate) fn new(host: &'a H, domain: RawDomid, persistent_pages: usize) -> Self {
        Self { host, domain, persistent: Persistent::new(persistent_pages) }
    }

    /// Data of requests into their buffers. Those of which some is not there are told.
    pub(crate) fn fetch(&mut self, requests: &mut [Request], set: Places) -> Places {
        let Self { host, domain, persistent } = self;
        let mut batch = Batch::new(*host, *domain);
        let highest = (Places::BITS - set.leading_zeros()) as usize;
        let requests = requests.iter_mut().take(highest).enumerate();
        for (place, request) in requests.filter(|(place, _)| set & (1 << place) != 0) {
            let Request { segments, buffer, .. } = request;
            let mut buffer = &mut buffer[..];
            for segment in segments {
                let (part, rest) = buffer.split_at_mut(usize::from(segment.bytes));
                buffer = rest;
                match persistent.page(*host, *domain, segment.reference) {
                    Some(page) => page.read(usize::from(segment.offset), part),
                    None => batch.add(place, segment, Direction::From(part)),
                }
            }
        }
        batch.end()
    }

    /// Data of requests out of their buffers. Those of which some did not arrive are told.
    pub(crate) fn deliver(&mut self, requests: &[Request], set: Places) -> Places {
        let Self { host, domain, persistent } = self;
        let mut batch = Batch::new(*host, *domain);
        for (place, request) in places(set).filter_map(|place| Some((place, requests.get(place)?))) {
            let mut buffer = &request.buffer[..];
            for segment in &request.segments {
                let (part, rest) = buffer.split_at(usize::from(segment.bytes));
                buffer = rest;
                match persistent.page(*host, *domain, segment.reference) {
                    Some(page) => page.write(usize::from(segment.offset), part),
                    None => batch.add(place, segment, Direction::To(part)),
                }
            }
        }
        batch.end()
    }

    /// Segments that stand in a page.
    pub(crate) fn segments(&mut self, indirect: Indirect, request: &mut Request) -> Result<(), BlkifStatus> {
        const NONE: BlkifRequestSegment =
            BlkifRequestSegment { gref: 0, first_sect: 0, last_sect: 0, _pad: 0 };
        let mut segments = [NONE; MAX_INDIRECT_SEGMENTS as usize];
        let segments = segments.get_mut(..indirect.count).ok_or(BlkifStatus::Error)?;
        self.read(indirect.reference, segments.as_mut_bytes()).map_err(|_| BlkifStatus::Error)?;
        request.add_segments(segments)
    }

    /// The first bytes of a page.
    fn read(&mut self, reference: RawGrantRef, to: &mut [u8]) -> Result<(), GrantResult> {
        if let Some(page) = self.persistent.page(self.host, self.domain, reference) {
            page.read(0, to);
            return Ok(());
        }
        let piece =
            Piece { reference, offset: 0, direction: Direction::From(to), result: GrantResult::GeneralError };
        let mut pieces = [piece];
        self.host.copy(self.domain, &mut pieces);
        match pieces[0].result {
            GrantResult::Okay => Ok(()),
            refused => Err(refused),
        }
    }
}

/// Copies, made when there are enough of them.
struct Batch<'b, H> {
    host: &'b H,
    domain: RawDomid,
    pieces: ArrayVec<Piece<'b>, BATCH>,
    /// Whose they are.
    places: ArrayVec<usize, BATCH>,
    failed: Places,
}

impl<'b, H: Host> Batch<'b, H> {
    fn new(host: &'b H, domain: RawDomid) -> Self {
        Self { host, domain, pieces: ArrayVec::new(), places: ArrayVec::new(), failed: 0 }
    }

    fn add(&mut self, place: usize, segment: &Segment, direction: Direction<'b>) {
        if self.pieces.is_full() {
            self.copy();
        }
        let Segment { reference, offset, .. } = *segment;
        self.pieces.push(Piece { reference, offset, direction, result: GrantResult::GeneralError });
        self.places.push(place);
    }

    fn copy(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        self.host.copy(self.domain, &mut self.pieces);
        for (piece, place) in self.pieces.drain(..).zip(self.places.drain(..)) {
            if piece.result != GrantResult::Okay {
                self.failed |= 1 << place;
            }
        }
    }

    fn end(&mut self) -> Places {
        self.copy();
        self.failed
    }
}
