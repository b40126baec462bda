//! The periodic timer fires again and again, within 1 % of the PV clock.

use guest_rt::apic::TimerMode;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::timing::{VECTOR, after_interrupt, interrupts_in, prepare, rate, within_a_percent};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-timer-periodic",
    description: "The periodic timer fires again and again, within 1 % of the PV clock.",
    covers: &["TIM-04"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const PERIODS: u64 = 10;
const PERIOD_US: u64 = 5_000;

fn run(_: &Guest) -> Check {
    let apic = prepare()?;
    let rate = rate(apic)?;
    apic.start_timer(TimerMode::Periodic, VECTOR, rate * PERIOD_US / 1_000_000);
    within_a_percent("periods", PERIODS * PERIOD_US * 1_000, || {
        let first = after_interrupt();
        let last = (0..PERIODS).fold(first, |_, _| after_interrupt());
        last - first
    })?;
    apic.stop_timer();
    // One may have been pending.
    let _ = interrupts_in(100);
    ensure_eq!(interrupts_in(3 * PERIOD_US), 0, "interrupts of a timer that was stopped");
    Ok(())
}
