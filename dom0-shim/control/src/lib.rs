//! What a toolstack does with domains: create, load, run, watch and destroy them, by
//! Xen's public interface (`domctl.h`, `sysctl.h`, `memory.h`, `hvm/*.h`).
//!
//! | module | |
//! |---|---|
//! | [`calls`] | one function for each operation |
//! | [`foreign`] | another domain's frames in the caller's window |
//! | [`image`] | PVH kernels |
//! | `acpi` | a PVH domain's ACPI tables |
//! | [`context`] | the state in which a vcpu starts |
//! | [`builder`] | a PVH domain from kernel, modules and command line |
//! | [`console`] | a domain's console ring, seen from the back end |
//!
//! The kernel that it runs in gives a [`Host`]; there is no other way to the machine.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acpi;
pub mod builder;
pub mod calls;
pub mod console;
pub mod context;
pub mod foreign;
pub mod image;
#[cfg(test)]
mod testing;

use core::fmt;
use core::ops::Range;

use xen_abi::errno::Errno;
use xen_abi::xen::Hypercall;

pub use foreign::Mapping;
pub use image::ImageError;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// What the calling domain's kernel does for this crate.
pub trait Host {
    /// Makes a hypercall; addresses among the arguments are of memory that stays
    /// borrowed for the call.
    fn hypercall(&self, number: Hypercall, arguments: [u64; 5]) -> i64;

    /// Lets others run before something is tried again.
    fn relax(&self);

    /// Guest frames of the caller's in which nothing is mapped, for others' frames.
    fn window(&self) -> Range<u64>;

    /// Reads what is mapped at `frame` of the window, from `offset` on.
    fn read(&self, frame: u64, offset: usize, to: &mut [u8]);

    /// Writes what is mapped at `frame` of the window, from `offset` on.
    fn write(&self, frame: u64, offset: usize, from: &[u8]);
}

/// Why something could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The hypervisor refused this operation.
    Refused(&'static str, Errno),
    /// The kernel cannot be loaded.
    Image(ImageError),
    /// Kernel and modules need so many bytes, and the domain has room for fewer.
    NoRoom {
        /// What they need.
        needed: u64,
        /// What there is.
        room: u64,
    },
    /// The domain's memory cannot hold kernel, modules and start information.
    TooSmall,
    /// The host's memory does not suffice for the domain's.
    OutOfMemory,
    /// The window is full.
    NoWindow,
    /// The hypervisor's answer makes no sense.
    BadAnswer(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(operation, errno) => write!(f, "{operation}: {errno:?}"),
            Self::Image(error) => write!(f, "kernel: {error}"),
            Self::NoRoom { needed, room } => write!(
                f,
                "kernel and modules need {} MiB, and the domain's memory has {} MiB for them (1024 MiB at most): raise `memory`",
                needed.div_ceil(1 << 20),
                room >> 20
            ),
            Self::TooSmall => f.write_str("memory too small for kernel and modules"),
            Self::OutOfMemory => f.write_str("not enough free memory"),
            Self::NoWindow => f.write_str("no free frame to map another domain's memory at"),
            Self::BadAnswer(what) => write!(f, "{what}: the answer makes no sense"),
        }
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}
