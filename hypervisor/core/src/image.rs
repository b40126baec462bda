//! Is this boot module a kernel that can be Dom0?
//!
//! A PVH kernel is an x86 ELF file (32-bit or 64-bit) with a note of owner "Xen"
//! that names its 32-bit entry point: `XEN_ELFNOTE_PHYS32_ENTRY` of Xen's
//! `elfnote.h`. It is loaded at the physical addresses of its segments.
//!
//! [`KernelImage::parse`] believes nothing in the file: what it returns lies in
//! the file and in the address space, and no segment covers another. The errors
//! say to a user what to do, since "wrong file in grub.cfg" is the usual cause.

use core::fmt;

use arrayvec::ArrayVec;
use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, ET_DYN, ET_EXEC, PT_LOAD, PT_NOTE, SHT_NOTE};
use elf::endian::LittleEndian;
use elf::note::{Note, NoteIterator};
use elf::segment::ProgramHeader;
use xen_abi::elfnote;

use crate::addr::PhysRange;

/// Most segments that a kernel may have; Linux has four.
const MAX_SEGMENTS: usize = 16;

/// Width of the ELF file. Says nothing of the mode in which the kernel starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// `ELFCLASS32`.
    Elf32,
    /// `ELFCLASS64`.
    Elf64,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elf32 => "ELF32",
            Self::Elf64 => "ELF64",
        })
    }
}

/// A loadable segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    data: &'a [u8],
    range: PhysRange,
}

impl<'a> Segment<'a> {
    /// Its first bytes; the rest of the range is zero. Not longer than the range.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where it belongs in guest-physical memory; never empty.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// # Errors
    /// [`ImageError::Truncated`] or [`ImageError::BadSegment`].
    fn new(file: &'a [u8], header: &ProgramHeader) -> Result<Self, ImageError> {
        let range = PhysRange::from_len(header.p_paddr, header.p_memsz).ok_or(ImageError::BadSegment)?;
        if header.p_filesz > header.p_memsz {
            return Err(ImageError::BadSegment);
        }
        let data = bytes_at(file, header.p_offset, header.p_filesz).ok_or(ImageError::Truncated)?;
        Ok(Self { data, range })
    }
}

/// A PVH kernel, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelImage<'a> {
    class: Class,
    entry: u32,
    segments: ArrayVec<Segment<'a>, MAX_SEGMENTS>,
}

impl<'a> KernelImage<'a> {
    /// Checks a module.
    ///
    /// # Errors
    /// [`ImageError`], which displays as one line that says what to do.
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        check_magic(file)?;
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|error| from_parse_error(&error))?;
        check_kind(&elf)?;
        let entry = find_entry(&elf, file).ok_or(ImageError::NoPvhNote)?;
        let segments = load_segments(&elf, file)?;
        let entry = u32::try_from(entry).map_err(|_| ImageError::EntryOutside)?;
        let entered = |segment: &Segment<'_>| {
            segment.range.start() <= u64::from(entry) && u64::from(entry) < segment.range.end()
        };
        if !segments.iter().any(entered) {
            return Err(ImageError::EntryOutside);
        }
        let class = match elf.ehdr.class {
            elf::file::Class::ELF32 => Class::Elf32,
            elf::file::Class::ELF64 => Class::Elf64,
        };
        Ok(Self { class, entry, segments })
    }

    /// Width of the ELF file.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Guest-physical address at which the kernel starts, in 32-bit mode without
    /// paging. It lies in a segment.
    #[must_use]
    pub const fn entry(&self) -> u32 {
        self.entry
    }

    /// The segments, of which there is at least one and none overlaps another.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The range from the first to the last byte of all segments.
    #[must_use]
    pub fn load(&self) -> PhysRange {
        let starts = self.segments.iter().map(|segment| segment.range.start());
        let ends = self.segments.iter().map(|segment| segment.range.end());
        PhysRange::new(starts.min().unwrap_or(0), ends.max().unwrap_or(0)).unwrap_or_default()
    }
}

/// Why a module is no Dom0 kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Nothing in it.
    Empty,
    /// Compressed by the named program.
    Compressed(&'static str),
    /// A Linux kernel in the form that boot loaders start.
    BzImage,
    /// Something else, that starts with these bytes.
    NotElf([u8; 4]),
    /// ELF for another CPU.
    WrongMachine,
    /// ELF that is neither an executable nor position-independent.
    NotExecutable,
    /// ELF headers that contradict themselves.
    Malformed,
    /// The file ends before its contents do.
    Truncated,
    /// No `XEN_ELFNOTE_PHYS32_ENTRY`.
    NoPvhNote,
    /// No segment to load.
    NothingToLoad,
    /// More segments than sixteen.
    TooManySegments,
    /// A segment with more bytes than room, or outside physical memory.
    BadSegment,
    /// Two segments want the same memory.
    Overlap,
    /// The entry point is in no segment.
    EntryOutside,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::Compressed(by) => write!(f, "not an ELF file but one packed by {by}: unpack it"),
            Self::BzImage => f.write_str(
                "a Linux bzImage, not an ELF file: take the vmlinux (scripts/extract-vmlinux in Linux's source)",
            ),
            Self::NotElf([a, b, c, d]) => {
                write!(f, "not an ELF file (first bytes {a:02x} {b:02x} {c:02x} {d:02x}): is it the kernel?")
            }
            Self::WrongMachine => f.write_str("an ELF file, but not for little-endian x86"),
            Self::NotExecutable => f.write_str("an ELF file, but not an executable: take the linked kernel"),
            Self::Malformed => f.write_str("a damaged ELF file: copy it again"),
            Self::Truncated => f.write_str("an ELF file that ends too early: copy it again"),
            Self::NoPvhNote => {
                f.write_str("an ELF file without the note XEN_ELFNOTE_PHYS32_ENTRY: take a kernel with PVH support")
            }
            Self::NothingToLoad => f.write_str("an ELF file without a loadable segment"),
            Self::TooManySegments => write!(f, "an ELF file with more than {MAX_SEGMENTS} loadable segments"),
            Self::BadSegment => f.write_str("an ELF file with a segment outside physical memory"),
            Self::Overlap => f.write_str("an ELF file with segments that overlap in physical memory"),
            Self::EntryOutside => f.write_str("an ELF file whose PVH entry point is in none of its segments"),
        }
    }
}

/// First bytes of compressed files, by the program that makes them.
const PACKERS: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
];

fn check_magic(file: &[u8]) -> Result<(), ImageError> {
    if file.is_empty() {
        return Err(ImageError::Empty);
    }
    if file.starts_with(b"\x7fELF") {
        return Ok(());
    }
    if let Some((_, by)) = PACKERS.iter().find(|(magic, _)| file.starts_with(magic)) {
        return Err(ImageError::Compressed(by));
    }
    // Linux boot protocol, "The Real-Mode Kernel Header".
    if bytes_at(file, 0x202, 4) == Some(b"HdrS") {
        return Err(ImageError::BzImage);
    }
    let mut first = [0; 4];
    first.iter_mut().zip(file).for_each(|(to, from)| *to = *from);
    Err(ImageError::NotElf(first))
}

fn check_kind(elf: &ElfBytes<'_, LittleEndian>) -> Result<(), ImageError> {
    if !matches!(elf.ehdr.e_machine, EM_X86_64 | EM_386) {
        return Err(ImageError::WrongMachine);
    }
    if !matches!(elf.ehdr.e_type, ET_EXEC | ET_DYN) {
        return Err(ImageError::NotExecutable);
    }
    Ok(())
}

fn from_parse_error(error: &elf::ParseError) -> ImageError {
    match error {
        elf::ParseError::UnsupportedElfEndianness(_) => ImageError::WrongMachine,
        elf::ParseError::SliceReadError(_) => ImageError::Truncated,
        _ => ImageError::Malformed,
    }
}

/// The entry point from the first PVH note, in segments or else in sections.
fn find_entry(elf: &ElfBytes<'_, LittleEndian>, file: &[u8]) -> Option<u64> {
    let segments = elf.segments().into_iter().flatten();
    let in_segments = segments.filter(|s| s.p_type == PT_NOTE).map(|s| (s.p_offset, s.p_filesz));
    let sections = elf.section_headers().into_iter().flatten();
    let in_sections = sections.filter(|s| s.sh_type == SHT_NOTE).map(|s| (s.sh_offset, s.sh_size));
    in_segments
        .chain(in_sections)
        .filter_map(|(start, len)| bytes_at(file, start, len))
        .find_map(entry_in_notes)
}

/// Notes are padded to 4 bytes whatever the alignment says, as Xen reads them;
/// so the headers look the same in both classes.
fn entry_in_notes(notes: &[u8]) -> Option<u64> {
    const NOTE_ALIGN: usize = 4;
    NoteIterator::new(LittleEndian, elf::file::Class::ELF32, NOTE_ALIGN, notes).find_map(|note| match note {
        Note::Unknown(note)
            if note.n_type == elfnote::PHYS32_ENTRY && note.name_str().ok() == Some(elfnote::OWNER) =>
        {
            integer(note.desc)
        }
        _ => None,
    })
}

/// A descriptor of 4 or 8 bytes.
fn integer(desc: &[u8]) -> Option<u64> {
    if let Ok(bytes) = <[u8; 4]>::try_from(desc) {
        return Some(u32::from_le_bytes(bytes).into());
    }
    Some(u64::from_le_bytes(desc.try_into().ok()?))
}

fn load_segments<'a>(
    elf: &ElfBytes<'a, LittleEndian>,
    file: &'a [u8],
) -> Result<ArrayVec<Segment<'a>, MAX_SEGMENTS>, ImageError> {
    let mut segments = ArrayVec::<Segment<'a>, MAX_SEGMENTS>::new();
    let headers = elf.segments().into_iter().flatten();
    for header in headers.filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0) {
        let segment = Segment::new(file, &header)?;
        if segments.iter().any(|other| other.range.overlaps(segment.range)) {
            return Err(ImageError::Overlap);
        }
        segments.try_push(segment).map_err(|_| ImageError::TooManySegments)?;
    }
    if segments.is_empty() { Err(ImageError::NothingToLoad) } else { Ok(segments) }
}

fn bytes_at(file: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = usize::try_from(start.checked_add(len)?).ok()?;
    file.get(usize::try_from(start).ok()?..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    /// A program header to be: (type, file offset, physical address, bytes in
    /// the file, bytes in memory).
    type Header = (u32, u64, u64, u64, u64);

    /// Appends the low bytes of `value`.
    fn put(file: &mut Vec<u8>, value: u64, bytes: usize) {
        file.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }

    /// ELF header, program headers from there, then `rest` from 0x200 on.
    fn elf(class: Class, headers: &[Header], rest: &[u8]) -> Vec<u8> {
        let wide = class == Class::Elf64;
        let (word, header_size, entry_size) = if wide { (8, 64, 56) } else { (4, 52, 32) };
        let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
        file.resize(16, 0);
        put(&mut file, u64::from(ET_EXEC), 2);
        put(&mut file, u64::from(if wide { EM_X86_64 } else { EM_386 }), 2);
        put(&mut file, 1, 4);
        put(&mut file, 0xdead_beef, word); // e_entry, which PVH ignores
        put(&mut file, header_size, word); // e_phoff
        put(&mut file, 0, word); // e_shoff
        put(&mut file, 0, 4);
        for value in [header_size, entry_size, headers.len() as u64, 0, 0, 0] {
            put(&mut file, value, 2);
        }
        for &(kind, offset, paddr, file_size, memory_size) in headers {
            put(&mut file, u64::from(kind), 4);
            if wide {
                put(&mut file, 5, 4);
            }
            for value in [offset, paddr, paddr, file_size, memory_size] {
                put(&mut file, value, word);
            }
            if !wide {
                put(&mut file, 5, 4);
            }
            put(&mut file, 4, word);
        }
        assert!(file.len() <= 0x200);
        file.resize(0x200, 0);
        file.extend_from_slice(rest);
        file
    }

    fn note(owner: &[u8], kind: u64, desc: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, owner.len() as u64, 4);
        put(&mut bytes, desc.len() as u64, 4);
        put(&mut bytes, kind, 4);
        for part in [owner, desc] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn pvh_note(entry: u64, bytes: usize) -> Vec<u8> {
        let desc = &entry.to_le_bytes()[..bytes];
        [note(b"GNU\0", 3, b"123"), note(b"Xen\0", 5, b"loader"), note(b"Xen\0", 18, desc)].concat()
    }

    /// Code of 16 bytes at 1 MiB, data of 4 bytes and a page of zeros behind it.
    const HEADERS: [Header; 3] = [
        (PT_LOAD, 0x200, 0x10_0000, 16, 16),
        (PT_LOAD, 0x210, 0x10_1000, 4, 0x1004),
        (PT_NOTE, 0x220, 0, 0x100, 0x100),
    ];

    fn kernel(class: Class, headers: &[Header], notes: &[u8]) -> Vec<u8> {
        let mut rest = vec![0xcc; 0x20];
        rest.extend_from_slice(notes);
        rest.resize(0x120, 0);
        elf(class, headers, &rest)
    }

    fn error(file: &[u8]) -> ImageError {
        KernelImage::parse(file).unwrap_err()
    }

    fn first_of(headers: &[Header; 3], change: impl FnOnce(&mut Header)) -> ImageError {
        let mut headers = *headers;
        change(&mut headers[0]);
        error(&kernel(Class::Elf64, &headers, &pvh_note(0x10_0000, 8)))
    }

    #[test]
    fn kernels_of_both_classes_are_accepted() {
        for (class, bytes) in [(Class::Elf32, 4), (Class::Elf64, 8), (Class::Elf64, 4)] {
            let file = kernel(class, &HEADERS, &pvh_note(0x10_0004, bytes));
            let image = KernelImage::parse(&file).unwrap();
            assert_eq!((image.class(), image.entry()), (class, 0x10_0004));
            assert_eq!(image.load(), PhysRange::new(0x10_0000, 0x10_2004).unwrap());
            let [code, data] = image.segments() else { panic!("two segments") };
            assert_eq!((code.data().len(), code.range().len()), (16, 16));
            assert_eq!((data.data(), data.range().len()), (&[0xcc; 4][..], 0x1004));
        }
    }

    #[test]
    fn the_note_may_be_in_a_section_only() {
        let mut headers = HEADERS;
        headers[2].0 = 0;
        let mut file = kernel(Class::Elf64, &headers, &pvh_note(0x10_0000, 8));
        assert_eq!(error(&file), ImageError::NoPvhNote);
        let table = file.len() as u64;
        file[40..48].copy_from_slice(&table.to_le_bytes()); // e_shoff
        file[58] = 64; // e_shentsize
        file[60] = 2; // e_shnum
        file.resize(file.len() + 64, 0); // section 0: none
        put(&mut file, 0, 4);
        put(&mut file, u64::from(SHT_NOTE), 4);
        for value in [0, 0, 0x220, 0x100, 0, 4, 0] {
            put(&mut file, value, 8);
        }
        assert_eq!(KernelImage::parse(&file).map(|image| image.entry()), Ok(0x10_0000));
    }

    #[test]
    fn files_of_other_kinds_are_named() {
        assert_eq!(error(b"").to_string(), "the file is empty");
        assert_eq!(error(b"\x1f\x8b\x08\0").to_string(), "not an ELF file but one packed by gzip: unpack it");
        assert_eq!(error(b"\xfd7zXZ\0\0"), ImageError::Compressed("xz"));
        assert_eq!(error(b"\x28\xb5\x2f\xfd"), ImageError::Compressed("zstd"));
        assert_eq!(error(b"PK").to_string(), "not an ELF file (first bytes 50 4b 00 00): is it the kernel?");
        let mut bz_image = vec![0_u8; 0x400];
        bz_image[..2].copy_from_slice(b"MZ");
        bz_image[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(error(&bz_image), ImageError::BzImage);
    }

    #[test]
    fn foreign_elf_files_are_refused() {
        let good = kernel(Class::Elf64, &HEADERS, &pvh_note(0x10_0000, 8));
        let with = |at: usize, byte: u8| {
            let mut file = good.clone();
            file[at] = byte;
            error(&file)
        };
        assert_eq!(with(5, 2), ImageError::WrongMachine); // big endian
        assert_eq!(with(18, 183), ImageError::WrongMachine); // AArch64
        assert_eq!(with(16, 1), ImageError::NotExecutable); // relocatable
        assert_eq!(with(4, 9), ImageError::Malformed);
        assert_eq!(with(54, 1), ImageError::Malformed); // e_phentsize
    }

    #[test]
    fn a_kernel_without_pvh_is_refused() {
        let file = |notes: &[u8]| error(&kernel(Class::Elf64, &HEADERS, notes));
        assert_eq!(file(&[]), ImageError::NoPvhNote);
        assert_eq!(file(&note(b"Xem\0", 18, &[0; 8])), ImageError::NoPvhNote);
        assert_eq!(file(&note(b"Xen\0", 18, &[0; 5])), ImageError::NoPvhNote);
        assert_eq!(file(&[0xff; 64]), ImageError::NoPvhNote);
    }

    #[test]
    fn bad_segments_are_refused() {
        assert_eq!(first_of(&HEADERS, |h| h.1 = 0x1000), ImageError::Truncated);
        assert_eq!(first_of(&HEADERS, |h| h.1 = u64::MAX), ImageError::Truncated);
        assert_eq!(first_of(&HEADERS, |h| h.3 = 17), ImageError::BadSegment);
        assert_eq!(first_of(&HEADERS, |h| h.2 = u64::MAX), ImageError::BadSegment);
        assert_eq!(first_of(&HEADERS, |h| h.2 = 1 << 52), ImageError::BadSegment);
        assert_eq!(first_of(&HEADERS, |h| h.4 = 0x1001), ImageError::Overlap);
        assert_eq!(first_of(&HEADERS, |h| h.2 = 0x20_0000), ImageError::EntryOutside);
        let notes_only = kernel(Class::Elf64, &HEADERS[2..], &pvh_note(0x10_0000, 8));
        assert_eq!(error(&notes_only), ImageError::NothingToLoad);
        let high = kernel(Class::Elf64, &HEADERS, &pvh_note(1 << 32, 8));
        assert_eq!(error(&high), ImageError::EntryOutside);
    }

    #[test]
    fn the_number_of_segments_is_bounded() {
        // ELF32 headers are small enough for the builder.
        let headers = |n: u64| -> Vec<Header> {
            let loads = (0..n).map(|i| (PT_LOAD, 0x200, 0x1000 * (i + 1), 1, 1));
            loads.take(13).collect()
        };
        let mut few = headers(12);
        few.push(HEADERS[2]);
        assert!(KernelImage::parse(&kernel(Class::Elf32, &few, &pvh_note(0x1000, 4))).is_ok());
        // One table of 17 headers, placed at the end of the file.
        let mut file = kernel(Class::Elf32, &[HEADERS[2]], &pvh_note(0x1000, 4));
        let table = file.len() as u64;
        file.extend_from_within(52..84);
        for i in 0..17 {
            for value in [u64::from(PT_LOAD), 0x200, 0, 0x1000 * (i + 1), 1, 1, 5, 4] {
                put(&mut file, value, 4);
            }
        }
        file[28..32].copy_from_slice(&table.to_le_bytes()[..4]);
        file[44] = 18;
        assert_eq!(error(&file), ImageError::TooManySegments);
    }

    #[test]
    fn every_error_is_one_line() {
        use ImageError as E;
        let all = [
            E::Empty,
            E::Compressed("xz"),
            E::BzImage,
            E::NotElf([0; 4]),
            E::WrongMachine,
            E::NotExecutable,
            E::Malformed,
            E::Truncated,
            E::NoPvhNote,
            E::NothingToLoad,
            E::TooManySegments,
            E::BadSegment,
            E::Overlap,
            E::EntryOutside,
        ];
        assert!(all.iter().all(|error| error.to_string().lines().count() == 1));
    }

    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 8 } else { 2048 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    /// What a caller relies on.
    fn holds_what_it_promises(file: &[u8]) {
        let Ok(image) = KernelImage::parse(file) else { return };
        assert!(!image.segments().is_empty());
        for (index, segment) in image.segments().iter().enumerate() {
            assert!(segment.data().len() as u64 <= segment.range().len());
            assert!(!segment.range().is_empty() && image.load().contains(segment.range()));
            assert!(image.segments()[..index].iter().all(|other| !other.range().overlaps(segment.range())));
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn corrupted_kernels_are_refused_or_sound(
            wide in any::<bool>(), cut in 0..0x321_usize,
            changes in prop::collection::vec((0..0x320_usize, any::<u8>()), 0..6),
        ) {
            let class = if wide { Class::Elf64 } else { Class::Elf32 };
            let mut file = kernel(class, &HEADERS, &pvh_note(0x10_0000, 4));
            changes.iter().for_each(|&(at, byte)| file[at] = byte);
            holds_what_it_promises(&file);
            file.truncate(cut);
            holds_what_it_promises(&file);
        }

        #[test]
        fn random_bytes_are_refused_or_sound(
            mut file in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()
        ) {
            if magic && file.len() >= 7 {
                file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            }
            holds_what_it_promises(&file);
        }

        #[test]
        fn random_notes_are_read_or_not(notes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = entry_in_notes(&notes);
        }
    }
}
