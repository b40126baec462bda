//! A ring of descriptors, each with a buffer of its own.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use super::DONE;
use crate::{Dma, Machine, Registers};

/// Descriptors: a multiple of 8.
const COUNT: u16 = 128;
/// Bytes of a descriptor.
const DESCRIPTOR: usize = 16;
/// Bytes of a buffer.
pub(super) const BUFFER: usize = 2048;

/// Offsets of the ring's registers from the first, its address.
const HIGH: usize = 4;
const LENGTH: usize = 8;
const HEAD: usize = 0x10;
pub(super) const TAIL: usize = 0x18;

pub(super) struct Ring<M: Machine> {
    descriptors: M::Dma,
    buffers: M::Dma,
    next: Cell<u16>,
}

/// A legacy descriptor without the place of its buffer.
///
/// ```text
///   byte   0       8        10         11        12       13 .. 15
///          address  length   checksum   command   status   (send)
///          address  length   checksum             status   (receive)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Descriptor {
    pub length: u16,
    pub command: u8,
    pub status: u8,
}

/// The entry behind `place`.
pub(super) fn behind(place: u16) -> u16 {
    (place + 1) % COUNT
}

/// The entry before `place`.
pub(super) fn before(place: u16) -> u16 {
    (place + COUNT - 1) % COUNT
}

impl<M: Machine> Ring<M> {
    /// A ring without frames.
    pub(super) fn new(machine: &M) -> Result<Self, String> {
        let count = usize::from(COUNT);
        let descriptors = machine.dma(count * DESCRIPTOR, 128)?;
        Ok(Self { descriptors, buffers: machine.dma(count * BUFFER, BUFFER)?, next: Cell::new(0) })
    }

    /// Gives the card an empty buffer in each descriptor.
    pub(super) fn fill(&self) {
        (0..COUNT).for_each(|place| self.put(place, Descriptor::default()));
    }

    /// Tells the card where the ring is: `registers` from `first` on. It is empty.
    pub(super) fn tell(&self, registers: &M::Registers, first: usize) {
        let address = self.descriptors.address();
        registers.write(first, 4, low(address));
        registers.write(first + HIGH, 4, low(address >> 32));
        registers.write(first + LENGTH, 4, u32::from(COUNT) * 16);
        registers.write(first + HEAD, 4, 0);
        registers.write(first + TAIL, 4, 0);
    }

    /// The entry that comes next.
    pub(super) fn next(&self) -> u16 {
        self.next.get()
    }

    pub(super) fn advance(&self) {
        self.next.set(behind(self.next.get()));
    }

    /// A descriptor that the card is done with.
    pub(super) fn read(&self, place: u16) -> Option<Descriptor> {
        const STATUS: usize = 12;
        let mut status = [0];
        self.descriptors.read(at(place) + STATUS, &mut status);
        if status[0] & DONE == 0 {
            return None;
        }
        // The card writes the status last.
        let mut bytes = [0; 4];
        self.descriptors.read(at(place) + 8, &mut bytes);
        let [low, high, _, command] = bytes;
        Some(Descriptor { length: u16::from_le_bytes([low, high]), command, status: status[0] })
    }

    /// Writes a descriptor, with the place of its buffer.
    pub(super) fn put(&self, place: u16, descriptor: Descriptor) {
        let Descriptor { length, command, status } = descriptor;
        let address = self.buffers.address() + u64::from(place) * BUFFER as u64;
        let mut bytes = [0; DESCRIPTOR];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..10].copy_from_slice(&length.to_le_bytes());
        (bytes[11], bytes[12]) = (command, status);
        self.descriptors.write(at(place), &bytes);
    }

    /// The first bytes of a buffer, at most all.
    pub(super) fn buffer(&self, place: u16, bytes: usize) -> Vec<u8> {
        let mut frame = vec![0; bytes.min(BUFFER)];
        self.buffers.read(usize::from(place) * BUFFER, &mut frame);
        frame
    }

    /// Writes a frame, at most [`BUFFER`] bytes, to a buffer, and zeros behind it up to `least` bytes.
    pub(super) fn fill_buffer(&self, place: u16, frame: &[u8], least: usize) {
        let start = usize::from(place) * BUFFER;
        self.buffers.write(start, frame);
        if let Some(missing) = least.checked_sub(frame.len()) {
            self.buffers.write(start + frame.len(), &vec![0; missing]);
        }
    }
}

fn at(place: u16) -> usize {
    usize::from(place) * DESCRIPTOR
}

fn low(address: u64) -> u32 {
    let [a, b, c, d, ..] = address.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
