//! Kigumi's own Dom0: the kernel that runs as the privileged domain where no
//! Linux Dom0 is wanted.
//!
//! Today it greets and waits; the toolstack and the back ends come with the
//! hypercalls that they need.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use guest_rt::boot::Boot;
use guest_rt::hypercall;

guest_rt::guest_main!(main);

fn main(_boot: &'static Boot) -> ! {
    guest_rt::println!("Kigumi dom0-shim {}", env!("CARGO_PKG_VERSION"));
    loop {
        hypercall::block();
    }
}
