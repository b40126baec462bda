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

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use super::*;
    use crate::testing::{Device, Fake, Memory};

    /// Notes which queue was notified.
    #[derive(Default)]
    struct Bell(Option<u32>);

    impl Device for Bell {
        fn write_register(&mut self, _: usize, _: u8, value: u32, _: &mut Memory) {
            self.0 = Some(value);
        }

        fn line(&self) -> bool {
            false
        }
    }

    fn queue() -> (Rc<Fake<Bell>>, Queue<Fake<Bell>>) {
        let machine = Fake::new(Bell::default(), []);
        let bell = machine.registers(0, 2).unwrap();
        let queue = Queue::new(&*machine, 3, 8, bell).unwrap();
        (machine, queue)
    }

    /// What the device says that it has used.
    fn use_chain(queue: &Queue<Fake<Bell>>, place: usize, head: u32, bytes: u32, index: u16) {
        let area = device_area(8);
        queue.memory.write(area + RING + 8 * place, &head.to_le_bytes());
        queue.memory.write(area + RING + 8 * place + 4, &bytes.to_le_bytes());
        queue.memory.write(area + INDEX, &index.to_le_bytes());
    }

    #[test]
    fn a_chain_goes_to_the_device_and_comes_back() {
        let (machine, queue) = queue();
        let part = |address, for_device_to_write| Part { address, bytes: 512, for_device_to_write };
        queue.offer(3, &[part(0x1000, false), part(0x2000, true)]);
        queue.notify();
        assert_eq!(machine.device.borrow().0, Some(3));
        let mut bytes = [0; 32];
        queue.memory.read(3 * DESCRIPTOR, &mut bytes);
        assert_eq!(bytes[..16], [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 4, 0]);
        assert_eq!(bytes[16..28], [0, 0x20, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(bytes[28..30], [2, 0]);
        queue.memory.read(driver_area(8), &mut bytes[..6]);
        assert_eq!(bytes[..6], [0, 0, 1, 0, 3, 0]);
        assert_eq!(queue.take(), None);
        use_chain(&queue, 0, 3, 512, 1);
        assert_eq!(queue.take(), Some((3, 512)));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn more_than_was_offered_does_not_come_back() {
        let (_machine, queue) = queue();
        queue.offer(0, &[Part { address: 0, bytes: 1, for_device_to_write: true }]);
        for index in [2, 9, 0x8000, u16::MAX] {
            use_chain(&queue, 0, 0, 0, index);
            assert_eq!(queue.take(), None);
        }
        use_chain(&queue, 0, u32::MAX, u32::MAX, 1);
        assert_eq!(queue.take(), Some((u32::MAX, u32::MAX)));
        assert_eq!(queue.take(), None);
    }
}
