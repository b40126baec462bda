//! What an ELF file's headers say: segments, and notes with the entry point.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use elf::abi::{EM_386, EM_X86_64, ET_DYN, ET_EXEC, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::note::{Note, NoteIterator};
use elf::parse::{ParseAt, ParseError};
use elf::segment::{ProgramHeader, SegmentTable};
use xen_abi::elfnote;

use super::ImageError;

/// Bytes of the file header, of the larger class.
const FILE_HEADER: usize = 64;
/// Bytes of the file in which its headers must end. Linkers put them at its start.
const MOST_HEADERS: u64 = 64 << 10;
/// Bytes of all notes.
const MOST_NOTES: u64 = 64 << 10;

/// A segment to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Load {
    /// Bytes of the file.
    file: Range<u64>,
    /// Guest-physical addresses; those beyond the bytes of the file are zero.
    memory: Range<u64>,
}

impl Load {
    fn new(header: &ProgramHeader) -> Result<Self, ImageError> {
        if header.p_filesz > header.p_memsz {
            return Err(ImageError::Malformed);
        }
        let file = range(header.p_offset, header.p_filesz)?;
        Ok(Self { file, memory: range(header.p_paddr, header.p_memsz)? })
    }

    /// What of `bytes`, which lie at `at` of the file, belongs to this segment, and where.
    pub(super) fn part<'a>(&self, at: u64, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let (skipped, part) = common(&self.file, at, bytes)?;
        Some((self.memory.start.checked_add(skipped)?, part))
    }
}

/// Notes, as far as they were seen.
struct Notes {
    file: Range<u64>,
    bytes: Vec<u8>,
}

impl Notes {
    fn take(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        let (skipped, part) = common(&self.file, at, bytes)?;
        let start = usize::try_from(skipped).ok()?;
        self.bytes.get_mut(start..start.checked_add(part.len())?)?.copy_from_slice(part);
        Some(())
    }
}

/// What is loaded, and where it starts.
pub(super) struct Headers {
    loads: Vec<Load>,
    notes: Vec<Notes>,
}

/// Whether headers are not complete in `start`, the first bytes of a file.
pub(super) fn missing(start: &[u8]) -> Result<bool, ImageError> {
    if start.len() < FILE_HEADER {
        return Ok(true);
    }
    let table = table(&file_header(start)?)?;
    Ok(table.end > start.len() as u64)
}

impl Headers {
    /// Reads headers that are not [`missing`].
    pub(super) fn parse(start: &[u8]) -> Result<Self, ImageError> {
        let header = file_header(start)?;
        if !matches!(header.e_machine, EM_X86_64 | EM_386) {
            return Err(ImageError::WrongMachine);
        }
        if !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(ImageError::NotExecutable);
        }
        let table = table(&header)?;
        let (_, bytes) = common(&table, 0, start).ok_or(ImageError::Malformed)?;
        let segments = || SegmentTable::new(LittleEndian, header.class, bytes).iter();
        let loads = segments().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0);
        let loads = loads.map(|segment| Load::new(&segment)).collect::<Result<Vec<_>, _>>()?;
        check(&loads)?;
        Ok(Self { loads, notes: notes(segments().filter(|segment| segment.p_type == PT_NOTE))? })
    }

    pub(super) fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// First address behind all segments.
    pub(super) fn end(&self) -> u64 {
        self.loads.iter().map(|load| load.memory.end).max().unwrap_or(0)
    }

    /// First byte of the file behind all that matters.
    pub(super) fn end_in_file(&self) -> u64 {
        let loads = self.loads.iter().map(|load| load.file.end);
        loads.chain(self.notes.iter().map(|notes| notes.file.end)).max().unwrap_or(0)
    }

    /// Keeps what is notes of `bytes`, which lie at `at` of the file.
    pub(super) fn take_notes(&mut self, at: u64, bytes: &[u8]) {
        for notes in &mut self.notes {
            // Bytes that are no notes are none of our business.
            let _ = notes.take(at, bytes);
        }
    }

    /// The entry point, once all notes were taken.
    pub(super) fn entry(&self) -> Result<u32, ImageError> {
        let entry =
            self.notes.iter().find_map(|notes| entry_in(&notes.bytes)).ok_or(ImageError::NoPvhNote)?;
        if self.loads.iter().any(|load| load.memory.contains(&u64::from(entry))) {
            Ok(entry)
        } else {
            Err(ImageError::EntryOutside)
        }
    }
}

/// There is something to load, and no address twice.
fn check(loads: &[Load]) -> Result<(), ImageError> {
    if loads.is_empty() {
        return Err(ImageError::NothingToLoad);
    }
    let mut places: Vec<_> = loads.iter().map(|load| (load.memory.start, load.memory.end)).collect();
    places.sort_unstable();
    let overlap = places.iter().zip(places.iter().skip(1)).any(|(one, next)| one.1 > next.0);
    if overlap { Err(ImageError::Overlap) } else { Ok(()) }
}

fn notes(headers: impl Iterator<Item = ProgramHeader>) -> Result<Vec<Notes>, ImageError> {
    let mut room = MOST_NOTES;
    let mut notes = Vec::new();
    for header in headers {
        room = room.checked_sub(header.p_filesz).ok_or(ImageError::Malformed)?;
        let length = usize::try_from(header.p_filesz).map_err(|_| ImageError::Malformed)?;
        notes.push(Notes { file: range(header.p_offset, header.p_filesz)?, bytes: vec![0; length] });
    }
    Ok(notes)
}

fn file_header(start: &[u8]) -> Result<FileHeader<LittleEndian>, ImageError> {
    let ident = parse_ident(start).map_err(|error| match error {
        ParseError::UnsupportedElfEndianness(_) => ImageError::WrongMachine,
        _ => ImageError::Malformed,
    })?;
    let tail = start.get(elf::abi::EI_NIDENT..).unwrap_or_default();
    FileHeader::parse_tail(ident, tail).map_err(|_| ImageError::Malformed)
}

/// Where the program headers lie in the file.
fn table(header: &FileHeader<LittleEndian>) -> Result<Range<u64>, ImageError> {
    if header.e_phnum == 0 {
        return Err(ImageError::NothingToLoad);
    }
    let size = ProgramHeader::validate_entsize(header.class, header.e_phentsize.into())
        .map_err(|_| ImageError::Malformed)?;
    let table = range(header.e_phoff, u64::from(header.e_phnum) * size as u64)?;
    if table.end > MOST_HEADERS { Err(ImageError::Malformed) } else { Ok(table) }
}

/// The entry point among notes, which are padded to 4 bytes.
fn entry_in(notes: &[u8]) -> Option<u32> {
    const NOTE_ALIGN: usize = 4;
    NoteIterator::new(LittleEndian, Class::ELF32, NOTE_ALIGN, notes).find_map(|note| match note {
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

fn range(start: u64, length: u64) -> Result<Range<u64>, ImageError> {
    Ok(start..start.checked_add(length).ok_or(ImageError::Malformed)?)
}

/// What `bytes` at `at` have in common with `range`: how far into the range it begins, and the bytes.
fn common<'a>(range: &Range<u64>, at: u64, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let start = range.start.max(at);
    let end = range.end.min(at.checked_add(bytes.len() as u64)?);
    let within = |position: u64| usize::try_from(position.checked_sub(at)?).ok();
    let part = bytes.get(within(start)?..within(end)?)?;
    (!part.is_empty()).then_some((start - range.start, part))
}
