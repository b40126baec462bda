//! Runtime of the small PVH kernels that come with the hypervisor: from the PVH
//! entry point to a Rust main function, hypercalls, console.
//!
//! Like every guest it knows the hypervisor by Xen's public interface only.

#![no_std]

pub mod console;
mod entry;
pub mod hypercall;

pub use xen_abi;

use core::panic::PanicInfo;

use xen_abi::sched::ShutdownReason;

/// Names the kernel's main function, `fn(start_info: u64) -> !`, which gets the
/// guest-physical address of `struct hvm_start_info`.
///
/// It runs on the first vcpu, in 64-bit mode, with interrupts off and the lowest
/// 4 GiB mapped at their own addresses.
#[macro_export]
macro_rules! guest_main {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn guest_main(start_info: u64) -> ! {
                let main: fn(u64) -> ! = $main;
                main(start_info)
            }

            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                $crate::panic(info)
            }
        };
    };
}

/// Reports a panic and ends the domain as crashed.
#[doc(hidden)]
pub fn panic(info: &PanicInfo<'_>) -> ! {
    console::print(format_args!("{info}\n"));
    hypercall::shutdown(ShutdownReason::Crash)
}
