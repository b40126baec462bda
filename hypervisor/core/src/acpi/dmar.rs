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

#[cfg(test)]
mod tests {
    use super::super::Signature;
    use super::super::testing::{sdt, with_table};
    use super::*;

    #[test]
    fn the_head_tells_the_width_and_the_flags() {
        let table = sdt(Signature::DMAR, 1, &[38, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let dmar = with_table(&table, Signature::DMAR, Dmar::new).unwrap();
        assert_eq!(dmar, Dmar { host_address_width: 39, interrupt_remapping: true, x2apic_opt_out: true });
    }

    #[test]
    fn a_short_table_is_refused() {
        let table = sdt(Signature::DMAR, 1, &[38; 11]);
        let error = with_table(&table, Signature::DMAR, Dmar::new).unwrap_err();
        assert_eq!(error, AcpiError::BadLength { table: Signature::DMAR, len: 47 });
    }
}
