//! HPET: the table that tells where the high precision event timers are.
//!
//! Layout: IA-PC HPET Specification 1.0a, "The ACPI 2.0 HPET Description Table".

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::address::{GenericAddress, Register};
use super::{AcpiError, Table};
use crate::addr::HostPhysAddr;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    block_id: U32,
    base: GenericAddress,
    number: u8,
    _minimum_tick: U16,
    _flags: u8,
}

/// One block of timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hpet {
    /// Where its registers lie.
    pub base: HostPhysAddr,
    /// Number of the block, from 0.
    pub number: u8,
    /// Comparators in the block, at least one.
    pub comparators: u8,
    /// Whether the main counter has 64 bits, not 32.
    pub wide_counter: bool,
}

impl Hpet {
    pub(super) fn new(table: Table<'_>) -> Result<Self, AcpiError> {
        let (raw, _) = table.split::<Raw>()?;
        let Some(Register::Memory(base)) = raw.base.register() else {
            return Err(AcpiError::Unreachable(0));
        };
        let [_, low, ..] = raw.block_id.get().to_le_bytes();
        Ok(Self { base, number: raw.number, comparators: (low & 0x1f) + 1, wide_counter: low & 0x20 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::Signature;
    use super::super::testing::{sdt, with_table};
    use super::*;

    /// The table of Bochs and QEMU: three comparators, a 64-bit counter.
    fn body(space: u8, base: u64) -> Vec<u8> {
        let mut body = 0x8086_a201_u32.to_le_bytes().to_vec();
        body.extend([space, 32, 0, 3]);
        body.extend(base.to_le_bytes());
        body.extend([0; 4]);
        body
    }

    fn parse(body: &[u8]) -> Result<Hpet, AcpiError> {
        with_table(&sdt(Signature::HPET, 1, body), Signature::HPET, Hpet::new)
    }

    #[test]
    fn the_table_of_the_emulators_reads_as_it_should() {
        let base = HostPhysAddr::new(0xfed0_0000).unwrap();
        let hpet = Hpet { base, number: 0, comparators: 3, wide_counter: true };
        assert_eq!(parse(&body(0, 0xfed0_0000)), Ok(hpet));
    }

    #[test]
    fn timers_that_are_not_in_memory_are_refused() {
        assert_eq!(parse(&body(1, 0x80)), Err(AcpiError::Unreachable(0)));
        assert_eq!(parse(&body(0, 0)), Err(AcpiError::Unreachable(0)));
        assert!(matches!(parse(&body(0, 1)[..19]), Err(AcpiError::BadLength { .. })));
    }
}
