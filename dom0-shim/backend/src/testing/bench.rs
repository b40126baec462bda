//! A device between the nodes of its two ends.

use alloc::format;
use alloc::string::String;

use super::{Host, Nodes};
use crate::host::Nodes as _;
use crate::xenbus::Address;

/// A machine with the nodes of one device.
#[derive(Debug)]
pub struct Bench {
    /// The machine.
    pub host: Host,
    /// Its nodes.
    pub nodes: Nodes,
    address: Address,
}

impl Bench {
    /// A device as the toolstack makes it, of which neither end has begun.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let this = Self { host: Host::new(), nodes: Nodes::new(), address };
        this.write_back("online", "1");
        this.write_back("state", "1");
        this.write_front("state", "1");
        this
    }

    /// Writes a node of the back end.
    ///
    /// # Panics
    ///
    /// If it is refused, by [`Nodes::refuse`].
    pub fn write_back(&self, name: &str, value: &str) {
        self.nodes.write(&format!("{}/{name}", self.address.back()), value).expect("it is allowed");
    }

    /// Writes a node of the front end.
    ///
    /// # Panics
    ///
    /// If it is refused, by [`Nodes::refuse`].
    pub fn write_front(&self, name: &str, value: &str) {
        self.nodes.write(&format!("{}/{name}", self.address.front()), value).expect("it is allowed");
    }

    /// A node of the back end.
    #[must_use]
    pub fn back(&self, name: &str) -> Option<String> {
        self.nodes.read(&format!("{}/{name}", self.address.back()))
    }

    /// What the back end says is wrong.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.nodes.read(&self.address.error())
    }

    /// Waits until the back end is in a state.
    pub async fn back_is(&self, state: &str) {
        self.nodes.until(&format!("{}/state", self.address.back()), state).await;
    }

    /// The back end is closed, and holds nothing any more.
    ///
    /// # Panics
    ///
    /// If it is not so.
    pub fn is_clean(&self) {
        assert_eq!((self.host.mapped(), self.host.bound(), self.nodes.watches()), (0, 0, 0));
        assert_eq!(self.back("state").as_deref(), Some("6"));
    }
}
