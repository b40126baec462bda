//! The hypervisor holds less than 160 KiB for an idle domain of 64 MiB and one vcpu.

use guest_rt::{hypercall, println};

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-memory-held",
    description: "The hypervisor holds less than 160 KiB for an idle domain of 64 MiB and one vcpu.",
    covers: &["MEM-08", "MEM-11"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const MIB: u64 = 64;
const MOST_KIB: u64 = 160;

fn control(controller: &Controller) -> Check {
    let held = held(controller)?;
    println!("FIGURE memory held for an idle 64-MiB domain: {held} KiB");
    ensure!(held < MOST_KIB, "{held} KiB");
    Ok(())
}

/// KiB that the hypervisor holds for such a domain, which is gone again.
pub fn held(controller: &Controller) -> Check<u64> {
    let Some(before) = controller.free_pages() else { skip!("the hypervisor does not tell its free memory") };
    let mut domain = controller.spawn("domain-memory-held", "", Shape { vcpus: 1, mib: MIB })?;
    domain.start()?;
    domain.wait_for("idle", LIMIT_MS)?;
    let own = domain.info()?.tot_pages;
    let taken = before - controller.free_pages().unwrap_or(0);
    domain.destroy()?;
    Ok((taken - own) * 4)
}

fn run(_: &Guest) -> Check {
    println!("idle");
    loop {
        hypercall::block();
    }
}
