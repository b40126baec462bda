//! The scheduler's policy in virtual time, beside what vcpus are entitled to.
//!
//! | module | |
//! |---|---|
//! | [`ideal`] | fair rates of vcpus that could run |

#![forbid(unsafe_code)]

pub mod ideal;
