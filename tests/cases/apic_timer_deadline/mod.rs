//! The TSC-deadline timer fires at its deadline, within 1 % of the PV clock.

use guest_rt::apic::{Apic, Mode, TSC_DEADLINE, TimerMode};
use guest_rt::{clock, cpu, trap};

use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
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
    clock::map_shared_info()?;
    let apic = Apic::enable(Mode::XApic);
    trap::set_handler(VECTOR, |_| Apic::enable(Mode::XApic).eoi());
    for us in [500, 5_000, 20_000] {
        let start = clock::pv_ns(0);
        apic.start_timer(TimerMode::Deadline, VECTOR, cpu::rdtsc() + clock::ticks_of_us(us));
        let took = after_interrupt() - start;
        ensure!(close(took, us * 1_000), "{us} us took {took} ns");
        ensure_eq!(cpu::rdmsr(TSC_DEADLINE)?, 0, "deadline after it");
    }
    // One that has passed fires at once; zero disarms.
    apic.start_timer(TimerMode::Deadline, VECTOR, 1);
    let _ = after_interrupt();
    let count = trap::count(VECTOR);
    apic.start_timer(TimerMode::Deadline, VECTOR, cpu::rdtsc() + clock::ticks_of_us(5_000));
    cpu::wrmsr(TSC_DEADLINE, 0)?;
    clock::delay_us(10_000);
    trap::enable();
    trap::disable();
    ensure_eq!(trap::count(VECTOR), count, "interrupts after the timer was disarmed");
    Ok(())
}

const VECTOR: u8 = 0x70;

/// Time of the PV clock, once an interrupt has come.
fn after_interrupt() -> u64 {
    let before = trap::count(VECTOR);
    while trap::count(VECTOR) == before {
        trap::wait();
    }
    clock::pv_ns(0)
}

/// Whether `actual` is within 1 % of `expected`, and `slack` ns for the way.
fn close(actual: u64, expected: u64) -> bool {
    const SLACK: u64 = 100_000;
    actual.abs_diff(expected) <= expected / 100 + SLACK
}
