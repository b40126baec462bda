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

use core::fmt;

use crate::addr::HostPhysAddr;

pub use address::Register;
pub use dmar::Dmar;
pub use fadt::{AcpiEnable, BootArch, Fadt, PmTimer, TimerWidth};
pub use hpet::Hpet;
pub use madt::{
    ApicId, Cpu, CpuList, Entry, InterruptOverride, IoApic, IsaRoute, LocalNmi, Madt, NmiSource, Polarity,
    Trigger, cpu_list,
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
