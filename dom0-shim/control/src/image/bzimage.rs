//! Linux's bzImage: a loader of its own around the compressed kernel, by the fields of the boot protocol
//! (Documentation/arch/x86/boot.rst in Linux's source, "Details of Header Fields").

use super::ImageError;

const SETUP_SECTS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// The first version that names the payload.
const FIRST_VERSION: u16 = 0x208;
/// What `setup_sects` means when it is zero.
const DEFAULT_SECTS: u8 = 4;
const SECTOR: u64 = 512;

/// Whether it is one.
pub(super) fn is(file: &[u8]) -> bool {
    at(file, MAGIC) == Some(*b"HdrS")
}

/// The kernel in a bzImage, as its build compressed it.
pub(super) fn payload(file: &[u8]) -> Result<&[u8], ImageError> {
    let version = u16::from_le_bytes(at(file, VERSION).ok_or(ImageError::Truncated)?);
    if version < FIRST_VERSION {
        return Err(ImageError::OldBzImage(version));
    }
    let [sectors] = at(file, SETUP_SECTS).ok_or(ImageError::Truncated)?;
    let sectors = if sectors == 0 { DEFAULT_SECTS } else { sectors };
    let word = |offset| at(file, offset).map(u32::from_le_bytes).ok_or(ImageError::Truncated);
    let start = (u64::from(sectors) + 1) * SECTOR + u64::from(word(PAYLOAD_OFFSET)?);
    let end = start + u64::from(word(PAYLOAD_LENGTH)?);
    let index = |position| usize::try_from(position).map_err(|_| ImageError::Truncated);
    file.get(index(start)?..index(end)?).ok_or(ImageError::Truncated)
}

/// The bytes at `offset`.
fn at<const N: usize>(file: &[u8], offset: usize) -> Option<[u8; N]> {
    file.get(offset..)?.first_chunk().copied()
}
