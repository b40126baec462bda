//! The scheduler's policy in virtual time, beside what vcpus are entitled to.
//!
//! | module | |
//! |---|---|
//! | [`scenario`] | what is simulated, and the files that say it |
//! | [`simulation`], [`measure`] | the scheduler's code in virtual time, and what is measured |
//! | [`ideal`], [`expected`] | fair rates of vcpus that could run; those of a scenario |

#![forbid(unsafe_code)]

pub mod expected;
pub mod ideal;
mod machine;
pub mod measure;
mod plan;
pub mod scenario;
pub mod simulation;
mod work;
