//! The root pointer: where the firmware says that its tables begin.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{AcpiError, PhysMemory, Signature, checksum_holds};
use crate::addr::HostPhysAddr;

/// "Root System Description Pointer (RSDP)", as it was in ACPI 1.0.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawV1 {
    signature: [u8; 8],
    _checksum: u8,
    _oem_id: [u8; 6],
    revision: u8,
    rsdt: U32,
}

/// The whole of it from ACPI 2.0 on.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawV2 {
    _v1: RawV1,
    length: U32,
    xsdt: U64,
    _extended_checksum: u8,
    _reserved: [u8; 3],
}

const V1_LEN: usize = size_of::<RawV1>();
const V2_LEN: usize = size_of::<RawV2>();
/// The length as the pointer states it.
const V2_LEN_WORD: u32 = 36;
const _: () = assert!(V2_LEN == V2_LEN_WORD as usize);
/// Longest pointer that is believed; the specification never made it longer than 36 bytes.
const MAX_LEN: usize = 4096;
const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// The first revision with an XSDT.
const REVISION_2: u8 = 2;

/// A root pointer whose checksums are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rsdp {
    rsdt: u32,
    xsdt: Option<u64>,
}

impl Rsdp {
    /// Reads a copy of the pointer, such as the boot loader's ACPI tags hold.
    ///
    /// # Errors
    /// Signature, length or checksum is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, AcpiError> {
        let bad_length = AcpiError::BadLength { table: Signature::RSDP, len: bytes.len() };
        let (v1, _) = RawV1::ref_from_prefix(bytes).map_err(|_| bad_length)?;
        if v1.signature != *SIGNATURE {
            return Err(AcpiError::NotFound(Signature::RSDP));
        }
        if !bytes.get(..V1_LEN).is_some_and(checksum_holds) {
            return Err(AcpiError::BadChecksum(Signature::RSDP));
        }
        let rsdt = v1.rsdt.get();
        if v1.revision < REVISION_2 {
            return Ok(Self { rsdt, xsdt: None });
        }
        let (v2, _) = RawV2::ref_from_prefix(bytes).map_err(|_| bad_length)?;
        let whole = v2.len().and_then(|len| bytes.get(..len)).ok_or(bad_length)?;
        if !checksum_holds(whole) {
            return Err(AcpiError::BadChecksum(Signature::RSDP));
        }
        Ok(Self { rsdt, xsdt: Some(v2.xsdt.get()).filter(|&xsdt| xsdt != 0) })
    }

    /// Reads the pointer at `addr`, such as the EFI system table names.
    ///
    /// # Errors
    /// It cannot be reached, or signature, length or checksum is wrong.
    pub fn read<M: PhysMemory + ?Sized>(memory: &M, addr: HostPhysAddr) -> Result<Self, AcpiError> {
        let bytes_at = |len| memory.read(addr, len).ok_or(AcpiError::Unreachable(addr.get()));
        let start = bytes_at(V1_LEN)?;
        let v1 = RawV1::ref_from_bytes(start).map_err(|_| AcpiError::Unreachable(addr.get()))?;
        if v1.signature != *SIGNATURE || v1.revision < REVISION_2 {
            return Self::parse(start);
        }
        let v2 = RawV2::ref_from_bytes(bytes_at(V2_LEN)?).map_err(|_| AcpiError::Unreachable(addr.get()))?;
        let bad_length = AcpiError::BadLength { table: Signature::RSDP, len: V2_LEN };
        Self::parse(bytes_at(v2.len().ok_or(bad_length)?)?)
    }

    /// A pointer of revision 2 to the same tables, for an operating system that is to
    /// find it elsewhere.
    #[must_use]
    pub fn to_bytes(self) -> [u8; V2_LEN] {
        let mut bytes = [0; V2_LEN];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[9..15].copy_from_slice(b"KIGUMI");
        bytes[15] = REVISION_2;
        bytes[16..20].copy_from_slice(&self.rsdt.to_le_bytes());
        bytes[20..24].copy_from_slice(&V2_LEN_WORD.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.xsdt.unwrap_or(0).to_le_bytes());
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
        bytes[8] = sum(&bytes[..V1_LEN]).wrapping_neg();
        bytes[32] = sum(&bytes).wrapping_neg();
        bytes
    }

    /// Looks for the pointer where a BIOS puts it: in the first KiB of the
    /// extended BIOS data area or between E0000H and FFFFFH, on a 16-byte
    /// boundary ("Finding the RSDP on IA-PC Systems").
    #[must_use]
    pub fn scan<M: PhysMemory + ?Sized>(memory: &M) -> Option<Self> {
        let ebda = ebda(memory).into_iter().flat_map(|start| (start..start + 0x400).step_by(16));
        ebda.chain((0xe_0000..0x10_0000).step_by(16))
            .filter_map(HostPhysAddr::new)
            .filter(|&addr| memory.read(addr, SIGNATURE.len()) == Some(SIGNATURE))
            .find_map(|addr| Self::read(memory, addr).ok())
    }

    pub(super) const fn rsdt(self) -> u32 {
        self.rsdt
    }

    pub(super) const fn xsdt(self) -> Option<u64> {
        self.xsdt
    }
}

impl RawV2 {
    /// The stated length, if a pointer can be that long.
    fn len(&self) -> Option<usize> {
        usize::try_from(self.length.get()).ok().filter(|len| (V2_LEN..=MAX_LEN).contains(len))
    }
}

/// Start of the extended BIOS data area: the BIOS data area holds its segment at 40:0EH.
fn ebda<M: PhysMemory + ?Sized>(memory: &M) -> Option<u64> {
    let segment = memory.read(HostPhysAddr::new(0x40e)?, 2)?;
    let start = u64::from(u16::from_le_bytes(segment.try_into().ok()?)) << 4;
    // Below the BIOS data area there is none: the word is zero on machines without.
    (start >= 0x500).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Memory, rsdp};
    use super::*;

    #[test]
    fn both_revisions_are_read() {
        assert_eq!(Rsdp::parse(&rsdp(0x1000, None)), Ok(Rsdp { rsdt: 0x1000, xsdt: None }));
        let both = rsdp(0x1000, Some(0x1_0000_2000));
        assert_eq!(Rsdp::parse(&both), Ok(Rsdp { rsdt: 0x1000, xsdt: Some(0x1_0000_2000) }));
        assert_eq!(Rsdp::parse(&rsdp(0x1000, Some(0))), Ok(Rsdp { rsdt: 0x1000, xsdt: None }));
    }

    #[test]
    fn a_copy_says_the_same() {
        for pointer in [Rsdp { rsdt: 0x1000, xsdt: None }, Rsdp { rsdt: 0, xsdt: Some(0x1_0000_2000) }] {
            assert_eq!(Rsdp::parse(&pointer.to_bytes()), Ok(pointer));
        }
    }

    #[test]
    fn each_byte_counts_in_the_checksums() {
        let good = rsdp(0x1000, Some(0x2000));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(Rsdp::parse(&bad).is_err(), "byte {at}");
            assert!(Rsdp::parse(&good[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn the_stated_length_bounds_what_is_read() {
        let mut memory = Memory::default();
        let mut bytes = rsdp(0x1000, Some(0x2000));
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        memory.put(0x1000, bytes);
        let error = Rsdp::read(&memory, HostPhysAddr::new(0x1000).unwrap()).unwrap_err();
        assert_eq!(error, AcpiError::BadLength { table: Signature::RSDP, len: 36 });
    }

    fn bios(place: u64, pointer: &[u8]) -> Memory {
        let mut memory = Memory::default();
        let mut low = std::vec![0; 0x10_0000];
        low[0x40e..0x410].copy_from_slice(&0x9fc0_u16.to_le_bytes());
        let at = usize::try_from(place).unwrap();
        low[at..at + pointer.len()].copy_from_slice(pointer);
        memory.put(0, low);
        memory
    }

    #[test]
    fn the_bios_areas_are_searched_on_paragraph_boundaries() {
        let pointer = rsdp(0x1000, None);
        let found = [0x9_fc00, 0x9_fff0, 0xe_0000, 0xf_aa00, 0xf_ffe0];
        // miri is slow: one of them must do there.
        for &place in found.iter().take(if cfg!(miri) { 1 } else { found.len() }) {
            assert!(Rsdp::scan(&bios(place, &pointer)).is_some(), "{place:#x}");
        }
        let missed = [0x9_f000, 0xa_0000, 0xe_0008];
        for &place in missed.iter().take(if cfg!(miri) { 0 } else { missed.len() }) {
            assert_eq!(Rsdp::scan(&bios(place, &pointer)), None, "{place:#x}");
        }
        assert_eq!(Rsdp::scan(&Memory::default()), None);
    }

    #[test]
    fn a_false_pointer_does_not_hide_the_true_one() {
        let mut memory = bios(0xe_0100, &rsdp(0x1000, Some(0x2000)));
        memory.0[0].1[0xe_0000..0xe_0008].copy_from_slice(SIGNATURE);
        assert_eq!(Rsdp::scan(&memory), Some(Rsdp { rsdt: 0x1000, xsdt: Some(0x2000) }));
    }
}
