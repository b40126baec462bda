//! Domain configuration files (`xl.cfg`): what a domain is to be.
//!
//! | module | |
//! |---|---|
//! | [`domain`] | the domain that a file describes |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod domain;
