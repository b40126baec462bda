//! A disk's front end (Xen's `io/blkif.h`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use guest_rt::channels::Channel;
use guest_rt::shared::{Granted, Shared};
use guest_rt::timer;
use xen_abi::RawGrantRef;
use xen_abi::io::blkif::{BlkifOp, BlkifRequest, BlkifRequestSegment, BlkifResponse, BlkifSringEntry};
use xen_abi::io::xenbus::XenbusState;
use xen_backend::FrontRing;
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::front::{Front, PATIENCE_MS};
use crate::ground::{Check, DOM0};

/// How long an event is waited for before the back end's state is looked at, ns.
const LOOK_NS: u64 = 20_000_000;

/// A ring and a port of a disk's, connected or not.
pub(crate) struct Disk {
    pub(crate) front: Front,
    pub(crate) ring: FrontRing<Shared>,
    granted: Granted,
    order: u32,
    persistent: bool,
    pub(crate) port: Channel,
    /// Sectors of 512 bytes.
    pub(crate) sectors: u64,
}

impl Disk {
    /// Makes a ring of 2 to the `order` pages, which nobody knows of.
    pub(crate) fn new(front: Front, order: u32, persistent: bool) -> Check<Self> {
        let granted = front.ground.share(1 << order, true);
        let ring = FrontRing::new(granted.pages().clone(), size_of::<BlkifSringEntry>());
        let port = Channel::unbound(DOM0).map_err(|errno| format!("no event channel: {errno:?}"))?;
        Ok(Self { front, ring, granted, order, persistent, port, sectors: 0 })
    }

    /// What the front end says before it connects.
    pub(crate) fn nodes(&self) -> Vec<(String, String)> {
        let mut nodes: Vec<(String, String)> = Vec::new();
        let mut node = |name: &str, value: u32| nodes.push((name.to_string(), value.to_string()));
        // Said in any case: an earlier front end may have said something else.
        node("ring-page-order", self.order);
        match self.granted.references() {
            [one] => node("ring-ref", *one),
            several => {
                for (page, reference) in several.iter().enumerate() {
                    node(&format!("ring-ref{page}"), *reference);
                }
            }
        }
        node("event-channel", self.port.port());
        node("feature-persistent", self.persistent.into());
        nodes.push(("protocol".to_string(), "x86_64-abi".to_string()));
        nodes
    }

    /// Connects as it should.
    pub(crate) async fn connect(front: Front, order: u32, persistent: bool) -> Check<Self> {
        let mut disk = Self::new(front, order, persistent)?;
        let state = disk.front.announce(&disk.nodes()).await?;
        if state != XenbusState::Connected {
            return Err(format!("disk {}: the back end does not connect: {state:?}", disk.front.number));
        }
        disk.sectors = disk.front.back_number("sectors").await.unwrap_or(0);
        Ok(disk)
    }

    /// Puts a read, write or flush into the ring.
    pub(crate) fn put(&mut self, id: u64, operation: BlkifOp, first: u64, segments: &[BlkifRequestSegment]) {
        let mut request = BlkifRequest::new_zeroed();
        (request.id, request.operation, request.sector_number) = (id, operation.get(), first);
        for (place, segment) in request.seg.iter_mut().zip(segments) {
            *place = *segment;
            request.nr_segments += 1;
        }
        self.put_slot(&request);
    }

    /// Puts any slot into the ring.
    pub(crate) fn put_slot<T: IntoBytes + Immutable>(&mut self, slot: &T) {
        self.ring.put(slot);
    }

    /// Tells of what was put.
    pub(crate) fn kick(&mut self) {
        if self.ring.publish() {
            // A back end that is gone does not wait for it.
            let _ = self.port.send();
        }
    }

    /// The next response; `None` when the back end does not serve any more.
    pub(crate) async fn response(&mut self) -> Check<Option<BlkifResponse>> {
        let end = timer::now_ns() + PATIENCE_MS * 1_000_000;
        loop {
            if let Some(response) = self.ring.take() {
                return Ok(Some(response));
            }
            let came = timer::within(LOOK_NS, self.port.event()).await.is_some();
            if !came && self.front.back_state().await != XenbusState::Connected {
                return Ok(None);
            }
            if timer::now_ns() > end {
                return Err(format!("disk {}: no answer within {PATIENCE_MS} ms", self.front.number));
            }
        }
    }
}

/// All sectors of a page.
pub(crate) fn whole(gref: RawGrantRef) -> BlkifRequestSegment {
    BlkifRequestSegment { gref, first_sect: 0, last_sect: 7, _pad: 0 }
}
