//! The firmware's ACPI tables, as far as a hypervisor without an AML interpreter reads them.
//!
//! ```text
//!  Rsdp ──> XSDT or RSDT ──> Tables ──> MADT   CPUs, I/O APICs, interrupt overrides
//!                                   ├──> FADT   PM timer, power-off, reset ──> DSDT: _S5_
//!                                   ├──> HPET   the timer block
//!                                   ├──> MCFG   PCI configuration space in memory
//!                                   └──> DMAR   an IOMMU is there
//! ```
//!
//! A table is believed only after its length and checksum were tried; each view
//! is a checked cast of bytes that the caller mapped ([`PhysMemory`]). Layouts
//! are those of the ACPI specification 6.5, chapter 5, "ACPI Software
//! Programming Model", unless a view names another source.

mod address;
mod dmar;
mod fadt;
mod hpet;
mod madt;
mod mcfg;
mod rsdp;
mod sdt;
mod sleep;
#[cfg(test)]
mod testing;

use core::fmt;

use crate::addr::HostPhysAddr;

pub use address::Register;
pub use dmar::Dmar;
pub use fadt::{AcpiEnable, BootArch, Fadt, PmTimer, TimerWidth};
pub use hpet::Hpet;
pub use madt::{
    ApicId, Cpu, CpuList, Entry, InterruptLine, InterruptOverride, IoApic, LocalNmi, Madt, NmiSource,
    Polarity, Trigger, cpu_list,
};
pub use mcfg::{Mcfg, McfgSegment};
pub use rsdp::Rsdp;
pub use sdt::{Signature, Table};
pub use sleep::SleepTypes;

/// Physical memory as the caller has it mapped.
pub trait PhysMemory {
    /// The `len` bytes from `addr` on, or `None` if they cannot be reached.
    fn read(&self, addr: HostPhysAddr, len: usize) -> Option<&[u8]>;
}

/// Why a table is not used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AcpiError {
    /// The firmware has no such table.
    NotFound(Signature),
    /// The address is none, or cannot be reached.
    Unreachable(u64),
    /// There is something else in its place.
    WrongSignature {
        /// What should be there.
        wanted: Signature,
        /// What is there.
        found: Signature,
    },
    /// Too short for what it must hold, or longer than any table is.
    BadLength {
        /// The table.
        table: Signature,
        /// Its length in bytes, as it states it.
        len: usize,
    },
    /// Its bytes do not add up to zero.
    BadChecksum(Signature),
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(table) => write!(f, "no {table} table"),
            Self::Unreachable(addr) => write!(f, "table address {addr:#x} cannot be reached"),
            Self::WrongSignature { wanted, found } => write!(f, "{found} where {wanted} should be"),
            Self::BadLength { table, len } => write!(f, "{table} has an impossible length of {len} bytes"),
            Self::BadChecksum(table) => write!(f, "{table} has a wrong checksum"),
        }
    }
}

/// The tables that the root table lists.
pub struct Tables<'m, M: ?Sized> {
    memory: &'m M,
    root: Table<'m>,
    /// Bytes in one entry of the root table.
    entry_size: usize,
}

impl<'m, M: PhysMemory + ?Sized> Tables<'m, M> {
    /// Finds the root table: the XSDT if there is a sound one, else the RSDT.
    ///
    /// # Errors
    /// What is wrong with the only or the better of the two.
    pub fn find(memory: &'m M, rsdp: Rsdp) -> Result<Self, AcpiError> {
        let rsdt = || Self::with_root(memory, u64::from(rsdp.rsdt()), Signature::RSDT);
        match rsdp.xsdt() {
            Some(xsdt) => {
                Self::with_root(memory, xsdt, Signature::XSDT).or_else(|error| rsdt().or(Err(error)))
            }
            None => rsdt(),
        }
    }

    /// Names of the tables that the root table lists and whose addresses can be
    /// reached, in its order.
    pub fn signatures(&self) -> impl Iterator<Item = Signature> + use<'_, 'm, M> {
        self.addresses().filter_map(|addr| Table::signature_at(self.memory, addr))
    }

    /// CPUs and interrupt controllers.
    ///
    /// # Errors
    /// There is no sound MADT.
    pub fn madt(&self) -> Result<Madt<'m>, AcpiError> {
        Madt::new(self.first(Signature::MADT)?)
    }

    /// Fixed hardware: PM timer, power and reset registers.
    ///
    /// # Errors
    /// There is no sound FADT.
    pub fn fadt(&self) -> Result<Fadt, AcpiError> {
        Fadt::new(self.first(Signature::FADT)?)
    }

    /// The high precision event timer block.
    ///
    /// # Errors
    /// There is no sound HPET table.
    pub fn hpet(&self) -> Result<Hpet, AcpiError> {
        Hpet::new(self.first(Signature::HPET)?)
    }

    /// Where PCI configuration space lies in memory.
    ///
    /// # Errors
    /// There is no sound MCFG.
    pub fn mcfg(&self) -> Result<Mcfg<'m>, AcpiError> {
        Mcfg::new(self.first(Signature::MCFG)?)
    }

    /// The head of the table that describes the IOMMUs.
    ///
    /// # Errors
    /// There is no sound DMAR.
    pub fn dmar(&self) -> Result<Dmar, AcpiError> {
        Dmar::new(self.first(Signature::DMAR)?)
    }

    /// What to write to the PM1 control registers for soft-off (`\_S5_`), from
    /// the DSDT that `fadt` names or else from an SSDT.
    #[must_use]
    pub fn soft_off(&self, fadt: &Fadt) -> Option<SleepTypes> {
        let dsdt = fadt.dsdt().and_then(|addr| Table::read(self.memory, addr, Signature::DSDT).ok());
        let ssdts = self.all(Signature::SSDT).filter_map(Result::ok);
        dsdt.into_iter().chain(ssdts).find_map(|table| SleepTypes::soft_off(table.body()))
    }

    fn with_root(memory: &'m M, addr: u64, signature: Signature) -> Result<Self, AcpiError> {
        let root = Table::read(memory, addr, signature)?;
        let entry_size = if signature == Signature::XSDT { 8 } else { 4 };
        Ok(Self { memory, root, entry_size })
    }

    /// The first sound table of that name; firmware may list one twice.
    fn first(&self, signature: Signature) -> Result<Table<'m>, AcpiError> {
        let mut error = AcpiError::NotFound(signature);
        for table in self.all(signature) {
            match table {
                Ok(table) => return Ok(table),
                Err(fault) => error = fault,
            }
        }
        Err(error)
    }

    fn all(
        &self,
        signature: Signature,
    ) -> impl Iterator<Item = Result<Table<'m>, AcpiError>> + use<'_, 'm, M> {
        self.addresses()
            .filter(move |&addr| Table::signature_at(self.memory, addr) == Some(signature))
            .map(move |addr| Table::read(self.memory, addr, signature))
    }

    fn addresses(&self) -> impl Iterator<Item = u64> + use<'m, M> {
        self.root.body().chunks_exact(self.entry_size).map(|entry| {
            let mut wide = [0; 8];
            wide.iter_mut().zip(entry).for_each(|(to, &from)| *to = from);
            u64::from_le_bytes(wide)
        })
    }
}

/// Whether the bytes add up to zero modulo 256, as those of every table do.
fn checksum_holds(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::testing::{
        Memory, config, interrupt_override, io_apic, local_apic, madt_body, put_u16, put_u32, put_u64, rsdp,
        sdt,
    };
    use super::*;

    const RSDP: u64 = 0xf_aa00;
    const RSDT: u64 = 0x1fff_0000;
    const XSDT: u64 = 0x1fff_0100;
    const FADT: u64 = 0x1fff_0200;
    const DSDT: u64 = 0x1fff_0400;
    const SSDT: u64 = 0x1fff_0500;
    const MADT: u64 = 0x1fff_0600;

    const S5_OF_5: &[u8] = b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00";

    fn fadt_body() -> Vec<u8> {
        let mut body = std::vec![0; 80];
        put_u32(&mut body, 4, u32::try_from(DSDT).unwrap());
        put_u16(&mut body, 10, 9);
        put_u32(&mut body, 28, 0xb004);
        body
    }

    /// A machine of two CPUs, laid out as Bochs and QEMU do.
    fn machine() -> Memory {
        let listed = [0, FADT, MADT, SSDT];
        let (mut narrow, mut wide) = ([0; 16], [0; 32]);
        for (index, &addr) in listed.iter().enumerate() {
            put_u32(&mut narrow, index * 4, u32::try_from(addr).unwrap());
            put_u64(&mut wide, index * 8, addr);
        }
        let entries = [
            local_apic(0, 0, 1),
            local_apic(1, 1, 1),
            io_apic(2, 0xfec0_0000, 0),
            interrupt_override(0, 0, 2, 0),
        ];
        let mut memory = Memory::default();
        memory.put(RSDP, rsdp(u32::try_from(RSDT).unwrap(), Some(XSDT)));
        memory.put(RSDT, sdt(Signature::RSDT, 1, &narrow));
        memory.put(XSDT, sdt(Signature::XSDT, 1, &wide));
        memory.put(FADT, sdt(Signature::FADT, 1, &fadt_body()));
        memory.put(DSDT, sdt(Signature::DSDT, 1, b"\x5b\x80REG_"));
        memory.put(SSDT, sdt(Signature::SSDT, 1, S5_OF_5));
        memory.put(MADT, sdt(Signature::MADT, 1, &madt_body(&entries)));
        memory
    }

    fn table_mut(memory: &mut Memory, addr: u64) -> &mut Vec<u8> {
        memory.0.iter_mut().find(|(start, _)| *start == addr).map(|(_, bytes)| bytes).unwrap()
    }

    fn tables(memory: &Memory) -> Result<Tables<'_, Memory>, AcpiError> {
        let rsdp = HostPhysAddr::new(RSDP).unwrap();
        Tables::find(memory, Rsdp::read(memory, rsdp)?)
    }

    /// Reads everything there is to read.
    fn read_all(memory: &Memory) -> Result<usize, AcpiError> {
        let tables = tables(memory)?;
        let _ = (tables.hpet(), tables.dmar(), tables.mcfg().map(|mcfg| mcfg.segments().count()));
        let fadt = tables.fadt();
        let _ = fadt.map(|fadt| (tables.soft_off(&fadt), fadt.pm_timer(), fadt.reset(), fadt.acpi_enable()));
        tables.madt().map(|madt| cpu_list(&madt, ApicId::new(0), ApicId::new(u32::MAX), 256).ids.len())
    }

    #[test]
    fn every_table_is_found_from_the_root() {
        let memory = machine();
        let tables = tables(&memory).unwrap();
        assert_eq!(read_all(&memory), Ok(2));
        assert_eq!(tables.fadt().unwrap().sci_int(), 9);
        assert_eq!(tables.soft_off(&tables.fadt().unwrap()), Some(SleepTypes { a: 5, b: 5 }));
        assert_eq!(tables.hpet().unwrap_err(), AcpiError::NotFound(Signature::HPET));
        assert_eq!(tables.mcfg().unwrap_err(), AcpiError::NotFound(Signature::MCFG));
        assert_eq!(tables.dmar().unwrap_err(), AcpiError::NotFound(Signature::DMAR));
    }

    #[test]
    fn the_dsdt_is_asked_for_soft_off_before_an_ssdt() {
        let mut memory = machine();
        *table_mut(&mut memory, DSDT) = sdt(Signature::DSDT, 1, b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00");
        let tables = tables(&memory).unwrap();
        assert_eq!(tables.soft_off(&tables.fadt().unwrap()), Some(SleepTypes { a: 0, b: 0 }));
    }

    #[test]
    fn the_rsdt_stands_in_for_a_broken_xsdt() {
        let mut memory = machine();
        table_mut(&mut memory, XSDT)[20] ^= 1;
        assert_eq!(read_all(&memory), Ok(2));
        table_mut(&mut memory, RSDT)[0] = b'X';
        assert_eq!(read_all(&memory), Err(AcpiError::BadChecksum(Signature::XSDT)));
    }

    #[test]
    fn a_machine_of_acpi_1_has_an_rsdt_only() {
        let mut memory = machine();
        *table_mut(&mut memory, RSDP) = rsdp(u32::try_from(RSDT).unwrap(), None);
        assert_eq!(read_all(&memory), Ok(2));
    }

    #[test]
    fn the_second_of_two_tables_stands_in_for_a_broken_first() {
        let mut memory = machine();
        let second = table_mut(&mut memory, MADT).clone();
        table_mut(&mut memory, MADT)[40] ^= 1;
        assert_eq!(read_all(&memory), Err(AcpiError::BadChecksum(Signature::MADT)));
        *table_mut(&mut memory, SSDT) = second;
        assert_eq!(read_all(&memory), Ok(2));
    }

    #[test]
    fn lengths_are_bounded() {
        for len in [0, 35, (1 << 20) + 1, u32::MAX] {
            let mut memory = machine();
            put_u32(table_mut(&mut memory, MADT), 4, len);
            let bad = AcpiError::BadLength { table: Signature::MADT, len: usize::try_from(len).unwrap() };
            assert_eq!(read_all(&memory), Err(bad));
        }
        let mut memory = machine();
        put_u32(table_mut(&mut memory, MADT), 4, 1 << 20);
        assert_eq!(read_all(&memory), Err(AcpiError::Unreachable(MADT)));
    }

    #[test]
    fn a_root_at_no_address_is_unreachable() {
        for rsdt in [0, 0x7fff_0000] {
            let mut memory = machine();
            *table_mut(&mut memory, RSDP) = rsdp(rsdt, None);
            assert_eq!(read_all(&memory), Err(AcpiError::Unreachable(rsdt.into())));
        }
    }

    #[test]
    fn errors_are_one_clear_line() {
        let show = |error: AcpiError| std::format!("{error}");
        assert_eq!(show(AcpiError::NotFound(Signature::MADT)), "no APIC table");
        assert_eq!(show(AcpiError::BadChecksum(Signature::FADT)), "FACP has a wrong checksum");
        assert_eq!(show(AcpiError::Unreachable(16)), "table address 0x10 cannot be reached");
        let mut memory = machine();
        table_mut(&mut memory, RSDT)[0] = 0x1b;
        *table_mut(&mut memory, RSDP) = rsdp(u32::try_from(RSDT).unwrap(), None);
        assert_eq!(show(read_all(&memory).unwrap_err()), "\\x1bSDT where RSDT should be");
    }

    #[test]
    fn each_corrupt_byte_is_noticed_or_harmless() {
        let good = machine();
        for piece in 0..good.0.len() {
            // miri is slow: some bytes must do there.
            for at in (0..good.0[piece].1.len()).step_by(if cfg!(miri) { 29 } else { 1 }) {
                let mut memory = good.clone();
                memory.0[piece].1[at] ^= 0xff;
                // Any outcome but a wrong number of CPUs.
                assert_eq!(read_all(&memory).unwrap_or(2), 2, "piece {piece}, byte {at}");
            }
        }
    }

    proptest! {
        #![proptest_config(config())]

        /// Checksums are mended, so that the damage gets past them.
        #[test]
        fn any_damage_is_survived(
            damage in prop::collection::vec((0_usize..7, 0_usize..200, any::<u8>()), 1..20),
        ) {
            let mut memory = machine();
            for (piece, at, byte) in damage {
                let bytes = &mut memory.0[piece].1;
                let at = at % bytes.len();
                bytes[at] = byte;
                if piece > 0 {
                    testing::seal(bytes, 9);
                } else {
                    testing::seal(&mut bytes[..20], 8);
                    testing::seal(bytes, 32);
                }
            }
            let _ = read_all(&memory);
        }
    }
}
