//! The trap flag raises #DB behind each instruction, also behind one that the hypervisor
//! carries out.

use guest_rt::cpu;
use guest_rt::trap::{self, Fault};

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "single-step",
    description: "The trap flag raises #DB behind each instruction, also behind one that the hypervisor carries out.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    trap::set_handler(Fault::DEBUG, |_| {});
    let before = trap::count(Fault::DEBUG);
    cpu::single_step();
    let traps = trap::count(Fault::DEBUG) - before;
    ensure_eq!(traps, cpu::SINGLE_STEPS, "traps");
    Ok(())
}
