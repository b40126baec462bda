//! zstd (RFC 8878).

use alloc::vec;
use alloc::vec::Vec;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::{Error, Read};

use super::ImageError;
use super::stream::{Decoder, Format, require};

const DAMAGED: ImageError = ImageError::Damaged(Format::Zstd);
/// Bytes in a piece: most of a block, which cannot be unpacked by halves.
const PIECE: usize = 128 << 10;
/// Magic number, frame header descriptor, window descriptor.
const HEAD: usize = 6;
/// Bytes of a header: those, a dictionary's number and the content's size.
const MOST_HEADER: usize = HEAD + 4 + 8;
const SINGLE_SEGMENT: u8 = 1 << 5;
/// A window descriptor's exponent begins here, and counts from here.
const EXPONENT_SHIFT: u32 = 3;
const LEAST_EXPONENT: u32 = 10;

/// A zstd file of one frame that is being unpacked.
pub(super) struct Zstd<'a> {
    rest: &'a [u8],
    decoder: FrameDecoder,
    buffer: Vec<u8>,
    filled: usize,
}

impl<'a> Zstd<'a> {
    /// Reads the header. Nothing is ever copied from farther back than `size` bytes, where that is known: the
    /// window need not be larger.
    pub(super) fn new(file: &'a [u8], size: Option<u32>) -> Result<Self, ImageError> {
        let (head, rest) = file.split_first_chunk::<HEAD>().ok_or(ImageError::Truncated)?;
        let mut head = *head;
        if let Some(size) = size {
            shrink_window(&mut head, size);
        }
        let mut source = Frame { head: &head, rest };
        let window = window(source)?;
        // The decoder rounds its buffer up, and cannot say that there is no memory for it.
        require(window.checked_next_power_of_two().unwrap_or(u64::MAX).saturating_add(4 * PIECE as u64))?;
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window);
        decoder.init(source).map_err(|_| DAMAGED)?;
        // The second time it takes all of its buffer, which would grow piecemeal else.
        decoder.init(&mut source).map_err(|_| DAMAGED)?;
        Ok(Self { rest: source.rest, decoder, buffer: vec![0; PIECE], filled: 0 })
    }

    fn unpack_block(&mut self) -> Result<(), ImageError> {
        let mut source = Frame { head: &[], rest: self.rest };
        let result = self.decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBlocks(1));
        self.rest = source.rest;
        result.map_err(|_| if self.rest.is_empty() { ImageError::Truncated } else { DAMAGED })?;
        Ok(())
    }

    fn check(&self) -> Result<(), ImageError> {
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_none() || stated == self.decoder.get_calculated_checksum() {
            Ok(())
        } else {
            Err(DAMAGED)
        }
    }
}

impl Decoder for Zstd<'_> {
    /// Unpacks a block at most: nothing is given out before the window is full, which may be at the end.
    fn advance(&mut self) -> Result<bool, ImageError> {
        self.filled = 0;
        if self.decoder.can_collect() == 0 {
            if self.decoder.is_finished() {
                return self.check().map(|()| false);
            }
            self.unpack_block()?;
        }
        self.filled = self.decoder.read(&mut self.buffer).map_err(|_| DAMAGED)?;
        Ok(true)
    }

    fn piece(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    fn rest(&self) -> &[u8] {
        self.rest
    }
}

/// A frame whose first bytes were changed.
#[derive(Clone, Copy)]
struct Frame<'h, 'a> {
    head: &'h [u8],
    rest: &'a [u8],
}

impl Read for Frame<'_, '_> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        if self.head.is_empty() { self.rest.read(to) } else { self.head.read(to) }
    }
}

/// How much of what was unpacked a decoder must keep, by the header.
fn window(frame: Frame<'_, '_>) -> Result<u64, ImageError> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(0);
    match decoder.init(frame) {
        Ok(()) => Ok(0),
        Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => Ok(requested),
        Err(_) if frame.rest.len() < MOST_HEADER - HEAD => Err(ImageError::Truncated),
        Err(_) => Err(DAMAGED),
    }
}

/// Makes the window no larger than what is needed for `size` bytes. Those who pack a stream, as Linux's build does,
/// do not know its size, and state the largest window that their level uses.
fn shrink_window(head: &mut [u8; HEAD], size: u32) {
    let [.., descriptor, window] = head;
    if *descriptor & SINGLE_SEGMENT != 0 {
        return;
    }
    let exponent = u64::from(size).next_power_of_two().trailing_zeros().saturating_sub(LEAST_EXPONENT);
    if let Ok(enough) = u8::try_from(exponent << EXPONENT_SHIFT) {
        *window = enough.min(*window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_run_between_two_blocks() {
        // All of it fits in the window.
        let mut zstd = Zstd::new(include_bytes!("samples/large-window.zst"), None).unwrap();
        let (mut turns, mut first) = (0, None);
        while zstd.advance().unwrap() {
            turns += 1;
            if first.is_none() && !zstd.piece().is_empty() {
                first = Some(turns);
            }
        }
        assert_eq!(first, Some(3), "the sample has three blocks");
    }

    #[test]
    fn a_window_is_no_larger_than_what_is_unpacked() {
        // Packed as a stream by `zstd --ultra -22`.
        let sample = include_bytes!("samples/large-window.zst");
        let (head, rest) = sample.split_first_chunk().unwrap();
        assert_eq!(window(Frame { head, rest }), Ok(128 << 20));
        for (size, least) in [(0, 1 << 10), (600 << 10, 1 << 20), (1 << 20, 1 << 20), (1 << 31, 128 << 20)] {
            let mut head = *head;
            shrink_window(&mut head, size);
            assert_eq!(window(Frame { head: &head, rest }), Ok(least), "{size} bytes");
        }
    }
}
