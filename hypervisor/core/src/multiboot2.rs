//! What the tags of the Multiboot2 boot information say, for [`BootInfo`].
//!
//! Layouts: Multiboot2 Specification, "Boot information format"; the numbers of
//! the ELF-sections tag have 32 bits, as in the specification's `multiboot2.h`
//! and in GRUB. A tag that is too short for what it must hold is left out.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::addr::PhysRange;
use crate::boot_info::{BootInfo, BootString, Framebuffer, Module, PixelFormat, SymbolTable};
use crate::memmap::{Entry, RegionKind};

/// Loaders have 32-bit addresses: nothing that they load lies above.
const LOADER_LIMIT: u64 = 1 << 32;

/// Notes in `info` what the tag numbered `kind` says; `payload` is what follows
/// its type and size. Of tags that should be there once, the first counts.
pub fn read_tag(info: &mut BootInfo, kind: u32, payload: &[u8]) {
    match kind {
        1 if info.command_line.is_empty() => copy_text(&mut info.command_line, payload),
        2 if info.loader.is_empty() => copy_text(&mut info.loader, payload),
        3 => read_module(info, payload),
        6 => read_memory(info, payload),
        8 => info.framebuffer = info.framebuffer.or_else(|| framebuffer(payload)),
        9 => info.symbols = info.symbols.or_else(|| symbols(payload)),
        // The EFI system table, 32 or 64 bits wide.
        11 | 12 => info.efi = true,
        // The RSDP of ACPI 1.0, and the one of 2.0, which says more.
        14 if info.rsdp.is_none() => info.rsdp = Some(payload.iter().copied().take(20).collect()),
        15 => info.rsdp = Some(payload.iter().copied().take(36).collect()),
        _ => {}
    }
}

/// Copies a NUL-terminated text; bytes that are not UTF-8 become U+FFFD, what
/// does not fit is cut.
fn copy_text(to: &mut BootString, bytes: &[u8]) {
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    for chunk in text.utf8_chunks() {
        let replacement = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
        for c in chunk.valid().chars().chain(replacement.chars()) {
            if to.try_push(c).is_err() {
                return;
            }
        }
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawModule {
    start: U32,
    end: U32,
}

/// A module that ends before it starts counts as empty: the order of the others
/// has a meaning.
fn read_module(info: &mut BootInfo, payload: &[u8]) {
    let Some((raw, text)) = head::<RawModule>(payload) else { return };
    let range = PhysRange::new(raw.start.get().into(), raw.end.get().into()).unwrap_or_default();
    let mut command_line = BootString::new_const();
    copy_text(&mut command_line, text);
    if info.modules.try_push(Module { range, command_line }).is_err() {
        info.modules_dropped = info.modules_dropped.saturating_add(1);
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawMemoryMap {
    entry_size: U32,
    _version: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawArea {
    base: U64,
    len: U64,
    kind: U32,
}

/// Entries may be longer than we know them: the tag says how long.
fn read_memory(info: &mut BootInfo, payload: &[u8]) {
    let Some((raw, areas)) = head::<RawMemoryMap>(payload) else { return };
    let Ok(entry_size @ 1..) = usize::try_from(raw.entry_size.get()) else { return };
    for (area, _) in areas.chunks(entry_size).filter_map(head::<RawArea>) {
        let kind = RegionKind::from_type(area.kind.get());
        let entry = Entry { base: area.base.get(), len: area.len.get(), kind };
        if info.memory.try_push(entry).is_err() {
            info.memory_dropped = info.memory_dropped.saturating_add(1);
        }
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFramebuffer {
    address: U64,
    pitch: U32,
    width: U32,
    height: U32,
    bits_per_pixel: u8,
    kind: u8,
    _reserved: U16,
}

fn framebuffer(payload: &[u8]) -> Option<Framebuffer> {
    let (raw, _) = head::<RawFramebuffer>(payload)?;
    let format = match (raw.kind, raw.bits_per_pixel) {
        (1, 15 | 16) => PixelFormat::Rgb { bytes: 2 },
        (1, 24) => PixelFormat::Rgb { bytes: 3 },
        (1, 32) => PixelFormat::Rgb { bytes: 4 },
        (2, _) => PixelFormat::Text,
        // Palettes (kind 0) are a thing of the modes that nobody sets any more.
        _ => return None,
    };
    Some(Framebuffer {
        address: raw.address.get(),
        pitch: raw.pitch.get(),
        width: raw.width.get(),
        height: raw.height.get(),
        format,
    })
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSections {
    count: U32,
    entry_size: U32,
    _names: U32,
}

/// `Elf64_Shdr` of the ELF specification.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSection {
    _name: U32,
    kind: U32,
    _flags: U64,
    address: U64,
    _offset: U64,
    size: U64,
    link: U32,
    _info: U32,
    _alignment: U64,
    _entry_size: U64,
}

/// `SHT_SYMTAB` of the ELF specification.
const SYMBOL_TABLE: u32 = 2;

impl RawSection {
    /// Where the loader put the section, if it did.
    fn range(&self) -> Option<PhysRange> {
        let range = PhysRange::from_len(self.address.get(), self.size.get())?;
        (!range.is_empty() && range.start() != 0 && range.end() <= LOADER_LIMIT).then_some(range)
    }
}

fn symbols(payload: &[u8]) -> Option<SymbolTable> {
    let (raw, sections) = head::<RawSections>(payload)?;
    let count = usize::try_from(raw.count.get()).ok()?;
    let entry_size = usize::try_from(raw.entry_size.get()).ok()?;
    if entry_size != size_of::<RawSection>() {
        return None;
    }
    let mut sections =
        sections.chunks_exact(entry_size).take(count).filter_map(head::<RawSection>).map(|(raw, _)| raw);
    let table = sections.clone().find(|section| section.kind.get() == SYMBOL_TABLE)?;
    let names = sections.nth(usize::try_from(table.link.get()).ok()?)?;
    Some(SymbolTable { symbols: table.range()?, strings: names.range()? })
}

fn head<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Option<(&T, &[u8])> {
    T::ref_from_prefix(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn read(tags: &[(u32, &[u8])]) -> Box<BootInfo> {
        let mut info = Box::new(BootInfo::empty());
        tags.iter().for_each(|(kind, payload)| read_tag(&mut info, *kind, payload));
        info
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn module(start: u32, end: u32, text: &[u8]) -> Vec<u8> {
        [&words(&[start, end]), text].concat()
    }

    #[test]
    fn texts_end_at_their_nul_and_at_their_room() {
        let info = read(&[(1, b"a=1 \xff b\0rest"), (2, b"GRUB"), (1, b"second\0")]);
        assert_eq!((&*info.command_line, &*info.loader), ("a=1 \u{fffd} b", "GRUB"));
        let long = std::vec![b'x'; 5000];
        assert_eq!(read(&[(1, &long)]).command_line.len(), crate::boot_info::MAX_CMDLINE);
        assert!(read(&[(1, b"")]).command_line.is_empty());
    }

    #[test]
    fn modules_keep_their_order_even_if_one_is_nonsense() {
        let info = read(&[
            (3, &module(0x5000, 0x4000, b"backwards\0")),
            (3, &module(0x6000, 0x6000, b"empty\0")),
            (3, &module(0x10_0000, 0x20_0000, b"kernel root=x\0")),
            (3, &[0; 7]),
        ]);
        let ranges: Vec<_> = info.modules.iter().map(|m| (m.range.len(), &*m.command_line)).collect();
        assert_eq!(ranges, [(0, "backwards"), (0, "empty"), (0x10_0000, "kernel root=x")]);
        let many = module(0, 1, b"");
        let info = read(&[(3, many.as_slice()); 11]);
        assert_eq!((info.modules.len(), info.modules_dropped), (8, 3));
    }

    #[test]
    fn memory_map_entries_may_be_longer_than_known() {
        for extra in [0, 8, 16] {
            let mut tag = words(&[24 + extra, 0]);
            for base in [0, 0x10_0000] {
                tag.extend(words(&[base, 0, 0x9000, 0, 1, 0]));
                tag.extend(std::vec![0xee; extra as usize]);
            }
            let memory: Vec<_> = read(&[(6, &tag)]).memory.iter().map(|e| (e.base, e.len)).collect();
            assert_eq!(memory, [(0, 0x9000), (0x10_0000, 0x9000)]);
        }
    }

    #[test]
    fn memory_maps_that_cannot_be_are_empty() {
        for tag in [words(&[0, 0, 1, 2, 3]), words(&[4, 0, 1, 2, 3]), words(&[24])] {
            assert!(read(&[(6, &tag)]).memory.is_empty());
        }
    }

    #[test]
    fn the_newer_rsdp_counts_in_any_order() {
        for order in [[0, 1], [1, 0]] {
            let tags: [(u32, &[u8]); 2] = [(14, &[1; 20]), (15, &[2; 40])];
            let rsdp = read(&order.map(|at| tags[at])).rsdp.unwrap();
            assert_eq!(rsdp.as_slice(), [2; 36]);
        }
    }

    #[test]
    fn a_framebuffer_needs_no_colour_information() {
        let mut tag = words(&[0xe000_0000, 0, 4096, 1024, 768]);
        tag.extend([32, 1, 0, 0]);
        let framebuffer = read(&[(8, &tag)]).framebuffer.unwrap();
        assert_eq!((framebuffer.width, framebuffer.format), (1024, PixelFormat::Rgb { bytes: 4 }));
        tag[21] = 0;
        assert_eq!(read(&[(8, &tag)]).framebuffer, None);
        assert_eq!(read(&[(8, &tag[..20])]).framebuffer, None);
    }

    fn section(kind: u32, address: u64, size: u64, link: u32) -> Vec<u8> {
        let mut bytes = words(&[0, kind, 0, 0]);
        bytes.extend(address.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(size.to_le_bytes());
        bytes.extend(words(&[link, 0, 8, 0, 24, 0]));
        bytes
    }

    fn sections(entries: &[Vec<u8>]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap();
        [words(&[count, 64, 0]), entries.concat()].concat()
    }

    #[test]
    fn symbols_are_found_by_type_and_link() {
        let null = section(0, 0, 0, 0);
        let tag = sections(&[null.clone(), section(3, 0x9000, 0x80, 0), section(2, 0x8000, 0x48, 1)]);
        let table = read(&[(9, &tag)]).symbols.unwrap();
        assert_eq!((table.symbols.start(), table.strings.start()), (0x8000, 0x9000));
        let bad = [
            section(2, 0x8000, 0x48, 7),
            section(2, 0x8000, 0x48, 0),
            section(2, 0, 0x48, 1),
            section(2, 0xffff_f000, 0x2000, 1),
            section(2, u64::MAX, u64::MAX, 1),
        ];
        for table in bad {
            let tag = sections(&[null.clone(), section(3, 0x9000, 0x80, 0), table]);
            assert!(read(&[(9, &tag)]).symbols.is_none());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 512 }, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn any_tags_are_survived(
            tags in prop::collection::vec((0..20_u32, prop::collection::vec(any::<u8>(), 0..200)), 0..8)
        ) {
            let tags: Vec<_> = tags.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
            let info = read(&tags);
            prop_assert!(info.symbols.is_none_or(|table| table.symbols.end() <= LOADER_LIMIT));
        }
    }
}
