//! For tests: a front end, and a link that keeps what it is sent.

#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;

use network::{Abilities, Checksum, Link, MacAddress, Packet, Segments};
use xen_abi::RawDomid;
use xen_abi::io::netif::{
    EXTRA_FLAG_MORE, NetifExtra, NetifExtraGso, NetifExtraInfo, NetifExtraMcast, NetifExtraType,
    NetifRxFlags, NetifRxRequest, NetifRxResponse, NetifTxFlags, NetifTxRequest, NetifTxResponse,
    NetifTxSringEntry,
};
use xen_backend::Address;
use xen_backend::testing::{Bench, FrontPort, FrontRing, Host, Nodes, Page};

use crate::{Device, PAGE};

pub(crate) const DOMAIN: RawDomid = 5;

/// A link; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct ModelLink(Rc<Model>);

#[derive(Default)]
pub(crate) struct Model {
    /// What came from the interface.
    pub(crate) sent: RefCell<Vec<Packet>>,
    /// What goes to it.
    pub(crate) queue: RefCell<VecDeque<Packet>>,
    pub(crate) abilities: Cell<Abilities>,
    pub(crate) groups: RefCell<Option<Vec<MacAddress>>>,
}

impl core::ops::Deref for ModelLink {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0
    }
}

impl Link for ModelLink {
    fn send(&self, packet: Packet) {
        self.sent.borrow_mut().push(packet);
    }

    async fn receive(&self) -> Packet {
        poll_fn(|_| self.try_receive().map_or(Poll::Pending, Poll::Ready)).await
    }

    fn try_receive(&self) -> Option<Packet> {
        self.queue.borrow_mut().pop_front()
    }

    fn set_abilities(&self, abilities: Abilities) {
        self.abilities.set(abilities);
    }

    fn set_multicast(&self, groups: Option<&[MacAddress]>) {
        *self.groups.borrow_mut() = groups.map(Vec::from);
    }
}

/// A machine with one device.
pub(crate) struct World {
    bench: Bench,
    pub(crate) link: ModelLink,
    pub(crate) device: Device<Host, Nodes, ModelLink>,
}

impl core::ops::Deref for World {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let bench = Bench::new(Address { kind: "vif", domain: DOMAIN, number: 0 });
        bench.write_back("mac", "00:16:3e:01:02:03");
        let link = ModelLink::default();
        let device = Device::new(bench.host.clone(), bench.nodes.clone(), DOMAIN, 0, link.clone());
        Self { bench, link, device }
    }

    /// A front end that has come up, with these nodes beside its rings and ports.
    pub(crate) async fn connect(&self, split: bool, nodes: &[(&str, &str)]) -> Guest<'_> {
        let guest = self.introduce(split, nodes).await;
        self.write_front("state", "4");
        self.back_is("4").await;
        guest
    }

    /// A front end as Linux has it, that has written its nodes.
    pub(crate) async fn introduce(&self, split: bool, nodes: &[(&str, &str)]) -> Guest<'_> {
        self.back_is("2").await;
        let tx = FrontRing::new(&self.host, DOMAIN, 1, size_of::<NetifTxSringEntry>());
        let rx = FrontRing::new(&self.host, DOMAIN, 1, size_of::<NetifRxRequest>());
        let (number, port) = self.host.offer_port(DOMAIN);
        let (rx_number, rx_port) = if split { self.host.offer_port(DOMAIN) } else { (0, port.clone()) };
        self.write_front("multi-queue-num-queues", "1");
        self.write_front("tx-ring-ref", &tx.references()[0].to_string());
        self.write_front("rx-ring-ref", &rx.references()[0].to_string());
        if split {
            self.write_front("event-channel-tx", &number.to_string());
            self.write_front("event-channel-rx", &rx_number.to_string());
        } else {
            self.write_front("event-channel", &number.to_string());
        }
        let linux = ["feature-gso-tcpv4", "feature-gso-tcpv6", "feature-ipv6-csum-offload"];
        let linux = linux.into_iter().chain(["request-rx-copy", "feature-rx-notify", "feature-sg"]);
        linux.for_each(|name| self.write_front(name, "1"));
        nodes.iter().for_each(|(name, value)| self.write_front(name, value));
        Guest { world: self, tx, rx, port, rx_port, id: 0, pages: VecDeque::new(), raw: VecDeque::new() }
    }

    /// Nothing is held any more.
    pub(crate) fn is_clean(&self) {
        self.bench.is_clean();
        assert_eq!(self.link.abilities.get(), Abilities::default());
        assert_eq!(*self.link.groups.borrow(), None);
    }
}

/// A front end.
pub(crate) struct Guest<'a> {
    world: &'a World,
    pub(crate) tx: FrontRing,
    pub(crate) rx: FrontRing,
    pub(crate) port: FrontPort,
    pub(crate) rx_port: FrontPort,
    pub(crate) id: u16,
    /// Pages that are posted.
    pub(crate) pages: VecDeque<(u16, Page)>,
    /// What was written and not answered.
    raw: VecDeque<[u32; 3]>,
}

impl Guest<'_> {
    /// A page that is granted, and how.
    pub(crate) fn page(&self, writable: bool) -> (Page, u32) {
        let page = Page::new();
        let reference = self.world.host.grant(DOMAIN, &page, writable);
        (page, reference)
    }

    /// Writes a packet into the tx ring, in pieces of so many bytes at most, the last ones as
    /// large as they need to be. The slots' identifiers.
    pub(crate) fn put_packet(&mut self, packet: &Packet, piece: usize, offset: usize) -> Vec<u16> {
        let mut flags = match packet.checksum {
            Checksum::Present => NetifTxFlags::empty(),
            Checksum::Valid => NetifTxFlags::DATA_VALIDATED,
            Checksum::Blank => NetifTxFlags::CSUM_BLANK | NetifTxFlags::DATA_VALIDATED,
        };
        flags.set(NetifTxFlags::EXTRA_INFO, packet.segments.is_some());
        let mut ids = vec![];
        let count = packet.bytes.len().div_ceil(piece);
        for (number, bytes) in packet.bytes.chunks(piece).enumerate() {
            let (page, reference) = self.page(false);
            page.fill(0xdd);
            page.set(offset, bytes);
            flags.set(NetifTxFlags::MORE_DATA, number + 1 < count);
            let size = if number == 0 { packet.bytes.len() } else { bytes.len() };
            ids.push(self.put_slot(reference, offset as u16, flags, size as u16));
            if number == 0
                && let Some(segments) = packet.segments
            {
                self.tx.put(&slot_of(&gso(segments, 0)));
            }
            flags = NetifTxFlags::empty();
        }
        ids
    }

    pub(crate) fn put_slot(&mut self, gref: u32, offset: u16, flags: NetifTxFlags, size: u16) -> u16 {
        self.id = (self.id + 1) % 256;
        self.tx.put(&NetifTxRequest { gref, offset, flags: flags.bits(), id: self.id, size });
        self.id
    }

    /// Tells of what is in the tx ring.
    pub(crate) fn kick(&mut self) {
        if self.tx.publish() {
            self.port.notify();
        }
    }

    /// Writes whatever into the tx ring.
    pub(crate) fn put_raw(&mut self, slot: [u32; 3]) {
        self.tx.put(&slot);
        self.raw.push_back(slot);
    }

    /// Takes answers to what [`Self::put_raw`] wrote: each in its place, and to extra info
    /// none.
    pub(crate) fn check_answers(&mut self) {
        while let Some(NetifTxResponse { id, status }) = self.tx.take() {
            let [.., last] = self.raw.pop_front().expect("no more answers than requests");
            assert!((-1..=1).contains(&status));
            assert!(status == 1 || u32::from(id) == last & 0xffff, "another one's answer");
        }
    }

    pub(crate) async fn answer(&mut self) -> NetifTxResponse {
        self.port.when(|| self.tx.take()).await
    }

    pub(crate) async fn statuses(&mut self, count: usize) -> Vec<(u16, i16)> {
        let mut statuses = vec![];
        for _ in 0..count {
            let NetifTxResponse { id, status } = self.answer().await;
            statuses.push((id, status));
        }
        statuses
    }

    /// Posts pages to receive into.
    pub(crate) fn post(&mut self, pages: usize) {
        for _ in 0..pages {
            let (page, gref) = self.page(true);
            page.fill(0xee);
            self.post_page(page, gref);
        }
        if self.rx.publish() {
            self.rx_port.notify();
        }
    }

    pub(crate) fn post_page(&mut self, page: Page, gref: u32) {
        self.id = (self.id + 1) % 256;
        self.rx.put(&NetifRxRequest { id: self.id, _pad: 0, gref });
        self.pages.push_back((self.id, page));
    }

    /// The next slot of the rx ring, with its page.
    async fn slot<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&mut self) -> (T, u16, Page) {
        let response = self.rx_port.when(|| self.rx.take()).await;
        let (id, page) = self.pages.pop_front().expect("it was posted");
        (response, id, page)
    }

    /// The next packet, and how many pages it took. `Err`: the slots said that it was lost.
    pub(crate) async fn packet(&mut self) -> (Result<Packet, ()>, usize) {
        let (mut bytes, mut segments, mut lost, mut slots) = (vec![], None, false, 0);
        let mut checksum = None;
        loop {
            let (response, id, page): (NetifRxResponse, _, _) = self.slot().await;
            assert_eq!((response.id, response.offset), (id, 0));
            slots += 1;
            let flags = NetifRxFlags::from_bits(response.flags).expect("flags that there are");
            match usize::try_from(response.status) {
                Ok(len) => {
                    let content = page.bytes();
                    bytes.extend_from_slice(&content[..len]);
                    assert!(content[len..].iter().all(|&byte| byte == 0xee), "nothing behind the packet");
                }
                Err(_) => lost = true,
            }
            checksum.get_or_insert(flags);
            if flags.contains(NetifRxFlags::EXTRA_INFO) {
                let (info, _, page): (NetifExtraInfo, _, _) = self.slot().await;
                slots += 1;
                assert_eq!(page.bytes(), [0xee; PAGE]);
                assert_eq!((info.kind, info.flags), (NetifExtraType::Gso.get(), 0));
                let told: NetifExtraGso = info.u.view();
                segments = Some(Segments { size: told.size, v6: told.kind == 2 });
            }
            if !flags.contains(NetifRxFlags::MORE_DATA) {
                break;
            }
        }
        let flags = checksum.expect("there was one");
        let checksum = if flags.contains(NetifRxFlags::CSUM_BLANK) {
            Checksum::Blank
        } else if flags.contains(NetifRxFlags::DATA_VALIDATED) {
            Checksum::Valid
        } else {
            Checksum::Present
        };
        (if lost { Err(()) } else { Ok(Packet { bytes, checksum, segments }) }, slots)
    }
}

/// Extra info as it stands in a slot of the tx ring.
pub(crate) fn slot_of(info: &NetifExtraInfo) -> NetifTxSringEntry {
    NetifTxSringEntry::of(info)
}

pub(crate) fn gso(segments: Segments, kind: u8) -> NetifExtraInfo {
    let kind = if kind == 0 { 1 + u8::from(segments.v6) } else { kind };
    let gso = NetifExtraGso { size: segments.size, kind, _pad: 0, features: 0 };
    NetifExtraInfo { kind: NetifExtraType::Gso.get(), flags: 0, u: NetifExtra::of(&gso) }
}

pub(crate) fn group(kind: NetifExtraType, addr: MacAddress, more: bool) -> NetifExtraInfo {
    let flags = if more { EXTRA_FLAG_MORE } else { 0 };
    NetifExtraInfo { kind: kind.get(), flags, u: NetifExtra::of(&NetifExtraMcast { addr }) }
}

/// A frame of so many bytes that differ.
pub(crate) fn frame(bytes: usize, seed: u8) -> Packet {
    let bytes = (0..bytes).map(|at| (at as u8).wrapping_mul(7).wrapping_add((at >> 8) as u8 ^ seed));
    Packet { bytes: bytes.collect(), ..Packet::default() }
}
