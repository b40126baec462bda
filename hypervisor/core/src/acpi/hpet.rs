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
