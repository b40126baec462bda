//! Structures and numbers of Xen's public interface.
//!
//! Each module is named after the public header that it follows
//! (`xen/include/public`). The crate has no code that acts: only layouts,
//! numbers and compile-time checks of both.

#![no_std]
#![forbid(unsafe_code)]

pub mod elfnote;
