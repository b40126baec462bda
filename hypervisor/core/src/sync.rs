//! Atomic operations: those of `core`, or in tests with `--cfg loom` those of loom, which tries all orders in
//! which threads could come to them.

#[cfg(not(all(test, loom)))]
pub use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(all(test, loom))]
pub use loom::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
