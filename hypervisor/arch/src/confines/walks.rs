//! What a pcpu remembers of walks through the page tables of the guest that it runs, for
//! the kernel's own pages ([`KernelWalk`]).
//!
//! A TLB would not do: a kernel that changes an entry and flushes it does so without a VM
//! exit. So the entries of a walk are read again each time, where they were found, and only
//! what follows from them is remembered: that they are what a walk would read, and where it
//! would end. As for [`super::cache`], where they were found is good for the stamp that the
//! p2m had.

use core::cell::{Cell, RefCell};

use arrayvec::ArrayVec;
use hv_core::addr::{GuestPhysAddr, GuestVirtAddr, to_usize};
use hv_core::pt_walk::{GuestMemory, KernelWalk, Purpose};

use super::Local;
use crate::memory;

/// Pages; a power of two. A copy of a structure takes one, the stack and static data of a
/// few vcpus some.
const PAGES: usize = 16;
/// Most entries on the way to a page.
const LEVELS: usize = 4;
/// In the address where a frame is mapped: the guest may write it, or fetch code from it.
pub(super) const WRITABLE: u64 = 1 << 0;
pub(super) const EXECUTABLE: u64 = 1 << 1;
const RIGHTS: u64 = WRITABLE | EXECUTABLE;

/// The walks of one pcpu.
#[derive(Debug)]
pub(crate) struct Walks([Page; PAGES]);

#[derive(Debug)]
struct Page {
    /// 0: empty.
    stamp: Cell<u64>,
    /// [`KernelWalk::key`].
    key: Cell<u64>,
    first_byte: Cell<u64>,
    /// Where each entry is mapped, and what it was. The last one again where the way is
    /// shorter.
    entries: [(Cell<u64>, Cell<u64>); LEVELS],
    frame: Cell<u64>,
}

/// The guest's memory as a walk reads it, and what it has read: where each entry is mapped,
/// and what it was.
pub(super) struct Seen<'a> {
    memory: Local<'a>,
    stamp: u64,
    entries: RefCell<ArrayVec<(u64, u64), LEVELS>>,
}

impl<'a> Seen<'a> {
    /// Of a vcpu that is loaded here, whose p2m has `stamp`.
    pub(super) fn new(memory: Local<'a>, stamp: u64) -> Self {
        Self { memory, stamp, entries: RefCell::new(ArrayVec::new_const()) }
    }
}

impl GuestMemory for Seen<'_> {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        let (from, entry) = self.memory.read_word_now(self.stamp, addr)?;
        // A walk has no more levels.
        self.entries.borrow_mut().try_push((from as u64, entry)).ok()?;
        Some(entry)
    }

    fn read_u32(&self, addr: GuestPhysAddr) -> Option<u32> {
        self.memory.read_u32(addr)
    }
}

impl Walks {
    pub(crate) const fn new() -> Self {
        Self(
            [const {
                Page {
                    stamp: Cell::new(0),
                    key: Cell::new(0),
                    first_byte: Cell::new(0),
                    entries: [const { (Cell::new(0), Cell::new(0)) }; LEVELS],
                    frame: Cell::new(0),
                }
            }; PAGES],
        )
    }

    /// Where the frame is mapped to which `walk` would lead for the page of `at`, if that is
    /// known and it has the rights that `purpose` needs.
    ///
    /// # Safety
    ///
    /// `stamp` is what the p2m has of the domain whose vcpu is loaded on this pcpu.
    #[inline]
    pub(super) unsafe fn find(
        &self,
        stamp: u64,
        walk: KernelWalk,
        at: GuestVirtAddr,
        purpose: Purpose,
    ) -> Option<u64> {
        let first_byte = at.get() - at.page_offset();
        let page = &self.0[index(first_byte)];
        if page.first_byte.get() != first_byte || page.stamp.get() != stamp || page.key.get() != walk.key() {
            return None;
        }
        for (place, entry) in &page.entries {
            // SAFETY: it was found there, in RAM of the domain, when the p2m had this stamp, so
            // the p2m has it still.
            if unsafe { memory::read_guest_u64(place.get() as *const u8) } != entry.get() {
                return None;
            }
        }
        let frame = page.frame.get();
        let needed = match purpose {
            Purpose::Read => 0,
            Purpose::Write => WRITABLE,
            Purpose::Fetch => EXECUTABLE,
        };
        (frame & needed == needed).then_some(frame & !RIGHTS)
    }

    /// Remembers what `walk` has `seen` on its way to the page of `at`, whose frame is mapped at `frame`, with [`WRITABLE`] if it
    /// may be written, and [`EXECUTABLE`].
    pub(super) fn remember(
        &self,
        stamp: u64,
        walk: KernelWalk,
        at: GuestVirtAddr,
        seen: &Seen<'_>,
        frame: u64,
    ) {
        let entries = seen.entries.borrow();
        let Some(&last) = entries.last() else { return };
        let first_byte = at.get() - at.page_offset();
        let page = &self.0[index(first_byte)];
        for (index, (place, entry)) in page.entries.iter().enumerate() {
            let (at, value) = entries.get(index).copied().unwrap_or(last);
            place.set(at);
            entry.set(value);
        }
        page.stamp.set(stamp);
        page.key.set(walk.key());
        page.first_byte.set(first_byte);
        page.frame.set(frame);
    }
}

/// As for frames.
#[inline]
fn index(first_byte: u64) -> usize {
    to_usize(first_byte >> 12 ^ first_byte >> 16 ^ first_byte >> 21) & (PAGES - 1)
}
