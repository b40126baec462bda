//! The least weight against the greatest one: the one gets nearly all, the other has a turn every second.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage};
use crate::test::{Kind, Need, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-extreme-weights",
    description: "The least weight against the greatest one: the one gets nearly all, the other has a turn every second.",
    covers: &["T-10", "CPU-07", "CPU-11"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::Control(control, sched::busy),
};

/// As the scheduler promises, and a turn.
const WINDOW_MS: u64 = 1_050;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let load = || Load::new(controller, TEST.name, &[0b10]);
    let (mut little, mut much) = (load()?, load()?);
    little.start()?;
    much.start()?;
    little.set_weight(1)?;
    much.set_weight(u16::MAX)?;
    for window in ["first second", "second one"] {
        let before = little.ran()?;
        let shares = sched::shares(WINDOW_MS, &[&much])?;
        sched::expect(window, &shares.concat(), &[PCPU])?;
        ensure!(little.ran()? > before, "{window}: weight 1 had no turn");
    }
    Ok(())
}
