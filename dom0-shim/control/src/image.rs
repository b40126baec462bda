//! PVH kernels: ELF files with a note that names their 32-bit entry point (`elfnote.h`), bare, compressed, or in
//! a Linux bzImage.
//!
//! A kernel is never held as a whole: its bytes come in pieces, in the order of the ELF file, as fast as they are
//! unpacked, and each piece knows where it goes.
//!
//! ```text
//!  file ── bzimage: payload ──┐
//!   │                         ├── stream: pieces ── headers: segments, notes ── guest memory
//!   └── ELF, compressed ELF ──┘     lz4 gzip xz zstd                      └──── entry point
//! ```

mod bzimage;
mod gzip;
mod headers;
mod lz4;
mod stream;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

use alloc::vec::Vec;
use core::fmt;

use headers::{Headers, Load};
pub use stream::Format;
use stream::Stream;

/// Most MiB that unpacking one kernel may take. Linux's build packs with windows of 128 MiB at most, which take
/// twice as much while they grow.
const MOST_MIB: u64 = 512;

/// Why a file is no kernel that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Nothing in it.
    Empty,
    /// Something else, that starts with these bytes.
    NotAKernel([u8; 4]),
    /// A bzImage of this version of the boot protocol, which does not say where the kernel lies in it.
    OldBzImage(u16),
    /// Compressed by a program whose files cannot be unpacked.
    Unsupported(&'static str),
    /// Compressed data that contradict themselves.
    Damaged(Format),
    /// Unpacking takes so many MiB of the toolstack's memory, and they are not there.
    NoMemory(u64),
    /// The file ends before its contents do.
    Truncated,
    /// ELF for another CPU.
    WrongMachine,
    /// ELF that is neither an executable nor position-independent.
    NotExecutable,
    /// ELF headers that contradict themselves.
    Malformed,
    /// Two segments want the same memory.
    Overlap,
    /// No segment to load.
    NothingToLoad,
    /// No `XEN_ELFNOTE_PHYS32_ENTRY`.
    NoPvhNote,
    /// The entry point is in no segment.
    EntryOutside,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NotAKernel([a, b, c, d]) => write!(
                f,
                "neither an ELF file nor a Linux bzImage (first bytes {a:02x} {b:02x} {c:02x} {d:02x}): is it the kernel?"
            ),
            Self::OldBzImage(version) => write!(
                f,
                "a bzImage of boot protocol {}.{:02}, which is too old (2.08 is needed): take the vmlinux",
                version >> 8,
                version & 0xff
            ),
            Self::Unsupported(by) => write!(
                f,
                "compressed with {by}, which is not supported: take a kernel compressed with gzip, xz, zstd or LZ4, or the vmlinux"
            ),
            Self::Damaged(format) => write!(f, "its {format} data are damaged: copy it again"),
            Self::NoMemory(mib) if *mib > MOST_MIB => {
                write!(f, "unpacking it takes {mib} MiB, more than the {MOST_MIB} MiB allowed: is it damaged?")
            }
            Self::NoMemory(mib) => {
                write!(f, "not enough memory in Dom0 to unpack it: that takes {mib} MiB; raise dom0_mem=")
            }
            Self::Truncated => f.write_str("the file ends too early: copy it again"),
            Self::WrongMachine => f.write_str("an ELF file, but not for little-endian x86"),
            Self::NotExecutable => f.write_str("an ELF file, but not an executable: take the linked kernel"),
            Self::Malformed => f.write_str("a damaged ELF file: copy it again"),
            Self::Overlap => f.write_str("an ELF file with segments that overlap in physical memory"),
            Self::NothingToLoad => f.write_str("an ELF file without a loadable segment"),
            Self::NoPvhNote => f.write_str(
                "an ELF file without the note XEN_ELFNOTE_PHYS32_ENTRY: take a kernel with PVH support (CONFIG_PVH)",
            ),
            Self::EntryOutside => f.write_str("an ELF file whose PVH entry point is in none of its segments"),
        }
    }
}

/// A kernel that is being read.
pub struct Kernel<'a> {
    stream: Stream<'a>,
    headers: Headers,
    /// The first bytes, up to the end of the headers at least.
    start: Vec<u8>,
    /// Bytes of the ELF file that were given out.
    position: u64,
}

impl<'a> Kernel<'a> {
    /// Reads as much of a file as says what is to be loaded, believing nothing in it. Others run whenever `pause` is
    /// awaited.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub async fn open(file: &'a [u8], pause: impl AsyncFn()) -> Result<Self, ImageError> {
        let mut stream = Stream::open(file)?;
        let mut start = Vec::new();
        while headers::missing(&start)? {
            start.extend_from_slice(stream.next_piece()?.ok_or(ImageError::Truncated)?);
            pause().await;
        }
        let mut headers = Headers::parse(&start)?;
        if let Some(elf) = stream.bare() {
            // All of it is there: what is wrong can be said before anything is done.
            if headers.end_in_file() > elf.len() as u64 {
                return Err(ImageError::Truncated);
            }
            headers.take_notes(0, elf);
            headers.entry()?;
        }
        Ok(Self { stream, headers, start, position: 0 })
    }

    /// First address behind all segments.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.headers.end()
    }

    /// The next piece of the file, which may be empty; `None` when all have been given.
    ///
    /// # Errors
    ///
    /// [`ImageError`]. What was given before is of no use then.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, ImageError> {
        let at = self.position;
        let complete = at >= self.headers.end_in_file();
        let bytes = match at {
            0 => Some(self.start.as_slice()),
            _ if complete && self.stream.bare().is_some() => None,
            _ => self.stream.next_piece()?,
        };
        let Some(bytes) = bytes else {
            return if complete { Ok(None) } else { Err(ImageError::Truncated) };
        };
        self.position = at.saturating_add(bytes.len() as u64);
        self.headers.take_notes(at, bytes);
        Ok(Some(Piece { loads: self.headers.loads(), at, bytes }))
    }

    /// Where it starts, in 32-bit mode without paging; known after the last piece.
    ///
    /// # Errors
    ///
    /// [`ImageError::NoPvhNote`], [`ImageError::EntryOutside`].
    pub fn entry(&self) -> Result<u32, ImageError> {
        self.headers.entry()
    }
}

/// A piece of a kernel's ELF file.
pub struct Piece<'a> {
    loads: &'a [Load],
    at: u64,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// What is to be loaded of it, with guest-physical addresses. All other bytes of segments are zero.
    pub fn parts(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let (at, bytes) = (self.at, self.bytes);
        self.loads.iter().filter_map(move |load| load.part(at, bytes))
    }
}
