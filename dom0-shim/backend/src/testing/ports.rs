//! Event channels between front ends and back ends.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use event_listener::Event;
use xen_abi::errno::Errno;
use xen_abi::{RawDomid, RawPort};

use crate::host;

/// One direction of a channel.
#[derive(Default, Debug)]
struct Line {
    pending: Cell<bool>,
    total: Cell<u64>,
    event: Event,
}

impl Line {
    fn send(&self) {
        self.pending.set(true);
        self.total.set(self.total.get() + 1);
        self.event.notify(usize::MAX);
    }

    async fn wait(&self) {
        while !self.pending.take() {
            self.event.listen().await;
        }
    }
}

/// Both directions.
#[derive(Default, Debug)]
struct Channel {
    to_back: Line,
    to_front: Line,
    bound: Cell<bool>,
}

/// Ports of all domains.
#[derive(Default, Debug)]
pub(super) struct Ports {
    channels: RefCell<BTreeMap<(RawDomid, RawPort), Rc<Channel>>>,
}

impl Ports {
    pub(super) fn offer(&self, domain: RawDomid) -> (RawPort, FrontPort) {
        let mut channels = self.channels.borrow_mut();
        let port = RawPort::try_from(channels.len()).expect("few ports") + 1;
        let channel = Rc::<Channel>::default();
        channels.insert((domain, port), Rc::clone(&channel));
        (port, FrontPort(channel))
    }

    pub(super) fn bound(&self) -> usize {
        self.channels.borrow().values().filter(|channel| channel.bound.get()).count()
    }

    pub(super) fn bind(this: &Rc<Self>, domain: RawDomid, port: RawPort) -> Result<Port, Errno> {
        let channels = this.channels.borrow();
        let channel = channels.get(&(domain, port)).ok_or(Errno::EINVAL)?;
        if channel.bound.replace(true) {
            return Err(Errno::EINVAL);
        }
        Ok(Port { channel: Rc::clone(channel) })
    }
}

/// A back end's end.
#[derive(Debug)]
pub struct Port {
    channel: Rc<Channel>,
}

impl host::Port for Port {
    fn notify(&self) {
        self.channel.to_front.send();
    }

    async fn event(&self) {
        self.channel.to_back.wait().await;
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // The front end's end stays as it is, and can be bound again.
        self.channel.bound.set(false);
    }
}

/// A front end's end; clones are the same.
#[derive(Clone, Debug)]
pub struct FrontPort(Rc<Channel>);

impl FrontPort {
    /// Sends an event; it is kept until the back end is bound.
    pub fn notify(&self) {
        self.0.to_back.send();
    }

    /// Waits for an event since the last one.
    pub async fn event(&self) {
        self.0.to_front.wait().await;
    }

    /// Waits until `take` finds something. It looks at once, and after each event.
    pub async fn when<T>(&self, mut take: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = take() {
                return found;
            }
            self.event().await;
        }
    }

    /// Events that came until now.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.0.to_front.total.get()
    }
}
