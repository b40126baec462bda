//! Domains on one pcpu share it by their weights, which change at once.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-weights",
    description: "Domains on one pcpu share it by their weights, which change at once.",
    covers: &["T-07", "T-08", "T-09", "T-11", "CPU-07", "CPU-10"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::Control(control, sched::busy),
};

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let load = || Load::new(controller, TEST.name, &[0b10]);
    let mut loads = [load()?, load()?, load()?];
    for load in &mut loads {
        load.start()?;
    }
    let [one, two, three] = &loads;
    expect("equal, no weight set", &[one, two, three], &[256, 256, 256])?;
    two.set_weight(512)?;
    expect("256, 512, 256", &[one, two, three], &[256, 512, 256])?;
    for (load, weight) in loads.iter().zip([80, 140, 100]) {
        load.set_weight(weight)?;
    }
    expect("80, 140, 100", &[one, two, three], &[80, 140, 100])?;
    three.pause()?;
    one.set_weight(512)?;
    two.set_weight(256)?;
    expect("512, 256", &[one, two], &[512, 256])
}

fn expect(what: &str, loads: &[&Load<'_>], weights: &[u64]) -> Check {
    let shares = sched::shares(WINDOW_MS, loads)?;
    let sum: u64 = weights.iter().sum();
    let ideal: alloc::vec::Vec<_> = weights.iter().map(|weight| PCPU * weight / sum).collect();
    sched::expect(what, &sched::of_domains(&shares), &ideal)
}
