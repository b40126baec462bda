//! gzip (RFC 1952): deflated data between a header and their CRC and length.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress};

use super::ImageError;
use super::stream::{Decoder, Format};

const DAMAGED: ImageError = ImageError::Damaged(Format::Gzip);
/// Magic, method, flags, time, extra flags, system.
const HEADER: usize = 10;
/// CRC-32 and length.
const TRAILER: usize = 8;
const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;

/// A gzip file that is being unpacked.
pub(super) struct Gzip<'a> {
    rest: &'a [u8],
    inflate: Box<DecompressorOxide>,
    /// The window of deflate, used as a ring.
    window: Vec<u8>,
    /// Where in it the last piece begins and ends.
    piece: (usize, usize),
    crc: crc32fast::Hasher,
    length: u32,
    done: bool,
}

impl<'a> Gzip<'a> {
    pub(super) fn new(file: &'a [u8]) -> Result<Self, ImageError> {
        Ok(Self {
            rest: skip_header(file)?,
            inflate: Box::default(),
            window: vec![0; TINFL_LZ_DICT_SIZE],
            piece: (0, 0),
            crc: crc32fast::Hasher::new(),
            length: 0,
            done: false,
        })
    }

    /// Unpacks until the window's end, at most.
    fn inflate(&mut self, start: usize) -> Result<(), ImageError> {
        let (status, read, written) = decompress(&mut self.inflate, self.rest, &mut self.window, start, 0);
        self.rest = self.rest.get(read..).unwrap_or_default();
        self.piece = (start, start.saturating_add(written));
        match status {
            TINFLStatus::Done => self.done = true,
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(ImageError::Truncated);
            }
            _ => return Err(DAMAGED),
        }
        self.crc.update(self.window.get(start..self.piece.1).unwrap_or_default());
        self.length = self.length.wrapping_add(u32::try_from(written).unwrap_or(u32::MAX));
        Ok(())
    }

    fn check_trailer(&mut self) -> Result<(), ImageError> {
        let (trailer, rest) = self.rest.split_first_chunk::<TRAILER>().ok_or(ImageError::Truncated)?;
        self.rest = rest;
        let sum = u64::from(self.crc.clone().finalize()) | u64::from(self.length) << 32;
        if u64::from_le_bytes(*trailer) == sum { Ok(()) } else { Err(DAMAGED) }
    }
}

impl Decoder for Gzip<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        let start = self.piece.1 % TINFL_LZ_DICT_SIZE;
        self.piece = (start, start);
        if self.done {
            return Ok(false);
        }
        self.inflate(start)?;
        if self.done {
            self.check_trailer()?;
        }
        Ok(true)
    }

    fn piece(&self) -> &[u8] {
        self.window.get(self.piece.0..self.piece.1).unwrap_or_default()
    }

    fn rest(&self) -> &[u8] {
        self.rest
    }
}

/// What follows the header.
fn skip_header(file: &[u8]) -> Result<&[u8], ImageError> {
    let (header, mut rest) = file.split_first_chunk::<HEADER>().ok_or(ImageError::Truncated)?;
    let [_, _, method, flags, ..] = *header;
    if method != METHOD_DEFLATE {
        return Err(DAMAGED);
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, extra) = rest.split_first_chunk().ok_or(ImageError::Truncated)?;
        rest = extra.get(u16::from_le_bytes(*length).into()..).ok_or(ImageError::Truncated)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(ImageError::Truncated)?;
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
        }
    }
    let check = if flags & FLAG_HEADER_CRC != 0 { 2 } else { 0 };
    rest.get(check..).ok_or(ImageError::Truncated)
}
