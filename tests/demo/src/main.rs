//! The demo guest: a kernel to try Kigumi with. It takes commands on its console and does what the toolstack asks
//! of it by XenStore; without the one or the other it runs all the same.
//!
//! | module | |
//! |---|---|
//! | [`guest`] | what it waits for, and the shutdown that the toolstack asks for |
//! | [`commands`] | what can be typed |
//! | [`console`] | lines in, text out |
//! | [`vcpus`] | further vcpus, which sleep until there is work |

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod commands;
mod console;
mod guest;
mod vcpus;

use guest_rt::boot::Boot;
use guest_rt::tasks::{self, Executor};
use guest_rt::{channels, timer};

use guest::Guest;

guest_rt::guest_main!(main);

fn main(boot: &'static Boot) -> ! {
    channels::init().and_then(|()| timer::init()).expect("event channels are there for every domain");
    let executor = Executor::new();
    executor.spawn(async { Guest::new(boot).run().await }).detach();
    tasks::run(&executor)
}
