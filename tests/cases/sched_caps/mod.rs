//! A cap limits each vcpu to its part of it, on an idle machine too, and changes at once.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-caps",
    description: "A cap limits each vcpu to its part of it, on an idle machine too, and changes at once.",
    covers: &["T-13", "T-14", "T-15", "T-16", "T-17", "T-19", "CPU-13", "CPU-14", "CPU-15"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, sched::busy),
};

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let load = |pcpus: &[u64]| Load::new(controller, TEST.name, pcpus);
    let (mut pair, mut one) = (load(&[0b110; 2])?, load(&[0b1000])?);
    for load in [&mut pair, &mut one] {
        load.start()?;
    }
    for (caps, ideal) in [
        ([160, 50], [PCPU * 4 / 5, PCPU * 4 / 5, PCPU / 2]),
        ([50, 25], [PCPU / 4, PCPU / 4, PCPU / 4]),
        ([0, 0], [PCPU; 3]),
    ] {
        pair.set_cap(caps[0])?;
        one.set_cap(caps[1])?;
        let shares = sched::shares(WINDOW_MS, &[&pair, &one])?;
        sched::expect(&alloc::format!("caps {caps:?}"), &shares.concat(), &ideal)?;
    }
    capped_among_others(controller, &pair, &one)
}

/// What a cap leaves goes to those that are not capped, whatever the weights.
fn capped_among_others(controller: &Controller, pair: &Load<'_>, one: &Load<'_>) -> Check {
    pair.pause()?;
    let mut other = Load::new(controller, TEST.name, &[0b1000])?;
    other.start()?;
    one.set_weight(1024)?;
    one.set_cap(20)?;
    let shares = sched::shares(WINDOW_MS, &[one, &other])?;
    sched::expect("weight 1024, cap 20, and 256", &shares.concat(), &[PCPU / 5, PCPU * 4 / 5])
}
