//! The test kernel. As Dom0 it is the controller: it runs the tests one after the
//! other and prints a verdict for each; with the word `bench` on its command line it
//! measures ([`mod@bench`]). As a DomU it is the test that its command line names.
//!
//! ```text
//!  TESTS planned: 2                    (d0)
//!  TESTS plan: one two
//!  TEST one: START
//!  TEST one: SUCCESS
//!  TEST two: START
//!  TEST two: FAILURE reason
//!  FIGURE name: 123 unit               what a test measured
//!  TESTS done
//! ```
//!
//! One folder of `tests/cases` for each test; [`cases::ALL`] lists them.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod verdict;
mod ata;
mod bench;
#[path = "../cases/mod.rs"]
mod cases;
mod controller;
mod evtchn;
mod expect;
mod fifo;
mod grants;
mod guest;
mod pin;
mod random;
mod sched;
mod test;
mod timing;

use guest_rt::boot::Boot;

guest_rt::guest_main!(main);

fn main(boot: &'static Boot) -> ! {
    match (boot.is_dom0(), boot.has_word("bench")) {
        (true, false) => controller::main(boot),
        (true, true) => bench::main(boot),
        (false, _) => guest::main(boot),
    }
}
