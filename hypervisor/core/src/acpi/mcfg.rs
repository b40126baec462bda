//! MCFG: where the configuration space of PCI Express lies in memory.
//!
//! Layout: PCI Firmware Specification 3.0, "MCFG Table Description".

use zerocopy::byteorder::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{AcpiError, Table};
use crate::addr::HostPhysAddr;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    base: U64,
    segment: U16,
    first_bus: u8,
    last_bus: u8,
    _reserved: [u8; 4],
}

/// The reserved bytes between the header and the first allocation.
type Reserved = [u8; 8];

/// The table.
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'m> {
    allocations: &'m [u8],
}

/// The configuration space of some buses of one PCI segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct McfgSegment {
    /// Where bus 0 of the segment lies, or would lie; a bus takes 1 MiB.
    pub base: HostPhysAddr,
    /// Number of the segment.
    pub segment: u16,
    /// First bus that is there.
    pub first_bus: u8,
    /// Last bus that is there, not below the first.
    pub last_bus: u8,
}

impl<'m> Mcfg<'m> {
    pub(super) fn new(table: Table<'m>) -> Result<Self, AcpiError> {
        let (_, allocations) = table.split::<Reserved>()?;
        Ok(Self { allocations })
    }

    /// Each allocation that makes sense.
    pub fn segments(self) -> impl Iterator<Item = McfgSegment> + use<'m> {
        let entries = self.allocations.chunks_exact(size_of::<Raw>());
        entries.filter_map(|entry| Raw::ref_from_bytes(entry).ok()).filter_map(Raw::segment)
    }
}

impl Raw {
    fn segment(&self) -> Option<McfgSegment> {
        let base = HostPhysAddr::new(self.base.get()).filter(|base| base.get() != 0)?;
        let (first_bus, last_bus) = (self.first_bus, self.last_bus);
        (first_bus <= last_bus).then_some(McfgSegment {
            base,
            segment: self.segment.get(),
            first_bus,
            last_bus,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::Signature;
    use super::super::testing::{sdt, with_table};
    use super::*;

    fn allocation(base: u64, segment: u16, buses: [u8; 2]) -> Vec<u8> {
        let mut bytes = base.to_le_bytes().to_vec();
        bytes.extend(segment.to_le_bytes());
        bytes.extend(buses);
        bytes.extend([0; 4]);
        bytes
    }

    fn segments(body: &[u8]) -> Vec<McfgSegment> {
        let table = sdt(Signature::MCFG, 1, body);
        with_table(&table, Signature::MCFG, |table| Mcfg::new(table).unwrap().segments().collect())
    }

    #[test]
    fn each_sound_allocation_is_listed() {
        let mut body = std::vec![0; 8];
        body.extend(allocation(0xb000_0000, 0, [0, 255]));
        body.extend(allocation(0, 1, [0, 255]));
        body.extend(allocation(0xc000_0000, 2, [9, 8]));
        body.extend(allocation(0xd000_0000, 3, [8, 9]));
        body.extend([1; 15]);
        let expect = |base, segment, first_bus, last_bus| McfgSegment {
            base: HostPhysAddr::new(base).unwrap(),
            segment,
            first_bus,
            last_bus,
        };
        assert_eq!(segments(&body), [expect(0xb000_0000, 0, 0, 255), expect(0xd000_0000, 3, 8, 9)]);
    }

    #[test]
    fn a_table_without_allocations_has_none() {
        assert_eq!(segments(&[0; 8]), []);
    }
}
