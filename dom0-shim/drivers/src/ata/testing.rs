//! For tests: what models of drives have in common.

use alloc::vec;
use alloc::vec::Vec;

/// A drive.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) sectors: Vec<u8>,
    /// Its answer to IDENTIFY DEVICE.
    pub(crate) identify: [u16; 256],
    /// It takes packets, as CD-ROMs do.
    pub(crate) packet: bool,
    /// There are writes that are not on the medium yet.
    pub(crate) cached: bool,
}

impl Model {
    /// A disk of zeros with 28-bit addresses, DMA and a cache.
    pub(crate) fn new(sectors: usize) -> Self {
        let mut identify = [0; 256];
        identify[10] = u16::from_be_bytes(*b"K1");
        identify[49] = 1 << 9 | 1 << 8;
        identify[60] = u16::try_from(sectors).unwrap();
        identify[83] = 1 << 14 | 1 << 12;
        Self { sectors: vec![0; sectors * 512], identify, packet: false, cached: false }
    }
}

/// What a drive does wrong with the next transfers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It reports an uncorrectable error.
    Bad,
    /// It never ends.
    Hang,
    /// The controller cannot reach memory.
    Bus,
}

/// Bytes that differ.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}
