//! RDTSC rises, by RDMSR it is the same, and it goes on while others run.

use guest_rt::{cpu, hypercall};

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "tsc-goes-on",
    description: "RDTSC rises, by RDMSR it is the same, and it goes on while others run.",
    covers: &["TIM-01"],
    needs: &[],
    kind: Kind::Both(run),
};

const TSC: u32 = 0x10;

fn run(_: &Guest) -> Check {
    let mut last = cpu::rdtsc();
    for round in 0..1_000 {
        let now = if round % 2 == 0 { cpu::rdtsc() } else { cpu::rdmsr(TSC)? };
        ensure!(now > last, "round {round}: {now} after {last}");
        last = now;
        if round % 100 == 0 {
            hypercall::yield_now();
        }
    }
    Ok(())
}
