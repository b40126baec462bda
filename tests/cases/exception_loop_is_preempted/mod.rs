//! A guest that raises exceptions without end can be interrupted and destroyed.

use guest_rt::trap::{self, Fault};
use guest_rt::{cpu, println};

use crate::controller::{Controller, LIMIT_MS, until};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "exception-loop-is-preempted",
    description: "A guest that raises exceptions without end can be interrupted and destroyed.",
    covers: &["LIF-15", "LIF-30"],
    needs: &[],
    kind: Kind::Control(control, run),
};

fn control(controller: &Controller) -> Check {
    let mut domain = controller.spawn("exception-loop-is-preempted", "", Shape::SMALL)?;
    domain.start()?;
    domain.wait_for("loop", LIMIT_MS)?;
    until(50, || false);
    ensure_eq!(domain.ended()?, None, "it has ended");
    domain.destroy()
}

fn run(_: &Guest) -> Check {
    println!("loop");
    // The handler returns to the instruction that faulted.
    trap::set_handler(Fault::INVALID_OPCODE, |_| {});
    cpu::ud2_for_ever()
}
