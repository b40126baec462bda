//! Creating a domain costs the same whatever its size, but for the page tables and the
//! scrubbing.

use guest_rt::{cpu, println};

use crate::controller::Controller;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-creation-ticks",
    description: "Creating a domain costs the same whatever its size, but for the page tables and the scrubbing.",
    covers: &["PRF-02"],
    needs: &[],
    kind: Kind::Dom0(control),
};

fn control(controller: &Controller) -> Check {
    for mib in [64, 256, 1024] {
        let start = cpu::rdtsc();
        let domain = controller.spawn("start-info", "", Shape { vcpus: 1, mib })?;
        let ticks = cpu::rdtsc() - start;
        println!("FIGURE creation of a {mib}-MiB domain: {ticks} ticks");
        let start = cpu::rdtsc();
        domain.destroy()?;
        let ticks = cpu::rdtsc() - start;
        println!("FIGURE destruction of a {mib}-MiB domain: {ticks} ticks");
    }
    Ok(())
}
