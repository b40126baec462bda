//! What the back ends of split drivers share.
//!
//! ```text
//!   front end's memory ──grants──> Host::map, Host::copy ──> back end <──> storage, network
//!   front end's port   <─────────> Host::bind ────────────────┘
//!   XenStore           <─────────> Nodes
//! ```
//!
//! | module | |
//! |---|---|
//! | [`host`] | what a back end stands on: grants, event channels, XenStore, time |
//! | [`quota`] | how many pages are mapped, and whose |
//! | [`ring`] | requests and responses in a front end's memory |
//! | [`front`] | the other side of a ring |
//! | [`xenbus`] | how a device comes into use and goes out of it |
//! | [`fault`] | why a front end is not served |
//! | `testing` | for tests, feature `testing`: a machine without a machine |
//!
//! Everything that comes from a front end is hostile: it changes memory at any time, sends
//! events without end, and writes whatever it likes to its nodes.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod fault;
pub mod front;
pub mod host;
pub mod quota;
pub mod ring;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod xenbus;

pub use fault::Fault;
pub use front::FrontRing;
pub use host::{Direction, Host, Memory, Nodes, Piece, Port, Watch};
pub use ring::{Broken, Ring};
pub use xenbus::{Address, Backend, Ends, Stop, Xenbus};
