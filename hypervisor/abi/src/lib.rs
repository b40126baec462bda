//! Structures and numbers of Xen's public interface (Xen 4.17, x86-64).
//!
//! Each module is named after the public header that it follows
//! (`xen/include/public`, Debian package `libxen-dev`). The crate has no code
//! that acts: only layouts, numbers and checks of both.
//!
//! # Conventions
//!
//! - The documentation of each item opens with its C name where that differs
//!   from the Rust one, so that a search for either finds it.
//! - A structure has no implicit padding (zerocopy's `IntoBytes` proves it) and
//!   any bytes make a valid one. So its fields are plain integers: claims, not
//!   proofs. Enumerations turn a claim into a value by `new`, flag sets by
//!   `from_bits`, domain ids and the like by the newtypes of `hv-core`.
//! - `_pad` fields are not looked at. Fields that Xen wants to be zero keep
//!   their C name and say so.
//! - A union is a block of bytes as large and as aligned as its largest member;
//!   [`MemberOf`](union::MemberOf) says what it can be read as.
//!
//! `tests/layout` compares every size, offset and number with the C headers.

#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod arch_x86;
pub mod cpufeatureset;
pub mod cpuid;
pub mod domctl;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod handle;
pub mod hvm_op;
pub mod hvm_params;
pub mod hvm_save;
pub mod hvm_start_info;
pub mod hvm_vcpu;
pub mod io;
pub mod memory;
pub mod physdev;
pub mod platform;
pub mod sched;
pub mod sysctl;
pub mod union;
pub mod vcpu;
pub mod version;
pub mod xen;

/// A domain id as a structure carries it (`domid_t`): unchecked.
pub type RawDomid = u16;
/// A guest or machine frame number as a structure carries it (`xen_pfn_t`): unchecked.
pub type RawPfn = u64;
/// An event channel port as a structure carries it (`evtchn_port_t`): unchecked.
pub type RawPort = u32;
/// A grant reference as a structure carries it (`grant_ref_t`): unchecked.
pub type RawGrantRef = u32;
