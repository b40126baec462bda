//! Where the shell reads and writes: bytes, and time.

/// A terminal of bytes, as at the end of a serial line.
pub trait Terminal {
    /// Waits for a byte.
    fn read(&mut self) -> impl Future<Output = u8>;

    /// Waits for a byte, at most `ms` milliseconds; `None` then.
    fn read_for(&mut self, ms: u64) -> impl Future<Output = Option<u8>>;

    /// Shows text; `\n` ends a line.
    fn write(&mut self, text: &[u8]);
}
