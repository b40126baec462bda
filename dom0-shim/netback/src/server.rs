//! Turns, and what is waited for between them.
//!
//! A turn sends one batch and delivers one batch, each with one call of the hypervisor's, and
//! sends one event for each port. After a turn that did something the other tasks have theirs.

use core::cell::{Cell, RefCell};
use core::future::pending;

use futures_lite::future::{or, yield_now};
use network::{Abilities, Bucket, Link, Packet};
use xen_abi::RawDomid;
use xen_backend::{Fault, Host, Port, Ring, Stop};

use crate::device::Counts;
use crate::receive::Receive;
use crate::transmit::Transmit;

/// A front end's rings and ports, and what was agreed.
#[derive(Debug)]
pub(crate) struct Connection<H: Host> {
    pub(crate) domain: RawDomid,
    pub(crate) tx: Ring<H::Memory>,
    pub(crate) rx: Ring<H::Memory>,
    pub(crate) ports: Ports<H::Port>,
    /// It takes packets in several slots.
    pub(crate) scattered: bool,
    pub(crate) abilities: Abilities,
    /// It tells of new pages to receive into.
    pub(crate) notifies: bool,
    /// It says which multicast groups it wants.
    pub(crate) filters: bool,
}

/// A front end's ports.
#[derive(Debug)]
pub(crate) struct Ports<P> {
    /// For both directions, or only to send.
    pub(crate) tx: P,
    pub(crate) rx: Option<P>,
}

impl<P: Port> Ports<P> {
    /// Tells the front end of answers in its rings.
    fn notify(&self, tx: bool, rx: bool) {
        match &self.rx {
            Some(port) => {
                if tx {
                    self.tx.notify();
                }
                if rx {
                    port.notify();
                }
            }
            None if tx || rx => self.tx.notify(),
            None => {}
        }
    }

    async fn event(&self) {
        match &self.rx {
            Some(rx) => or(self.tx.event(), rx.event()).await,
            None => self.tx.event().await,
        }
    }
}

/// A front end that is served.
pub(crate) struct Server<'a, H: Host, L: Link> {
    host: &'a H,
    link: &'a L,
    ports: Ports<H::Port>,
    transmit: Transmit<'a, H, L>,
    receive: Receive<'a, H, L>,
}

impl<'a, H: Host, L: Link> Server<'a, H, L> {
    pub(crate) fn new(
        host: &'a H,
        link: &'a L,
        connection: Connection<H>,
        bucket: &'a RefCell<Option<Bucket>>,
        counts: &'a Cell<Counts>,
    ) -> Self {
        let Connection { domain, tx, rx, ports, scattered, abilities, notifies, filters } = connection;
        // What came before was for nobody, or made for another front end.
        while link.try_receive().is_some() {}
        link.set_abilities(abilities);
        Self {
            host,
            link,
            ports,
            transmit: Transmit::new(host, link, domain, tx, bucket, filters, counts),
            receive: Receive::new(host, link, domain, rx, scattered, notifies, counts),
        }
    }

    /// Serves it until it is told to stop, or the front end breaks the rules.
    pub(crate) async fn run(mut self, stop: &Stop) -> Result<(), Fault> {
        let mut idle = false;
        while !stop.is_told() {
            if self.turn()? {
                idle = false;
                yield_now().await;
            } else if self.transmit.may_wait()? && self.receive.may_wait()? {
                // Events without requests do not keep the other tasks from running.
                if core::mem::replace(&mut idle, true) {
                    yield_now().await;
                }
                self.wait(stop).await;
            } else {
                // Nor do requests that come and go.
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Whether there was anything to do.
    fn turn(&mut self) -> Result<bool, Fault> {
        let sent = self.transmit.turn()?;
        let delivered = self.receive.turn()?;
        if sent || delivered {
            self.ports.notify(self.transmit.publish(), self.receive.publish());
        }
        Ok(sent || delivered)
    }

    /// Waits until there may be something to do, or for the end.
    async fn wait(&mut self, stop: &Stop) {
        let wakes = or(stop.told(), or(self.ports.event(), self.time()));
        let woken = async {
            wakes.await;
            None
        };
        let packet = or(woken, async { Some(self.packet().await) }).await;
        if let Some(packet) = packet {
            self.receive.hold(packet);
        }
    }

    /// Until something is to be looked at without an event.
    async fn time(&self) {
        let times = [self.transmit.throttled(), self.receive.timeout()];
        match times.into_iter().flatten().min() {
            Some(ns) => self.host.sleep_ns(ns).await,
            None => pending().await,
        }
    }

    /// The next packet, if it can be taken.
    async fn packet(&self) -> Packet {
        if self.receive.is_held() { pending().await } else { self.link.receive().await }
    }
}

impl<H: Host, L: Link> Drop for Server<'_, H, L> {
    fn drop(&mut self) {
        // The next one says what it can, and which groups it wants.
        self.link.set_abilities(Abilities::default());
        self.link.set_multicast(None);
    }
}
