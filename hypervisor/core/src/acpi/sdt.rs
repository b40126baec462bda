//! System description tables: the common header, and a table that passed its checks.

use core::fmt;

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{AcpiError, PhysMemory, checksum_holds};
use crate::addr::HostPhysAddr;

/// Longest table that is believed; the longest DSDTs in the field are a few hundred KiB.
const MAX_TABLE_LEN: usize = 1 << 20;

/// The four letters that name a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 4]);

impl Signature {
    pub(super) const DMAR: Self = Self(*b"DMAR");
    pub(super) const DSDT: Self = Self(*b"DSDT");
    pub(super) const FADT: Self = Self(*b"FACP");
    pub(super) const HPET: Self = Self(*b"HPET");
    pub(super) const MADT: Self = Self(*b"APIC");
    pub(super) const MCFG: Self = Self(*b"MCFG");
    /// Stands for the root pointer in errors; its own signature is "RSD PTR ".
    pub(super) const RSDP: Self = Self(*b"RSDP");
    pub(super) const RSDT: Self = Self(*b"RSDT");
    pub(super) const SSDT: Self = Self(*b"SSDT");
    pub(super) const XSDT: Self = Self(*b"XSDT");

    /// The letters.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// "System Description Table Header", `DESCRIPTION_HEADER`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 4],
    length: U32,
    revision: u8,
    _checksum: u8,
    _oem_id: [u8; 6],
    _oem_table_id: [u8; 8],
    _oem_revision: U32,
    _creator_id: [u8; 4],
    _creator_revision: U32,
}

const HEADER_LEN: usize = size_of::<Header>();

/// A table whose signature, length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct Table<'m> {
    signature: Signature,
    revision: u8,
    body: &'m [u8],
}

impl<'m> Table<'m> {
    /// The table at `addr`, if it is the one called `signature`.
    pub(super) fn read<M>(memory: &'m M, addr: u64, signature: Signature) -> Result<Self, AcpiError>
    where
        M: PhysMemory + ?Sized,
    {
        let header = bytes_at(memory, addr, HEADER_LEN)?;
        let header = Header::ref_from_bytes(header).map_err(|_| AcpiError::Unreachable(addr))?;
        let found = Signature(header.signature);
        if found != signature {
            return Err(AcpiError::WrongSignature { wanted: signature, found });
        }
        let len = usize::try_from(header.length.get()).unwrap_or(usize::MAX);
        if !(HEADER_LEN..=MAX_TABLE_LEN).contains(&len) {
            return Err(AcpiError::BadLength { table: signature, len });
        }
        let bytes = bytes_at(memory, addr, len)?;
        if !checksum_holds(bytes) {
            return Err(AcpiError::BadChecksum(signature));
        }
        Ok(Self { signature, revision: header.revision, body: bytes.get(HEADER_LEN..).unwrap_or(&[]) })
    }

    /// The name of whatever is at `addr`, unchecked.
    pub(super) fn signature_at<M: PhysMemory + ?Sized>(memory: &M, addr: u64) -> Option<Signature> {
        bytes_at(memory, addr, 4).ok()?.try_into().ok().map(Signature)
    }

    /// The revision of the table's layout.
    pub(super) const fn revision(self) -> u8 {
        self.revision
    }

    /// What follows the header.
    pub(super) const fn body(self) -> &'m [u8] {
        self.body
    }

    /// The fixed part that follows the header, and what follows that.
    pub(super) fn split<T>(self) -> Result<(&'m T, &'m [u8]), AcpiError>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        T::ref_from_prefix(self.body).map_err(|_| self.too_short())
    }

    pub(super) const fn too_short(self) -> AcpiError {
        AcpiError::BadLength { table: self.signature, len: HEADER_LEN + self.body.len() }
    }
}

fn bytes_at<M: PhysMemory + ?Sized>(memory: &M, addr: u64, len: usize) -> Result<&[u8], AcpiError> {
    // Address zero is how firmware writes "none".
    let place = HostPhysAddr::new(addr).filter(|addr| addr.get() != 0);
    let bytes = place.and_then(|place| memory.read(place, len)).filter(|bytes| bytes.len() == len);
    bytes.ok_or(AcpiError::Unreachable(addr))
}
