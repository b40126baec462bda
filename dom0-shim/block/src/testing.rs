//! For tests: a front end, and a disk with a cache that loses what was not flushed.

#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use futures_lite::future::yield_now;
use storage::{Disk, Failure, Properties, SECTOR};
use xen_abi::RawDomid;
use xen_abi::io::blkif::{
    BlkifOp, BlkifRequest, BlkifRequestDiscard, BlkifRequestIndirect, BlkifRequestSegment, BlkifResponse,
    BlkifSringEntry,
};
use xen_backend::Address;
use xen_backend::testing::{Bench, FrontPort, FrontRing, Host, Nodes, Page};
use zerocopy::{FromZeros, IntoBytes};

use crate::request::Layout;
use crate::{Device, Options};

pub(crate) const DOMAIN: RawDomid = 5;
pub(crate) const NUMBER: u32 = 51712;

/// What a disk was told, when it began or ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    Reads(u64),
    Begins(u64),
    Written(u64),
    Flushed,
    Discarded(u64, u64),
}

/// A disk; clones are the same.
#[derive(Clone)]
pub(crate) struct ModelDisk(Rc<Model>);

pub(crate) struct Model {
    properties: Properties,
    cache: RefCell<Vec<u8>>,
    medium: RefCell<Vec<u8>>,
    /// Each request lets the others run so often, and one more time modulo three.
    pub(crate) delay: Cell<u32>,
    /// No request ends.
    pub(crate) stuck: Cell<bool>,
    pub(crate) failure: RefCell<Option<Failure>>,
    pub(crate) notes: RefCell<Vec<Note>>,
    pub(crate) most: Cell<usize>,
    under_way: Cell<usize>,
    turns: Cell<u32>,
}

impl core::ops::Deref for ModelDisk {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0
    }
}

impl ModelDisk {
    /// A disk where each sector is full of its number.
    pub(crate) fn new(sectors: u64) -> Self {
        Self::with(Properties { sectors, block_bytes: 512, read_only: false, discard: Some(3) })
    }

    pub(crate) fn with(properties: Properties) -> Self {
        let bytes: Vec<u8> = (0..properties.sectors).flat_map(|sector| [number(sector); SECTOR]).collect();
        Self(Rc::new(Model {
            properties,
            cache: RefCell::new(bytes.clone()),
            medium: RefCell::new(bytes),
            delay: Cell::new(0),
            stuck: Cell::new(false),
            failure: RefCell::new(None),
            notes: RefCell::default(),
            most: Cell::new(0),
            under_way: Cell::new(0),
            turns: Cell::new(0),
        }))
    }

    /// What reading gives.
    pub(crate) fn cached(&self, first: u64, sectors: usize) -> Vec<u8> {
        let first = first as usize * SECTOR;
        self.cache.borrow()[first..first + sectors * SECTOR].to_vec()
    }

    /// What is left after the power went.
    pub(crate) fn medium(&self, first: u64, sectors: usize) -> Vec<u8> {
        let first = first as usize * SECTOR;
        self.medium.borrow()[first..first + sectors * SECTOR].to_vec()
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    async fn pass(&self) -> Result<(), Failure> {
        self.under_way.set(self.under_way.get() + 1);
        self.most.set(self.most.get().max(self.under_way.get()));
        self.turns.set(self.turns.get().wrapping_add(1));
        for _ in 0..self.delay.get() + self.delay.get().min(1) * (self.turns.get() % 3) {
            yield_now().await;
        }
        while self.stuck.get() {
            yield_now().await;
        }
        self.under_way.set(self.under_way.get() - 1);
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    fn range(&self, first: u64, bytes: usize) -> core::ops::Range<usize> {
        assert!(bytes > 0 && bytes.is_multiple_of(SECTOR), "whole sectors");
        let first = first as usize * SECTOR;
        assert!(first + bytes <= self.properties.sectors as usize * SECTOR, "sectors that it has");
        first..first + bytes
    }
}

/// What is in a sector at first.
pub(crate) fn number(sector: u64) -> u8 {
    (sector % 251) as u8 + 1
}

impl Disk for ModelDisk {
    fn properties(&self) -> Properties {
        self.properties
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.note(Note::Reads(first));
        self.pass().await?;
        to.copy_from_slice(&self.cache.borrow()[self.range(first, to.len())]);
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        assert!(!self.properties.read_only, "it can only be read");
        self.note(Note::Begins(first));
        self.pass().await?;
        let range = self.range(first, from.len());
        self.cache.borrow_mut()[range].copy_from_slice(from);
        self.note(Note::Written(first));
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        // Writes that end while this waits are not promised.
        let ended = self.cache.borrow().clone();
        self.pass().await?;
        *self.medium.borrow_mut() = ended;
        self.note(Note::Flushed);
        Ok(())
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        let most = self.properties.discard.ok_or(Failure::Unsupported)?;
        assert!(count <= u64::from(most), "no more than it takes at once");
        self.pass().await?;
        let range = self.range(first, count as usize * SECTOR);
        self.cache.borrow_mut()[range].fill(0);
        self.note(Note::Discarded(first, count));
        Ok(())
    }
}

/// How a front end connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) layout: Layout,
    pub(crate) order: Option<u32>,
    pub(crate) persistent: bool,
}

impl Style {
    pub(crate) const PLAIN: Self = Self { layout: Layout::X86_64, order: None, persistent: false };

    /// All kinds.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Layout::X86_64, Layout::X86_32].into_iter().flat_map(|layout| {
            [(None, false), (Some(0), true), (Some(2), false), (Some(4), true)]
                .map(|(order, persistent)| Self { layout, order, persistent })
        })
    }
}

/// A machine with one device.
pub(crate) struct World {
    bench: Bench,
    pub(crate) disk: ModelDisk,
    pub(crate) device: Device<Host, Nodes, ModelDisk>,
}

impl core::ops::Deref for World {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl World {
    pub(crate) fn new(disk: ModelDisk, options: Options) -> Self {
        let bench = Bench::new(Address { kind: "vbd", domain: DOMAIN, number: NUMBER });
        let (host, nodes) = (bench.host.clone(), bench.nodes.clone());
        let device = Device::new(host, nodes, DOMAIN, NUMBER, disk.clone(), options);
        Self { bench, disk, device }
    }

    /// A front end that has come up.
    pub(crate) async fn connect(&self, style: Style) -> Guest<'_> {
        let guest = self.introduce(style).await;
        self.write_front("state", "3");
        self.back_is("4").await;
        self.write_front("state", "4");
        guest
    }

    /// A front end that has written its nodes.
    pub(crate) async fn introduce(&self, style: Style) -> Guest<'_> {
        self.back_is("2").await;
        let pages = 1 << style.order.unwrap_or(0);
        let ring = FrontRing::new(&self.host, DOMAIN, pages, style.layout.slot_bytes());
        let (number, port) = self.host.offer_port(DOMAIN);
        match style.order {
            None => self.write_front("ring-ref", &ring.references()[0].to_string()),
            Some(order) => {
                self.write_front("ring-page-order", &order.to_string());
                for (page, reference) in ring.references().iter().enumerate() {
                    self.write_front(&format!("ring-ref{page}"), &reference.to_string());
                }
            }
        }
        self.write_front("event-channel", &number.to_string());
        self.write_front("feature-persistent", if style.persistent { "1" } else { "0" });
        if style.layout == Layout::X86_32 {
            self.write_front("protocol", "x86_32-abi");
        }
        Guest { world: self, layout: style.layout, ring, port }
    }

    /// The front end closes, for good.
    pub(crate) async fn leave(&self) {
        self.write_back("online", "0");
        self.write_front("state", "5");
        self.back_is("5").await;
        self.write_front("state", "6");
        self.back_is("6").await;
    }
}

/// A front end.
pub(crate) struct Guest<'a> {
    world: &'a World,
    layout: Layout,
    pub(crate) ring: FrontRing,
    pub(crate) port: FrontPort,
}

impl Guest<'_> {
    /// A page that is granted, and how.
    pub(crate) fn page(&self, writable: bool) -> (Page, u32) {
        let page = Page::new();
        let reference = self.world.host.grant(DOMAIN, &page, writable);
        (page, reference)
    }

    /// Writes an entry as its layout has it.
    pub(crate) fn put_entry(&mut self, entry: &BlkifSringEntry) {
        let bytes = entry.as_bytes();
        match self.layout {
            Layout::X86_64 => self.ring.put(bytes),
            Layout::X86_32 => self.ring.put(&[&bytes[..4], &bytes[8..]].concat()[..]),
        }
    }

    pub(crate) fn put(&mut self, id: u64, operation: BlkifOp, first: u64, segments: &[BlkifRequestSegment]) {
        let mut request = BlkifRequest::new_zeroed();
        (request.id, request.operation, request.sector_number) = (id, operation.get(), first);
        request.nr_segments = segments.len() as u8;
        request.seg[..segments.len()].copy_from_slice(segments);
        self.put_entry(&BlkifSringEntry::of(&request));
    }

    pub(crate) fn put_discard(&mut self, id: u64, first: u64, count: u64, flag: u8) {
        let mut request = BlkifRequestDiscard::new_zeroed();
        (request.id, request.operation, request.flag) = (id, BlkifOp::Discard.get(), flag);
        (request.sector_number, request.nr_sectors) = (first, count);
        self.put_entry(&BlkifSringEntry::of(&request));
    }

    pub(crate) fn put_indirect(
        &mut self,
        id: u64,
        operation: BlkifOp,
        first: u64,
        segments: &[BlkifRequestSegment],
    ) {
        let (page, reference) = self.page(true);
        page.set(0, segments.as_bytes());
        let mut request = BlkifRequestIndirect::new_zeroed();
        (request.id, request.operation) = (id, BlkifOp::Indirect.get());
        (request.indirect_op, request.sector_number) = (operation.get(), first);
        (request.nr_segments, request.indirect_grefs[0]) = (segments.len() as u16, reference);
        self.put_entry(&BlkifSringEntry::of(&request));
    }

    /// Tells of the requests.
    pub(crate) fn kick(&mut self) {
        if self.ring.publish() {
            self.port.notify();
        }
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> BlkifResponse {
        self.port.when(|| self.ring.take()).await
    }

    /// Identifiers and states of so many responses, by identifier.
    pub(crate) async fn statuses(&mut self, count: usize) -> Vec<(u64, i16)> {
        let mut statuses = vec![];
        for _ in 0..count {
            let response = self.response().await;
            statuses.push((response.id, response.status));
        }
        statuses.sort_unstable();
        statuses
    }

    /// One request from start to end.
    pub(crate) async fn ask(
        &mut self,
        operation: BlkifOp,
        first: u64,
        segments: &[BlkifRequestSegment],
    ) -> i16 {
        self.put(0x1234_5678_9abc_def0, operation, first, segments);
        self.kick();
        let response = self.response().await;
        assert_eq!((response.id, response.operation), (0x1234_5678_9abc_def0, operation.get()));
        response.status
    }
}

/// Some sectors of a page.
pub(crate) fn segment(reference: u32, first: u8, last: u8) -> BlkifRequestSegment {
    BlkifRequestSegment { gref: reference, first_sect: first, last_sect: last, _pad: 0 }
}
