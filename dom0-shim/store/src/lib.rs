//! A XenStore server: the tree of small values by which domains find their devices.
//!
//! ```text
//! guest's page ── ring ──> wire ──> server ──> view ──> tree, transaction
//! Dom0's tasks ── local ──────────────┘ └────> watches ──> output of each connection
//! ```
//!
//! | module | |
//! |---|---|
//! | [`path`] | paths and what may stand in them |
//! | [`permissions`] | who may read and write a node |
//! | [`quota`] | what a domain may use |
//! | `tree` | the nodes |
//! | `transaction` | what one transaction read and changed |
//! | [`view`] | the operations on nodes, as one caller |
//! | `watches` | who is told of a change |
//! | `output` | answers and events on their way to a client |
//! | `wire` | requests and answers as bytes |
//! | [`server`] | connections, domains, requests |
//! | [`local`] | the store for the tasks of the kernel that runs the server |
//! | [`ring`] | the page shared with a guest |
//!
//! It follows `docs/misc/xenstore.txt` and `xenstore-ring.txt` of Xen; where these leave a
//! choice, it answers as xenstored does. `docs/xenstore.md` has rules, limits and costs.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod local;
mod output;
pub mod path;
pub mod permissions;
pub mod quota;
pub mod ring;
pub mod server;
mod transaction;
mod tree;
pub mod view;
mod watches;
mod wire;

pub use output::Event;
pub use path::Path;
pub use permissions::{Permission, Permissions, Rights};
pub use quota::Quota;
pub use ring::{Page, Ring, Served};
pub use server::{ConnectionId, Effect, Introduction, Server};
pub use view::View;
pub use xen_abi::errno::Errno;
