//! Weights hold for vcpus that may not run everywhere: shares are max-min fair over what affinity allows.

use alloc::vec::Vec;

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-weights-under-pinning",
    description: "Weights hold for vcpus that may not run everywhere: shares are max-min fair over what affinity allows.",
    covers: &["CPU-08", "CPU-12", "CPU-16", "CPU-21"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, sched::busy),
};

const FIRST: u64 = 0b10;
const SECOND: u64 = 0b100;
const THIRD: u64 = 0b1000;

/// Four domains of one vcpu each: how they are weighted and pinned, and what each gets.
struct Layout {
    what: &'static str,
    weights: [u16; 4],
    pcpus: [u64; 4],
    ideal: [u64; 4],
}

const LAYOUTS: [Layout; 4] = [
    // The host gives the first one half of two pcpus by its weight, which is all of its own: a scheduler that
    // hands out shares of the host, and not of the pcpus competed for, gives it too much or too little.
    Layout {
        what: "768 and 256 pinned to one, two of 256 to another",
        weights: [768, 256, 256, 256],
        pcpus: [FIRST, FIRST, SECOND, SECOND],
        ideal: [PCPU * 3 / 4, PCPU / 4, PCPU / 2, PCPU / 2],
    },
    Layout {
        what: "four equal ones on three, one of them pinned",
        weights: [256; 4],
        pcpus: [FIRST, FIRST | SECOND | THIRD, FIRST | SECOND | THIRD, FIRST | SECOND | THIRD],
        ideal: [PCPU * 3 / 4; 4],
    },
    // Each of the middle ones makes up at one pcpu what it lacks at the other.
    Layout {
        what: "a chain of four equal ones over three",
        weights: [256; 4],
        pcpus: [FIRST, FIRST | SECOND, SECOND | THIRD, THIRD],
        ideal: [PCPU * 3 / 4; 4],
    },
    // The first one can use no more than its pcpu, whatever its weight; nobody else may run there all the same.
    Layout {
        what: "1024 pinned to one of two, three of 256 on both",
        weights: [1024, 256, 256, 256],
        pcpus: [FIRST, FIRST | SECOND, FIRST | SECOND, FIRST | SECOND],
        ideal: [PCPU, PCPU / 3, PCPU / 3, PCPU / 3],
    },
];

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    LAYOUTS.iter().try_for_each(|layout| measure(controller, layout))
}

/// Each layout has domains of its own: what a vcpu has used lately goes with it when it is pinned anew.
fn measure(controller: &Controller, layout: &Layout) -> Check {
    let load = |pcpus| Load::new(controller, TEST.name, &[pcpus]);
    let mut loads = layout.pcpus.into_iter().map(load).collect::<Check<Vec<_>>>()?;
    for (load, weight) in loads.iter_mut().zip(layout.weights) {
        load.set_weight(weight)?;
        load.start()?;
    }
    let loads: Vec<_> = loads.iter().collect();
    let shares = sched::shares(WINDOW_MS, &loads)?;
    sched::expect(layout.what, &sched::of_domains(&shares), &layout.ideal)
}
