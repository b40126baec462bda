//! A triple fault ends its domain as crashed, and no other.

use guest_rt::{clock, cpu};
use xen_abi::sched::ShutdownReason;

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-triple-fault",
    description: "A triple fault ends its domain as crashed, and no other.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Control(control, run),
};

fn control(controller: &Controller) -> Check {
    let mut other = controller.spawn("domain-triple-fault", "other", Shape::SMALL)?;
    let mut domain = controller.spawn("domain-triple-fault", "fault", Shape::SMALL)?;
    other.start()?;
    domain.start()?;
    let reason = domain.wait(LIMIT_MS)?;
    ensure!(
        reason == ShutdownReason::Crash as u32 || reason == ShutdownReason::Reboot as u32,
        "reason {reason}"
    );
    domain.destroy()?;
    other.wait(LIMIT_MS)?;
    other.verdict()
}

fn run(guest: &Guest) -> Check {
    if guest.role() == "fault" {
        cpu::triple_fault();
    }
    clock::delay_us(50_000);
    Ok(())
}
