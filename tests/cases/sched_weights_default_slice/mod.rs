//! With the time slice of a boot without options, too, two seconds are enough for shares to be exact.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, Stage};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-weights-default-slice",
    description: "With the time slice of a boot without options, too, two seconds are enough for shares to be exact.",
    covers: &["T-02", "T-03", "T-07", "T-12"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, sched::busy),
};

const WINDOW_MS: u64 = 2_000;

/// Table 4.1's domains 2 and 3 on two pcpus, 512 against 256 on the third one.
fn control(controller: &Controller) -> Check {
    const PAIR: u64 = 0b1100;
    let _stage = Stage::new(controller, None)?;
    let load = |pcpus: &[u64]| Load::new(controller, TEST.name, pcpus);
    let mut loads = [load(&[0b10])?, load(&[0b10])?, load(&[PAIR; 2])?, load(&[PAIR; 2])?];
    for (load, weight) in loads.iter_mut().zip([512, 256, 768, 256]) {
        load.set_weight(weight)?;
        load.start()?;
    }
    let shares = sched::shares(WINDOW_MS, &loads.each_ref())?;
    let ideal = [PCPU * 2 / 3, PCPU / 3, PCPU * 3 / 2, PCPU / 2];
    sched::expect("512, 256 and 768, 256 on two pcpus", &sched::of_domains(&shares), &ideal)
}
