//! What a pcpu remembers of the p2m of the domain whose vcpu it runs, so that a
//! copy from or to the guest need not walk the EPT each time.
//!
//! An entry is good for the stamp that the p2m had before the walk. Whoever takes
//! something out of a p2m gives it a new stamp, which no p2m ever had: nothing has
//! to be cleared, and entries of different domains cannot be mixed up.

use core::cell::Cell;

use hv_core::addr::{Mfn, to_usize};
use hv_core::ept::Rights;

use crate::memory;

/// Entries; a power of two.
const ENTRIES: usize = 16;
/// In the address where a frame is mapped: the guest may write it.
const WRITABLE: u64 = 1;

/// The cache of one pcpu.
#[derive(Debug)]
pub(crate) struct Cache([Entry; ENTRIES]);

#[derive(Debug)]
struct Entry {
    /// 0: empty.
    stamp: Cell<u64>,
    gfn: Cell<u64>,
    frame: Cell<u64>,
}

impl Cache {
    pub(crate) const fn new() -> Self {
        Self([const { Entry { stamp: Cell::new(0), gfn: Cell::new(0), frame: Cell::new(0) } }; ENTRIES])
    }

    /// Where the frame behind `gfn` is mapped, if it is known and may be read, or written.
    #[inline]
    pub(super) fn find(&self, stamp: u64, gfn: u64, write: bool) -> Option<u64> {
        let entry = &self.0[index(gfn)];
        let frame = entry.frame.get();
        let known = entry.gfn.get() == gfn && entry.stamp.get() == stamp && (!write || frame & WRITABLE != 0);
        known.then_some(frame & !WRITABLE)
    }

    /// Remembers that `gfn` is `mfn`, readable at least; returns where that is mapped.
    pub(super) fn remember(&self, stamp: u64, gfn: u64, mfn: Mfn, rights: Rights) -> u64 {
        let entry = &self.0[index(gfn)];
        let writable = if rights.contains(Rights::ReadWrite) { WRITABLE } else { 0 };
        entry.stamp.set(stamp);
        entry.gfn.set(gfn);
        let frame = memory::phys_to_virt(mfn.start().get()) as u64;
        entry.frame.set(frame | writable);
        frame
    }
}

/// Neighbours, what is 16 frames apart as stacks are, and the same frames of neighbouring large
/// pages lie apart.
#[inline]
fn index(gfn: u64) -> usize {
    to_usize(gfn ^ gfn >> 4 ^ gfn >> 9) & (ENTRIES - 1)
}
