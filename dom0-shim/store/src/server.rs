//! The server: its connections, the domains that it serves, what they have open.
//!
//! A connection is a domain's ring or one of Dom0's own tasks. The server holds no ring: who
//! does ([`Ring`](crate::ring::Ring)) hands it whole requests and takes messages out.

mod requests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::io::xs_wire::{XsMessage, XsdSockmsg};

use crate::output::Output;
use crate::path::{INTRODUCE_DOMAIN, Path, RELEASE_DOMAIN, domain_path};
use crate::permissions::{Caller, PRIVILEGED, Permissions};
use crate::quota::Quota;
use crate::transaction::{Change, Scope, Transaction};
use crate::tree::Tree;
use crate::view::View;
use crate::watches::{self, Watches};
use crate::wire;

/// A connection; no two ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// What a request demands of the kernel that runs the server.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Map a domain's ring, then call [`Server::complete`]; the client waits for that.
    Introduce(Introduction),
    /// Unmap a domain's ring: the server has forgotten it.
    Release(RawDomid),
}

/// A domain to be introduced, and who asked.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Introduction {
    /// The domain.
    pub domain: RawDomid,
    /// Guest frame of its page.
    pub frame: u64,
    /// Its event channel port.
    pub port: u32,
    connection: ConnectionId,
    request: (u32, u32),
}

/// The server.
pub struct Server {
    pub(crate) tree: Tree,
    pub(crate) watches: Watches,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    domains: BTreeMap<RawDomid, Domain>,
    /// Connections that got something to send since they were last asked for.
    ready: BTreeSet<ConnectionId>,
    quota: Quota,
    last_connection: u64,
}

/// A client.
pub(crate) struct Connection {
    domain: RawDomid,
    pub(crate) output: Output,
    transactions: BTreeMap<u32, Transaction>,
    last_transaction: u32,
}

/// A domain that is served.
struct Domain {
    connection: ConnectionId,
    /// The domain whose rights it has besides its own (`XS_SET_TARGET`).
    target: Option<RawDomid>,
    /// It stopped, and watchers were told.
    stopped: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self::new(Quota::default())
    }
}

impl Server {
    /// A server with nothing in its tree.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            tree: Tree::new(),
            watches: Watches::default(),
            connections: BTreeMap::new(),
            domains: BTreeMap::new(),
            ready: BTreeSet::new(),
            quota,
            last_connection: 0,
        }
    }

    /// Serves `domain`: after its ring was mapped. A domain that is served already keeps its
    /// connection, which starts afresh.
    pub fn introduce(&mut self, domain: RawDomid) -> ConnectionId {
        if let Some(known) = self.domains.get(&domain) {
            let connection = known.connection;
            self.reset(connection);
            return connection;
        }
        let connection = self.connect(domain);
        self.domains.insert(domain, Domain { connection, target: None, stopped: false });
        if domain != PRIVILEGED {
            self.fire_special(INTRODUCE_DOMAIN);
        }
        connection
    }

    /// Answers a client's wish to introduce a domain: whether its ring could be mapped.
    /// Returns the domain's connection.
    pub fn complete(
        &mut self,
        introduction: &Introduction,
        mapped: Result<(), Errno>,
    ) -> Option<ConnectionId> {
        let &Introduction { domain, connection, request: (req_id, tx_id), .. } = introduction;
        let introduced = mapped.map(|()| self.introduce(domain));
        let request = XsdSockmsg { kind: requests::INTRODUCE, req_id, tx_id, len: 0 };
        self.answer(connection, &request, introduced.map(|_| requests::OK));
        introduced.ok()
    }

    /// Whether `domain` is served.
    #[must_use]
    pub fn is_introduced(&self, domain: RawDomid) -> bool {
        self.domains.contains_key(&domain)
    }

    /// `domain` stopped: watchers of `@releaseDomain` are told, once until it is resumed.
    pub fn stopped(&mut self, domain: RawDomid) {
        if let Some(known) = self.domains.get_mut(&domain)
            && !core::mem::replace(&mut known.stopped, true)
        {
            self.fire_special(RELEASE_DOMAIN);
        }
    }

    /// `domain` runs again.
    pub fn resumed(&mut self, domain: RawDomid) {
        if let Some(known) = self.domains.get_mut(&domain) {
            known.stopped = false;
        }
    }

    /// `domain` is gone, whether it was introduced or not: its connection ends, its nodes and
    /// all below them go, nobody else's node names it any more (domain 0's stay). Walks all nodes.
    pub fn release(&mut self, domain: RawDomid) {
        let known = self.domains.remove(&domain);
        if let Some(known) = &known {
            self.close(known.connection);
        }
        for other in self.domains.values_mut() {
            other.target = other.target.filter(|target| *target != domain);
        }
        if domain != PRIVILEGED {
            self.remove_traces(domain);
        }
        if known.is_some() {
            self.fire_special(RELEASE_DOMAIN);
        }
    }

    /// Ends a connection of one of Dom0's tasks.
    pub fn close(&mut self, connection: ConnectionId) {
        self.watches.remove_all(connection);
        self.connections.remove(&connection);
        self.ready.remove(&connection);
    }

    /// Starts a connection afresh: no watches, no transactions, nothing to send.
    pub fn reset(&mut self, connection: ConnectionId) {
        self.forget_requests(connection);
        if let Some(known) = self.connections.get_mut(&connection) {
            known.output = Output::default();
        }
        self.ready.remove(&connection);
    }

    /// A connection that has something to send and was not returned since it got it.
    pub fn next_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_first()
    }

    /// The domain of a connection.
    #[must_use]
    pub fn domain_of(&self, connection: ConnectionId) -> Option<RawDomid> {
        self.connections.get(&connection).map(|known| known.domain)
    }

    /// Number of nodes in the tree.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// Handles a request: answer and events wait in the connections' output then.
    /// `payload` is as long as the header says.
    pub fn handle(
        &mut self,
        connection: ConnectionId,
        request: &XsdSockmsg,
        payload: &[u8],
    ) -> Option<Effect> {
        requests::handle(self, connection, request, payload)
    }

    /// The next message for the client.
    pub fn take_message(&mut self, connection: ConnectionId) -> Option<Vec<u8>> {
        self.connections.get_mut(&connection)?.output.take()
    }

    /// Whether the client has left so many answers lying that its next request must wait.
    #[must_use]
    pub fn is_full(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|known| known.output.answers() >= self.quota.outstanding)
    }

    /// Number of messages that wait for the client.
    #[must_use]
    pub fn waiting(&self, connection: ConnectionId) -> usize {
        self.connections.get(&connection).map_or(0, |known| known.output.len())
    }

    /// A new connection of `domain`'s.
    pub(crate) fn connect(&mut self, domain: RawDomid) -> ConnectionId {
        self.last_connection = self.last_connection.wrapping_add(1);
        let connection = ConnectionId(self.last_connection);
        let output = Output::default();
        self.connections.insert(
            connection,
            Connection { domain, output, transactions: BTreeMap::new(), last_transaction: 0 },
        );
        connection
    }

    /// Lets `operate` work on the tree as `caller`, then tells the watchers.
    pub(crate) fn operate<R>(
        &mut self,
        caller: Caller,
        held: usize,
        transaction: Option<&mut Transaction>,
        operate: impl FnOnce(&mut View<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut changes = Vec::new();
        let quota = self.quota;
        let mut view = View { tree: &mut self.tree, transaction, caller, quota, held, changes: &mut changes };
        let result = operate(&mut view);
        self.fire(&changes);
        result
    }

    /// Makes a transaction's changes and tells the watchers.
    pub(crate) fn commit(&mut self, caller: Caller, transaction: Transaction) -> Result<(), Errno> {
        let owned = self.tree.usage(caller.domain).nodes.saturating_add_signed(transaction.created);
        if !caller.is_privileged() && transaction.created > 0 && owned > self.quota.nodes {
            return Err(Errno::ENOSPC);
        }
        let changes = transaction.commit(&mut self.tree)?;
        self.fire(&changes);
        Ok(())
    }

    /// Adds a watch; its first event waits behind `answer`, where the client gets one.
    pub(crate) fn watch(
        &mut self,
        connection: ConnectionId,
        path: &Path,
        token: &[u8],
        relative: bool,
        answer: Option<Vec<u8>>,
    ) -> Result<(), Errno> {
        let caller = self.caller(connection)?;
        if !caller.is_privileged() {
            self.room_for_watch(connection, caller.domain, watches::weight(path, token))?;
        }
        let hidden = if relative { domain_path(caller.domain).len().saturating_add(1) } else { 0 };
        let first = self.watches.add(connection, path, token, hidden)?.own_event();
        let output = &mut self.connections.get_mut(&connection).ok_or(Errno::ENOENT)?.output;
        if let Some(message) = answer {
            output.answer(message);
        }
        output.first(first);
        self.ready.insert(connection);
        Ok(())
    }

    /// Whether quotas let the connection have a watch more, of so many bytes.
    fn room_for_watch(&self, connection: ConnectionId, domain: RawDomid, bytes: usize) -> Result<(), Errno> {
        let (count, _) = self.watches.usage(connection);
        let used = self.tree.usage(domain).bytes.saturating_add(self.held(connection));
        let room = count < self.quota.watches && used.saturating_add(bytes) <= self.quota.memory;
        if room { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// The rights of a connection.
    fn caller(&self, connection: ConnectionId) -> Result<Caller, Errno> {
        let domain = self.domain_of(connection).ok_or(Errno::ENOENT)?;
        Ok(Caller { domain, target: self.domains.get(&domain).and_then(|known| known.target) })
    }

    /// Bytes of a connection's watches and transactions.
    fn held(&self, connection: ConnectionId) -> usize {
        let open =
            self.connections.get(&connection).into_iter().flat_map(|known| known.transactions.values());
        let (_, watches) = self.watches.usage(connection);
        open.map(|transaction| transaction.bytes).fold(watches, usize::saturating_add)
    }

    /// Removes a connection's watches and transactions.
    fn forget_requests(&mut self, connection: ConnectionId) {
        self.watches.remove_all(connection);
        if let Some(known) = self.connections.get_mut(&connection) {
            known.transactions.clear();
        }
    }

    /// Queues an answer.
    fn answer(
        &mut self,
        connection: ConnectionId,
        request: &XsdSockmsg,
        result: Result<impl AsRef<[u8]>, Errno>,
    ) {
        let kind = XsMessage::new(request.kind).ok_or(Errno::ENOSYS);
        let message = result.and_then(|payload| wire::message(kind?, request, payload.as_ref()));
        if let Some(known) = self.connections.get_mut(&connection) {
            known.output.answer(message.unwrap_or_else(|error| wire::failure(request, error)));
            self.ready.insert(connection);
        }
    }

    fn fire_special(&mut self, name: &str) {
        let node = self.tree.get(name).map(|node| node.permissions.clone());
        if let (Ok(path), Some(permissions)) = (Path::parse_special(name, PRIVILEGED), node) {
            self.fire(&[Change { path, scope: Scope::Exact, visible_by: Vec::from([permissions]) }]);
        }
    }

    fn fire(&mut self, changes: &[Change]) {
        for change in changes {
            self.fire_one(change);
        }
    }

    /// Events for those whose watches the change concerns and who may read there.
    fn fire_one(&mut self, change: &Change) {
        for fired in self.watches.concerned(change) {
            let Some(client) = self.connections.get_mut(&fired.connection) else { continue };
            let target = self.domains.get(&client.domain).and_then(|known| known.target);
            let caller = Caller { domain: client.domain, target };
            if change.visible_by.iter().any(|permissions| permissions.may_read(caller)) {
                let event = fired.watch.event(&change.path);
                client.output.event(event, self.quota.events, || fired.watch.own_event());
                self.ready.insert(fired.connection);
            }
        }
    }

    /// What `domain` owned goes, as in xenstored, lest a later domain of the same id find it.
    fn remove_traces(&mut self, domain: RawDomid) {
        let (owned, named) = self.tree.of_domain(domain);
        for path in owned {
            if path.is_root() || path.is_special() {
                self.tree.modify(path.as_str(), |node| node.permissions = Permissions::private(PRIVILEGED));
            } else if self.tree.get(path.as_str()).is_some() {
                // Fails only for the root and for nodes without a parent.
                let _ = self.operate(Caller::PRIVILEGED, 0, None, |view| view.remove(&path));
            }
        }
        for path in named {
            self.tree.modify(path.as_str(), |node| node.permissions = node.permissions.without(domain));
        }
    }
}
