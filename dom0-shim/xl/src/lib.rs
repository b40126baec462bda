//! The `xl` command as a shell.
//!
//! ```text
//!  Terminal ──bytes──> editor ──line──> words ──> verbs, args ──> command ──orders──> Toolstack
//!     ^                   │                                         │  format             │
//!     └───────────────────┴──────────────────text───────────────────┴<──────facts─────────┘
//! ```
//!
//! | module | |
//! |---|---|
//! | [`shell`] | reads lines and runs them |
//! | [`toolstack`] | what it orders and asks |
//! | [`terminal`] | where it reads and writes |
//! | `editor`, `complete` | how a line is written |
//! | `words`, `verbs`, `args` | what a line means |
//! | `command`, `format` | what the verbs do and what they print |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod args;
mod command;
mod complete;
mod configs;
mod context;
mod editor;
mod find;
mod format;
mod problem;
pub mod shell;
mod size;
pub mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod toolstack;
mod verbs;
mod words;

pub use shell::Shell;
