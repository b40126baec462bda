//! Builders of tables and a memory to put them in, for the tests of this folder.

use std::vec::Vec;

use proptest::prelude::ProptestConfig;

use super::{PhysMemory, Signature, Table};
use crate::addr::HostPhysAddr;

/// Few cases under miri, which is slow and shuts the file system away.
pub(super) fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { 256 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Physical memory of which only some pieces are mapped.
#[derive(Default, Clone)]
pub(super) struct Memory(pub(super) Vec<(u64, Vec<u8>)>);

impl Memory {
    pub(super) fn put(&mut self, addr: u64, bytes: Vec<u8>) {
        self.0.push((addr, bytes));
    }
}

impl PhysMemory for Memory {
    fn read(&self, addr: HostPhysAddr, len: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(addr.get().checked_sub(*start)?).ok()?;
            bytes.get(offset..offset.checked_add(len)?)
        })
    }
}

/// Makes the bytes add up to zero by means of the one at `at`.
pub(super) fn seal(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_sub(byte));
}

/// A table with a right header.
pub(super) fn sdt(signature: Signature, revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = signature.bytes().to_vec();
    table.extend(u32::try_from(36 + body.len()).unwrap().to_le_bytes());
    table.extend([revision, 0]);
    table.extend(b"BOCHS BXPC    \x01\0\0\0BXPC\x01\0\0\0");
    table.extend(body);
    seal(&mut table, 9);
    table
}

/// Checks a table and hands its view to `test`.
pub(super) fn with_table<R>(bytes: &[u8], signature: Signature, test: impl FnOnce(Table<'_>) -> R) -> R {
    let mut memory = Memory::default();
    memory.put(0x1000, bytes.to_vec());
    test(Table::read(&memory, 0x1000, signature).unwrap())
}

/// A root pointer; revision 0 if there is no XSDT.
pub(super) fn rsdp(rsdt: u32, xsdt: Option<u64>) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0BOCHS ".to_vec();
    bytes.push(if xsdt.is_some() { 2 } else { 0 });
    bytes.extend(rsdt.to_le_bytes());
    seal(&mut bytes, 8);
    if let Some(xsdt) = xsdt {
        bytes.extend(36_u32.to_le_bytes());
        bytes.extend(xsdt.to_le_bytes());
        bytes.extend([0; 4]);
        seal(&mut bytes, 32);
    }
    bytes
}

/// Writes `value` in little endian.
pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` in little endian.
pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` in little endian.
pub(super) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The body of a MADT with these entries.
pub(super) fn madt_body(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut body = 0xfee0_0000_u32.to_le_bytes().to_vec();
    body.extend(1_u32.to_le_bytes());
    body.extend(entries.concat());
    body
}

/// A Processor Local APIC entry.
pub(super) fn local_apic(uid: u8, apic_id: u8, flags: u32) -> Vec<u8> {
    let mut entry = std::vec![0, 8, uid, apic_id];
    entry.extend(flags.to_le_bytes());
    entry
}

/// A Processor Local x2APIC entry.
pub(super) fn local_x2apic(uid: u32, apic_id: u32, flags: u32) -> Vec<u8> {
    let mut entry = std::vec![9, 16, 0, 0];
    [apic_id, flags, uid].iter().for_each(|field| entry.extend(field.to_le_bytes()));
    entry
}

/// An I/O APIC entry.
pub(super) fn io_apic(id: u8, address: u32, gsi_base: u32) -> Vec<u8> {
    let mut entry = std::vec![1, 12, id, 0];
    [address, gsi_base].iter().for_each(|field| entry.extend(field.to_le_bytes()));
    entry
}

/// An Interrupt Source Override entry.
pub(super) fn interrupt_override(bus: u8, irq: u8, gsi: u32, flags: u16) -> Vec<u8> {
    let mut entry = std::vec![2, 10, bus, irq];
    entry.extend(gsi.to_le_bytes());
    entry.extend(flags.to_le_bytes());
    entry
}
