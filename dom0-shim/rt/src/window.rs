//! Guest frames without memory of this domain's, in which a toolstack maps that of others.

use alloc::alloc::{alloc, handle_alloc_error};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::arch::asm;
use core::ops::Range;

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryOp, MemoryReservation};
use xen_abi::xen::{DOMID_SELF, Hypercall};
use zerocopy::FromZeros;

use crate::hypercall;
use crate::paging::PAGE_SIZE;

/// log2 of the pages of a window: it is one large page, so that no other is split.
const ORDER: u32 = 9;
/// Copies of fewer bytes are made word by word: starting a string instruction costs as much.
const BULK: usize = 256;

/// A window, taken from the heap for ever.
#[derive(Debug)]
pub struct Window {
    frames: Range<u64>,
}

impl Window {
    /// Gives 2 MiB of the heap back to the hypervisor; their frames are the window.
    ///
    /// # Errors
    ///
    /// What the hypervisor says. The frames are then nobody's.
    pub fn new() -> Result<Self, Errno> {
        let bytes = crate::to_usize(PAGE_SIZE << ORDER);
        let layout = Layout::from_size_align(bytes, bytes).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc(layout) };
        if block.is_null() {
            handle_alloc_error(layout);
        }
        let first = block as u64 / PAGE_SIZE;
        let frames = first..first + (1 << ORDER);
        if give_back(&mut [first], ORDER) != Ok(1) {
            let mut all: Vec<u64> = frames.clone().collect();
            let count = all.len() as u64;
            if give_back(&mut all, 0)? != count {
                return Err(Errno::ENOMEM);
            }
        }
        Ok(Self { frames })
    }

    /// Its frames.
    #[must_use]
    pub fn frames(&self) -> Range<u64> {
        self.frames.clone()
    }

    /// Copies from what is mapped at `frame`, `offset` bytes in.
    ///
    /// # Panics
    ///
    /// When that is not in the window; by a fault, when nothing is mapped there.
    pub fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        let from = self.place(frame, offset, to.len());
        let (head, bulk) = bulk(from, to.len());
        let (first, rest) = to.split_at_mut(head);
        let (middle, last) = rest.split_at_mut(bulk);
        // SAFETY: all of it is in the window, as `place` has checked; so for the next two.
        unsafe { read_words(from, first) };
        // SAFETY: whole words.
        unsafe { copy_bulk(middle.as_mut_ptr(), (from + head) as *const u8, bulk) };
        // SAFETY: as above.
        unsafe { read_words(from + head + bulk, last) };
    }

    /// Copies to what is mapped at `frame`, `offset` bytes in.
    ///
    /// # Panics
    ///
    /// As [`Self::read`].
    pub fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        let to = self.place(frame, offset, from.len());
        let (head, bulk) = bulk(to, from.len());
        let (first, rest) = from.split_at(head);
        let (middle, last) = rest.split_at(bulk);
        // SAFETY: all of it is in the window, as `place` has checked; so for the next two.
        unsafe { write_words(to, first) };
        // SAFETY: whole words.
        unsafe { copy_bulk((to + head) as *mut u8, middle.as_ptr(), bulk) };
        // SAFETY: as above.
        unsafe { write_words(to + head + bulk, last) };
    }

    fn place(&self, frame: u64, offset: usize, length: usize) -> usize {
        let end = (self.frames.end - frame.max(self.frames.start)) * PAGE_SIZE;
        let fits = self.frames.contains(&frame) && offset + length <= crate::to_usize(end);
        assert!(fits, "frame {frame:#x} is not in the window");
        crate::to_usize(frame * PAGE_SIZE) + offset
    }
}

/// The window's domain is where the toolstack runs.
impl xen_control::Host for Window {
    fn hypercall(&self, number: Hypercall, arguments: [u64; 5]) -> i64 {
        hypercall::raw(number.get().into(), arguments)
    }

    fn relax(&self) {
        hypercall::yield_now();
    }

    fn window(&self) -> Range<u64> {
        self.frames()
    }

    fn read(&self, frame: u64, offset: usize, to: &mut [u8]) {
        self.read(frame, offset, to);
    }

    fn write(&self, frame: u64, offset: usize, from: &[u8]) {
        self.write(frame, offset, from);
    }
}

fn give_back(frames: &mut [u64], order: u32) -> Result<u64, Errno> {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new(frames.as_mut_ptr() as u64),
        nr_extents: frames.len() as u64,
        extent_order: order,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    hypercall::memory_op(MemoryOp::DecreaseReservation, &mut argument)
}

/// How a copy from or to a place in the window is cut: bytes before a word of 8, and bytes of
/// such words behind them, none where there are few.
fn bulk(place: usize, length: usize) -> (usize, usize) {
    if length < BULK {
        return (length, 0);
    }
    let head = place.next_multiple_of(8) - place;
    (head, (length - head) & !7)
}

/// Copies words of 8 bytes, each once, where another domain may use one side meanwhile: an
/// instruction of the machine's, of which the compiler assumes nothing.
///
/// # Safety
///
/// `length` is a multiple of 8; so many bytes can be read at `from` and written at `to`, and
/// this kernel has no reference to either but the caller's.
unsafe fn copy_bulk(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's; the direction flag is clear, as the ABI has it.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") length / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies from a place in a window, aligned words at once.
///
/// # Safety
///
/// As many bytes from `from` on are in a window.
unsafe fn read_words(from: usize, to: &mut [u8]) {
    for (piece, word) in Pieces::new(from, to.len()) {
        let target = &mut to[piece.clone()];
        let place = from + piece.start;
        if word {
            // SAFETY: in the window, and aligned.
            let value = unsafe { (place as *const u32).read_volatile() };
            target.copy_from_slice(&value.to_le_bytes());
        } else {
            // SAFETY: in the window.
            target[0] = unsafe { (place as *const u8).read_volatile() };
        }
    }
}

/// Copies to a place in a window, aligned words at once.
///
/// # Safety
///
/// As many bytes from `to` on are in a window.
unsafe fn write_words(to: usize, from: &[u8]) {
    for (piece, word) in Pieces::new(to, from.len()) {
        let source = &from[piece.clone()];
        let place = to + piece.start;
        match <[u8; 4]>::try_from(source) {
            // SAFETY: in the window, and aligned.
            Ok(bytes) if word => unsafe { (place as *mut u32).write_volatile(u32::from_le_bytes(bytes)) },
            // SAFETY: in the window.
            _ => unsafe { (place as *mut u8).write_volatile(source[0]) },
        }
    }
}

/// Aligned words of memory that another domain may change meanwhile, and single bytes
/// around them: the place in the buffer, and whether it is a word.
struct Pieces {
    base: usize,
    next: usize,
    length: usize,
}

impl Pieces {
    fn new(base: usize, length: usize) -> Self {
        Self { base, next: 0, length }
    }
}

impl Iterator for Pieces {
    type Item = (Range<usize>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        let left = self.length.checked_sub(start).filter(|left| *left > 0)?;
        let word = (self.base + start).is_multiple_of(4) && left >= 4;
        self.next = start + if word { 4 } else { 1 };
        Some((start..self.next, word))
    }
}
