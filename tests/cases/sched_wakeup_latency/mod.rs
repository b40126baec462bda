//! A vcpu that wakes on a machine full of busy ones runs soon: half of the times within 200 us, never later than
//! a time slice.

use alloc::vec::Vec;

use guest_rt::{clock, println};

use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::random::Random;
use crate::sched::{self, Load, Stage};
use crate::test::{Kind, Need, Test};
use crate::timing::{MS, sleep_until};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-wakeup-latency",
    description: "A vcpu that wakes on a machine full of busy ones runs soon.",
    covers: &["CPU-03"],
    needs: &[Need::Pcpus(4)],
    kind: Kind::Control(control, run),
};

const PCPUS: u64 = 0b1110;
const WAKES: usize = 60;
const SLEEPER: &str = "sleeper";
const MOST_MEDIAN_NS: u64 = 200_000;
/// The time slice of a boot without options.
const MOST_NS: u64 = 30 * MS;

/// Six vcpus on three pcpus, and the sleeper.
fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, None)?;
    let load = || Load::new(controller, TEST.name, &[PCPUS; 3]);
    let mut busy = [load()?, load()?];
    for load in &mut busy {
        load.start()?;
    }
    let mut sleeper = Load::with_role(controller, TEST.name, SLEEPER, &[PCPUS])?;
    sleeper.start()?;
    sleeper.domain().wait(LIMIT_MS)?;
    sleeper.domain().verdict()
}

fn run(guest: &Guest) -> Check {
    if guest.role() == SLEEPER { sleep() } else { sched::busy(guest) }
}

fn sleep() -> Check {
    clock::map_shared_info()?;
    println!("busy");
    let mut random = Random(1);
    let mut late = Vec::new();
    for _ in 0..WAKES {
        // Not in step with the time slices.
        let deadline = clock::pv_ns(0) + 2 * MS + u64::from(random.next()) % (6 * MS);
        sleep_until(deadline)?;
        late.push(clock::pv_ns(0).saturating_sub(deadline));
    }
    late.sort_unstable();
    let (median, worst) = (late[WAKES / 2], late[WAKES - 1]);
    println!("FIGURE sched-wakeup-median: {} us", median / 1_000);
    println!("FIGURE sched-wakeup-worst: {} us", worst / 1_000);
    ensure!(median <= MOST_MEDIAN_NS, "half of the times later than {median} ns");
    ensure!(worst <= MOST_NS, "{worst} ns late once");
    Ok(())
}
