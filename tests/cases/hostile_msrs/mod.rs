//! Reading every MSR of both ranges ends in a value or in #GP(0), never worse.

use guest_rt::cpu;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "hostile-msrs",
    description: "Reading every MSR of both ranges ends in a value or in #GP(0), never worse.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    for msr in (0..0x2000).chain(0xc000_0000..0xc000_2000).chain(0x4000_0000..0x4000_0200) {
        if let Err(fault) = cpu::rdmsr(msr) {
            ensure_eq!((fault.vector, fault.error), (13, 0), "MSR {msr:#x}");
        }
    }
    Ok(())
}
