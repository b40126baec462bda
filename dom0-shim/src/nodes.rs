//! XenStore for Dom0's back ends.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use event_listener::Event;
use xen_abi::errno::Errno;
use xen_store::ConnectionId;

use crate::registry::Store;

/// Name of the only watch of each connection.
const TOKEN: &[u8] = b"";

/// The store, for a back end.
#[derive(Clone, Copy)]
pub struct Nodes(pub &'static Store);

impl xen_backend::Nodes for Nodes {
    type Watch = Watch;

    fn read(&self, path: &str) -> Option<String> {
        let value = toolstack::Registry::read(self.0, path)?;
        String::from_utf8(value).ok()
    }

    fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        self.0.change(|server| server.write(path, value.as_bytes()))
    }

    fn remove(&self, path: &str) {
        // What is not there is removed.
        let _ = self.0.change(|server| server.rm(path));
    }

    fn directory(&self, path: &str) -> Vec<String> {
        toolstack::Registry::directory(self.0, path)
    }

    fn watch(&self, path: &str) -> Watch {
        let (connection, news) = self.0.open_connection();
        // Fails for what is no path only: of such a thing there is no news.
        let _ = self.0.change(|server| server.watch_path(connection, path, TOKEN));
        Watch { store: self.0, connection, news }
    }
}

/// A connection to the store with one watch.
pub struct Watch {
    store: &'static Store,
    connection: ConnectionId,
    /// Notified when the connection has something to take.
    news: Rc<Event>,
}

impl Watch {
    /// Takes all that has come; whether there was something.
    fn take(&self) -> bool {
        let mut any = false;
        while self.store.take_event(self.connection) {
            any = true;
        }
        any
    }
}

impl xen_backend::Watch for Watch {
    async fn changed(&self) {
        loop {
            let news = self.news.listen();
            if self.take() {
                return;
            }
            news.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.store.close_connection(self.connection);
    }
}
