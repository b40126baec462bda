//! A guest of front ends, as its command line says: `role=worker`, `role=hostile`, `role=bench`.
//!
//! | module | |
//! |---|---|
//! | [`worker`] | uses all devices that it has, and checks that they do what they should |
//! | [`hostile`] | tries what a back end must survive |
//! | [`mod@bench`] | what requests and packets cost |
//! | [`disk`], [`net`] | front ends that behave, and can be made not to |
//! | [`front`] | a device's nodes in XenStore |
//! | [`ground`] | what all of that stands on |
//! | [`random`] | chance that is the same in each run |
//!
//! It reports on the hypervisor's console, a line for each thing, then shuts down: with
//! `front: ROLE: ...`, or with `front: FAILURE ...` and a crash.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod bench;
mod disk;
mod front;
mod ground;
mod hostile;
mod net;
mod random;
mod worker;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use guest_rt::boot::Boot;
use guest_rt::tasks::{self, Executor};
use guest_rt::{channels, hypercall, timer};
use xen_abi::sched::ShutdownReason;

use ground::{Check, Ground, report};

guest_rt::guest_main!(main);

fn main(boot: &'static Boot) -> ! {
    channels::init().and_then(|()| timer::init()).expect("event channels are there for every domain");
    let executor: &'static _ = Box::leak(Box::new(Executor::new()));
    executor.spawn(live(boot, executor)).detach();
    tasks::run(executor)
}

async fn live(boot: &'static Boot, executor: &'static Executor<'static>) {
    let reason = match play(boot, executor).await {
        Ok(()) => ShutdownReason::Poweroff,
        Err(problem) => {
            report(&format!("FAILURE {problem}"));
            ShutdownReason::Crash
        }
    };
    hypercall::shutdown(reason)
}

async fn play(boot: &'static Boot, executor: &'static Executor<'static>) -> Check {
    let ground = Rc::new(Ground::new()?);
    match boot.option("role") {
        Some("worker") => worker::run(&ground, executor).await,
        Some("hostile") => hostile::run(&ground, boot.option("seed"), boot.has_word("forever")).await,
        Some("bench") => bench::run(&ground).await,
        other => Err(format!("no role {other:?}: worker, hostile or bench")),
    }
}
