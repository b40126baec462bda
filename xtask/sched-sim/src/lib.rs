//! The scheduler's policy in virtual time, beside what vcpus are entitled to.
//!
//! | module | |
//! |---|---|
//! | [`scenario`] | what is simulated, and the files that say it |
//! | [`simulation`], [`measure`] | the scheduler's code in virtual time, and what is measured |
//! | [`machine`] | vcpus and pcpus, as the scheduler sees them |
//! | [`table`], [`picture`] | the results |
//! | [`ideal`], [`expected`] | fair rates of vcpus that could run; those of a scenario |

#![forbid(unsafe_code)]

pub mod expected;
pub mod ideal;
pub mod machine;
pub mod measure;
pub mod picture;
mod plan;
pub mod scenario;
pub mod simulation;
pub mod table;
mod work;
