//! The store for the tasks of the kernel that runs the server: domain 0, without a ring.
//!
//! No task's operation or transaction is ever interrupted by another's, so none of these
//! fails with `EAGAIN`. Paths are absolute, or relative to the directory of domain 0.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xen_abi::errno::Errno;

use crate::output::Event;
use crate::path::Path;
use crate::permissions::{Caller, PRIVILEGED, Permissions};
use crate::server::{ConnectionId, Server};
use crate::transaction::Transaction;
use crate::view::View;

impl Server {
    /// A connection for a task that wants to watch; ended by [`close`](Self::close).
    pub fn open(&mut self) -> ConnectionId {
        self.connect(PRIVILEGED)
    }

    /// The value of a node.
    ///
    /// # Errors
    ///
    /// As [`View::read`].
    pub fn read(&mut self, path: &str) -> Result<Arc<[u8]>, Errno> {
        self.as_privileged(|view| view.read(path))
    }

    /// Names of a node's children.
    ///
    /// # Errors
    ///
    /// As [`View::directory`].
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        self.as_privileged(|view| view.directory(path))
    }

    /// Sets the value of a node.
    ///
    /// # Errors
    ///
    /// As [`View::write`].
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<(), Errno> {
        self.as_privileged(|view| view.write(path, value))
    }

    /// Makes a node.
    ///
    /// # Errors
    ///
    /// As [`View::mkdir`].
    pub fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        self.as_privileged(|view| view.mkdir(path))
    }

    /// Removes a node and all below.
    ///
    /// # Errors
    ///
    /// As [`View::rm`].
    pub fn rm(&mut self, path: &str) -> Result<(), Errno> {
        self.as_privileged(|view| view.rm(path))
    }

    /// The permissions of a node.
    ///
    /// # Errors
    ///
    /// As [`View::permissions`].
    pub fn permissions(&mut self, path: &str) -> Result<Permissions, Errno> {
        self.as_privileged(|view| view.permissions(path))
    }

    /// Sets the permissions of a node.
    ///
    /// # Errors
    ///
    /// As [`View::set_permissions`].
    pub fn set_permissions(&mut self, path: &str, permissions: Permissions) -> Result<(), Errno> {
        self.as_privileged(|view| view.set_permissions(path, permissions))
    }

    /// Several operations, of which all happen or, if `operations` fails, none; watchers are
    /// told at the end.
    ///
    /// # Errors
    ///
    /// That of `operations`.
    pub fn transaction<R>(
        &mut self,
        operations: impl FnOnce(&mut View<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut transaction = Transaction::default();
        let result = self.operate(Caller::PRIVILEGED, 0, Some(&mut transaction), operations)?;
        self.commit(Caller::PRIVILEGED, transaction)?;
        Ok(result)
    }

    /// Tells the task behind `connection` of every change at `path` and below; the first
    /// event is there at once. `path` may be a special event.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a path. `EEXIST`: there is such a watch. `ENOENT`: no such connection.
    pub fn watch_path(&mut self, connection: ConnectionId, path: &str, token: &[u8]) -> Result<(), Errno> {
        let path = Path::parse_special(path, PRIVILEGED)?;
        self.watch(connection, &path, token, false, None)
    }

    /// No longer tells it. Events that wait already stay.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a path. `ENOENT`: no such watch.
    pub fn unwatch_path(&mut self, connection: ConnectionId, path: &str, token: &[u8]) -> Result<(), Errno> {
        self.watches.remove(connection, &Path::parse_special(path, PRIVILEGED)?, token)
    }

    /// The next event for the task behind `connection`.
    pub fn take_event(&mut self, connection: ConnectionId) -> Option<Event> {
        self.connections.get_mut(&connection)?.output.take_event()
    }

    fn as_privileged<R>(
        &mut self,
        operate: impl FnOnce(&mut View<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.operate(Caller::PRIVILEGED, 0, None, operate)
    }
}
