//! LZ4: frames (LZ4 Frame Format 1.6.4), and the legacy ones that `lz4 -l` and Linux's build make.
//!
//! Blocks are decoded in parts, which no crate without `std` does: a legacy block unpacks to 8 MiB, for which other
//! tasks would wait.
//!
//! ```text
//!  window  | history: 64 KiB that were given out | the piece ... | slack |
//!                                                ^ start         ^ end
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::hash::Hasher;

use twox_hash::XxHash32;

use super::ImageError;
use super::stream::{Decoder, Format};

const DAMAGED: ImageError = ImageError::Damaged(Format::Lz4);
/// Farthest that a match reaches back, and one more.
const HISTORY: usize = 64 << 10;
/// Bytes in a piece.
const PIECE: usize = 128 << 10;
const FULL: usize = HISTORY + PIECE;
/// Bytes copied at once where few are asked for: more are written than that, and overwritten by what follows.
const CHUNK: usize = 16;
/// Room for them.
const SLACK: usize = 4 * CHUNK;
/// A length of four bits that goes on in further bytes.
const LONG: usize = 15;
const LEAST_MATCH: usize = 4;

const FRAME_MAGIC: u32 = 0x184d_2204;
const LEGACY_MAGIC: u32 = 0x184c_2102;
const FLAG_DICTIONARY: u8 = 1;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
/// Of a block's size: it is not compressed.
const VERBATIM: u32 = 1 << 31;

/// An LZ4 file that is being unpacked.
pub(super) struct Lz4<'a> {
    blocks: Blocks<'a>,
    /// What is left of the current block.
    block: &'a [u8],
    step: Step,
    window: Vec<u8>,
    /// Where the last piece begins.
    start: usize,
    end: usize,
}

/// What comes next in a block.
#[derive(Clone, Copy)]
enum Step {
    Token,
    /// So many literals, and then the match of this token, unless the block ends.
    Literals(usize, u8),
    /// So many bytes, from this far back.
    Match(usize, usize),
}

impl<'a> Lz4<'a> {
    pub(super) fn new(file: &'a [u8]) -> Result<Self, ImageError> {
        Ok(Self {
            blocks: Blocks::new(file)?,
            block: &[],
            step: Step::Token,
            window: vec![0; FULL + SLACK],
            start: 0,
            end: 0,
        })
    }

    /// Unpacks until the window is full, or to the end.
    fn fill(&mut self) -> Result<(), ImageError> {
        while self.end < FULL {
            match self.step {
                Step::Token if self.block.is_empty() => match self.blocks.next_block()? {
                    None => return Ok(()),
                    Some(Block::Packed(block)) => self.block = block,
                    Some(Block::Verbatim(block)) => {
                        self.block = block;
                        self.step = Step::Literals(block.len(), 0);
                    }
                },
                Step::Token => {
                    if self.short_sequence().is_none() {
                        self.sequence()?;
                    }
                }
                Step::Literals(left, token) => self.literals(left, token)?,
                Step::Match(left, distance) => self.copy(left, distance)?,
            }
        }
        Ok(())
    }

    /// A sequence whose lengths fit in its token, as most do, at once; `None` if it is another one, or too close to
    /// an end, and nothing is done.
    #[inline]
    fn short_sequence(&mut self) -> Option<()> {
        let (token, rest) = self.block.split_first()?;
        let (literals, matched) = lengths(*token);
        if literals == LONG || matched == LONG || self.end >= FULL {
            return None;
        }
        let (to, from) = (self.end, rest.first_chunk::<CHUNK>()?);
        let (offset, after) = rest.get(literals..)?.split_first_chunk()?;
        let (distance, length) = (usize::from(u16::from_le_bytes(*offset)), matched + LEAST_MATCH);
        let source = (to + literals).checked_sub(distance)?;
        if distance < CHUNK {
            return None;
        }
        *self.window.get_mut(to..)?.first_chunk_mut()? = *from;
        self.copy_chunk(source, to + literals)?;
        if length > CHUNK {
            self.copy_chunk(source + CHUNK, to + literals + CHUNK)?;
        }
        self.block = after;
        self.end = to + literals + length;
        Some(())
    }

    #[inline]
    fn copy_chunk(&mut self, from: usize, to: usize) -> Option<()> {
        let chunk: [u8; CHUNK] = *self.window.get(from..)?.first_chunk()?;
        *self.window.get_mut(to..)?.first_chunk_mut()? = chunk;
        Some(())
    }

    fn sequence(&mut self) -> Result<(), ImageError> {
        let token = self.byte()?;
        let literals = self.length(lengths(token).0)?;
        self.step = Step::Literals(literals, token);
        Ok(())
    }

    fn literals(&mut self, left: usize, token: u8) -> Result<(), ImageError> {
        let count = left.min(FULL - self.end);
        let (now, rest) = self.block.split_at_checked(count).ok_or(DAMAGED)?;
        self.window.get_mut(self.end..self.end + count).ok_or(DAMAGED)?.copy_from_slice(now);
        self.end += count;
        self.block = rest;
        self.step = match left - count {
            0 if rest.is_empty() => Step::Token,
            0 => self.begin_match(token)?,
            left => Step::Literals(left, token),
        };
        Ok(())
    }

    fn begin_match(&mut self, token: u8) -> Result<Step, ImageError> {
        let distance = usize::from(u16::from_le_bytes([self.byte()?, self.byte()?]));
        if distance == 0 || distance > self.end {
            return Err(DAMAGED);
        }
        let length = self.length(lengths(token).1)?.checked_add(LEAST_MATCH).ok_or(DAMAGED)?;
        Ok(Step::Match(length, distance))
    }

    /// Copies bytes of a match. Those from `source` on repeat every `distance` bytes, so that each turn can copy
    /// all that the ones before it made.
    fn copy(&mut self, left: usize, distance: usize) -> Result<(), ImageError> {
        let end = self.end + left.min(FULL - self.end);
        let source = self.end.checked_sub(distance).ok_or(DAMAGED)?;
        let left = left - (end - self.end);
        while self.end < end {
            let count = (end - self.end).min(self.end - source);
            self.window.copy_within(source..source + count, self.end);
            self.end += count;
        }
        self.step = if left == 0 { Step::Token } else { Step::Match(left, distance) };
        Ok(())
    }

    /// A length that begins with four bits of a token.
    fn length(&mut self, bits: usize) -> Result<usize, ImageError> {
        let mut length = bits;
        let mut more = bits == LONG;
        while more {
            let byte = self.byte()?;
            length = length.checked_add(byte.into()).ok_or(DAMAGED)?;
            more = byte == u8::MAX;
        }
        Ok(length)
    }

    fn byte(&mut self) -> Result<u8, ImageError> {
        let (byte, rest) = self.block.split_first().ok_or(DAMAGED)?;
        self.block = rest;
        Ok(*byte)
    }
}

impl Decoder for Lz4<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        if let Some(old) = self.end.checked_sub(HISTORY) {
            self.window.copy_within(old..self.end, 0);
            self.end = HISTORY;
        }
        self.start = self.end;
        self.fill()?;
        let piece = self.window.get(self.start..self.end).unwrap_or_default();
        self.blocks.check(piece)?;
        Ok(!piece.is_empty())
    }

    fn piece(&self) -> &[u8] {
        self.window.get(self.start..self.end).unwrap_or_default()
    }

    fn rest(&self) -> &[u8] {
        self.blocks.rest
    }
}

/// Lengths in a token: of literals, and of the match beyond its least.
fn lengths(token: u8) -> (usize, usize) {
    (usize::from(token >> 4), usize::from(token & 0xf))
}

enum Block<'a> {
    Packed(&'a [u8]),
    Verbatim(&'a [u8]),
}

/// The blocks of a file.
struct Blocks<'a> {
    rest: &'a [u8],
    kind: Kind,
}

enum Kind {
    /// Until the input ends.
    Legacy,
    /// Until the end mark.
    Frame { block_checksums: bool, content: Option<XxHash32>, ended: bool },
}

impl<'a> Blocks<'a> {
    fn new(file: &'a [u8]) -> Result<Self, ImageError> {
        let mut blocks = Self { rest: file, kind: Kind::Legacy };
        match blocks.word()? {
            LEGACY_MAGIC => {}
            FRAME_MAGIC => blocks.kind = blocks.frame_header()?,
            _ => return Err(DAMAGED),
        }
        Ok(blocks)
    }

    fn frame_header(&mut self) -> Result<Kind, ImageError> {
        let [flags, _block_size] = *self.take()?;
        if flags >> 6 != 1 || flags & FLAG_DICTIONARY != 0 {
            return Err(DAMAGED);
        }
        if flags & FLAG_CONTENT_SIZE != 0 {
            self.take::<8>()?;
        }
        // The header's own check.
        self.take::<1>()?;
        Ok(Kind::Frame {
            block_checksums: flags & FLAG_BLOCK_CHECKSUM != 0,
            content: (flags & FLAG_CONTENT_CHECKSUM != 0).then(|| XxHash32::with_seed(0)),
            ended: false,
        })
    }

    fn next_block(&mut self) -> Result<Option<Block<'a>>, ImageError> {
        match self.kind {
            Kind::Legacy if self.rest.is_empty() => Ok(None),
            Kind::Legacy => match self.word()? {
                // Another file begins, appended to the first.
                LEGACY_MAGIC => Ok(Some(Block::Packed(&[]))),
                size => Ok(Some(Block::Packed(self.bytes(size)?))),
            },
            Kind::Frame { ended: true, .. } => Ok(None),
            Kind::Frame { block_checksums, .. } => self.frame_block(block_checksums),
        }
    }

    fn frame_block(&mut self, checksum: bool) -> Result<Option<Block<'a>>, ImageError> {
        let size = self.word()?;
        if size == 0 {
            if let Kind::Frame { ended, .. } = &mut self.kind {
                *ended = true;
            }
            return Ok(None);
        }
        let block = self.bytes(size & !VERBATIM)?;
        if checksum && self.word()? != XxHash32::oneshot(0, block) {
            return Err(DAMAGED);
        }
        Ok(Some(if size & VERBATIM != 0 { Block::Verbatim(block) } else { Block::Packed(block) }))
    }

    /// Takes note of what was unpacked; nothing means that it was all.
    fn check(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        let Kind::Frame { content: Some(hash), .. } = &mut self.kind else { return Ok(()) };
        if !piece.is_empty() {
            hash.write(piece);
            return Ok(());
        }
        let hash = hash.finish_32();
        if self.word()? == hash { Ok(()) } else { Err(DAMAGED) }
    }

    fn word(&mut self) -> Result<u32, ImageError> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], ImageError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ImageError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn bytes(&mut self, count: u32) -> Result<&'a [u8], ImageError> {
        let count = usize::try_from(count).map_err(|_| ImageError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(ImageError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}
