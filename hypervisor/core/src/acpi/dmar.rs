//! DMAR: the head of the table that describes the IOMMUs (VT-d).
//!
//! Layout: Intel Virtualization Technology for Directed I/O, "DMA Remapping
//! Reporting Structure". The remapping units themselves are not read.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{AcpiError, Table};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    host_address_width: u8,
    flags: u8,
    _reserved: [u8; 10],
}

/// What the platform says of its DMA remapping as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dmar {
    /// Bits of the addresses that DMA can reach.
    pub host_address_width: u16,
    /// Whether interrupts can be remapped.
    pub interrupt_remapping: bool,
    /// Whether firmware asks that x2APIC mode is not switched on.
    pub x2apic_opt_out: bool,
}

impl Dmar {
    pub(super) fn new(table: Table<'_>) -> Result<Self, AcpiError> {
        let (raw, _) = table.split::<Raw>()?;
        Ok(Self {
            // The field holds the width minus one.
            host_address_width: u16::from(raw.host_address_width) + 1,
            interrupt_remapping: raw.flags & 1 != 0,
            x2apic_opt_out: raw.flags & 2 != 0,
        })
    }
}
