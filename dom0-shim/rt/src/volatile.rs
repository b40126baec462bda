//! Copies from and to memory that another domain may use meanwhile: each byte once, aligned words at once.

use core::arch::asm;
use core::ops::Range;

/// Copies of fewer bytes are made word by word: starting a string instruction costs as much.
const BULK: usize = 256;

/// Copies out of shared memory.
///
/// # Safety
///
/// As many bytes from `from` on are memory that this kernel has no reference to.
pub(crate) unsafe fn read(from: usize, to: &mut [u8]) {
    let (head, bulk) = bulk(from, to.len());
    let (first, rest) = to.split_at_mut(head);
    let (middle, last) = rest.split_at_mut(bulk);
    // SAFETY: the caller's; so for the next two.
    unsafe { read_words(from, first) };
    // SAFETY: whole words.
    unsafe { copy_bulk(middle.as_mut_ptr(), (from + head) as *const u8, bulk) };
    // SAFETY: as above.
    unsafe { read_words(from + head + bulk, last) };
}

/// Copies into shared memory.
///
/// # Safety
///
/// As for [`read`].
pub(crate) unsafe fn write(to: usize, from: &[u8]) {
    let (head, bulk) = bulk(to, from.len());
    let (first, rest) = from.split_at(head);
    let (middle, last) = rest.split_at(bulk);
    // SAFETY: the caller's; so for the next two.
    unsafe { write_words(to, first) };
    // SAFETY: whole words.
    unsafe { copy_bulk((to + head) as *mut u8, middle.as_ptr(), bulk) };
    // SAFETY: as above.
    unsafe { write_words(to + head + bulk, last) };
}

/// How a copy from or to a place in shared memory is cut: bytes before a word of 8, and bytes of
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

/// Copies from a place in shared memory, aligned words at once.
///
/// # Safety
///
/// As many bytes from `from` on are in shared memory.
unsafe fn read_words(from: usize, to: &mut [u8]) {
    for (piece, word) in Pieces::new(from, to.len()) {
        let target = &mut to[piece.clone()];
        let place = from + piece.start;
        if word {
            // SAFETY: in shared memory, and aligned.
            let value = unsafe { (place as *const u32).read_volatile() };
            target.copy_from_slice(&value.to_le_bytes());
        } else {
            // SAFETY: in shared memory.
            target[0] = unsafe { (place as *const u8).read_volatile() };
        }
    }
}

/// Copies to a place in shared memory, aligned words at once.
///
/// # Safety
///
/// As many bytes from `to` on are in shared memory.
unsafe fn write_words(to: usize, from: &[u8]) {
    for (piece, word) in Pieces::new(to, from.len()) {
        let source = &from[piece.clone()];
        let place = to + piece.start;
        match <[u8; 4]>::try_from(source) {
            // SAFETY: in shared memory, and aligned.
            Ok(bytes) if word => unsafe { (place as *mut u32).write_volatile(u32::from_le_bytes(bytes)) },
            // SAFETY: in shared memory.
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
