//! Three busy vcpus share two pcpus equally; what one leaves the others have at once.

use crate::controller::Controller;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::timing::sleep_ms;
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-work-conserving",
    description: "Three busy vcpus share two pcpus equally; what one leaves the others have at once.",
    covers: &["CPU-03", "CPU-31"],
    needs: &[Need::Pcpus(3)],
    kind: Kind::Control(control, sched::busy),
};

const PAIR: u64 = 0b110;
const ROUNDS: u64 = 10;
const MOMENT_MS: u64 = 2;
/// Not in step with the time slices.
const BETWEEN_MS: u64 = 7;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let mut three = Load::new(controller, TEST.name, &[PAIR; 3])?;
    three.start()?;
    let shares = sched::shares(WINDOW_MS, &[&three])?;
    sched::expect("one domain's vcpus", &shares.concat(), &[PCPU * 2 / 3; 3])?;
    drop(three);
    let load = || Load::new(controller, TEST.name, &[PAIR]);
    let mut loads = [load()?, load()?, load()?];
    for load in &mut loads {
        load.start()?;
    }
    let [one, two, three] = &loads;
    let shares = sched::shares(WINDOW_MS, &[one, two, three])?;
    sched::expect("three domains", &shares.concat(), &[PCPU * 2 / 3; 3])?;
    let mut sums = [0; 2];
    for _ in 0..ROUNDS {
        three.pause()?;
        // Less than a time slice: nobody may wait for the end of one.
        let shares = sched::of_domains(&sched::shares_at_once(MOMENT_MS, &[one, two])?);
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        three.unpause()?;
        sleep_ms(BETWEEN_MS)?;
    }
    sched::expect("two, just after the third one", &sums.map(|sum| sum / ROUNDS), &[PCPU; 2])
}
