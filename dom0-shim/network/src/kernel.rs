//! The kernel around; tests stand in for it.

use core::fmt;

/// Time, chance, words.
pub trait Kernel {
    /// Time since the machine started, ns.
    fn now_ns(&self) -> u64;

    /// Waits.
    fn sleep_ns(&self, ns: u64) -> impl Future<Output = ()>;

    /// Fills `bytes` with what nobody can guess.
    fn random(&self, bytes: &mut [u8]);

    /// Tells the administrator something that nobody asked for.
    fn log(&self, line: fmt::Arguments<'_>);
}
