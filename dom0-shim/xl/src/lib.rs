//! The `xl` command as a shell.
//!
//! | module | |
//! |---|---|
//! | [`toolstack`] | what it orders and asks |
//! | [`terminal`] | where it reads and writes |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod terminal;
pub mod toolstack;
