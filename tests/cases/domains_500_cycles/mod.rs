//! 500 domains are created and destroyed, and not one frame is lost.

use xen_control::calls;

use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domains-500-cycles",
    description: "500 domains are created and destroyed, and not one frame is lost.",
    covers: &["LIF-18", "MEM-01"],
    needs: &[],
    kind: Kind::Dom0(control),
};

const CYCLES: u32 = 500;

fn control(controller: &Controller) -> Check {
    let before = controller.free_pages();
    for cycle in 0..CYCLES {
        let domain = controller.spawn_bare(2)?;
        fill(controller, domain.id(), cycle)?;
    }
    controller.all_back(before)
}

/// Gives the domain of every other cycle some memory.
fn fill(controller: &Controller, id: u16, cycle: u32) -> Check {
    let host = controller.host()?;
    if cycle.is_multiple_of(2) {
        return Ok(());
    }
    calls::max_mem(host, id, 4_096)?;
    let mut frames = [0, 1, 0x100, 0xf_eff8];
    ensure_eq!(calls::populate(host, id, &mut frames, 0)?, 4, "pages of cycle {cycle}");
    if cycle % 4 == 1 {
        // Twice the limit.
        let given = calls::populate(host, id, &mut [0x200, 0x400, 0x600, 0x800], 9).unwrap_or(0);
        ensure!(given <= 1, "{given} large pages in cycle {cycle}");
    }
    Ok(())
}
