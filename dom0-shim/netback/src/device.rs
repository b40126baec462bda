//! One virtual interface, from its nodes to its end.

use core::cell::{Cell, RefCell};

use network::{Bucket, Link};
use xen_abi::RawDomid;
use xen_backend::{Address, Backend, Ends, Fault, Host, Nodes, Stop, Xenbus};

use crate::negotiation;
use crate::server::{Connection, Server};

/// What went through an interface since it is there, seen from the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets that it sent.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets from it that were refused: too short, in too many pieces, sizes that do not
    /// add up, a grant that is none.
    pub sent_errors: u64,
    /// Packets that it got.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets that did not reach it: it had no room for too long, cannot take them, or its
    /// grant is none. Those that its link had no room for are the link's to count.
    pub received_drops: u64,
}

/// An interface of a domain's.
#[derive(Debug)]
pub struct Device<H, N, L> {
    xenbus: Xenbus<N, Vif<H, L>>,
}

impl<H: Host, N: Nodes, L: Link> Device<H, N, L> {
    /// The interface `number` of `domain`, plugged in at `link`. Nothing happens before
    /// [`Self::run`].
    pub fn new(host: H, nodes: N, domain: RawDomid, number: u32, link: L) -> Self {
        let address = Address { kind: "vif", domain, number };
        let vif = Vif { host, link, bucket: RefCell::default(), counts: Cell::default() };
        Self { xenbus: Xenbus::new(nodes, address, vif) }
    }

    /// Serves front ends, one after another, until the front end is closed and the node
    /// `online` is not `1`, or [`Self::close`]. Both ends' nodes are there, and front ends'
    /// states too. It runs once.
    pub async fn run(&self) {
        self.xenbus.run().await;
    }

    /// Ends it, whatever the front end does. Afterwards nothing of the domain's is mapped.
    pub async fn close(&self) {
        self.xenbus.close().await;
    }

    /// What went through it.
    pub fn counts(&self) -> Counts {
        self.xenbus.backend().counts.get()
    }

    /// Where it is plugged in.
    pub fn link(&self) -> &L {
        &self.xenbus.backend().link
    }
}

/// The device without its states.
#[derive(Debug)]
struct Vif<H, L> {
    host: H,
    link: L,
    /// Kept from one front end to the next: who starts anew has sent what it has sent.
    bucket: RefCell<Option<Bucket>>,
    counts: Cell<Counts>,
}

impl<H: Host, L: Link> Backend for Vif<H, L> {
    type Connection = Connection<H>;

    fn offer<N: Nodes>(&self, ends: &Ends<N>) -> Result<(), Fault> {
        negotiation::offer(ends)
    }

    fn connect<N: Nodes>(&self, ends: &Ends<N>) -> Result<Connection<H>, Fault> {
        let connection = negotiation::connect(ends, &self.host)?;
        let mut bucket = self.bucket.borrow_mut();
        if bucket.is_none() {
            *bucket = negotiation::bucket(ends, self.host.now_ns())?;
        }
        Ok(connection)
    }

    async fn serve(&self, connection: Connection<H>, stop: &Stop) -> Result<(), Fault> {
        Server::new(&self.host, &self.link, connection, &self.bucket, &self.counts).run(stop).await
    }
}
