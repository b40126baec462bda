//! Ethernet frames, and what a sender left to those that carry them.

use alloc::vec::Vec;
use core::fmt;

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// A frame without its check sequence, from the destination's address on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// The frame.
    pub bytes: Vec<u8>,
    /// Its TCP or UDP checksum.
    pub checksum: Checksum,
    /// How it is to be cut where it leaves the machine; `None`: it is one frame.
    pub segments: Option<Segments>,
}

/// What is known of a frame's TCP or UDP checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// It is in the frame; nobody looked at it.
    #[default]
    Present,
    /// It is in the frame and right, or the frame never left the machine
    /// (`NETRXF_data_validated`).
    Valid,
    /// The sender left it out: the field holds the sum of the pseudo header
    /// (`NETTXF_csum_blank`).
    Blank,
}

/// How a TCP packet longer than a frame is cut (`XEN_NETIF_EXTRA_TYPE_GSO`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Bytes of TCP payload of each frame.
    pub size: u16,
    /// IPv6 instead of IPv4.
    pub v6: bool,
}

/// Shows an Ethernet address as `02:17:42:2f:00:01`.
#[derive(Clone, Copy, Debug)]
pub struct Written(pub MacAddress);

impl fmt::Display for Written {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}
