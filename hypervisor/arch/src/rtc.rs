//! The machine's battery-backed clock.

use hv_core::cmos::{REGISTER_A, REGISTER_B, Reading, TIME_REGISTERS, UPDATE_IN_PROGRESS};
use x86_64::instructions::port::Port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Tries until two readings agree: an update takes 2 ms at most, an access about 1 us.
const PATIENCE: usize = 1_000;

/// Reads the clock, which nothing else does at the same time: at boot. Seconds since
/// 1970, or `None` without a clock that tells a time.
#[must_use]
pub fn unix_seconds() -> Option<u64> {
    let settled = || read(REGISTER_A) & UPDATE_IN_PROGRESS == 0;
    for _ in 0..PATIENCE {
        if !settled() {
            continue;
        }
        let first = reading();
        if settled() && reading() == first {
            return first.unix_seconds();
        }
    }
    None
}

fn reading() -> Reading {
    Reading { time: TIME_REGISTERS.map(read), format: read(REGISTER_B) }
}

fn read(register: u8) -> u8 {
    // SAFETY: selects a register of the clock; bit 7 stays clear, so NMIs stay on.
    unsafe { Port::<u8>::new(INDEX).write(register) };
    // SAFETY: reading the registers named here has no effect.
    unsafe { Port::<u8>::new(DATA).read() }
}
