//! RDMSR and WRMSR of a register that no rule names raise #GP(0).

use alloc::format;

use guest_rt::cpu;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "msr-unknown-faults",
    description: "RDMSR and WRMSR of a register that no rule names raise #GP(0).",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

/// In the two ranges of the MSR bitmap, at their ends, and outside.
const UNKNOWN: [u32; 10] =
    [0x2, 0x1ffe, 0x1fff, 0x2000, 0x1234_5678, 0x4000_1000, 0xc000_0090, 0xc000_1fff, 0xc000_2000, u32::MAX];

fn run(_: &Guest) -> Check {
    for msr in UNKNOWN {
        expect::protection(cpu::rdmsr(msr), &format!("RDMSR {msr:#x}"))?;
        for value in [0, u64::MAX] {
            expect::protection(cpu::wrmsr(msr, value), &format!("WRMSR {msr:#x}"))?;
        }
    }
    Ok(())
}
