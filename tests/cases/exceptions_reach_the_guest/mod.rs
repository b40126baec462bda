//! Exceptions of the guest are delivered to it with their error codes.

use guest_rt::cpu;
use guest_rt::trap::Fault;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "exceptions-reach-the-guest",
    description: "Exceptions of the guest are delivered to it with their error codes.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    expect::fault(cpu::divide_by_zero(), 0, 0, "division by zero")?;
    expect::fault(cpu::int3(), Fault::BREAKPOINT, 0, "INT3")?;
    expect::undefined(cpu::ud2(), "UD2")?;
    expect::protection(cpu::not_canonical(), "address not canonical")?;
    expect::fault(cpu::bad_selector(), Fault::GENERAL_PROTECTION, 0x1000, "selector beyond the GDT")
}
