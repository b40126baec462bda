//! The TSC-deadline timer fires at its deadline, within 1 % of the PV clock.

use guest_rt::apic::{TSC_DEADLINE, TimerMode};
use guest_rt::{clock, cpu};

use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::timing::{VECTOR, after_interrupt, interrupts_in, prepare, within_a_percent};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "apic-timer-deadline",
    description: "The TSC-deadline timer fires at its deadline, within 1 % of the PV clock.",
    covers: &["TIM-04"],
    needs: &[Need::TscDeadline],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let apic = prepare()?;
    for us in [5_000, 10_000, 40_000] {
        within_a_percent("deadline", us * 1_000, || {
            apic.prepare_timer(TimerMode::Deadline, VECTOR);
            let start = clock::pv_ns(0);
            let _ = cpu::wrmsr(TSC_DEADLINE, cpu::rdtsc() + clock::ticks_of_us(us));
            after_interrupt() - start
        })?;
        ensure_eq!(cpu::rdmsr(TSC_DEADLINE)?, 0, "deadline after it");
        ensure_eq!(interrupts_in(2 * us), 0, "interrupts after the first");
    }
    // One that has passed fires at once; zero disarms.
    apic.start_timer(TimerMode::Deadline, VECTOR, 1);
    let _ = after_interrupt();
    apic.start_timer(TimerMode::Deadline, VECTOR, cpu::rdtsc() + clock::ticks_of_us(5_000));
    cpu::wrmsr(TSC_DEADLINE, 0)?;
    ensure_eq!(interrupts_in(10_000), 0, "interrupts after the timer was disarmed");
    Ok(())
}
