//! The scheduler's policy in virtual time, beside what vcpus are entitled to.
//!
//! | module | |
//! |---|---|
//! | [`scenario`] | what is simulated, and the files that say it |
//! | [`ideal`], [`expected`] | fair rates of vcpus that could run; those of a scenario |

#![forbid(unsafe_code)]

pub mod expected;
pub mod ideal;
mod plan;
pub mod scenario;
