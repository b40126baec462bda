//! For tests: a kernel, and a hypervisor of the little that the builder needs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::vec;
use std::vec::Vec;

extern crate std;

use xen_abi::elfnote;
use xen_abi::errno::Errno;
use xen_abi::xen::Hypercall;

use crate::Host;

/// An ELF file with one segment of `size` bytes at `address`, and a PVH note.
pub(crate) fn kernel(address: u64, data: &[u8], size: u64, entry: u64) -> Vec<u8> {
    const HEADERS: usize = 64 + 2 * 56;
    let mut note = Vec::new();
    for word in [4_u32, 8, u32::try_from(elfnote::PHYS32_ENTRY).unwrap()] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(b"Xen\0");
    note.extend_from_slice(&entry.to_le_bytes());
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0_u64, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let (note_at, data_at) = (HEADERS as u64, (HEADERS + note.len()) as u64);
    let headers = [
        (4_u32, note_at, 0, note.len() as u64, note.len() as u64),
        (1, data_at, address, data.len() as u64, size),
    ];
    for (kind, offset, at, in_file, in_memory) in headers {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&7_u32.to_le_bytes());
        for word in [offset, at, at, in_file, in_memory, 1] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file.extend_from_slice(&note);
    file.extend_from_slice(data);
    file
}

/// A host that grants every hypercall, or refuses the one of some position.
#[derive(Default)]
pub(crate) struct Fake {
    /// Numbers of the calls made.
    pub(crate) calls: RefCell<Vec<Hypercall>>,
    /// The call to refuse, from 0.
    pub(crate) refuse: Option<usize>,
    pub(crate) memory: RefCell<BTreeMap<u64, Vec<u8>>>,
}

impl Host for Fake {
    fn hypercall(&self, number: Hypercall, _: [u64; 5]) -> i64 {
        let mut calls = self.calls.borrow_mut();
        calls.push(number);
        if self.refuse == Some(calls.len() - 1) { Errno::ENOMEM.return_value() } else { 0 }
    }

    fn relax(&self) {}

    fn window(&self) -> Range<u64> {
        0x100..0x110
    }

    fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        let mut memory = self.memory.borrow_mut();
        let page = memory.entry(frame).or_insert_with(|| vec![0; 4096]);
        to.copy_from_slice(&page[offset..offset + to.len()]);
    }

    fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        let mut memory = self.memory.borrow_mut();
        let page = memory.entry(frame).or_insert_with(|| vec![0; 4096]);
        page[offset..offset + from.len()].copy_from_slice(from);
    }
}
