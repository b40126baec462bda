//! One virtual disk, from its nodes to its end.

use core::cell::Cell;

use storage::Disk;
use xen_abi::RawDomid;
use xen_backend::{Address, Backend, Ends, Fault, Host, Nodes, Stop, Xenbus};

use crate::negotiation;
use crate::request::MAX_INDIRECT_SEGMENTS;
use crate::server::{Connection, Server};

/// How a disk is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Writing fails, whatever the disk itself allows.
    pub read_only: bool,
    /// It calls itself a CD.
    pub cdrom: bool,
    /// Requests under way at once, at most 64.
    pub requests: usize,
    /// Bytes of the memory that data passes through.
    pub buffer_bytes: usize,
    /// Segments of one indirect request, at most 256; none: no such requests.
    pub indirect_segments: u16,
    /// Pages of the front end that stay mapped; none: no persistent grants.
    pub persistent_pages: usize,
    /// Largest ring: log2 of its pages, at most 4.
    pub ring_order: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            cdrom: false,
            requests: 32,
            buffer_bytes: 1 << 20,
            indirect_segments: 64,
            persistent_pages: 352,
            ring_order: 4,
        }
    }
}

impl Options {
    /// The nearest that can be kept.
    fn bounded(self) -> Self {
        Self {
            requests: self.requests.clamp(1, 64),
            indirect_segments: self.indirect_segments.min(MAX_INDIRECT_SEGMENTS),
            ring_order: self.ring_order.min(4),
            ..self
        }
    }
}

/// What went through a disk since it is there (BLK-24).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Requests that had to wait for memory or a place.
    pub delayed: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write, barriers with data among them.
    pub writes: u64,
    /// Requests to flush, barriers without data among them.
    pub flushes: u64,
    /// Requests to discard.
    pub discards: u64,
    /// Requests that failed, whoever is to blame.
    pub failed: u64,
    /// Sectors read.
    pub sectors_read: u64,
    /// Sectors written.
    pub sectors_written: u64,
}

/// A disk of a domain's.
#[derive(Debug)]
pub struct Device<H, N, D> {
    xenbus: Xenbus<N, Block<H, D>>,
}

impl<H: Host, N: Nodes, D: Disk> Device<H, N, D> {
    /// The disk `number` of `domain`; the number is that of its name
    /// (`xen-vbd-interface`(7)). Nothing happens before [`Self::run`].
    pub fn new(host: H, nodes: N, domain: RawDomid, number: u32, disk: D, options: Options) -> Self {
        let address = Address { kind: "vbd", domain, number };
        let block = Block { host, disk, options: options.bounded(), counts: Cell::default() };
        Self { xenbus: Xenbus::new(nodes, address, block) }
    }

    /// Serves front ends, one after another, until the front end is closed and the node
    /// `online` is not `1`, or [`Self::close`]. Both ends' nodes are there, and front ends'
    /// states too. It runs once.
    pub async fn run(&self) {
        self.xenbus.run().await;
    }

    /// Ends it, whatever the front end does. Afterwards nothing of the domain's is mapped,
    /// and all that was written is on the medium, as far as the medium does as it is told.
    pub async fn close(&self) {
        self.xenbus.close().await;
    }

    /// What went through it.
    pub fn counts(&self) -> Counts {
        self.xenbus.backend().counts.get()
    }
}

/// The device without its states.
#[derive(Debug)]
struct Block<H, D> {
    host: H,
    disk: D,
    options: Options,
    counts: Cell<Counts>,
}

impl<H: Host, D: Disk> Backend for Block<H, D> {
    type Connection = Connection<H>;

    fn offer<N: Nodes>(&self, ends: &Ends<N>) -> Result<(), Fault> {
        negotiation::offer(ends, &self.disk.properties(), &self.options)
    }

    fn connect<N: Nodes>(&self, ends: &Ends<N>) -> Result<Connection<H>, Fault> {
        negotiation::connect(ends, &self.host, &self.disk.properties(), &self.options)
    }

    async fn serve(&self, connection: Connection<H>, stop: &Stop) -> Result<(), Fault> {
        let server = Server::new(&self.host, &self.disk, connection, &self.options, &self.counts);
        server.run(stop).await
    }
}
