//! The screen that the loader left: VGA text cells, or pixels with a font.
//!
//! Text is kept in a buffer of its own, so that scrolling never reads the
//! display's memory, which is slow, and only rewrites cells that changed.

use alloc::vec::Vec;

use font8x8::legacy::BASIC_LEGACY;
use hv_core::boot_info::{Framebuffer, PixelFormat, TextLayout};

use crate::memory::{self, DeviceMemory};

/// Pixels a side of a character.
const FONT: u32 = 8;
const FONT_SIZE: usize = FONT as usize;
const TAB: usize = 8;
/// Light grey on black.
const TEXT_ATTRIBUTE: u16 = 0x0700;
const BLANK: u8 = b' ';

/// Text on the display.
#[derive(Debug)]
pub struct Screen {
    memory: DeviceMemory,
    format: PixelFormat,
    pitch: usize,
    columns: usize,
    rows: usize,
    /// What is shown, row by row.
    cells: Vec<u8>,
    column: usize,
}

impl Screen {
    /// Takes over the display and clears it. `None` if its numbers make no sense
    /// or its memory cannot be mapped.
    #[must_use]
    pub fn open(display: &Framebuffer) -> Option<Self> {
        let TextLayout { columns, rows, memory } = display.text_layout(FONT)?;
        let mut cells = Vec::new();
        cells.try_reserve_exact(columns * rows).ok()?;
        cells.resize(columns * rows, 0);
        // SAFETY: the loader's display memory, which nothing else of the hypervisor
        // drives, and which only holds what is seen.
        let memory = unsafe { memory::map_shared_device(memory, 1) }?;
        let (format, pitch) = (display.format, display.pitch as usize);
        let mut screen = Self { memory, format, pitch, columns, rows, cells, column: 0 };
        for cell in 0..screen.cells.len() {
            screen.set(cell, BLANK);
        }
        Some(screen)
    }

    /// Shows `bytes` at the end of the last line. Of control characters, line
    /// feed, carriage return, backspace and tab act.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.new_line(),
                b'\r' => self.column = 0,
                0x08 => self.column = self.column.saturating_sub(1),
                b'\t' => self.column = (self.column / TAB + 1) * TAB,
                b' '..=b'~' => self.put(byte),
                _ => self.put(b'?'),
            }
        }
    }

    fn put(&mut self, byte: u8) {
        if self.column >= self.columns {
            self.new_line();
        }
        self.set((self.rows - 1) * self.columns + self.column, byte);
        self.column += 1;
    }

    fn new_line(&mut self) {
        self.column = 0;
        for cell in 0..self.cells.len() {
            let below = self.cells.get(cell + self.columns).copied().unwrap_or(BLANK);
            self.set(cell, below);
        }
    }

    fn set(&mut self, cell: usize, byte: u8) {
        if core::mem::replace(&mut self.cells[cell], byte) == byte {
            return;
        }
        let (row, column) = (cell / self.columns, cell % self.columns);
        match self.format {
            PixelFormat::Text => {
                let offset = row * self.pitch + column * 2;
                self.memory.register::<u16>(offset).write(TEXT_ATTRIBUTE | u16::from(byte));
            }
            PixelFormat::Rgb { bytes } => self.draw(row, column, byte, usize::from(bytes)),
        }
    }

    fn draw(&self, row: usize, column: usize, byte: u8, pixel: usize) {
        let glyph = BASIC_LEGACY[usize::from(byte & 0x7f)];
        for (y, bits) in glyph.into_iter().enumerate() {
            let line = (row * FONT_SIZE + y) * self.pitch + column * FONT_SIZE * pixel;
            for x in 0..FONT_SIZE {
                let colour = if bits & 1 << x == 0 { 0x00 } else { 0xff };
                for offset in 0..pixel {
                    self.memory.register::<u8>(line + x * pixel + offset).write(colour);
                }
            }
        }
    }
}
