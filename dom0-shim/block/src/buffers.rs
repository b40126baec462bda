//! Memory that data passes through between a front end and a disk.
//!
//! Buffers belong to one connection and are kept for its next requests: what is left in one
//! came from the same domain and the same disk, or is zeros.

use alloc::vec;
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
    pub(crate) fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let size = bytes.max(PAGE).checked_next_power_of_two()?;
        if self.used_bytes > 0 && self.used_bytes.saturating_add(size) > self.limit {
            return None;
        }
        self.used_bytes += size;
        let like = self.kept.iter().rposition(|buffer| buffer.len() == size);
        Some(match like {
            Some(place) => {
                self.kept_bytes -= size;
                self.kept.swap_remove(place)
            }
            None => {
                self.forget_some();
                vec![0; size]
            }
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let mut buffers = Buffers::new(4 * PAGE);
        let mut first = buffers.take(512).expect("there is room");
        assert_eq!(first, [0; PAGE]);
        first.fill(1);
        buffers.give_back(first);
        assert_eq!(buffers.take(PAGE).expect("there is room"), [1; PAGE]);
    }

    #[test]
    fn the_limit_holds_for_used_and_kept_ones() {
        let mut buffers = Buffers::new(4 * PAGE);
        let small: Vec<_> = (0..4).map(|_| buffers.take(1).expect("there is room")).collect();
        assert!(buffers.take(1).is_none());
        small.into_iter().for_each(|buffer| buffers.give_back(buffer));
        let large = buffers.take(3 * PAGE).expect("there is room");
        assert_eq!((large.len(), buffers.kept.len()), (4 * PAGE, 0));
    }

    #[test]
    fn a_buffer_beyond_the_limit_is_used_alone() {
        let mut buffers = Buffers::new(PAGE);
        let large = buffers.take(5 * PAGE).expect("it is alone");
        assert!(buffers.take(1).is_none());
        buffers.give_back(large);
        assert!(buffers.take(1).is_some());
        assert_eq!(buffers.kept_bytes, 0);
    }
}
