//! Runtime of the small PVH kernels that come with the hypervisor: Dom0's shim and
//! the test guests.
//!
//! | module | |
//! |---|---|
//! | `entry` | from the PVH entry point to Rust |
//! | [`boot`] | start information: command line, modules, memory map |
//! | `heap` | the global allocator, on the memory behind the image |
//! | [`segments`] | descriptor tables of each vcpu |
//! | [`trap`] | exceptions and interrupts; faults that are expected |
//! | [`catch`] | what a test runner does about a panic |
//! | [`cpu`] | instructions, as functions that return the fault they raise |
//! | [`paging`] | pages that a test takes the access rights of |
//! | [`window`] | guest frames for other domains' memory |
//! | [`apic`] | the local APIC, by MMIO or by MSRs |
//! | [`acpi`] | where the I/O APICs are |
//! | [`interrupts`] | interrupts of devices |
//! | [`smp`] | further vcpus, by INIT/SIPI or by hypercall |
//! | [`hypercall`] | Xen's interface |
//! | [`clock`] | TSC and PV clock |
//! | [`events`] | event channels in the shared page |
//! | [`channels`] | event channels by interrupt |
//! | [`grants`] | other domains' pages by grants |
//! | [`shared`] | own pages that other domains use by grants |
//! | [`devices`] | what drivers of the machine's devices stand on |
//! | [`timer`] | waiting for a time |
//! | [`tasks`] | asynchronous tasks |
//! | [`rings`] | pages shared with back ends: console, XenStore |
//! | [`xenstore`] | a client of XenStore |
//! | [`measure`] | what single operations cost |
//! | [`console`] | the hypervisor's console, or the domain's own ring |
//!
//! Like every guest it knows the hypervisor by Xen's public interface only. All
//! unsafe code of those kernels is here.

#![no_std]

extern crate alloc;

pub mod acpi;
pub mod apic;
pub mod boot;
pub mod catch;
pub mod channels;
pub mod clock;
pub mod console;
pub mod cpu;
mod critical;
pub mod devices;
mod entry;
pub mod events;
pub mod grants;
mod heap;
pub mod hypercall;
pub mod interrupts;
pub mod measure;
pub mod paging;
pub mod rings;
pub mod segments;
pub mod shared;
pub mod smp;
pub mod tasks;
pub mod timer;
pub mod trap;
mod volatile;
pub mod window;
pub mod xenstore;

pub use heap::free as heap_free;
pub use xen_abi;

use core::panic::PanicInfo;

use xen_abi::sched::ShutdownReason;

/// Names the kernel's main function, `fn(boot: &'static Boot) -> !`.
///
/// It runs on the first vcpu, in 64-bit mode, with interrupts off and the lowest
/// 4 GiB mapped at their own addresses.
#[macro_export]
macro_rules! guest_main {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            fn guest_main(boot: &'static $crate::boot::Boot) -> ! {
                let main: fn(&'static $crate::boot::Boot) -> ! = $main;
                main(boot)
            }

            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                $crate::panic(info)
            }
        };
    };
}

/// Addresses are 64 bits wide here.
pub(crate) const fn to_usize(value: u64) -> usize {
    const { assert!(usize::BITS == 64) };
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    {
        value as usize
    }
}

/// Reports a panic and ends the domain as crashed.
#[doc(hidden)]
pub fn panic(info: &PanicInfo<'_>) -> ! {
    catch::throw(info);
    console::print_panic(info);
    hypercall::shutdown(ShutdownReason::Crash)
}
