//! Where the shell reads and writes: bytes, and time.

/// A terminal of bytes, as at the end of a serial line.
pub trait Terminal {
    /// Waits for a byte. A future that is dropped before it is ready takes no byte with it.
    fn read(&mut self) -> impl Future<Output = u8>;

    /// Waits for a byte, at most `ms` milliseconds; `None` then. Dropping it is like dropping
    /// that of `read`.
    fn read_for(&mut self, ms: u64) -> impl Future<Output = Option<u8>>;

    /// Shows text; `\n` ends a line.
    fn write(&mut self, text: &[u8]);
}
