//! A vcpu that moves between pcpus never sees time go back.

use guest_rt::{clock, cpu, println, trap};
use xen_control::calls;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "time-under-migration",
    description: "A vcpu that moves between pcpus never sees time go back.",
    covers: &["TIM-01", "CPU-16", "CPU-18"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::Control(control, run),
};

const MOVES: u32 = 60;

fn control(controller: &Controller) -> Check {
    let mut domain = controller.spawn("time-under-migration", "", Shape::SMALL)?;
    domain.start()?;
    domain.wait_for("ready", LIMIT_MS)?;
    let mut seen = 0_u64;
    for n in 0..MOVES {
        let pcpu = n % controller.pcpus();
        calls::set_affinity(controller.host()?, domain.id(), 0, 1 << pcpu)?;
        until(2, || false);
        seen |= 1 << calls::vcpu_info(controller.host()?, domain.id(), 0)?.cpu;
        if domain.ended()?.is_some() {
            break;
        }
    }
    ensure_eq!(seen.count_ones(), controller.pcpus(), "pcpus on which it was seen");
    domain.wait(2 * LIMIT_MS)?;
    domain.verdict()
}

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    // Emulators hold back what is to move it while its interrupts are off.
    trap::enable();
    println!("ready");
    let (mut ns, mut tsc) = (clock::pv_ns(0), cpu::rdtsc());
    let start = ns;
    while ns - start < 300_000_000 {
        let (now, ticks) = (clock::pv_ns(0), cpu::rdtsc());
        ensure!(now >= ns, "PV clock: {now} after {ns}");
        ensure!(ticks >= tsc, "TSC: {ticks} after {tsc}");
        (ns, tsc) = (now, ticks);
    }
    Ok(())
}
