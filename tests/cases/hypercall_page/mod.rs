//! The page that the MSR names is filled in with calls of every number; a place that is
//! no memory faults.

use alloc::format;

use guest_rt::{cpu, hypercall};

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hypercall-page",
    description: "The page that the MSR names is filled in with calls of every number; a place that is no memory faults.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const MSR: u32 = 0x4000_0000;

fn run(_: &Guest) -> Check {
    let before = hypercall::page_bytes();
    ensure_eq!(before[0], 0xb8, "first byte: MOV EAX");
    for number in [0_u32, 17, 34, 127] {
        let at = number as usize * 32;
        let [a, b, c, d] = number.to_le_bytes();
        if number != 23 {
            ensure_eq!(before[at..at + 9], [0xb8, a, b, c, d, 0x0f, 0x01, 0xc1, 0xc3], "entry {number}");
        }
    }
    // Beyond all memory, or not a page's first byte.
    for place in [1 << 51, 1 << 40, u64::MAX << 12] {
        expect::protection(cpu::wrmsr(MSR, place), &format!("page at {place:#x}"))?;
    }
    Ok(())
}
