//! The loader's boot information, read once into [`BootInfo`].
//!
//! The loader is trusted, its structures are not assumed well formed: what
//! cannot be read is left out, and the hypervisor reports what it misses on a
//! console that it can still open.

use arrayvec::ArrayVec;
use hv_core::addr::PhysRange;
use hv_core::boot_info::{BootInfo, BootString, Framebuffer, Module, PixelFormat, SymbolTable};
use hv_core::memmap::{Entry, RegionKind};
use multiboot2::{
    BootInformation, BootInformationHeader, FramebufferTag, FramebufferType, MaybeDynSized, MemoryArea,
    ModuleTag,
};
use spin::{Mutex, MutexGuard};

/// `SHT_SYMTAB` of the ELF specification.
const SHT_SYMTAB: u32 = 2;

/// Reads the boot information at physical address `mbi`.
///
/// # Safety
///
/// Called at most once, while memory below 4 GiB is mapped at its own address,
/// with the address that a multiboot2 loader passed.
pub(crate) unsafe fn boot_info(mbi: u64, entry_tsc: u64) -> &'static BootInfo {
    // Built in place: it is too large to pass over a stack.
    static INFO: Mutex<BootInfo> = Mutex::new(BootInfo::empty());
    let info = MutexGuard::leak(INFO.lock());
    info.entry_tsc = entry_tsc;
    info.image = crate::image().phys();
    // SAFETY: the caller passes the loader's structure, which nobody changes.
    if let Ok(mbi) = unsafe { BootInformation::load(mbi as *const BootInformationHeader) } {
        read(&mbi, info);
    }
    info
}

fn read(mbi: &BootInformation<'_>, info: &mut BootInfo) {
    if let Some(tag) = mbi.command_line_tag() {
        copy_text(&mut info.command_line, tag.payload());
    }
    if let Some(tag) = mbi.boot_loader_name_tag() {
        copy_text(&mut info.loader, tag.payload());
    }
    if let Some(tag) = mbi.memory_map_tag() {
        read_memory(tag.memory_areas(), info);
    }
    for tag in mbi.module_tags() {
        read_module(tag, info);
    }
    info.rsdp = rsdp(mbi);
    info.framebuffer = mbi.framebuffer_tag().and_then(Result::ok).and_then(framebuffer);
    info.symbols = symbols(mbi);
    info.efi = mbi.efi_sdt64_tag().is_some() || mbi.efi_sdt32_tag().is_some();
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

fn read_memory(areas: &[MemoryArea], info: &mut BootInfo) {
    for area in areas {
        let kind = RegionKind::from_type(u32::from(area.typ()));
        let entry = Entry { base: area.start_address(), len: area.size(), kind };
        if info.memory.try_push(entry).is_err() {
            info.memory_dropped += 1;
        }
    }
}

fn read_module(tag: &ModuleTag, info: &mut BootInfo) {
    let Some(range) = PhysRange::new(u64::from(tag.start_address()), u64::from(tag.end_address())) else {
        return;
    };
    // The text follows the two addresses of the tag.
    let mut command_line = BootString::new_const();
    copy_text(&mut command_line, tag.payload().get(8..).unwrap_or_default());
    if info.modules.try_push(Module { range, command_line }).is_err() {
        info.modules_dropped += 1;
    }
}

fn rsdp(mbi: &BootInformation<'_>) -> Option<ArrayVec<u8, 36>> {
    let v2 = mbi.rsdp_v2_tag().map(|tag| tag.payload());
    let bytes = v2.or_else(|| mbi.rsdp_v1_tag().map(|tag| tag.payload()))?;
    Some(bytes.iter().copied().take(36).collect())
}

fn framebuffer(tag: &FramebufferTag) -> Option<Framebuffer> {
    let format = match tag.buffer_type().ok()? {
        FramebufferType::Text => PixelFormat::Text,
        FramebufferType::RGB { .. } => match tag.bpp() {
            15 | 16 => PixelFormat::Rgb { bytes: 2 },
            24 => PixelFormat::Rgb { bytes: 3 },
            32 => PixelFormat::Rgb { bytes: 4 },
            _ => return None,
        },
        // Palettes are a thing of the modes that nobody sets any more.
        FramebufferType::Indexed { .. } => return None,
    };
    Some(Framebuffer {
        address: tag.address(),
        pitch: tag.pitch(),
        width: tag.width(),
        height: tag.height(),
        format,
    })
}

fn symbols(mbi: &BootInformation<'_>) -> Option<SymbolTable> {
    let tag = mbi.elf_sections_tag().filter(|tag| tag.entry_size() == 64)?;
    let symtab = tag.sections().find(|s| s.sh_type == SHT_SYMTAB)?;
    let strtab = tag.sections().nth(usize::try_from(symtab.sh_link).ok()?)?;
    let range =
        |address, size| PhysRange::from_len(address, size).filter(|r| !r.is_empty() && r.start() != 0);
    Some(SymbolTable {
        symbols: range(symtab.sh_addr, symtab.sh_size)?,
        strings: range(strtab.sh_addr, strtab.sh_size)?,
    })
}
