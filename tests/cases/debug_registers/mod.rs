//! Debug registers keep what the guest writes across exits, and refuse reserved bits.

use guest_rt::{cpu, hypercall};

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "debug-registers",
    description: "Debug registers keep what the guest writes across exits, and refuse reserved bits.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    cpu::reload_debug()?;
    expect::protection(cpu::dr7_reserved(), "upper half of DR7")?;
    for value in [0x1234_5678_9abc, 0] {
        cpu::set_dr0(value);
        let _ = cpu::cpuid(0, 0);
        hypercall::yield_now();
        ensure_eq!(cpu::dr0(), value, "DR0 after exits");
    }
    Ok(())
}
