//! A vcpu that sleeps for moments gets no more than its share, and who is always busy no less.

use guest_rt::{clock, println};

use crate::controller::Controller;
use crate::guest::Guest;
use crate::sched::{self, Load, PCPU, SLICE_MS, Stage, WINDOW_MS};
use crate::test::{Kind, Need, Test};
use crate::timing::sleep_until;
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-waker-takes-its-share-only",
    description: "A vcpu that sleeps for moments gets no more than its share, and who is always busy no less.",
    covers: &["CPU-03", "CPU-07"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::Control(control, run),
};

const WAKER: &str = "waker";
const BUSY_NS: u64 = 400_000;
const ASLEEP_NS: u64 = 50_000;

fn control(controller: &Controller) -> Check {
    let _stage = Stage::new(controller, Some(SLICE_MS))?;
    let mut busy = Load::new(controller, TEST.name, &[0b10])?;
    let mut waker = Load::with_role(controller, TEST.name, WAKER, &[0b10])?;
    busy.start()?;
    waker.start()?;
    let shares = sched::of_domains(&sched::shares(WINDOW_MS, &[&busy, &waker])?);
    let [busy, waker] = shares[..] else { fail!("{shares:?}") };
    println!("busy {busy}, waker {waker}");
    ensure!(busy >= PCPU / 2 * 97 / 100, "the busy one got {busy} of {PCPU}, the waker {waker}");
    ensure!(waker >= PCPU / 4, "the waker got {waker} of {PCPU}");
    // What is missing went into exits and switches.
    ensure!(busy + waker >= PCPU * 95 / 100, "{busy} and {waker} of {PCPU}: the pcpu was idle");
    Ok(())
}

fn run(guest: &Guest) -> Check {
    if guest.role() == WAKER { wake() } else { sched::busy(guest) }
}

fn wake() -> Check {
    clock::map_shared_info()?;
    println!("busy");
    loop {
        let start = clock::pv_ns(0);
        while clock::pv_ns(0) - start < BUSY_NS {
            sched::count();
        }
        sleep_until(clock::pv_ns(0) + ASLEEP_NS)?;
    }
}
