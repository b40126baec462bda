//! How often an entry is in use, and for what.

use bitflags::bitflags;

/// What is done with a granted frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It is read only.
    Read,
    /// It is read and written.
    Write,
}

bitflags! {
    /// Who uses a granted frame.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Uses: u8 {
        /// A CPU, through a mapping.
        const HOST = 1 << 0;
        /// A device (`GNTMAP_device_map`).
        const DEVICE = 1 << 1;
        /// The hypervisor, for the time of a copy. It counts as a CPU.
        const COPY = 1 << 2;
    }
}

/// Most pins of one kind (Xen's count has 8 bits and stops when the highest is set).
pub(super) const MOST: u8 = 0x80;

/// How many users an entry has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pins {
    host_read: u8,
    host_write: u8,
    device_read: u8,
    device_write: u8,
}

impl Pins {
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether somebody writes.
    pub fn write(self) -> bool {
        self.host_write != 0 || self.device_write != 0
    }

    /// With one more user for each of `uses`, unless there are too many.
    pub fn with(mut self, uses: Uses, access: Access) -> Option<Self> {
        for count in self.counts(uses, access).into_iter().flatten() {
            *count = count.checked_add(1).filter(|&more| more <= MOST)?;
        }
        Some(self)
    }

    /// With one user less for each of `uses`, if there are as many.
    pub fn without(mut self, uses: Uses, access: Access) -> Option<Self> {
        for count in self.counts(uses, access).into_iter().flatten() {
            *count = count.checked_sub(1)?;
        }
        Some(self)
    }

    fn counts(&mut self, uses: Uses, access: Access) -> [Option<&mut u8>; 2] {
        let (host, device) = match access {
            Access::Read => (&mut self.host_read, &mut self.device_read),
            Access::Write => (&mut self.host_write, &mut self.device_write),
        };
        [
            uses.intersects(Uses::HOST | Uses::COPY).then_some(host),
            uses.contains(Uses::DEVICE).then_some(device),
        ]
    }
}
