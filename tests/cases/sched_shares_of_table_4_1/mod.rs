//! Domains get what table 4.1 gives them; who does not run, or has nothing to do, leaves its share to the others.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-shares-of-table-4-1",
    description: "Domains get what table 4.1 gives them; who does not run, or has nothing to do, leaves its share to the others.",
    covers: &["T-01", "T-02", "T-03", "T-04", "T-05", "T-06", "T-12", "CPU-03", "CPU-08", "CPU-09"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, sched::busy),
};

/// Pcpus of domains 2 and 3.
const PAIR: u64 = 0b1100;
const CONTENDED: [u64; 3] = [PCPU, PCPU * 3 / 2, PCPU / 2];

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let load = |pcpus: &[u64]| Load::new(controller, TEST.name, pcpus);
    let (mut one, mut two, mut three) = (load(&[0b10])?, load(&[PAIR; 2])?, load(&[PAIR; 2])?);
    two.set_weight(768)?;
    for load in [&mut one, &mut two, &mut three] {
        load.start()?;
    }
    expect("all busy", &[&one, &two, &three], &CONTENDED)?;
    three.toggle()?;
    expect("domain 3 idle", &[&one, &two, &three], &[PCPU, 2 * PCPU, 0])?;
    three.toggle()?;
    expect("domain 3 awake again", &[&one, &two, &three], &CONTENDED)?;
    drop(three);
    expect("domain 3 stopped", &[&one, &two], &[PCPU, 2 * PCPU])
}

fn expect(what: &str, loads: &[&Load<'_>], ideal: &[u64]) -> Check {
    let shares = sched::shares(WINDOW_MS, loads)?;
    sched::expect(what, &sched::of_domains(&shares), ideal)
}
