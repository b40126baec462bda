//! virtio devices on PCI: disks and network cards.
//!
//! | module | |
//! |---|---|
//! | [`block`] | disks |
//! | [`net`] | network cards |
//! | `transport` | registers, features, states of a device |
//! | `queue` | requests to a device, and what it has done |
//!
//! As "Virtual I/O Device (VIRTIO) Version 1.2" has them, through the registers of its 4.1 "Virtio
//! Over PCI Bus"; devices with the legacy interface only are refused. Interrupts are the line's.
//!
//! `virtio-drivers` is not used: its requests that do not block are unsafe functions, since it
//! lends a device the caller's buffers, which a future that is dropped would take away. Here
//! requests pass through memory of the driver's own. A device may write anything there: indices
//! and lengths are checked.

pub mod block;
pub mod net;
mod queue;
mod transport;

use crate::pci::Function;

const VENDOR: u16 = 0x1af4;

/// What a virtio device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A network card.
    Net,
    /// A disk.
    Block,
}

impl Kind {
    /// What kind the function is, if it is of one (4.1.2 "PCI Device Discovery").
    #[must_use]
    pub fn of(function: &Function) -> Option<Self> {
        match (function.vendor, function.device) {
            (VENDOR, 0x1000 | 0x1041) => Some(Self::Net),
            (VENDOR, 0x1001 | 0x1042) => Some(Self::Block),
            _ => None,
        }
    }
}
