//! A vcpu runs on the pcpus of its affinity only, whatever waits there, from the moment it is set; Dom0 too.

use xen_control::calls;

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage};
use crate::test::{Kind, Need, Test};
use crate::timing::sleep_ms;
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-affinity",
    description: "A vcpu runs on the pcpus of its affinity only, whatever waits there, from the moment it is set; Dom0 too.",
    covers: &["T-20", "T-22", "T-23", "T-24", "T-27", "T-30", "CPU-16", "CPU-18", "CPU-19"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, sched::busy),
};

/// How often it is asked where a vcpu is, and how long in between.
const LOOKS: u32 = 20;
const PAUSE_MS: u64 = 2;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    pinned(controller)?;
    dom0(controller)?;
    spread(controller)
}

/// Where the vcpus of a domain run while there is always a reason to run elsewhere.
fn pinned(controller: &Controller) -> Check {
    let mut others = Load::new(controller, TEST.name, &[0b1110; 4])?;
    let mut load = Load::new(controller, TEST.name, &[0b10, 0b100])?;
    others.start()?;
    load.start()?;
    seen_on(&load, [0b10, 0b100])?;
    for (affinity, seen) in [
        ([0b1010, 0b100], [0b1010, 0b100]),
        ([0b1010, 0b1110], [0b1010, 0b1110]),
        // 0-2,5 on a host with four.
        ([0b1000, 0b10_0111], [0b1000, 0b111]),
        ([0b10, 0b10], [0b10, 0b10]),
    ] {
        for (vcpu, pcpus) in (0..).zip(affinity) {
            load.pin(vcpu, pcpus)?;
        }
        seen_on(&load, seen)?;
    }
    Ok(())
}

/// Each vcpu is seen on these pcpus only, and runs.
fn seen_on(load: &Load<'_>, allowed: [u64; 2]) -> Check {
    sleep_ms(PAUSE_MS)?;
    let before = load.ran()?;
    for _ in 0..LOOKS {
        for (vcpu, allowed) in (0..).zip(allowed) {
            let pcpu = load.pcpu(vcpu)?;
            ensure!(allowed >> pcpu & 1 == 1, "vcpu {vcpu}, allowed on {allowed:#b}, is on pcpu {pcpu}");
        }
        sleep_ms(PAUSE_MS)?;
    }
    let after = load.ran()?;
    ensure!(before.iter().zip(&after).all(|(before, after)| after > before), "ran {before:?}, {after:?} ns");
    Ok(())
}

/// Dom0's vcpu is where it asked to be when the hypercall has returned.
fn dom0(controller: &Controller) -> Check {
    let host = controller.host()?;
    for pcpu in [2, 3, 0] {
        calls::set_affinity(host, 0, 0, 1 << pcpu)?;
        ensure_eq!(calls::get_affinity(host, 0, 0)?.0, 1 << pcpu, "pcpus of Dom0");
        ensure_eq!(calls::vcpu_info(host, 0, 0)?.cpu, pcpu, "Dom0's pcpu");
    }
    Ok(())
}

/// Three vcpus that may run on three pcpus have one each.
fn spread(controller: &Controller) -> Check {
    let mut load = Load::new(controller, TEST.name, &[0b1110; 3])?;
    load.start()?;
    let shares = sched::shares(100, &[&load])?;
    sched::expect("three vcpus on three pcpus", &shares.concat(), &[PCPU; 3])
}
