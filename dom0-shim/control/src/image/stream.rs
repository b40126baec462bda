//! A kernel's ELF file in pieces, whatever it is packed in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::gzip::Gzip;
use super::lz4::Lz4;
use super::xz::Xz;
use super::zstd::Zstd;
use super::{ImageError, MOST_MIB, bzimage};

/// Bytes in a piece of a file that is not compressed.
const PIECE: usize = 256 << 10;
/// Most bytes of a compressed kernel's ELF file, with symbols for a debugger.
const MOST_BYTES: u64 = 1 << 30;

/// How a kernel may be compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// RFC 1952.
    Gzip,
    /// The .xz file format.
    Xz,
    /// RFC 8878.
    Zstd,
    /// LZ4 frames, and the legacy ones that Linux's build makes.
    Lz4,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "LZ4",
        })
    }
}

/// First bytes of formats.
const FORMATS: [(&[u8], Format); 5] = [
    (b"\x1f\x8b", Format::Gzip),
    (b"\xfd7zXZ\0", Format::Xz),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"\x02\x21\x4c\x18", Format::Lz4),
    (b"\x04\x22\x4d\x18", Format::Lz4),
];

/// First bytes of what other programs make.
const UNSUPPORTED: [(&[u8], &str); 3] = [(b"\x89LZO", "lzop"), (b"BZh", "bzip2"), (b"\x5d\0\0", "lzma")];

/// Something that unpacks.
pub(super) trait Decoder {
    /// Unpacks the next bytes, which are [`Self::piece`] until the next call; `false` at the end, after all checks.
    /// It takes a few milliseconds of a CPU: others run between two calls. A piece may be empty where what was
    /// unpacked has to be kept for what follows.
    fn advance(&mut self) -> Result<bool, ImageError>;

    /// What was unpacked last.
    fn piece(&self) -> &[u8];

    /// The input that was not read yet.
    fn rest(&self) -> &[u8];
}

/// A kernel's ELF file, read in order.
pub(super) struct Stream<'a> {
    source: Source<'a>,
    /// Bytes given out.
    given: u64,
    /// How many there are, by the last bytes of a payload.
    size: Option<u32>,
}

enum Source<'a> {
    Bare { elf: &'a [u8] },
    Packed(Format, Box<dyn Decoder + 'a>),
}

impl<'a> Stream<'a> {
    /// Finds the kernel in a file.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, ImageError> {
        if bzimage::is(file) {
            Self::unpack(bzimage::payload(file)?, true)
        } else {
            Self::unpack(file, false)
        }
    }

    /// Finds out how `bytes` are packed. A payload's last bytes say its size where its format does not.
    fn unpack(bytes: &'a [u8], payload: bool) -> Result<Self, ImageError> {
        if bytes.starts_with(&elf::abi::ELFMAGIC) {
            return Ok(Self { source: Source::Bare { elf: bytes }, given: 0, size: None });
        }
        let format = format(bytes)?;
        let (bytes, size) = match bytes.split_last_chunk() {
            Some((bytes, size)) if payload && format != Format::Gzip => {
                (bytes, Some(u32::from_le_bytes(*size)))
            }
            _ => (bytes, None),
        };
        let decoder: Box<dyn Decoder> = match format {
            Format::Gzip => Box::new(Gzip::new(bytes)?),
            Format::Xz => Box::new(Xz::new(bytes, size)),
            Format::Zstd => Box::new(Zstd::new(bytes, size)?),
            Format::Lz4 => Box::new(Lz4::new(bytes)?),
        };
        Ok(Self { source: Source::Packed(format, decoder), given: 0, size })
    }

    /// The file, where it is not compressed.
    pub(super) fn bare(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Bare { elf } => Some(elf),
            Source::Packed(..) => None,
        }
    }

    /// The next bytes, of which there may be none yet; `None` at the end.
    pub(super) fn next_piece(&mut self) -> Result<Option<&[u8]>, ImageError> {
        match &mut self.source {
            Source::Bare { elf } => {
                let start = usize::try_from(self.given).unwrap_or(usize::MAX);
                let rest = elf.get(start..).unwrap_or_default();
                let piece = rest.get(..PIECE).unwrap_or(rest);
                self.given += piece.len() as u64;
                Ok((!piece.is_empty()).then_some(piece))
            }
            Source::Packed(format, decoder) => {
                if !decoder.advance()? {
                    check_end(*format, self.given, self.size, decoder.rest())?;
                    return Ok(None);
                }
                self.given += decoder.piece().len() as u64;
                if self.given > MOST_BYTES {
                    return Err(ImageError::Damaged(*format));
                }
                Ok(Some(decoder.piece()))
            }
        }
    }
}

/// Checks that `given` bytes are as many as there shall be, and that nothing follows.
fn check_end(format: Format, given: u64, size: Option<u32>, rest: &[u8]) -> Result<(), ImageError> {
    if rest.is_empty() && size.is_none_or(|size| u64::from(size) == given) {
        Ok(())
    } else {
        Err(ImageError::Damaged(format))
    }
}

/// The format of compressed bytes.
fn format(bytes: &[u8]) -> Result<Format, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if let Some((_, format)) = FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Ok(*format);
    }
    if let Some((_, by)) = UNSUPPORTED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(ImageError::Unsupported(by));
    }
    let mut first = [0; 4];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Err(ImageError::NotAKernel(first))
}

/// Makes sure that there are `bytes` of memory, in one piece, before something is done that needs them.
pub(super) fn require(bytes: u64) -> Result<(), ImageError> {
    let mib = bytes.div_ceil(1 << 20);
    let size = usize::try_from(bytes).map_err(|_| ImageError::NoMemory(mib))?;
    if mib > MOST_MIB {
        return Err(ImageError::NoMemory(mib));
    }
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| ImageError::NoMemory(mib))
}
