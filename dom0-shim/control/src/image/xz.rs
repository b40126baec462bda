//! The .xz file format, with the filter for x86 that Linux's build applies.

use alloc::vec;
use alloc::vec::Vec;

use lzma_rust2::{Action, Error, Status, XzStream};

use super::ImageError;
use super::stream::{Decoder, Format, require};

/// Bytes in a piece: LZMA takes some eighty instructions for each of them.
const PIECE: usize = 8 << 10;

/// An .xz file that is being unpacked.
pub(super) struct Xz<'a> {
    file: &'a [u8],
    stream: XzStream,
    /// How much there is to unpack, where that is known: the window never grows beyond.
    size: Option<u32>,
    buffer: Vec<u8>,
    filled: usize,
    done: bool,
}

impl<'a> Xz<'a> {
    pub(super) fn new(file: &'a [u8], size: Option<u32>) -> Self {
        // Each block's header says how much memory it takes: that is an error first, and then allowed.
        let stream = XzStream::new_mem_limit(false, 0);
        Self { file, stream, size, buffer: vec![0; PIECE], filled: 0, done: false }
    }

    /// Unpacks what there is room for, and says how much that is.
    fn process(&mut self) -> Result<usize, ImageError> {
        let rest = rest(self.file, &self.stream);
        match self.stream.process(rest, &mut self.buffer, Action::Finish) {
            Ok(result) => {
                self.done = result.status == Status::StreamEnd;
                Ok(result.bytes_produced)
            }
            Err(Error::OutOfMemory(_)) => {
                self.allow()?;
                Ok(0)
            }
            Err(Error::Eof) => Err(ImageError::Truncated),
            Err(_) => Err(ImageError::Damaged(Format::Xz)),
        }
    }

    /// Allows the memory that a block needs, if it is there.
    fn allow(&mut self) -> Result<(), ImageError> {
        let stated = self.stream.memory_usage().unwrap_or(0);
        let most = self.size.map_or(u64::MAX, |size| 2 * u64::from(size));
        // The window doubles until it is complete. The parts that it left lie side by side, and are never as large
        // as the next: together they take as much again.
        let needed = 2 * (u64::from(stated) << 10).min(most);
        require(needed)?;
        if stated <= self.stream.mem_limit() {
            // It was allowed, and somebody else took it since.
            return Err(ImageError::NoMemory(needed.div_ceil(1 << 20)));
        }
        self.stream.set_mem_limit(stated);
        Ok(())
    }
}

impl Decoder for Xz<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        self.filled = 0;
        if self.done {
            return Ok(false);
        }
        self.filled = self.process()?;
        Ok(true)
    }

    fn piece(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    fn rest(&self) -> &[u8] {
        rest(self.file, &self.stream)
    }
}

/// What `stream` has not read of `file`. It counts that also where it returns an error.
fn rest<'a>(file: &'a [u8], stream: &XzStream) -> &'a [u8] {
    usize::try_from(stream.total_in()).ok().and_then(|read| file.get(read..)).unwrap_or_default()
}
