//! The one-shot timer fires once, within 1 % of the PV clock.

use guest_rt::apic::{Register, TimerMode};
use guest_rt::clock;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::timing::{VECTOR, after_interrupt, interrupts_in, prepare, rate, within_a_percent};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-timer-one-shot",
    description: "The one-shot timer fires once, within 1 % of the PV clock.",
    covers: &["TIM-05"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let apic = prepare()?;
    let rate = rate(apic)?;
    for us in [5_000, 20_000, 40_000] {
        within_a_percent("one shot", us * 1_000, || {
            apic.prepare_timer(TimerMode::OneShot, VECTOR);
            let start = clock::pv_ns(0);
            apic.write(Register::INITIAL_COUNT, u32::try_from(rate * us / 1_000_000).unwrap_or(u32::MAX));
            after_interrupt() - start
        })?;
        ensure_eq!(interrupts_in(3 * us), 0, "interrupts after the first");
    }
    Ok(())
}
