//! What a bootable ELF must look like: segments W^X, a multiboot2 header where GRUB looks for it, nothing left
//! to link or to relocate, names for back traces.
//!
//! [`Image::parse`] reads the file; the rules look at the result only.

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::{
    EM_X86_64, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS,
    SHT_REL, SHT_RELA, STT_FILE, STT_SECTION,
};
use elf::endian::AnyEndian;

/// The parts of an ELF file that the rules and the debuggers need.
#[derive(Debug, Default)]
pub(crate) struct Image {
    segments: Vec<Segment>,
    sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
    undefined: Vec<String>,
    multiboot2: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    address: u64,
    size: u64,
}

#[derive(Clone, Debug)]
struct Section {
    name: String,
    kind: u32,
    flags: u64,
    size: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    pub(crate) address: u64,
    pub(crate) name: String,
}

impl Image {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let file = ElfBytes::<AnyEndian>::minimal_parse(bytes)?;
        ensure!(file.ehdr.e_machine == EM_X86_64, "not for x86-64");
        let segments = file.segments().context("no program headers")?;
        let (sections, names) = file.section_headers_with_strtab()?;
        let (sections, names) = (sections.context("no sections")?, names.context("no names of sections")?);
        let mut image = Self {
            segments: segments.iter().map(Segment::from).collect(),
            multiboot2: bytes.get(..HEADER_SEARCH).unwrap_or(bytes).to_vec(),
            ..Self::default()
        };
        for header in sections.iter() {
            let name = names.get(header.sh_name as usize)?.to_owned();
            let (kind, flags, size) = (header.sh_type, header.sh_flags, header.sh_size);
            image.sections.push(Section { name, kind, flags, size });
        }
        image.read_symbols(&file)?;
        Ok(image)
    }

    fn read_symbols(&mut self, file: &ElfBytes<'_, AnyEndian>) -> Result<()> {
        let Some((symbols, names)) = file.symbol_table()? else { return Ok(()) };
        // The first entry is reserved.
        for symbol in symbols.iter().skip(1) {
            let name = names.get(symbol.st_name as usize)?.to_owned();
            if name.is_empty() || matches!(symbol.st_symtype(), STT_FILE | STT_SECTION) {
                continue;
            }
            if symbol.is_undefined() {
                self.undefined.push(name);
            } else {
                self.symbols.push(Symbol { address: symbol.st_value, name });
            }
        }
        Ok(())
    }

    /// Every rule that the image breaks.
    pub(crate) fn complaints(&self) -> Vec<String> {
        [self.writable_code(), self.linking(), self.names()].concat()
    }

    fn writable_code(&self) -> Vec<String> {
        let segments =
            self.segments.iter().filter(|s| s.kind == PT_LOAD && s.flags & (PF_W | PF_X) == PF_W | PF_X);
        let both = u64::from(SHF_WRITE | SHF_EXECINSTR);
        let sections = self.sections.iter().filter(|s| s.flags & both == both);
        segments
            .map(|s| format!("segment at {:#x} is writable and executable", s.address))
            .chain(sections.map(|s| format!("section {} is writable and executable", s.name)))
            .collect()
    }

    fn linking(&self) -> Vec<String> {
        let undefined = self.undefined.iter().map(|name| format!("symbol {name} is undefined"));
        let dynamic = self.segments.iter().filter_map(|segment| match segment.kind {
            PT_INTERP => Some("it asks for a program interpreter".to_owned()),
            PT_DYNAMIC => Some("it has a dynamic section".to_owned()),
            _ => None,
        });
        let relocations = self.sections.iter().filter(|s| {
            matches!(s.kind, SHT_REL | SHT_RELA) && s.flags & u64::from(SHF_ALLOC) != 0 && s.size != 0
        });
        undefined
            .chain(dynamic)
            .chain(
                relocations.map(|s| format!("section {} holds relocations to be done at load time", s.name)),
            )
            .collect()
    }

    fn names(&self) -> Vec<String> {
        if self.symbols.is_empty() { vec!["it has no symbol table".to_owned()] } else { Vec::new() }
    }

    /// What is wrong with the multiboot2 header.
    pub(crate) fn header(&self) -> Vec<String> {
        multiboot2_header(&self.multiboot2).err().map(|error| error.to_string()).into_iter().collect()
    }

    /// One line on what the image holds and takes in memory.
    pub(crate) fn sizes(&self) -> String {
        let sum = |wanted: &dyn Fn(&Section) -> bool| -> u64 {
            let alloc = self.sections.iter().filter(|s| s.flags & u64::from(SHF_ALLOC) != 0);
            alloc.filter(|s| wanted(s)).map(|s| s.size).sum()
        };
        let has = |s: &Section, flag: u32| s.flags & u64::from(flag) != 0;
        let code = sum(&|s| has(s, SHF_EXECINSTR));
        let zeroed = sum(&|s| s.kind == SHT_NOBITS);
        let data = sum(&|s| s.kind != SHT_NOBITS && has(s, SHF_WRITE) && !has(s, SHF_EXECINSTR));
        let constant = sum(&|s| s.kind != SHT_NOBITS && !has(s, SHF_WRITE) && !has(s, SHF_EXECINSTR));
        let memory: u64 = self.segments.iter().filter(|s| s.kind == PT_LOAD).map(|s| s.size).sum();
        format!("code {code}, constants {constant}, data {data}, zeroed {zeroed}, in memory {memory} bytes")
    }
}

impl From<elf::segment::ProgramHeader> for Segment {
    fn from(header: elf::segment::ProgramHeader) -> Self {
        Self { kind: header.p_type, flags: header.p_flags, address: header.p_vaddr, size: header.p_memsz }
    }
}

/// Where the header must lie (Multiboot2 specification, "OS image format": the first 32768 bytes, 64-bit
/// aligned).
const HEADER_SEARCH: usize = 32768;
const HEADER_ALIGN: usize = 8;
const MAGIC: u32 = 0xe852_50d6;
/// 32-bit protected mode of i386.
const ARCHITECTURE: u32 = 0;
/// The fields before the tags: magic, architecture, length, checksum.
const FIXED_PART: usize = 16;

/// Finds and checks the multiboot2 header in the first bytes of a file ("The layout of Multiboot2 header").
fn multiboot2_header(bytes: &[u8]) -> Result<()> {
    let at = (0..bytes.len()).step_by(HEADER_ALIGN).find(|at| word(bytes, *at) == Some(MAGIC));
    let header = at.and_then(|at| bytes.get(at..)).context("no multiboot2 header in the first 32 KiB")?;
    let field = |index: usize| word(header, index * 4).context("the multiboot2 header is cut off");
    let (architecture, length, checksum) = (field(1)?, field(2)?, field(3)?);
    ensure!(architecture == ARCHITECTURE, "the multiboot2 header is for architecture {architecture}");
    let sum = [MAGIC, architecture, length, checksum].into_iter().fold(0, u32::wrapping_add);
    ensure!(sum == 0, "the checksum of the multiboot2 header is wrong");
    let header = header.get(..length as usize).context("the multiboot2 header leaves the first 32 KiB")?;
    tags(header.get(FIXED_PART..).context("the multiboot2 header is too short")?)
}

/// Walks the tags to the one that ends them; each is padded to 8 bytes.
fn tags(mut tags: &[u8]) -> Result<()> {
    loop {
        let kind = word(tags, 0).context("the tags of the multiboot2 header have no end")? & 0xffff;
        let size = word(tags, 4).context("the tags of the multiboot2 header have no end")? as usize;
        if kind == 0 {
            ensure!(size == 8, "the end tag of the multiboot2 header has size {size}");
            return Ok(());
        }
        ensure!(size >= 8, "a tag of the multiboot2 header has size {size}");
        tags = tags.get(size.next_multiple_of(8)..).context("a multiboot2 tag leaves the header")?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the tags `(kind, payload words)`.
    fn header(tags: &[(u16, &[u32])]) -> Vec<u8> {
        let mut words = Vec::new();
        for (kind, payload) in tags {
            words.extend([u32::from(*kind), u32::try_from(8 + 4 * payload.len()).unwrap()]);
            words.extend(payload.iter());
            words.extend((words.len() % 2 == 1).then_some(0));
        }
        let length = u32::try_from(FIXED_PART + 4 * words.len()).unwrap();
        let checksum = 0u32.wrapping_sub(MAGIC.wrapping_add(length));
        [MAGIC, 0, length, checksum].into_iter().chain(words).flat_map(u32::to_le_bytes).collect()
    }

    fn good() -> Image {
        Image {
            segments: vec![Segment { kind: PT_LOAD, flags: PF_X, address: 0x20_0000, size: 8192 }],
            sections: vec![Section {
                name: ".text".into(),
                kind: 1,
                flags: u64::from(SHF_ALLOC | SHF_EXECINSTR),
                size: 4096,
            }],
            symbols: vec![Symbol { address: 0x20_0000, name: "start".into() }],
            undefined: Vec::new(),
            multiboot2: header(&[(5, &[1, 2, 3]), (0, &[])]),
        }
    }

    fn complaint(change: impl FnOnce(&mut Image)) -> String {
        let mut image = good();
        change(&mut image);
        [image.complaints(), image.header()].concat().join("; ")
    }

    #[test]
    fn a_good_image_has_no_complaints() {
        assert_eq!(complaint(|_| ()), "");
        assert_eq!(good().sizes(), "code 4096, constants 0, data 0, zeroed 0, in memory 8192 bytes");
    }

    #[test]
    fn each_rule() {
        assert_eq!(
            complaint(|i| i.segments[0].flags |= PF_W),
            "segment at 0x200000 is writable and executable"
        );
        assert!(
            complaint(|i| i.sections[0].flags |= u64::from(SHF_WRITE)).contains("section .text is writable")
        );
        assert!(complaint(|i| i.undefined.push("memcpy".into())).contains("memcpy is undefined"));
        assert!(complaint(|i| i.segments[0].kind = PT_INTERP).contains("interpreter"));
        assert!(complaint(|i| i.segments[0].kind = PT_DYNAMIC).contains("dynamic"));
        let relocations =
            Section { name: ".rela.dyn".into(), kind: SHT_RELA, flags: SHF_ALLOC.into(), size: 24 };
        assert!(complaint(|i| i.sections.push(relocations.clone())).contains(".rela.dyn"));
        let for_the_linker = Section { flags: 0, ..relocations };
        assert_eq!(complaint(|i| i.sections.push(for_the_linker)), "");
        assert!(complaint(|i| i.symbols.clear()).contains("no symbol table"));
        assert!(complaint(|i| i.multiboot2.clear()).contains("no multiboot2 header"));
    }

    fn error(bytes: &[u8]) -> String {
        multiboot2_header(bytes).unwrap_err().to_string()
    }

    #[test]
    fn header_is_found_at_aligned_places_only() {
        let good = header(&[(0, &[])]);
        assert!(multiboot2_header(&[&[0; 64][..], &good].concat()).is_ok());
        assert!(error(&[&[0; 4][..], &good].concat()).contains("no multiboot2 header"));
    }

    #[test]
    fn broken_headers() {
        let good = header(&[(3, &[7]), (0, &[])]);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        assert!(multiboot2_header(&good).is_ok());
        assert!(error(&with(4, 4)).contains("architecture 4"));
        assert!(error(&with(12, 0)).contains("checksum"));
        assert!(error(&with(20, 4)).contains("size 4"));
        assert!(error(&with(20, 200)).contains("leaves the header"));
        assert!(error(&header(&[(3, &[7])])).contains("have no end"));
        assert!(error(&good[..good.len() - 1]).contains("leaves the first 32 KiB"));
        assert!(error(&good[..8]).contains("cut off"));
    }

    #[test]
    fn own_program_is_no_boot_image() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let complaints = [image.complaints(), image.header()].concat().join("; ");
        assert!(
            complaints.contains("interpreter") && complaints.contains("no multiboot2 header"),
            "{complaints}"
        );
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"x", b"\x7fELF", &[0x7f; 200]] {
            assert!(Image::parse(bytes).is_err());
        }
    }
}
