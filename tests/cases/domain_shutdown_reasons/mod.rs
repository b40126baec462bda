//! The reason with which a domain ends is what getdomaininfo tells.

use guest_rt::hypercall;
use xen_abi::sched::ShutdownReason;

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-shutdown-reasons",
    description: "The reason with which a domain ends is what getdomaininfo tells.",
    covers: &["LIF-12", "LIF-16", "LIF-19"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const REASONS: [(&str, ShutdownReason); 4] = [
    ("poweroff", ShutdownReason::Poweroff),
    ("reboot", ShutdownReason::Reboot),
    ("suspend", ShutdownReason::Suspend),
    ("crash", ShutdownReason::Crash),
];

fn control(controller: &Controller) -> Check {
    for (role, reason) in REASONS {
        let mut domain = controller.spawn("domain-shutdown-reasons", role, Shape::SMALL)?;
        ensure_eq!(domain.ended()?, None, "before its start");
        domain.start()?;
        ensure_eq!(domain.wait(LIMIT_MS)?, reason as u32, "{role}");
        domain.destroy()?;
    }
    Ok(())
}

fn run(guest: &Guest) -> Check {
    match REASONS.iter().find(|(role, _)| *role == guest.role()) {
        Some((_, reason)) => hypercall::shutdown(*reason),
        None => fail!("role {}", guest.role()),
    }
}
