//! The periodic timer fires again and again, within 1 % of the PV clock.

use guest_rt::apic::{Apic, Mode, TimerMode};
use guest_rt::{clock, trap};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
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
/// Ticks of the timer in a period: 2 ms at 1 GHz, 10 ms at 200 MHz.
const TICKS: u64 = 2_000_000;

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    let apic = Apic::enable(Mode::XApic);
    trap::set_handler(VECTOR, |_| Apic::enable(Mode::XApic).eoi());
    apic.start_timer(TimerMode::Periodic, VECTOR, TICKS);
    let first = after_interrupt();
    let second = after_interrupt();
    let period = second - first;
    let mut last = second;
    for _ in 0..PERIODS {
        last = after_interrupt();
    }
    apic.stop_timer();
    let took = last - second;
    ensure!(close(took, PERIODS * period), "{PERIODS} periods of {period} ns took {took} ns");
    let count = trap::count(VECTOR);
    clock::delay_us(3 * period / 1_000);
    trap::enable();
    trap::disable();
    ensure!(trap::count(VECTOR) <= count + 1, "the timer goes on after its end");
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
