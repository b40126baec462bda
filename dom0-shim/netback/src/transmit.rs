//! Packets from the front end: the tx ring.
//!
//! ```text
//!  slot   first      extra info ...   fragment   fragment
//!         size: of   (EXTRA_INFO,     MORE_DATA  last
//!         the packet  FLAG_MORE)
//!  answer status     NULL ...         status     status
//! ```
//!
//! A batch of packets is taken out of the ring and checked, copied by one call of the
//! hypervisor's, handed over, and answered, each slot in its place.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use arrayvec::ArrayVec;
use network::{Bucket, Checksum, Link, Packet};
use xen_abi::errno::Errno;
use xen_abi::grant_table::GrantResult;
use xen_abi::io::netif::{
    NR_SLOTS_MIN, NetifExtraInfo, NetifStatus, NetifTxFlags, NetifTxRequest, NetifTxResponse,
};
use xen_abi::{RawDomid, RawGrantRef};
use xen_backend::{Direction, Fault, Host, Piece, Ring};

use crate::device::Counts;
use crate::extras::Extras;
use crate::groups::Groups;
use crate::{BATCH, PAGE};

/// Fragments of a packet, the first among them. Linux sends one more than netif.h asks all to
/// take, and takes it.
pub(crate) const MOST_PARTS: usize = NR_SLOTS_MIN + 1;
/// A packet of more is no mistake, as with Linux: that is no front end.
pub(crate) const TOO_MANY_PARTS: usize = 21;
/// An Ethernet header.
const LEAST_BYTES: u16 = 14;

const _: () = assert!(MOST_PARTS < TOO_MANY_PARTS && MOST_PARTS <= BATCH);

/// The sending half of an interface.
pub(crate) struct Transmit<'a, H: Host, L> {
    host: &'a H,
    link: &'a L,
    domain: RawDomid,
    ring: Ring<H::Memory>,
    groups: Groups,
    bucket: &'a RefCell<Option<Bucket>>,
    /// How long nothing may be sent, ns.
    throttled: Option<u64>,
    batch: Batch,
    counts: &'a Cell<Counts>,
}

/// What was taken and not answered yet.
#[derive(Default)]
struct Batch {
    /// Of each slot, in the ring's order.
    answers: Vec<NetifTxResponse>,
    packets: Vec<Sent>,
    /// Of all packets, one after another.
    parts: Vec<Part>,
    errors: u64,
}

/// A packet on its way.
struct Sent {
    packet: Packet,
    parts: usize,
    /// Its slots' answers.
    answers: core::ops::Range<usize>,
    failed: bool,
}

/// Bytes of one page of the front end's.
#[derive(Clone, Copy)]
struct Part {
    reference: RawGrantRef,
    offset: u16,
    bytes: u16,
}

impl<'a, H: Host, L: Link> Transmit<'a, H, L> {
    pub(crate) fn new(
        host: &'a H,
        link: &'a L,
        domain: RawDomid,
        ring: Ring<H::Memory>,
        bucket: &'a RefCell<Option<Bucket>>,
        filters: bool,
        counts: &'a Cell<Counts>,
    ) -> Self {
        let (groups, batch) = (Groups::new(filters, link), Batch::default());
        Self { host, link, domain, ring, groups, bucket, throttled: None, batch, counts }
    }

    /// Sends a batch of what waits. Whether there was any; afterwards the ring is to be
    /// published.
    pub(crate) fn turn(&mut self) -> Result<bool, Fault> {
        self.throttled = None;
        let now = self.bucket.borrow().as_ref().map(|_| self.host.now_ns());
        while self.batch.parts.len() <= BATCH - MOST_PARTS && self.may_send(now) {
            if !self.take(now)? {
                break;
            }
        }
        if self.batch.answers.is_empty() {
            return Ok(false);
        }
        self.batch.copy(self.host, self.domain);
        self.send();
        self.batch.answers.drain(..).for_each(|answer| self.ring.respond(&answer));
        self.batch.parts.clear();
        Ok(true)
    }

    /// Shows the answers. Whether the front end wants an event.
    pub(crate) fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// How long nothing may be sent, ns.
    pub(crate) fn throttled(&self) -> Option<u64> {
        self.throttled
    }

    /// Whether there is nothing that may be sent. Where it may, an event comes with the next.
    pub(crate) fn may_wait(&mut self) -> Result<bool, Fault> {
        Ok(self.throttled.is_some() || !self.ring.final_check()?)
    }

    fn may_send(&mut self, now: Option<u64>) -> bool {
        if let (Some(bucket), Some(now)) = (&mut *self.bucket.borrow_mut(), now) {
            self.throttled = bucket.take(0, now).err();
        }
        self.throttled.is_none()
    }

    /// Takes one packet. `false`: there is none.
    fn take(&mut self, now: Option<u64>) -> Result<bool, Fault> {
        let Some(first) = self.ring.take::<NetifTxRequest>()? else { return Ok(false) };
        let flags = NetifTxFlags::from_bits_truncate(first.flags);
        let begin = self.batch.answers.len();
        self.batch.answer(first.id, NetifStatus::Okay);
        let extras = self.take_extras(flags)?;
        if let Some(change) = extras.change {
            let status = self.groups.change(change, self.link);
            self.batch.set(begin..begin.saturating_add(1), status);
            return Ok(true);
        }
        match self.take_parts(&first, flags)? {
            Some(parts) => {
                if let (Some(bucket), Some(now)) = (&mut *self.bucket.borrow_mut(), now) {
                    // It was asked before: there is something left.
                    let _ = bucket.take(first.size.into(), now);
                }
                self.batch.add(first.size, checksum(flags), extras, parts, begin);
            }
            None => self.batch.refuse(begin),
        }
        Ok(true)
    }

    fn take_extras(&mut self, flags: NetifTxFlags) -> Result<Extras, Fault> {
        let mut extras = Extras::default();
        let mut more = flags.contains(NetifTxFlags::EXTRA_INFO);
        while more {
            let info = self.ring.take::<NetifExtraInfo>()?;
            let info = info.ok_or_else(|| Fault::new(Errno::EIO, "extra info is missing in the tx ring"))?;
            more = extras.add(&info)?;
            self.batch.answer(0, NetifStatus::Null);
        }
        Ok(extras)
    }

    /// Takes the rest of a packet's fragments. How many there are; `None`: it cannot be sent.
    fn take_parts(&mut self, first: &NetifTxRequest, flags: NetifTxFlags) -> Result<Option<usize>, Fault> {
        let begin = self.batch.parts.len();
        self.batch.parts.push(Part::of(first));
        // The first one's size is that of the whole packet; this much of it is its own.
        let mut own = Some(first.size);
        let mut count = 1;
        let mut more = flags.contains(NetifTxFlags::MORE_DATA);
        while more {
            if count >= TOO_MANY_PARTS {
                return Err(Fault::new(Errno::E2BIG, "a packet of more than 21 fragments in the tx ring"));
            }
            let next = self.ring.take::<NetifTxRequest>()?;
            let next = next.ok_or_else(|| Fault::new(Errno::EIO, "a fragment is missing in the tx ring"))?;
            self.batch.answer(next.id, NetifStatus::Okay);
            self.batch.parts.push(Part::of(&next).checked()?);
            own = own.and_then(|own| own.checked_sub(next.size));
            more = NetifTxFlags::from_bits_truncate(next.flags).contains(NetifTxFlags::MORE_DATA);
            count += 1;
        }
        let own = own.filter(|_| count <= MOST_PARTS && first.size >= LEAST_BYTES);
        let (Some(bytes), Some(part)) = (own, self.batch.parts.get_mut(begin)) else {
            self.batch.parts.truncate(begin);
            return Ok(None);
        };
        *part = Part { bytes, ..*part }.checked()?;
        Ok(Some(count))
    }

    /// Hands over what arrived whole.
    fn send(&mut self) {
        let mut counts = self.counts.get();
        counts.sent_errors = counts.sent_errors.wrapping_add(core::mem::take(&mut self.batch.errors));
        for Sent { packet, failed, .. } in self.batch.packets.drain(..) {
            if failed {
                counts.sent_errors = counts.sent_errors.wrapping_add(1);
                continue;
            }
            counts.sent_packets = counts.sent_packets.wrapping_add(1);
            counts.sent_bytes = counts.sent_bytes.wrapping_add(packet.bytes.len() as u64);
            self.link.send(packet);
        }
        self.counts.set(counts);
    }
}

fn checksum(flags: NetifTxFlags) -> Checksum {
    if flags.contains(NetifTxFlags::CSUM_BLANK) {
        Checksum::Blank
    } else if flags.contains(NetifTxFlags::DATA_VALIDATED) {
        Checksum::Valid
    } else {
        Checksum::Present
    }
}

impl Part {
    fn of(request: &NetifTxRequest) -> Self {
        Self { reference: request.gref, offset: request.offset, bytes: request.size }
    }

    /// If it lies in its page.
    fn checked(self) -> Result<Self, Fault> {
        if usize::from(self.offset) + usize::from(self.bytes) > PAGE {
            return Err(Fault::new(Errno::EINVAL, "a fragment leaves its page in the tx ring"));
        }
        Ok(self)
    }
}

impl Batch {
    fn answer(&mut self, id: u16, status: NetifStatus) {
        self.answers.push(NetifTxResponse { id, status: status.get() });
    }

    /// Sets what requests are answered; extra info stays as it is.
    fn set(&mut self, answers: core::ops::Range<usize>, status: NetifStatus) {
        for answer in self.answers.get_mut(answers).into_iter().flatten() {
            if answer.status != NetifStatus::Null.get() {
                answer.status = status.get();
            }
        }
    }

    /// A packet whose last slot was taken.
    fn add(&mut self, bytes: u16, checksum: Checksum, extras: Extras, parts: usize, begin: usize) {
        let packet = Packet { bytes: vec![0; bytes.into()], checksum, segments: extras.segments };
        let answers = begin..self.answers.len();
        self.packets.push(Sent { packet, parts, answers, failed: false });
    }

    fn refuse(&mut self, begin: usize) {
        self.set(begin..self.answers.len(), NetifStatus::Error);
        self.errors = self.errors.wrapping_add(1);
    }

    /// Copies all parts. Packets of which some is not there fail.
    fn copy<H: Host>(&mut self, host: &H, domain: RawDomid) {
        let mut pieces = ArrayVec::<Piece<'_>, BATCH>::new();
        let mut owners = ArrayVec::<usize, BATCH>::new();
        let mut parts = self.parts.iter();
        for (number, sent) in self.packets.iter_mut().enumerate() {
            let mut room = &mut sent.packet.bytes[..];
            for part in parts.by_ref().take(sent.parts) {
                // The sizes of the parts are those of the packet.
                let (to, rest) = room.split_at_mut(part.bytes.into());
                room = rest;
                if to.is_empty() {
                    continue;
                }
                let (reference, offset, direction) = (part.reference, part.offset, Direction::From(to));
                pieces.push(Piece { reference, offset, direction, result: GrantResult::GeneralError });
                owners.push(number);
            }
        }
        if !pieces.is_empty() {
            host.copy(domain, &mut pieces);
        }
        let results = pieces.iter().zip(owners);
        let failed = results.filter(|(piece, _)| piece.result != GrantResult::Okay).map(|(_, owner)| owner);
        let failed: ArrayVec<usize, BATCH> = failed.collect();
        drop(pieces);
        for number in failed {
            let Some(sent) = self.packets.get_mut(number) else { continue };
            sent.failed = true;
            let answers = sent.answers.clone();
            self.set(answers, NetifStatus::Error);
        }
    }
}
