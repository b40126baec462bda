//! The one-shot timer fires once, within 1 % of the PV clock.

use guest_rt::apic::{Apic, Mode, Register, TimerMode};
use guest_rt::{clock, trap};

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
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
    clock::map_shared_info()?;
    let apic = Apic::enable(Mode::XApic);
    trap::set_handler(VECTOR, |_| Apic::enable(Mode::XApic).eoi());
    let rate = bus_hz(apic)?;
    for us in [1_000, 5_000, 20_000] {
        let start = clock::pv_ns(0);
        apic.start_timer(TimerMode::OneShot, VECTOR, rate * us / 1_000_000);
        let took = after_interrupt() - start;
        ensure!(close(took, us * 1_000), "{us} us took {took} ns");
        let count = trap::count(VECTOR);
        clock::delay_us(3 * us);
        trap::enable();
        trap::disable();
        ensure_eq!(trap::count(VECTOR), count, "interrupts after the first");
    }
    Ok(())
}

/// Rate of the timer, measured by the PV clock as kernels do.
fn bus_hz(apic: Apic) -> Check<u64> {
    const MS: u64 = 10;
    apic.start_timer(TimerMode::OneShot, VECTOR, u64::from(u32::MAX));
    let start = clock::pv_ns(0);
    clock::delay_us(MS * 1_000);
    let left = apic.read(Register::CURRENT_COUNT);
    let ns = clock::pv_ns(0) - start;
    apic.stop_timer();
    let ticks = u64::from(u32::MAX - left);
    ensure!(ticks > 0, "the timer does not count");
    Ok(ticks * 1_000_000_000 / ns.max(1))
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
