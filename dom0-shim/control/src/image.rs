//! PVH kernels: ELF files with a note that names their 32-bit entry point (`elfnote.h`).

use alloc::vec::Vec;
use core::fmt;

use elf::ElfBytes;
use elf::abi::{PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::note::{Note, NoteIterator};
use xen_abi::elfnote;

/// Why a file is no kernel that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// It is no ELF file, or one that contradicts itself.
    Malformed,
    /// The file ends before its contents do.
    Truncated,
    /// No `XEN_ELFNOTE_PHYS32_ENTRY`.
    NoPvhNote,
    /// No segment to load, or the entry point is in none.
    NothingToLoad,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a usable ELF file",
            Self::Truncated => "an ELF file that ends too early",
            Self::NoPvhNote => "an ELF file without a PVH entry point",
            Self::NothingToLoad => "an ELF file with nothing to load at its entry point",
        })
    }
}

/// A loadable segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Guest-physical address.
    pub address: u64,
    /// Its first bytes; the rest is zero.
    pub data: &'a [u8],
    /// Bytes in memory.
    pub size: u64,
}

/// A PVH kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// Where it starts, in 32-bit mode without paging.
    pub entry: u32,
    /// What is loaded.
    pub segments: Vec<Segment<'a>>,
}

impl<'a> Image<'a> {
    /// Reads a file, believing nothing in it.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ImageError::Malformed)?;
        let headers = || elf.segments().into_iter().flatten();
        let entry = headers()
            .filter(|header| header.p_type == PT_NOTE)
            .filter_map(|header| bytes_at(file, header.p_offset, header.p_filesz))
            .find_map(entry_in_notes)
            .ok_or(ImageError::NoPvhNote)?;
        let mut segments = Vec::new();
        for header in headers().filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0) {
            let data = bytes_at(file, header.p_offset, header.p_filesz).ok_or(ImageError::Truncated)?;
            let (address, size) = (header.p_paddr, header.p_memsz);
            if data.len() as u64 > size || address.checked_add(size).is_none() {
                return Err(ImageError::Malformed);
            }
            segments.push(Segment { address, data, size });
        }
        let at_entry = |s: &Segment<'_>| (s.address..s.address + s.size).contains(&u64::from(entry));
        if segments.iter().any(at_entry) {
            Ok(Self { entry, segments })
        } else {
            Err(ImageError::NothingToLoad)
        }
    }

    /// First address behind all segments.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.iter().map(|segment| segment.address + segment.size).max().unwrap_or(0)
    }
}

/// The entry point among notes, which are padded to 4 bytes.
fn entry_in_notes(notes: &[u8]) -> Option<u32> {
    const NOTE_ALIGN: usize = 4;
    NoteIterator::new(LittleEndian, elf::file::Class::ELF32, NOTE_ALIGN, notes).find_map(|note| match note {
        Note::Unknown(note)
            if note.n_type == elfnote::PHYS32_ENTRY && note.name_str().ok() == Some(elfnote::OWNER) =>
        {
            let mut value = [0; 8];
            value.get_mut(..note.desc.len())?.copy_from_slice(note.desc);
            u32::try_from(u64::from_le_bytes(value)).ok()
        }
        _ => None,
    })
}

fn bytes_at(file: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = usize::try_from(start.checked_add(len)?).ok()?;
    file.get(usize::try_from(start).ok()?..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kernel;

    #[test]
    fn a_kernel_is_read() {
        let file = kernel(0x20_0000, b"code", 0x3000, 0x20_0001);
        let image = Image::parse(&file).unwrap();
        assert_eq!((image.entry, image.end()), (0x20_0001, 0x20_3000));
        assert_eq!(image.segments[0], Segment { address: 0x20_0000, data: b"code", size: 0x3000 });
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Image::parse(b"no elf"), Err(ImageError::Malformed));
        let file = kernel(0x20_0000, b"code", 0x3000, 0x20_3000);
        assert_eq!(Image::parse(&file), Err(ImageError::NothingToLoad));
        let file = kernel(0x20_0000, b"code", 2, 0x20_0000);
        assert_eq!(Image::parse(&file), Err(ImageError::Malformed));
        let file = kernel(u64::MAX - 1, b"code", 0x3000, 0);
        assert_eq!(Image::parse(&file), Err(ImageError::Malformed));
    }

    #[test]
    fn any_cut_is_an_error_and_no_panic() {
        let file = kernel(0x20_0000, b"code", 0x3000, 0x20_0000);
        for length in 0..file.len() {
            assert!(Image::parse(&file[..length]).is_err(), "{length}");
        }
    }
}
