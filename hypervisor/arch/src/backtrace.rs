//! Return addresses from the chain of frame pointers.
//!
//! The image is built with frame pointers; every stack's chain ends in a zero
//! frame pointer, which the code that enters the stack sets.

use crate::memory;

/// Bytes of a saved frame pointer and a return address.
const RECORD: u64 = 16;

/// Calls `visit` with each return address, innermost first, from the frame
/// pointer `rbp`; stops where the chain leaves its stack or does not rise.
pub fn walk(mut rbp: u64, limit: usize, mut visit: impl FnMut(u64)) {
    let Some(end) = memory::stack_end(rbp) else { return };
    for _ in 0..limit {
        if !rbp.is_multiple_of(8) || rbp.checked_add(RECORD).is_none_or(|after| after > end) {
            return;
        }
        let record = rbp as *const [u64; 2];
        // SAFETY: inside a mapped stack by the checks, on this pcpu or one that has
        // stopped, so nobody writes there meanwhile.
        let [next, return_address] = unsafe { record.read_volatile() };
        visit(return_address);
        if next <= rbp {
            return;
        }
        rbp = next;
    }
}
