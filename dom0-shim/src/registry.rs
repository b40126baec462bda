//! XenStore: the server, the rings of the domains that it serves, and the toolstack's own
//! way in.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use event_listener::Event;
use guest_rt::channels::{Channel, Set};
use guest_rt::tasks;
use guest_rt::window::Window as Frames;
use xen_abi::RawPort;
use xen_abi::errno::Errno;
use xen_control::foreign::{Mapping, Window};
use xen_store::{ConnectionId, Effect, Page, Permission, Permissions, Quota, Rights, Ring, Server};
use xl::toolstack::{DomId, Done, Failure};

/// Requests of one domain before the others have their turn.
const BUDGET: usize = 4;

/// The server and its clients.
pub struct Store {
    window: &'static Window<Frames>,
    server: RefCell<Server>,
    clients: RefCell<BTreeMap<DomId, Client>>,
    /// Connections of Dom0's own tasks, with what tells them that there is something to take.
    tasks: RefCell<BTreeMap<ConnectionId, Rc<Event>>>,
    /// Domains whose turn comes, in this order.
    waiting: RefCell<VecDeque<DomId>>,
    ports: Set,
}

/// A domain with a ring.
struct Client {
    ring: Ring,
    page: RingPage,
    channel: Channel,
}

struct RingPage(Mapping<'static, Frames>);

impl Page for RingPage {
    fn read(&self, offset: usize, to: &mut [u8]) {
        // Within the page, as the ring promises.
        let _ = self.0.read(offset as u64, to);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let _ = self.0.write(offset as u64, from);
    }
}

impl Store {
    /// An empty store, with no clients, of which each may have what `quota` says.
    pub fn new(window: &'static Window<Frames>, quota: Quota) -> Self {
        Self {
            window,
            server: RefCell::new(Server::new(quota)),
            clients: RefCell::default(),
            tasks: RefCell::default(),
            waiting: RefCell::default(),
            ports: Set::default(),
        }
    }

    /// Serves the rings, for ever. Each domain has its turn, however much another one asks.
    pub async fn serve(&self) {
        loop {
            let idle = self.waiting.borrow().is_empty();
            let port = if idle { Some(self.ports.event().await) } else { self.ports.take() };
            if let Some(domain) = port.and_then(|port| self.domain_at(port)) {
                self.queue(domain);
            }
            if let Some(domain) = self.next_waiting() {
                self.serve_domain(domain);
                self.deliver();
            }
            tasks::yield_now().await;
        }
    }

    /// Lets a domain have its turn behind those that wait already.
    fn queue(&self, domain: DomId) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.contains(&domain) {
            waiting.push_back(domain);
        }
    }

    fn next_waiting(&self) -> Option<DomId> {
        self.waiting.borrow_mut().pop_front()
    }

    fn domain_at(&self, port: RawPort) -> Option<DomId> {
        let clients = self.clients.borrow();
        clients.iter().find(|(_, client)| client.channel.port() == port).map(|(domain, _)| *domain)
    }

    /// Gives a domain its turn.
    fn serve_domain(&self, domain: DomId) {
        let served = {
            let mut clients = self.clients.borrow_mut();
            let Some(client) = clients.get_mut(&domain) else { return };
            let served = client.ring.serve(&client.page, &mut self.server.borrow_mut(), BUDGET);
            if served.notify {
                // A guest that closed its end does not wait for anything.
                let _ = client.channel.send();
            }
            served
        };
        if served.again {
            self.queue(domain);
        }
        match served.effect {
            Some(Effect::Introduce(wish)) => {
                let mapped = self.connect(wish.domain, wish.frame, wish.port);
                self.server.borrow_mut().complete(&wish, mapped);
            }
            Some(Effect::Release(domain)) => self.forget(domain),
            None => {}
        }
    }

    /// Sends what waits for clients, and tells tasks of what waits for them.
    fn deliver(&self) {
        loop {
            let next = self.server.borrow_mut().next_ready();
            let Some(connection) = next else { return };
            if let Some(task) = self.tasks.borrow().get(&connection) {
                task.notify(usize::MAX);
                continue;
            }
            let domain = self.server.borrow().domain_of(connection);
            if let Some(domain) = domain {
                self.send(domain);
            }
        }
    }

    /// Sends what waits for a domain. Its requests are handled in its turn only.
    fn send(&self, domain: DomId) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&domain) else { return };
        if client.ring.flush(&client.page, &mut self.server.borrow_mut()) {
            // A guest that closed its end does not wait for anything.
            let _ = client.channel.send();
        }
    }

    fn connect(&self, domain: DomId, frame: u64, port: RawPort) -> Result<(), Errno> {
        let page = RingPage(self.window.map(domain, &[frame]).map_err(|_| Errno::EINVAL)?);
        let channel = Channel::interdomain(domain, port)?;
        self.forget(domain);
        let ring = Ring::start(self.server.borrow_mut().introduce(domain), &page);
        self.ports.add(channel.port());
        self.clients.borrow_mut().insert(domain, Client { ring, page, channel });
        Ok(())
    }

    fn forget(&self, domain: DomId) {
        self.waiting.borrow_mut().retain(|waiting| *waiting != domain);
        if let Some(client) = self.clients.borrow_mut().remove(&domain) {
            self.ports.remove(client.channel.port());
        }
    }

    /// A connection for a task, and what tells it that there is something to take.
    pub fn open_connection(&self) -> (ConnectionId, Rc<Event>) {
        let connection = self.server.borrow_mut().open();
        let news = Rc::new(Event::new());
        self.tasks.borrow_mut().insert(connection, Rc::clone(&news));
        (connection, news)
    }

    /// Ends it.
    pub fn close_connection(&self, connection: ConnectionId) {
        self.tasks.borrow_mut().remove(&connection);
        self.server.borrow_mut().close(connection);
    }

    /// Takes an event of a task's connection; whether there was one.
    pub fn take_event(&self, connection: ConnectionId) -> bool {
        self.server.borrow_mut().take_event(connection).is_some()
    }

    /// Lets Dom0 work on the store, then tells the watchers.
    pub fn change<T>(&self, change: impl FnOnce(&mut Server) -> Result<T, Errno>) -> Result<T, Errno> {
        let result = change(&mut self.server.borrow_mut());
        self.deliver();
        result
    }

    /// The same for the toolstack, which is told in words.
    fn operate<T>(&self, path: &str, operate: impl FnOnce(&mut Server) -> Result<T, Errno>) -> Done<T> {
        self.change(operate).map_err(|errno| Failure(format!("XenStore: {path}: {errno:?}")))
    }
}

impl toolstack::Registry for Store {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.server.borrow_mut().read(path).ok().map(|value| value.to_vec())
    }

    fn write(&self, path: &str, value: &[u8]) -> Done {
        self.operate(path, |server| server.write(path, value))
    }

    fn mkdir(&self, path: &str) -> Done {
        self.operate(path, |server| server.mkdir(path))
    }

    fn remove(&self, path: &str) -> Done {
        let gone = |result| if result == Err(Errno::ENOENT) { Ok(()) } else { result };
        self.operate(path, |server| gone(server.rm(path)))
    }

    fn directory(&self, path: &str) -> Vec<String> {
        self.server.borrow_mut().directory(path).unwrap_or_default()
    }

    fn set_permissions(&self, path: &str, owner: DomId, readers: &[DomId]) -> Done {
        let owner = Permission { domain: owner, rights: Rights::empty() };
        let readers: Vec<_> =
            readers.iter().map(|&domain| Permission { domain, rights: Rights::READ }).collect();
        let permissions = Permissions::new(owner, &readers);
        self.operate(path, |server| server.set_permissions(path, permissions))
    }

    fn introduce(&self, domain: DomId, frame: u64, port: RawPort) -> Done {
        let connected = self.connect(domain, frame, port);
        self.deliver();
        connected.map_err(|errno| Failure(format!("XenStore: domain {domain} cannot be served: {errno:?}")))
    }

    fn release(&self, domain: DomId) {
        self.forget(domain);
        self.server.borrow_mut().release(domain);
        self.deliver();
    }

    fn stopped(&self, domain: DomId) {
        self.server.borrow_mut().stopped(domain);
        self.deliver();
    }
}
