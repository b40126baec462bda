//! Critical sections for the crates that ask for them (`critical-section`): interrupts off,
//! and one vcpu at a time.

use core::sync::atomic::{AtomicU32, Ordering};

use critical_section::{Impl, RawRestoreState};

use crate::{cpu, smp, trap};

struct Section;

critical_section::set_impl!(Section);

/// Nobody is in it.
const FREE: u32 = u32::MAX;
/// The vcpu that is in it.
static OWNER: AtomicU32 = AtomicU32::new(FREE);

const INTERRUPTS: RawRestoreState = 1;
const NESTED: RawRestoreState = 2;

// SAFETY: between `acquire` and the `release` of the same nesting no other vcpu gets past
// `acquire`, and interrupts of this one are off.
unsafe impl Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        let interrupts = if trap::are_enabled() { INTERRUPTS } else { 0 };
        trap::disable();
        let me = smp::current();
        if OWNER.load(Ordering::Relaxed) == me {
            return interrupts | NESTED;
        }
        while OWNER.compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
            cpu::relax();
        }
        interrupts
    }

    unsafe fn release(state: RawRestoreState) {
        if state & NESTED == 0 {
            OWNER.store(FREE, Ordering::Release);
        }
        if state & INTERRUPTS != 0 {
            trap::enable();
        }
    }
}
