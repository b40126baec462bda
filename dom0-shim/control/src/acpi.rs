//! The ACPI tables of a PVH domain: which local APICs it has, and that there is no other
//! hardware that ACPI could tell of (ACPI 6.5, "Hardware-Reduced ACPI"; libxl lays them out
//! in the same place).
//!
//! ```text
//! RSDP ──> XSDT ──> FADT ──> DSDT (empty)
//!            └────> MADT
//! ```

use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

const OEM: [u8; 6] = *b"Kigumi";
const TABLE: [u8; 8] = *b"KIGUMI  ";
const REVISION: u32 = 1;
/// Where the local APICs' registers are.
const LAPIC_ADDRESS: u32 = 0xfee0_0000;
/// `IAPC_BOOT_ARCH`: there is no VGA to probe, no real-time clock in CMOS.
const NO_VGA: u16 = 1 << 2;
const NO_CMOS_RTC: u16 = 1 << 5;
/// Bytes of a table's header, and of an empty table.
const HEADER: u32 = 36;
const DSDT_REVISION: u8 = 2;
/// Tables begin at multiples of this.
const ALIGN: usize = 16;

/// The tables of a domain, as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    /// What stands at the address that they were made for.
    pub bytes: Vec<u8>,
    /// Guest-physical address of the RSDP.
    pub rsdp: u64,
}

impl Tables {
    /// Tables of a domain with `vcpus` vcpus, for the guest-physical address `at`. The APIC
    /// id of a vcpu is its number.
    #[must_use]
    pub fn new(vcpus: u32, at: u64) -> Self {
        let mut tables = Self { bytes: Vec::new(), rsdp: 0 };
        let dsdt = tables.add(at, &Sdt::new(*b"DSDT", HEADER, DSDT_REVISION, OEM, TABLE, REVISION));
        let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
            .dsdt_64(dsdt)
            .flag(Flags::Wbinvd)
            .flag(Flags::HwReducedAcpi)
            .flag(Flags::Headless);
        fadt.iapc_boot_arch = (NO_VGA | NO_CMOS_RTC).into();
        let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
        xsdt.add_entry(tables.add(at, &fadt.finalize()));
        xsdt.add_entry(tables.add(at, &madt(vcpus)));
        let xsdt = tables.add(at, &xsdt);
        tables.rsdp = tables.add(at, &Rsdp::new(OEM, xsdt));
        tables
    }

    /// Appends a table; where it will stand.
    fn add(&mut self, at: u64, table: &impl Aml) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let place = at + self.bytes.len() as u64;
        table.to_aml_bytes(&mut self.bytes);
        place
    }
}

fn madt(vcpus: u32) -> MADT {
    let mut madt = MADT::new(OEM, TABLE, REVISION, LocalInterruptController::Address(LAPIC_ADDRESS));
    for vcpu in 0..vcpus {
        // Local APICs with wider ids would have other entries; no domain has that many.
        if let Ok(id) = u8::try_from(vcpu) {
            madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
        }
    }
    madt
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0xfc00_0000;

    fn word(bytes: &[u8], at: u64, offset: u64) -> u32 {
        let at = usize::try_from(at - AT + offset).unwrap();
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn address(bytes: &[u8], at: u64, offset: u64) -> u64 {
        u64::from(word(bytes, at, offset)) | u64::from(word(bytes, at, offset + 4)) << 32
    }

    /// A table's bytes; its checksum is right.
    fn table(bytes: &[u8], at: u64, signature: &[u8; 4]) -> Vec<u8> {
        let start = usize::try_from(at - AT).unwrap();
        let length = usize::try_from(word(bytes, at, 4)).unwrap();
        let table = bytes[start..start + length].to_vec();
        assert_eq!(&table[..4], signature);
        assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{signature:?}");
        table
    }

    #[test]
    fn each_table_is_found_from_the_first() {
        let Tables { bytes, rsdp } = Tables::new(3, AT);
        let at = usize::try_from(rsdp - AT).unwrap();
        assert_eq!(&bytes[at..at + 8], b"RSD PTR ");
        let xsdt = address(&bytes, rsdp, 24);
        assert_eq!(table(&bytes, xsdt, b"XSDT").len(), 36 + 2 * 8);
        let (fadt, madt) = (address(&bytes, xsdt, 36), address(&bytes, xsdt, 44));
        table(&bytes, fadt, b"FACP");
        assert_eq!(word(&bytes, fadt, 112) >> 20 & 1, 1, "hardware-reduced");
        assert_eq!(table(&bytes, address(&bytes, fadt, 140), b"DSDT").len(), 36);
        let madt = table(&bytes, madt, b"APIC");
        let entries: Vec<_> = madt[44..].chunks(8).map(|entry| (entry[0], entry[3], entry[4])).collect();
        assert_eq!(entries, [(0, 0, 1), (0, 1, 1), (0, 2, 1)]);
    }

    #[test]
    fn those_of_the_largest_domain_fit_a_page() {
        assert!(Tables::new(128, AT).bytes.len() <= 4096);
    }
}
