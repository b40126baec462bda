//! The Rust heap, for set-up paths: nothing on a VM exit's path allocates.
//!
//! First fit from a linked list, in a window of the address space that grows by
//! fresh frames when a request does not fit.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use hv_core::addr::{PAGE_SIZE, to_usize};
use hv_core::frame::{Order, Use};
use linked_list_allocator::Heap;

use crate::memory;
use crate::sync::{Lock, Rank};

/// The window's size: a bound on what a mistake can take.
const LIMIT: u64 = 1 << 30;
/// Least growth: 256 KiB.
const STEP_FRAMES: u64 = 64;

struct Window {
    heap: Heap,
    mapped: u64,
}

// SAFETY: the heap's pointers lead into the window, which every pcpu reaches;
// access is by the lock.
unsafe impl Send for Window {}

struct Allocator(Lock<Window>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Lock::new(Rank::Heap, Window { heap: Heap::empty(), mapped: 0 }));

// SAFETY: `Heap` gives out disjoint memory of the layout asked for; the lock
// makes it one user's at a time.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut window = self.0.lock();
        let first = window.heap.allocate_first_fit(layout);
        let allocated = first.or_else(|()| {
            window.grow(layout)?;
            window.heap.allocate_first_fit(layout)
        });
        allocated.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller returns what `alloc` gave for this layout.
            unsafe { self.0.lock().heap.deallocate(pointer, layout) };
        }
    }
}

impl Window {
    /// Makes room for `layout` at the end.
    fn grow(&mut self, layout: Layout) -> Result<(), ()> {
        // Alignment may cost as much again at the start of the new room.
        let wanted = layout.size().checked_add(layout.align()).ok_or(())? as u64;
        let frames = wanted.div_ceil(PAGE_SIZE).max(STEP_FRAMES);
        let order = Order::covering(frames).ok_or(())?;
        let bytes = order.frames() * PAGE_SIZE;
        if self.mapped + bytes > LIMIT {
            return Err(());
        }
        let start = memory::HEAP + self.mapped;
        memory::map_fresh(start, order, Use::Heap).map_err(|_| ())?;
        if self.mapped == 0 {
            // SAFETY: fresh memory, mapped for ever.
            unsafe { self.heap.init(start as *mut u8, to_usize(bytes)) };
        } else {
            // SAFETY: fresh memory right behind what the heap has.
            unsafe { self.heap.extend(to_usize(bytes)) };
        }
        self.mapped += bytes;
        Ok(())
    }
}

/// Bytes in use and bytes mapped.
#[must_use]
pub fn usage() -> (usize, usize) {
    let window = ALLOCATOR.0.lock();
    (window.heap.used(), window.heap.size())
}
