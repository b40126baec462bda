//! Memory that data passes through between a front end and a disk.
//!
//! Buffers belong to one connection and are kept for its next requests: what is left in one
//! came from the same domain and the same disk, or is zeros.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

const PAGE: usize = 4096;

/// Buffers of powers of two, from a page on.
#[derive(Debug)]
pub(crate) struct Buffers {
    kept: Vec<Vec<u8>>,
    kept_bytes: usize,
    used_bytes: usize,
    limit: usize,
}

impl Buffers {
    /// No buffers; at most `limit` bytes, or one buffer, at any time.
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), kept_bytes: 0, used_bytes: 0, limit }
    }

    /// A buffer of at least so many bytes, or `None` until others are given back.
    ///
    /// # Errors
    ///
    /// There is no memory, and none will be given back.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, TryReserveError> {
        let size = bytes.max(PAGE).next_power_of_two();
        let alone = self.used_bytes == 0;
        if !alone && self.used_bytes.saturating_add(size) > self.limit {
            return Ok(None);
        }
        self.used_bytes += size;
        let like = self.kept.iter().rposition(|buffer| buffer.len() == size);
        if let Some(place) = like {
            self.kept_bytes -= size;
            return Ok(Some(self.kept.swap_remove(place)));
        }
        self.forget_some();
        match zeros(size) {
            Ok(buffer) => Ok(Some(buffer)),
            Err(error) => {
                self.used_bytes -= size;
                if alone { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Takes one back.
    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        self.used_bytes -= buffer.len();
        self.kept_bytes += buffer.len();
        self.kept.push(buffer);
    }

    /// Frees what is over the limit, the one that waited longest first.
    fn forget_some(&mut self) {
        while self.used_bytes + self.kept_bytes > self.limit && !self.kept.is_empty() {
            self.kept_bytes -= self.kept.remove(0).len();
        }
    }
}

/// What a guest asks for must not end Dom0 where memory is short.
fn zeros(size: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size)?;
    buffer.resize(size, 0);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(buffers: &mut Buffers, bytes: usize) -> Option<Vec<u8>> {
        buffers.take(bytes).expect("there is memory")
    }

    #[test]
    fn memory_that_there_is_not_is_an_error_only_where_none_comes_back() {
        let too_much = 1 << 62;
        let mut buffers = Buffers::new(usize::MAX);
        assert!(buffers.take(too_much).is_err());
        let used = take(&mut buffers, 1).expect("there is room");
        assert_eq!(buffers.take(too_much), Ok(None));
        buffers.give_back(used);
        assert!(buffers.take(too_much).is_err());
        assert_eq!(buffers.used_bytes, 0);
    }

    #[test]
    fn buffers_are_used_again() {
        let mut buffers = Buffers::new(4 * PAGE);
        let mut first = take(&mut buffers, 512).expect("there is room");
        assert_eq!(first, [0; PAGE]);
        first.fill(1);
        buffers.give_back(first);
        assert_eq!(take(&mut buffers, PAGE).expect("there is room"), [1; PAGE]);
    }

    #[test]
    fn the_limit_holds_for_used_and_kept_ones() {
        let mut buffers = Buffers::new(4 * PAGE);
        let small: Vec<_> = (0..4).map(|_| take(&mut buffers, 1).expect("there is room")).collect();
        assert!(take(&mut buffers, 1).is_none());
        small.into_iter().for_each(|buffer| buffers.give_back(buffer));
        let large = take(&mut buffers, 3 * PAGE).expect("there is room");
        assert_eq!((large.len(), buffers.kept.len()), (4 * PAGE, 0));
    }

    #[test]
    fn a_buffer_beyond_the_limit_is_used_alone() {
        let mut buffers = Buffers::new(PAGE);
        let large = take(&mut buffers, 5 * PAGE).expect("it is alone");
        assert!(take(&mut buffers, 1).is_none());
        buffers.give_back(large);
        assert!(take(&mut buffers, 1).is_some());
        assert_eq!(buffers.kept_bytes, 0);
    }
}
