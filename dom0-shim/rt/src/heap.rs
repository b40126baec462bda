//! The heap: all memory from the end of the image to the start information.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;
use spin::Mutex;

use crate::boot::Boot;

struct Allocator(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap::empty()));

// SAFETY: the heap keeps what is in use apart from what is free; the lock keeps its
// callers apart. Handlers of interrupts do not allocate.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller has it from `alloc`, with the same layout.
            unsafe { self.0.lock().deallocate(block, layout) }
        }
    }
}

/// Where the kernel itself lies.
pub(crate) fn image() -> Range<u64> {
    unsafe extern "C" {
        static guest_image_start: u8;
        static guest_image_end: u8;
    }
    (&raw const guest_image_start) as u64..(&raw const guest_image_end) as u64
}

/// Gives the heap the memory that is nobody's.
pub(crate) fn init(boot: &Boot) {
    let free = boot.free_memory();
    let size = usize::try_from(free.end.saturating_sub(free.start)).unwrap_or(0);
    // SAFETY: RAM that holds neither the image nor anything that the builder put
    // there; done once, before the first allocation.
    unsafe { ALLOCATOR.0.lock().init(free.start as *mut u8, size) };
}

/// Bytes that are free.
#[must_use]
pub fn free() -> usize {
    ALLOCATOR.0.lock().free()
}

/// End of what the kernel uses: no memory below is anybody else's.
pub(crate) fn end() -> u64 {
    crate::boot::get().map_or(u64::MAX, |boot| boot.free_memory().end)
}
