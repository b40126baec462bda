//! What one domain may use. Domain 0 may use what there is.

use xen_abi::io::xs_wire::PAYLOAD_MAX;

/// Limits for each domain but domain 0; the defaults are xenstored's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Nodes that it owns.
    pub nodes: usize,
    /// Watches that it has set.
    pub watches: usize,
    /// Transactions that it has open.
    pub transactions: usize,
    /// Nodes that one transaction reads or writes.
    pub transaction_nodes: usize,
    /// Bytes of a node: value, names of children, 8 for each permission.
    pub node_size: usize,
    /// Permissions of a node.
    pub permissions: usize,
    /// Answers that it has not taken; with so many its next request waits.
    pub outstanding: usize,
    /// Bytes of nodes that it owns, of its watches and of its transactions together.
    pub memory: usize,
    /// Bytes of events that it has not taken; past that an event names only the watched
    /// path, once for each watch.
    pub events: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            transaction_nodes: 1024,
            node_size: 2048,
            permissions: 5,
            outstanding: 20,
            memory: 2560 << 10,
            events: 16 * PAYLOAD_MAX,
        }
    }
}
