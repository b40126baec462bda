//! The PV clock runs at the rate of the TSC, without going back.

use guest_rt::{clock, cpu, hypercall};

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "pv-clock",
    description: "The PV clock runs at the rate of the TSC, without going back.",
    covers: &["TIM-01"],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    let record = clock::record(0);
    ensure!(record.version & 1 == 0 && record.tsc_to_system_mul != 0, "record {record:?}");
    let (tsc, ns) = (cpu::rdtsc(), clock::pv_ns(0));
    let mut last = ns;
    for round in 0..200 {
        let now = clock::pv_ns(0);
        ensure!(now >= last, "round {round}: {now} after {last}");
        last = now;
        if round % 20 == 0 {
            hypercall::yield_now();
        }
        clock::delay_us(50);
    }
    let (ticks, took) = (cpu::rdtsc() - tsc, clock::pv_ns(0) - ns);
    let expected = ticks * 1_000_000 / u64::from(clock::tsc_khz());
    ensure!(took.abs_diff(expected) <= expected / 1_000, "{took} ns in {expected} ns of the TSC");
    Ok(())
}
