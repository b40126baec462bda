//! Requests to a device, and what it has done (VIRTIO 1.2, 2.7 "Split Virtqueues").
//!
//! ```text
//!   descriptors  16 bytes each: address, length, flags, the next one
//!   driver area  flags, index, heads of chains that are offered
//!   device area  flags, index, chains that were used: head, bytes written
//! ```

use alloc::string::String;
use core::cell::Cell;

use crate::{Dma, Machine, Registers};

const DESCRIPTOR: usize = 16;
/// The areas begin with flags and index.
const INDEX: usize = 2;
const RING: usize = 4;

/// Flags of descriptors.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Memory that a descriptor names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub address: u64,
    pub bytes: u32,
    /// The device writes it.
    pub for_device_to_write: bool,
}

pub(super) struct Queue<M: Machine> {
    memory: M::Dma,
    number: u16,
    size: u16,
    bell: M::Registers,
    /// Chains that were offered, and those that came back, ever.
    offered: Cell<u16>,
    taken: Cell<u16>,
}

impl<M: Machine> Queue<M> {
    /// A queue that is empty; `bell` tells the device that there is something in it.
    pub(super) fn new(machine: &M, number: u16, size: u16, bell: M::Registers) -> Result<Self, String> {
        let entries = usize::from(size);
        let bytes = device_area(entries) + RING + 8 * entries;
        let memory = machine.dma(bytes, 4096)?;
        Ok(Self { memory, number, size, bell, offered: Cell::new(0), taken: Cell::new(0) })
    }

    /// Addresses of the three areas.
    pub(super) fn places(&self) -> [u64; 3] {
        let entries = usize::from(self.size);
        [0, driver_area(entries), device_area(entries)].map(|offset| self.memory.address() + offset as u64)
    }

    /// Entries.
    pub(super) fn size(&self) -> u16 {
        self.size
    }

    /// Offers a chain of descriptors, `first` and those behind it. The caller knows that they are
    /// not in use.
    pub(super) fn offer(&self, first: u16, parts: &[Part]) {
        for (place, part) in (first..).zip(parts) {
            let is_last = usize::from(place - first) + 1 == parts.len();
            let flags = if is_last { 0 } else { NEXT } | if part.for_device_to_write { WRITE } else { 0 };
            let mut bytes = [0; DESCRIPTOR];
            bytes[..8].copy_from_slice(&part.address.to_le_bytes());
            bytes[8..12].copy_from_slice(&part.bytes.to_le_bytes());
            bytes[12..14].copy_from_slice(&flags.to_le_bytes());
            bytes[14..].copy_from_slice(&place.wrapping_add(1).to_le_bytes());
            self.memory.write(usize::from(place % self.size) * DESCRIPTOR, &bytes);
        }
        let area = driver_area(self.size.into());
        let offered = self.offered.get();
        self.memory.write(area + RING + 2 * usize::from(offered % self.size), &first.to_le_bytes());
        self.offered.set(offered.wrapping_add(1));
        self.memory.write(area + INDEX, &self.offered.get().to_le_bytes());
    }

    /// Tells the device that something was offered.
    pub(super) fn notify(&self) {
        self.bell.write(0, 2, self.number.into());
    }

    /// A chain that the device has used, if there is one: its first descriptor, and the bytes that
    /// it says it wrote. Neither is to be believed.
    pub(super) fn take(&self) -> Option<(u32, u32)> {
        let area = device_area(self.size.into());
        let mut index = [0; 2];
        self.memory.read(area + INDEX, &mut index);
        let taken = self.taken.get();
        // More than were offered cannot come back.
        let waiting = u16::from_le_bytes(index).wrapping_sub(taken);
        if waiting == 0 || waiting > self.offered.get().wrapping_sub(taken) {
            return None;
        }
        let mut entry = [0; 8];
        self.memory.read(area + RING + 8 * usize::from(taken % self.size), &mut entry);
        self.taken.set(taken.wrapping_add(1));
        let [a, b, c, d, e, f, g, h] = entry;
        Some((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
    }
}

fn driver_area(entries: usize) -> usize {
    DESCRIPTOR * entries
}

/// Aligned to 4 bytes.
fn device_area(entries: usize) -> usize {
    (driver_area(entries) + RING + 2 * entries).next_multiple_of(4)
}
