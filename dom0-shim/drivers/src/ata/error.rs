//! What goes wrong with a drive.

use core::fmt;

/// Why a command did not do what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// It took too long.
    Timeout,
    /// No drive answers.
    Gone,
    /// The drive says that it is broken.
    Fault,
    /// The drive neither gives nor takes data.
    NoData,
    /// The controller could not reach memory.
    Bus,
    /// The connection to the drive failed.
    Link,
    /// It is another drive than before.
    Replaced,
    /// The drive reports an error: the content of its error register.
    Drive(u8),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the drive does not answer in time"),
            Self::Gone => f.write_str("the drive is gone"),
            Self::Fault => f.write_str("the drive reports that it is broken"),
            Self::NoData => f.write_str("the drive does not transfer data"),
            Self::Bus => f.write_str("the controller could not reach memory"),
            Self::Link => f.write_str("the connection to the drive failed"),
            Self::Replaced => f.write_str("another drive is in its place"),
            Self::Drive(bits) => drive(*bits, f),
        }
    }
}

/// The error register's bits (ATA/ATAPI-6, 8.27 "READ DMA", error outputs).
fn drive(bits: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const WORDS: [(u8, &str); 4] = [
        (1 << 7, "the data were garbled on the cable"),
        (1 << 6, "a sector cannot be read any more"),
        (1 << 4, "a sector was not found"),
        (1 << 2, "the drive refused the command"),
    ];
    let words = WORDS
        .iter()
        .find(|(bit, _)| bits & bit == *bit)
        .map_or("the drive reports an error", |(_, words)| words);
    write!(f, "{words} (error register {bits:#04x})")
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn errors_are_words() {
        let words = |bits| Error::Drive(bits).to_string();
        assert_eq!(words(0x40), "a sector cannot be read any more (error register 0x40)");
        assert_eq!(words(0x84), "the data were garbled on the cable (error register 0x84)");
        assert_eq!(words(0x04), "the drive refused the command (error register 0x04)");
        assert_eq!(words(0), "the drive reports an error (error register 0x00)");
    }
}
