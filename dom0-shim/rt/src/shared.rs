//! Memory of this domain's that others use by grants: what front ends stand on.
//!
//! ```text
//!  GrantTable ── entry ── frame ──┐
//!  Shared ────────────────── page ┘ <── mapped or copied by a back end
//! ```

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::RefCell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

use xen_abi::errno::Errno;
use xen_abi::grant_table::{GrantFlags, GrantType, NR_RESERVED_ENTRIES};
use xen_abi::memory::{AddToPhysmap, MapSpace, MemoryOp};
use xen_abi::xen::DOMID_SELF;
use xen_abi::{RawDomid, RawGrantRef};

use crate::paging::PAGE_SIZE;
use crate::{hypercall, volatile};

const PAGE: usize = crate::to_usize(PAGE_SIZE);
/// Bytes of an entry of version 1.
const ENTRY: usize = 8;
/// Entries of a frame.
const ENTRIES: u32 = 512;

/// Pages side by side, zero at first, that other domains may use: they are read and written by volatile copies only.
/// Clones are the same pages.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Block>);

#[derive(Debug)]
struct Block {
    address: usize,
    bytes: usize,
}

impl Shared {
    /// So many pages of the heap, at least one.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        let layout = layout(pages.max(1) * PAGE);
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            handle_alloc_error(layout);
        }
        Self(Arc::new(Block { address: block as usize, bytes: layout.size() }))
    }

    /// The guest frame numbers.
    pub fn frames(&self) -> impl Iterator<Item = u64> {
        let first = self.0.address as u64 / PAGE_SIZE;
        first..first + (self.0.bytes / PAGE) as u64
    }

    fn place(&self, offset: usize, length: usize) -> usize {
        let fits = offset <= self.0.bytes && length <= self.0.bytes - offset;
        assert!(fits, "{length} bytes at {offset:#x} are not in these pages");
        self.0.address + offset
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "a word at {offset:#x}");
        let place = self.place(offset, 4) as *mut u32;
        // SAFETY: an aligned word of the pages; the pages have no references but such.
        unsafe { AtomicU32::from_ptr(place) }
    }
}

impl xen_backend::Memory for Shared {
    fn len(&self) -> usize {
        self.0.bytes
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let from = self.place(offset, to.len());
        // SAFETY: in the pages, as `place` has checked.
        unsafe { volatile::read(from, to) };
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let to = self.place(offset, from.len());
        // SAFETY: as above.
        unsafe { volatile::write(to, from) };
    }

    fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it came from the allocator with this layout; no grant is left, as `Granted` sees to.
        unsafe { dealloc(self.address as *mut u8, layout(self.bytes)) };
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, PAGE)
        .expect("a page is a power of two, and memory is less than all addresses")
}

/// This domain's grant table, version 1. Clones are the same.
#[derive(Clone, Debug)]
pub struct GrantTable(Rc<Table>);

#[derive(Debug)]
struct Table {
    /// Its frames, in place of pages that are gone for ever.
    frames: ManuallyDrop<Shared>,
    free: RefCell<Vec<RawGrantRef>>,
}

impl GrantTable {
    /// The first `frames` frames of the table.
    ///
    /// # Errors
    ///
    /// What the hypervisor says.
    pub fn new(frames: usize) -> Result<Self, Errno> {
        let pages = ManuallyDrop::new(Shared::new(frames));
        for (idx, gpfn) in (0..).zip(pages.frames()) {
            let space = MapSpace::GrantTable.get();
            let mut add = AddToPhysmap { domid: DOMID_SELF, size: 0, space, idx, gpfn };
            hypercall::memory_op(MemoryOp::AddToPhysmap, &mut add)?;
        }
        let entries = u32::try_from(frames).unwrap_or(u32::MAX).saturating_mul(ENTRIES);
        let free = RefCell::new((NR_RESERVED_ENTRIES..entries).rev().collect());
        Ok(Self(Rc::new(Table { frames: pages, free })))
    }

    /// Pages that `domain` may read, and write if `writable`.
    ///
    /// # Panics
    ///
    /// When no entry is left.
    #[must_use]
    pub fn share(&self, domain: RawDomid, pages: &Shared, writable: bool) -> Granted {
        let flags = if writable { GrantFlags::empty() } else { GrantFlags::READONLY };
        let references = pages.frames().map(|frame| {
            let entry = self.0.free.borrow_mut().pop().expect("an entry of the grant table");
            self.overwrite(entry, GrantType::PermitAccess as u16 | flags.bits(), domain, frame);
            entry
        });
        Granted { references: references.collect(), table: self.clone(), pages: pages.clone() }
    }

    /// Writes an entry, whatever it was, and whatever the frame is: what a guest does that breaks the rules.
    ///
    /// # Panics
    ///
    /// When the table has no such entry.
    pub fn overwrite(&self, entry: RawGrantRef, flags: u16, domain: RawDomid, frame: u64) {
        let (flags_of, domain_of) = self.header(entry);
        flags_of.store(0, Ordering::Release);
        domain_of.store(domain, Ordering::Release);
        // Frames of small kernels are below 4 GiB.
        let frame = u32::try_from(frame).unwrap_or(u32::MAX);
        self.0.frames.word(entry as usize * ENTRY + 4).store(frame, Ordering::Release);
        flags_of.store(flags, Ordering::Release);
    }

    /// Takes an entry back unless it is in use; whether it was not.
    fn end(&self, entry: RawGrantRef) -> bool {
        let in_use = (GrantFlags::READING | GrantFlags::WRITING).bits();
        let (flags, _) = self.header(entry);
        let mut seen = flags.load(Ordering::Acquire);
        while seen & in_use == 0 {
            match flags.compare_exchange_weak(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Flags and domain of an entry.
    fn header(&self, entry: RawGrantRef) -> (&AtomicU16, &AtomicU16) {
        let place = self.0.frames.place(entry as usize * ENTRY, ENTRY) as *mut u16;
        // SAFETY: an aligned word of the table, only used atomically.
        let flags = unsafe { AtomicU16::from_ptr(place) };
        // SAFETY: the next one.
        (flags, unsafe { AtomicU16::from_ptr(place.wrapping_add(1)) })
    }
}

/// Pages that another domain may use, as long as this is there.
#[derive(Debug)]
pub struct Granted {
    table: GrantTable,
    pages: Shared,
    references: Vec<RawGrantRef>,
}

impl Granted {
    /// A grant for each page.
    #[must_use]
    pub fn references(&self) -> &[RawGrantRef] {
        &self.references
    }

    /// The pages.
    #[must_use]
    pub fn pages(&self) -> &Shared {
        &self.pages
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        for entry in self.references.drain(..) {
            if self.table.end(entry) {
                self.table.0.free.borrow_mut().push(entry);
            } else {
                // The other one may write there still: the pages are not used again.
                core::mem::forget(self.pages.clone());
            }
        }
    }
}
