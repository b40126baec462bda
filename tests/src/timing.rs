//! Timers against the PV clock, and waits for a time.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::{self, Apic, Mode, Register, TimerMode};
use guest_rt::{clock, cpu, trap};

use crate::evtchn;
use crate::verdict::Check;

/// Vector of the timer's interrupt.
pub const VECTOR: u8 = 0x70;

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;

/// PV clock at the last interrupt.
static FIRED: AtomicU64 = AtomicU64::new(0);

/// A local APIC whose timer's interrupts are counted, and a PV clock to measure it by.
pub fn prepare() -> Check<Apic> {
    clock::map_shared_info()?;
    trap::set_handler(VECTOR, |_| {
        FIRED.store(clock::pv_ns(0), Ordering::Release);
        Apic::enable(mode()).eoi();
    });
    Ok(Apic::enable(mode()))
}

/// The faster one of those that there are: what a register costs is not the timer's.
fn mode() -> Mode {
    if apic::has_x2apic() { Mode::X2Apic } else { Mode::XApic }
}

/// Ticks of the timer in a second, measured as kernels do.
pub fn rate(apic: Apic) -> Check<u64> {
    apic.start_timer(TimerMode::OneShot, VECTOR, u64::from(u32::MAX));
    let start = clock::pv_ns(0);
    clock::delay_us(10_000);
    let left = apic.read(Register::CURRENT_COUNT);
    let ns = clock::pv_ns(0) - start;
    apic.stop_timer();
    let ticks = u64::from(u32::MAX - left);
    ensure!(ticks > 0 && ns > 0, "the timer does not count: {ticks} ticks in {ns} ns");
    Ok(ticks * 1_000_000_000 / ns)
}

/// Time of the PV clock when the next interrupt has come. The vcpu spins: a sleeper
/// would wait for its turn on the pcpu as well.
pub fn after_interrupt() -> u64 {
    let before = trap::count(VECTOR);
    trap::enable();
    while trap::count(VECTOR) == before {
        cpu::relax();
    }
    trap::disable();
    FIRED.load(Ordering::Acquire)
}

/// Interrupts that come in `us` microseconds.
pub fn interrupts_in(us: u64) -> u64 {
    let before = trap::count(VECTOR);
    trap::enable();
    clock::delay_us(us);
    trap::disable();
    trap::count(VECTOR) - before
}

/// Runs `measure`, which returns ns that are to be `expected`, up to five times: another
/// vcpu may have had the pcpu.
///
/// # Errors
///
/// A FAILURE unless one is within 1 %.
pub fn within_a_percent(what: &str, expected: u64, mut measure: impl FnMut() -> u64) -> Check {
    let mut best = u64::MAX;
    for _ in 0..5 {
        let took = measure();
        if took.abs_diff(expected) < best.abs_diff(expected) {
            best = took;
        }
        if best.abs_diff(expected) <= expected / 100 {
            return Ok(());
        }
    }
    fail!("{what}: {best} ns, expected {expected}")
}

/// Leaves the pcpu alone for `ms` milliseconds: it may run idle.
///
/// # Errors
///
/// What the hypervisor says.
pub fn sleep_ms(ms: u64) -> Check {
    clock::map_shared_info()?;
    sleep_until(clock::pv_ns(0) + ms * MS)
}

/// Leaves the pcpu alone until the PV clock, which is mapped, shows `ns`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn sleep_until(ns: u64) -> Check {
    // An event that nobody took would end the wait.
    while clock::pv_ns(0) < ns {
        evtchn::poll(&[], ns)?;
    }
    Ok(())
}
