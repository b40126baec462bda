//! Packets to the front end: the rx ring.
//!
//! A packet takes a page of the front end's for each 4096 bytes, from the page's beginning.
//! One that is to be cut takes one more slot, behind its first, that tells how. It waits
//! until there are enough: front ends see whole packets only.

use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use arrayvec::ArrayVec;
use network::{Checksum, Link, Packet, Segments};
use xen_abi::errno::Errno;
use xen_abi::grant_table::GrantResult;
use xen_abi::io::netif::{NR_SLOTS_MIN, NetifRxFlags, NetifRxRequest, NetifRxResponse, NetifStatus};
use xen_abi::{RawDomid, RawGrantRef};
use xen_backend::{Direction, Fault, Host, Memory, Piece, Ring};

use crate::device::Counts;
use crate::extras;
use crate::{BATCH, PAGE};

/// How long a packet waits for the front end before it is dropped, with all behind it, ns.
pub(crate) const PATIENCE: u64 = 10_000_000_000;
/// How often the ring is looked at where the front end does not tell of new pages, ns.
pub(crate) const LOOK_AGAIN: u64 = 30_000_000;

const _: () = assert!(NR_SLOTS_MIN <= BATCH);

/// The receiving half of an interface.
pub(crate) struct Receive<'a, H: Host, L> {
    host: &'a H,
    link: &'a L,
    domain: RawDomid,
    ring: Ring<H::Memory>,
    /// Pages of a packet, at most.
    most_pages: usize,
    /// The front end tells of new pages.
    notifies: bool,
    /// A packet that waits for the front end, and since when it is known to.
    held: Option<Packet>,
    since: Option<u64>,
    batch: Batch,
    counts: &'a Cell<Counts>,
}

/// Packets on their way, and their slots in the ring's order.
#[derive(Default)]
struct Batch {
    packets: Vec<Packet>,
    slots: Vec<Slot>,
    copies: usize,
}

enum Slot {
    Data { id: u16, reference: RawGrantRef, packet: usize, bytes: Range<usize>, flags: NetifRxFlags },
    Extra(Segments),
}

impl<'a, H: Host, L: Link> Receive<'a, H, L> {
    pub(crate) fn new(
        host: &'a H,
        link: &'a L,
        domain: RawDomid,
        ring: Ring<H::Memory>,
        scattered: bool,
        notifies: bool,
        counts: &'a Cell<Counts>,
    ) -> Self {
        let most_pages = if scattered { NR_SLOTS_MIN } else { 1 };
        let batch = Batch::default();
        Self { host, link, domain, ring, most_pages, notifies, held: None, since: None, batch, counts }
    }

    /// Delivers a batch of what waits. Whether there was any; afterwards the ring is to be
    /// published.
    pub(crate) fn turn(&mut self) -> Result<bool, Fault> {
        while let Some(packet) = self.held.take().or_else(|| self.link.try_receive()) {
            let Some(need) = self.need(&packet) else {
                self.dropped(1);
                continue;
            };
            let full = self.batch.copies.saturating_add(pages(&packet)) > BATCH;
            if full || self.ring.available()? < need {
                self.held = Some(packet);
                break;
            }
            self.take(&packet)?;
            self.batch.packets.push(packet);
        }
        if self.batch.slots.is_empty() {
            self.lose_patience();
            return Ok(false);
        }
        self.since = None;
        let failed = self.copy();
        self.answer(&failed);
        Ok(true)
    }

    /// Shows the answers. Whether the front end wants an event.
    pub(crate) fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Whether a packet waits for the front end: no other is taken meanwhile.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes a packet that came while all waited.
    pub(crate) fn hold(&mut self, packet: Packet) {
        self.held = Some(packet);
    }

    /// Whether there is nothing that can be delivered. If a packet waits an event comes with
    /// enough pages for it.
    pub(crate) fn may_wait(&mut self) -> Result<bool, Fault> {
        match self.held.as_ref().and_then(|packet| self.need(packet)) {
            Some(need) => Ok(!self.ring.final_check_for(need)?),
            None => Ok(true),
        }
    }

    /// How long to wait for an event, ns; `None`: as long as it takes.
    pub(crate) fn timeout(&self) -> Option<u64> {
        let left = PATIENCE.saturating_sub(self.host.now_ns().saturating_sub(self.since?));
        Some(if self.notifies { left } else { left.min(LOOK_AGAIN) })
    }

    /// Slots that a packet needs; `None`: the front end cannot take it.
    fn need(&self, packet: &Packet) -> Option<u32> {
        let pages = pages(packet);
        let slots = pages.saturating_add(usize::from(packet.segments.is_some()));
        u32::try_from(slots).ok().filter(|_| (1..=self.most_pages).contains(&pages))
    }

    /// Takes a packet's slots, which are there.
    fn take(&mut self, packet: &Packet) -> Result<(), Fault> {
        let Self { ring, batch, .. } = self;
        let last = packet.bytes.len();
        for start in (0..last).step_by(PAGE) {
            let page = request(ring)?;
            let end = start.saturating_add(PAGE).min(last);
            let mut flags = if start == 0 { first_flags(packet) } else { NetifRxFlags::empty() };
            flags.set(NetifRxFlags::MORE_DATA, end < last);
            let (id, reference, packet_number) = (page.id, page.gref, batch.packets.len());
            batch.slots.push(Slot::Data { id, reference, packet: packet_number, bytes: start..end, flags });
            batch.copies = batch.copies.saturating_add(1);
            if let (0, Some(segments)) = (start, packet.segments) {
                // Its page stays as it is.
                request(ring)?;
                batch.slots.push(Slot::Extra(segments));
            }
        }
        Ok(())
    }

    /// Copies all pages. Which ones did not arrive.
    fn copy(&self) -> ArrayVec<bool, BATCH> {
        let mut pieces = ArrayVec::<Piece<'_>, BATCH>::new();
        for slot in &self.batch.slots {
            let Slot::Data { reference, packet, bytes, .. } = slot else { continue };
            let from = self.batch.packets.get(*packet).and_then(|packet| packet.bytes.get(bytes.clone()));
            let direction = Direction::To(from.unwrap_or_default());
            let (reference, offset) = (*reference, 0);
            pieces.push(Piece { reference, offset, direction, result: GrantResult::GeneralError });
        }
        self.host.copy(self.domain, &mut pieces);
        pieces.iter().map(|piece| piece.result != GrantResult::Okay).collect()
    }

    /// Answers each slot in its place.
    fn answer(&mut self, failed: &[bool]) {
        let Self { ring, batch, counts, .. } = self;
        let mut failed = failed.iter();
        let mut total = counts.get();
        let mut whole = true;
        for slot in batch.slots.drain(..) {
            let Slot::Data { id, bytes, flags, .. } = slot else {
                if let Slot::Extra(segments) = slot {
                    ring.respond(&extras::of_segments(segments));
                }
                continue;
            };
            let arrived = !failed.next().copied().unwrap_or(true);
            whole = arrived && (whole || bytes.start == 0);
            let status = match i16::try_from(bytes.len()) {
                Ok(len) if arrived => len,
                _ => NetifStatus::Error.get(),
            };
            ring.respond(&NetifRxResponse { id, offset: 0, flags: flags.bits(), status });
            if !flags.contains(NetifRxFlags::MORE_DATA) {
                total.delivered(bytes.end, whole);
            }
        }
        counts.set(total);
        batch.packets.clear();
        batch.copies = 0;
    }

    /// Drops what waits for a front end that has had no room for long.
    fn lose_patience(&mut self) {
        if self.held.is_none() {
            self.since = None;
            return;
        }
        let now = self.host.now_ns();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < PATIENCE {
            return;
        }
        (self.held, self.since) = (None, None);
        let behind = core::iter::from_fn(|| self.link.try_receive()).count();
        self.dropped(behind.saturating_add(1));
    }

    fn dropped(&self, packets: usize) {
        let mut counts = self.counts.get();
        counts.received_drops = counts.received_drops.wrapping_add(packets as u64);
        self.counts.set(counts);
    }
}

impl Counts {
    /// A packet whose slots are answered.
    fn delivered(&mut self, bytes: usize, whole: bool) {
        if whole {
            self.received_packets = self.received_packets.wrapping_add(1);
            self.received_bytes = self.received_bytes.wrapping_add(bytes as u64);
        } else {
            self.received_drops = self.received_drops.wrapping_add(1);
        }
    }
}

/// The next of the requests that the ring said are there.
fn request<M: Memory>(ring: &mut Ring<M>) -> Result<NetifRxRequest, Fault> {
    ring.take()?.ok_or_else(|| Fault::new(Errno::EIO, "a request went away in the rx ring"))
}

/// Pages that a packet takes.
fn pages(packet: &Packet) -> usize {
    packet.bytes.len().div_ceil(PAGE)
}

fn first_flags(packet: &Packet) -> NetifRxFlags {
    let checksum = match packet.checksum {
        Checksum::Present => NetifRxFlags::empty(),
        Checksum::Valid => NetifRxFlags::DATA_VALIDATED,
        // Nothing was damaged on the way here.
        Checksum::Blank => NetifRxFlags::CSUM_BLANK | NetifRxFlags::DATA_VALIDATED,
    };
    let extra = if packet.segments.is_some() { NetifRxFlags::EXTRA_INFO } else { NetifRxFlags::empty() };
    checksum | extra
}
