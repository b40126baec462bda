//! Who is told of a change.
//!
//! Watches are found by path: a change looks up its own path and each one above it, so it
//! costs the depth of the path, not the number of watches.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use xen_abi::errno::Errno;

use crate::output::Event;
use crate::path::Path;
use crate::server::ConnectionId;
use crate::transaction::{Change, Scope};
use crate::tree::OVERHEAD;

/// The client's name for a watch.
pub(crate) type Token = Arc<[u8]>;

/// A watch that fits a change.
pub(crate) struct Fired<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) watch: &'a Watch,
}

/// A watch.
#[derive(Debug)]
pub(crate) struct Watch {
    path: Path,
    token: Token,
    /// Bytes of each path that the client does not see: it named a relative one.
    hidden: usize,
}

impl Watch {
    /// The event that `path` changed.
    pub(crate) fn event(&self, path: &Path) -> Event {
        let shown = match path.as_str().get(self.hidden..) {
            Some(relative) if self.hidden > 0 => Arc::from(relative),
            _ => path.shared(),
        };
        Event { path: shown, token: Arc::clone(&self.token) }
    }

    /// The event that the watched path itself or something below changed.
    pub(crate) fn own_event(&self) -> Event {
        self.event(&self.path)
    }
}

/// The watches of all connections.
#[derive(Default)]
pub(crate) struct Watches {
    by_path: BTreeMap<Path, BTreeMap<(ConnectionId, Token), Watch>>,
    by_connection: BTreeMap<ConnectionId, Own>,
}

/// The watches of one connection.
#[derive(Default)]
struct Own {
    watches: BTreeSet<(Path, Token)>,
    bytes: usize,
}

impl Watches {
    /// Number of watches and bytes of a connection.
    pub(crate) fn usage(&self, connection: ConnectionId) -> (usize, usize) {
        self.by_connection.get(&connection).map_or((0, 0), |own| (own.watches.len(), own.bytes))
    }

    /// Adds a watch; `hidden` bytes of each path are not shown.
    ///
    /// # Errors
    ///
    /// `EEXIST`: the connection has this one.
    pub(crate) fn add(
        &mut self,
        connection: ConnectionId,
        path: &Path,
        token: &[u8],
        hidden: usize,
    ) -> Result<&Watch, Errno> {
        let token: Token = Arc::from(token);
        let own = self.by_connection.entry(connection).or_default();
        if !own.watches.insert((path.clone(), Arc::clone(&token))) {
            return Err(Errno::EEXIST);
        }
        own.bytes = own.bytes.saturating_add(weight(path, &token));
        let watch = Watch { path: path.clone(), token: Arc::clone(&token), hidden };
        Ok(self.by_path.entry(path.clone()).or_default().entry((connection, token)).or_insert(watch))
    }

    /// Removes a watch.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the connection has no such one.
    pub(crate) fn remove(
        &mut self,
        connection: ConnectionId,
        path: &Path,
        token: &[u8],
    ) -> Result<(), Errno> {
        let own = self.by_connection.get_mut(&connection).ok_or(Errno::ENOENT)?;
        let key = (path.clone(), Arc::from(token));
        if !own.watches.remove(&key) {
            return Err(Errno::ENOENT);
        }
        own.bytes = own.bytes.saturating_sub(weight(path, token));
        if own.watches.is_empty() {
            self.by_connection.remove(&connection);
        }
        self.unlink(connection, &key.0, key.1);
        Ok(())
    }

    /// Removes all watches of a connection.
    pub(crate) fn remove_all(&mut self, connection: ConnectionId) {
        for (path, token) in self.by_connection.remove(&connection).unwrap_or_default().watches {
            self.unlink(connection, &path, token);
        }
    }

    /// The watches that a change concerns, whoever has them.
    pub(crate) fn concerned<'a>(&'a self, change: &'a Change) -> impl Iterator<Item = Fired<'a>> {
        let levels = match change.scope {
            Scope::Exact => 1,
            Scope::Subtree => usize::MAX,
        };
        let sets = change.path.with_ancestors().take(levels).filter_map(|path| self.by_path.get(path));
        sets.flatten().map(|((connection, _), watch)| Fired { connection: *connection, watch })
    }

    fn unlink(&mut self, connection: ConnectionId, path: &Path, token: Token) {
        let Some(watches) = self.by_path.get_mut(path) else { return };
        watches.remove(&(connection, token));
        if watches.is_empty() {
            self.by_path.remove(path);
        }
    }
}

/// Bytes that a watch counts for.
pub(crate) fn weight(path: &Path, token: &[u8]) -> usize {
    OVERHEAD.saturating_add(path.as_str().len()).saturating_add(token.len())
}
