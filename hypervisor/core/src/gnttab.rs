//! Grant tables, version 1: what a domain lets others do with its frames, and who does it.
//!
//! ```text
//!   entry n, in a page shared with the granter       active entry n, the hypervisor's own
//!   flags:16 domid:16 frame:32                       user, frame, pins
//!
//!                      pin                                    pin
//!   not active ─────────────────────> active, read ──────────────────> active, written
//!       ^       GTF_reading is set         │ ^       GTF_writing is set        │
//!       │                                  │ └── the last pin that writes goes ┘
//!       └──── the last pin goes ───────────┘          GTF_writing is cleared
//!               both are cleared
//! ```
//!
//! The granter may change its page at any time. What it granted counts at one moment: when a compare-and-exchange of
//! flags and domid sets the status bits. From then on the active entry says who uses which frame, whatever
//! stands in the page; and a granter that takes an entry back, by an atomic exchange that expects the status
//! bits to be clear, finds them set.
//!
//! | type | what it is | guarded by |
//! |---|---|---|
//! | [`Table`] | shared pages and active entries of one granter | the granter's lock |
//! | [`Maptrack`] | the mappings of one mapper, by handle | the mapper's lock |
//!
//! No operation needs both locks at the same time.
//!
//! Authority: `grant_table.h`; results as in Xen's `common/grant_table.c`.

#[cfg(all(test, loom))]
mod loom;
mod maptrack;
mod pins;
mod table;
#[cfg(test)]
mod tests;

pub use maptrack::{Maptrack, NoHandle, Search};
pub use pins::{Access, Uses};
pub use table::{Frame, GrowError, Table};
