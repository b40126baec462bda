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
//!
//! Everything that comes from a front end is hostile: it changes memory at any time, sends
//! events without end, and writes whatever it likes to its nodes.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod host;

pub use host::{Direction, Host, Memory, Nodes, Piece, Port, Watch};
