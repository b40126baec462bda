//! OSXSAVE in CPUID is CR4.OSXSAVE, at once.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "cpuid-follows-osxsave",
    description: "OSXSAVE in CPUID is CR4.OSXSAVE, at once.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const OSXSAVE: u64 = 1 << 18;

fn run(_: &Guest) -> Check {
    if cpu::cpuid(1, 0).ecx & 1 << 26 == 0 {
        skip!("no XSAVE");
    }
    for on in [true, false, true] {
        if on {
            cpu::change_cr4(OSXSAVE, 0)?
        } else {
            cpu::change_cr4(0, OSXSAVE)?
        }
        ensure_eq!(cpu::cpuid(1, 0).ecx & 1 << 27 != 0, on, "OSXSAVE");
    }
    Ok(cpu::change_cr4(0, OSXSAVE)?)
}
