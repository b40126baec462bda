//! Sixty domains with 120 busy vcpus share eight pcpus: all are listed, and all run.

use alloc::vec::Vec;

use guest_rt::println;
use xen_control::calls;

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, Stage};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domains-60-busy",
    description: "Sixty domains with 120 busy vcpus share eight pcpus: all are listed, and all run.",
    covers: &["LIM-01", "LIM-02", "CPU-30", "CPU-31", "T-21"],
    needs: &[Need::Pcpus(8)],
    kind: Kind::Control(control, sched::busy),
};

const DOMAINS: usize = 60;
/// Beside Dom0's.
const PCPUS: u64 = 0b1111_1110;
const WINDOW_MS: u64 = 400;
const SLICE_MS: u32 = 2;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    // The hypervisor's heap grows once for so many domains, and keeps what it has.
    drop(sixty(controller)?);
    controller.rebase();
    let mut loads = sixty(controller)?;
    for load in &mut loads {
        load.start()?;
        // Those that are ready do not hold up the others.
        load.toggle()?;
    }
    loads.iter().try_for_each(Load::toggle)?;
    let listed = calls::list(controller.host()?, 0, 100)?;
    ensure_eq!(listed.len(), DOMAINS + 1, "domains listed");
    ensure_eq!(listed.iter().skip(1).map(|info| info.nr_online_vcpus).sum::<u32>(), 120, "vcpus that are up");
    let all: Vec<_> = loads.iter().collect();
    let shares = sched::shares(WINDOW_MS, &all)?.concat();
    let (least, most) =
        (shares.iter().min().copied().unwrap_or(0), shares.iter().max().copied().unwrap_or(0));
    println!("shares from {least} to {most} of {PCPU}");
    let fair = PCPU * 7 / 120;
    ensure!(least >= fair * 8 / 10, "a vcpu got {least}, another one {most}; {fair} is its share");
    Ok(())
}

fn sixty(controller: &Controller) -> Check<Vec<Load<'_>>> {
    (0..DOMAINS).map(|_| Load::new(controller, TEST.name, &[PCPUS; 2])).collect()
}
