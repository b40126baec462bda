//! What the boot code hands to the hypervisor: plain data, no pointers.
//!
//! The boot loader's own structures are read once, by `hv-boot`, and never
//! looked at again. Physical ranges that must survive until they have been
//! used (modules, symbols) are named here so that the frame allocator keeps off.

use arrayvec::{ArrayString, ArrayVec};

use crate::addr::PhysRange;
use crate::memmap::{Entry, MAX_REGIONS};

/// Most boot modules that are taken over; GRUB's further ones are counted only.
pub const MAX_MODULES: usize = 8;
/// Longest command line kept, in bytes.
pub const MAX_CMDLINE: usize = 2048;

/// A loader's text: command line or name, cut at [`MAX_CMDLINE`] bytes.
pub type BootString = ArrayString<MAX_CMDLINE>;

/// Everything that boot code learned from the loader.
#[derive(Debug)]
pub struct BootInfo {
    /// Time stamp counter at the first instruction of the image.
    pub entry_tsc: u64,
    /// Where the image lies in physical memory.
    pub image: PhysRange,
    /// Command line of the hypervisor, without the image's name.
    pub command_line: BootString,
    /// Name and version of the loader.
    pub loader: BootString,
    /// The firmware's memory map, unsorted.
    pub memory: ArrayVec<Entry, MAX_REGIONS>,
    /// Entries of the memory map past [`MAX_REGIONS`].
    pub memory_dropped: usize,
    /// Boot modules in the order of the loader's configuration.
    pub modules: ArrayVec<Module, MAX_MODULES>,
    /// Modules past [`MAX_MODULES`].
    pub modules_dropped: usize,
    /// Copy of the RSDP that the loader found (20 or 36 bytes), if any.
    pub rsdp: Option<ArrayVec<u8, 36>>,
    /// Frame buffer that the loader set up, if any.
    pub framebuffer: Option<Framebuffer>,
    /// Symbol table of the image, as loaded beside it.
    pub symbols: Option<SymbolTable>,
    /// Whether UEFI firmware started the loader.
    pub efi: bool,
}

impl BootInfo {
    /// Knowledge of nothing, to be filled in.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            entry_tsc: 0,
            image: PhysRange::EMPTY,
            command_line: BootString::new_const(),
            loader: BootString::new_const(),
            memory: ArrayVec::new_const(),
            memory_dropped: 0,
            modules: ArrayVec::new_const(),
            modules_dropped: 0,
            rsdp: None,
            framebuffer: None,
            symbols: None,
            efi: false,
        }
    }
}

/// A file that the loader put into memory.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where it lies.
    pub range: PhysRange,
    /// The words after its name in the loader's configuration.
    pub command_line: BootString,
}

/// `.symtab` and its string table.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable {
    /// Array of `Elf64_Sym`.
    pub symbols: PhysRange,
    /// NUL-terminated names.
    pub strings: PhysRange,
}

/// A display that the loader left ready for use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// First byte of the top left cell or pixel.
    pub address: u64,
    /// Bytes from one line to the next.
    pub pitch: u32,
    /// Columns of text, or pixels.
    pub width: u32,
    /// Lines of text, or pixels.
    pub height: u32,
    /// What a cell is.
    pub format: PixelFormat,
}

/// Lines and columns of characters on a display, and its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextLayout {
    /// Characters in a line; not 0.
    pub columns: usize,
    /// Lines; not 0.
    pub rows: usize,
    /// The display's memory, in which every cell lies.
    pub memory: PhysRange,
}

impl Framebuffer {
    /// Pixels a side of the largest display that is believed.
    const MAX_PIXELS: u32 = 16384;
    /// Characters a side of the largest text mode that is believed.
    const MAX_TEXT: u32 = 1024;

    /// The display as lines of text, a character in pixels being `font` by `font`.
    /// `None` if the loader's numbers contradict each other.
    #[must_use]
    pub fn text_layout(&self, font: u32) -> Option<TextLayout> {
        let (cell, bytes, most) = match self.format {
            PixelFormat::Text => (1, 2, Self::MAX_TEXT),
            PixelFormat::Rgb { bytes } => (font, bytes, Self::MAX_PIXELS),
        };
        let (columns, rows) = (self.width.checked_div(cell)?, self.height.checked_div(cell)?);
        let line = u64::from(self.width) * u64::from(bytes);
        // Cells of text are words: each must be aligned.
        let aligned = self.format != PixelFormat::Text || (self.address | u64::from(self.pitch)) & 1 == 0;
        let sound = columns > 0 && rows > 0 && self.width.max(self.height) <= most;
        if !sound || !aligned || u64::from(self.pitch) < line {
            return None;
        }
        let memory = PhysRange::from_len(self.address, u64::from(self.pitch) * u64::from(self.height))?;
        Some(TextLayout { columns: columns as usize, rows: rows as usize, memory })
    }
}

/// Meaning of a frame buffer's cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PixelFormat {
    /// Character and attribute byte pairs (VGA text mode).
    Text,
    /// Direct colour with this many bytes a pixel (2, 3 or 4); any white is all ones.
    Rgb {
        /// Bytes a pixel.
        bytes: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const VGA: Framebuffer =
        Framebuffer { address: 0xb_8000, pitch: 160, width: 80, height: 25, format: PixelFormat::Text };
    const XGA: Framebuffer = Framebuffer {
        address: 0xe000_0000,
        pitch: 4096,
        width: 1024,
        height: 768,
        format: PixelFormat::Rgb { bytes: 4 },
    };

    #[test]
    fn displays_are_lines_of_text() {
        let vga = VGA.text_layout(8).unwrap();
        assert_eq!((vga.columns, vga.rows, vga.memory.len()), (80, 25, 4000));
        let xga = XGA.text_layout(8).unwrap();
        assert_eq!((xga.columns, xga.rows, xga.memory.end()), (128, 96, 0xe030_0000));
    }

    #[test]
    fn displays_that_cannot_be_are_none() {
        let odd = [
            Framebuffer { address: 0xb_8001, ..VGA },
            Framebuffer { pitch: 161, ..VGA },
            Framebuffer { pitch: 158, ..VGA },
            Framebuffer { height: 0, ..VGA },
            Framebuffer { width: 2000, pitch: 4000, ..VGA },
            Framebuffer { width: 7, ..XGA },
            Framebuffer { height: 1 << 23, pitch: 1 << 28, ..XGA },
            Framebuffer { height: u32::MAX, width: u32::MAX, pitch: u32::MAX, ..XGA },
            Framebuffer { pitch: 4095, ..XGA },
            Framebuffer { address: u64::MAX, ..XGA },
        ];
        for display in odd {
            assert_eq!(display.text_layout(8), None, "{display:?}");
        }
        assert_eq!(XGA.text_layout(0), None);
    }
}
