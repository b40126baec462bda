//! Time: the time stamp counter, measured once against a clock of known rate.

use core::hint;
use core::sync::atomic::{AtomicU64, Ordering};

use hv_core::acpi::{Hpet, PmTimer};
use hv_core::addr::PhysRange;
use x86_64::instructions::port::Port;

use crate::memory::{self, DeviceMemory};
use crate::register::Access;
use crate::{apic, cpu};

/// Frequency of the ACPI PM timer, Hz (ACPI "Power Management Timer").
const PM_TIMER_HZ: u64 = 3_579_545;
/// Frequency of the 8254 timer, Hz.
const PIT_HZ: u64 = 1_193_182;
/// How long a measurement takes: also the pause that a CPU needs after INIT.
const MEASURE_US: u64 = 10_000;
/// Time stamp counter ticks for each microsecond of a measurement after which the
/// reference has stopped: ten times as long even at 10 GHz.
const PATIENCE: u64 = 100_000;

/// Counter frequency in Hz, 0 until [`calibrate`].
static TSC_HZ: AtomicU64 = AtomicU64::new(0);
/// Counter value that is time 0.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// A clock of known rate.
#[derive(Debug)]
pub enum Reference {
    /// ACPI power management timer.
    #[doc(hidden)]
    PmTimer(PmTimerClock),
    /// High precision event timer.
    #[doc(hidden)]
    Hpet(HpetClock),
    /// Channel 2 of the 8254, which nothing else uses.
    Pit,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct PmTimerClock {
    register: Access,
    mask: u32,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct HpetClock {
    registers: DeviceMemory,
    hz: u64,
}

impl Reference {
    /// The best clock that the firmware's tables offer.
    #[must_use]
    pub fn choose(pm_timer: Option<PmTimer>, hpet: Option<&Hpet>) -> Self {
        pm_timer.and_then(Self::pm_timer).or_else(|| hpet.and_then(Self::hpet)).unwrap_or(Self::Pit)
    }

    fn pm_timer(timer: PmTimer) -> Option<Self> {
        // SAFETY: the FADT names the register; reading it is harmless.
        let register = unsafe { Access::new(timer.register, 4) }?;
        let clock = PmTimerClock { register, mask: timer.width.mask() };
        counts(|| clock.read()).then_some(Self::PmTimer(clock))
    }

    fn hpet(hpet: &Hpet) -> Option<Self> {
        const LEN: u64 = 0x400;
        const CAPABILITIES: usize = 0x000;
        const CONFIGURATION: usize = 0x010;
        const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
        // IA-PC HPET Specification, COUNTER_CLK_PERIOD: at most 100 ns.
        const LONGEST_PERIOD: u64 = 100_000_000;
        // SAFETY: the HPET table names the block, and nothing else drives it.
        let registers = unsafe { memory::map_device(PhysRange::from_len(hpet.base.get(), LEN)?, 8) }?;
        let period = registers.register::<u64>(CAPABILITIES).read() >> 32;
        let hz = FEMTOSECONDS.checked_div(period).filter(|_| period <= LONGEST_PERIOD)?;
        // IA-PC HPET Specification: ENABLE_CNF starts the main counter.
        registers.register::<u64>(CONFIGURATION).update(|value| value | 1);
        let clock = HpetClock { registers, hz };
        counts(|| clock.read()).then_some(Self::Hpet(clock))
    }

    /// Name for the boot log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PmTimer(_) => "ACPI PM timer",
            Self::Hpet(_) => "HPET",
            Self::Pit => "PIT",
        }
    }

    /// Lets `us` pass; returns ticks of the reference that went by, its
    /// frequency in Hz, and ticks of the time stamp counter. `None` if the
    /// reference stands still: chipsets can switch off the clock of an 8254.
    #[must_use]
    pub fn measure(&self, us: u64) -> Option<(u64, u64, u64)> {
        match self {
            Self::PmTimer(clock) => {
                let mask = u64::from(clock.mask);
                measure(us, PM_TIMER_HZ, mask, || u64::from(clock.read()))
            }
            Self::Hpet(clock) => measure(us, clock.hz, u64::from(u32::MAX), || u64::from(clock.read())),
            Self::Pit => measure_pit(us),
        }
    }
}

impl PmTimerClock {
    fn read(&self) -> u32 {
        self.register.read_u32() & self.mask
    }
}

impl HpetClock {
    fn read(&self) -> u32 {
        const MAIN_COUNTER: usize = 0x0f0;
        self.registers.register::<u32>(MAIN_COUNTER).read()
    }
}

/// Whether a counter that firmware names is there: then it counts.
fn counts(read: impl Fn() -> u32) -> bool {
    let start = read();
    (0..10_000).any(|_| read() != start)
}

fn measure(us: u64, hz: u64, mask: u64, read: impl Fn() -> u64) -> Option<(u64, u64, u64)> {
    let wanted = hz * us / 1_000_000;
    let (first, start) = (read(), cpu::rdtsc());
    loop {
        let (now, end) = (read(), cpu::rdtsc());
        let (passed, ticks) = (now.wrapping_sub(first) & mask, end.wrapping_sub(start));
        if passed >= wanted {
            return Some((passed, hz, ticks));
        }
        if ticks > us.saturating_mul(PATIENCE) {
            return None;
        }
        hint::spin_loop();
    }
}

/// Counts channel 2 of the 8254 down once, in mode 0: its output rises at the end.
fn measure_pit(us: u64) -> Option<(u64, u64, u64)> {
    const GATE: u16 = 0x61;
    const OUTPUT: u8 = 1 << 5;
    let count = PIT_HZ * us / 1_000_000;
    let [low, high, ..] = count.to_le_bytes();
    let mut gate = Port::<u8>::new(GATE);
    // SAFETY: reads the port.
    let value = unsafe { gate.read() };
    // SAFETY: gate of channel 2 on, speaker off.
    unsafe { gate.write(value & !2 | 1) };
    for (port, value) in [(0x43, 0xb0), (0x42, low), (0x42, high)] {
        // SAFETY: channel 2, both bytes, mode 0, then the count.
        unsafe { Port::<u8>::new(port).write(value) };
    }
    let start = cpu::rdtsc();
    loop {
        // SAFETY: reads the status port.
        let done = unsafe { gate.read() } & OUTPUT != 0;
        let ticks = cpu::rdtsc().wrapping_sub(start);
        if done || ticks > us.saturating_mul(PATIENCE) {
            // SAFETY: gate and speaker as they were.
            unsafe { gate.write(value) };
            return done.then_some((count, PIT_HZ, ticks));
        }
        hint::spin_loop();
    }
}

/// Learns the rate of the time stamp counter: from CPUID where it says, else by
/// measuring, which takes 10 ms in any case. Time 0 becomes counter value `epoch`.
/// Without a clock [`tsc_hz`] stays 0.
pub fn calibrate(reference: &Reference, epoch: u64) {
    let started = cpu::rdtsc();
    apic::start_count();
    let measured = reference.measure(MEASURE_US).map(|(passed, hz, ticks)| {
        let measured = u128::from(ticks) * u128::from(hz) / u128::from(passed.max(1));
        u64::try_from(measured).unwrap_or(u64::MAX)
    });
    // SDM "CPUID", leaf 15H: exact where the crystal's frequency is given. Leaf
    // 16H: the base frequency in MHz, at which the counter nominally runs.
    let exact = cpu::cpuid().get_tsc_info().and_then(|info| info.tsc_frequency());
    let nominal = || {
        let info = cpu::cpuid().get_processor_frequency_info()?;
        Some(u64::from(info.processor_base_frequency()) * 1_000_000)
    };
    let hz = exact.or(measured).or_else(nominal).unwrap_or(0);
    apic::end_count(cpu::rdtsc().wrapping_sub(started), hz);
    EPOCH.store(epoch, Ordering::Relaxed);
    TSC_HZ.store(hz, Ordering::Release);
}

/// Frequency of the time stamp counter in Hz; 0 before [`calibrate`], and after it
/// if no clock told.
#[must_use]
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed)
}

/// Counter value that is time 0.
#[must_use]
pub fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// Nanoseconds since the image's first instruction; 0 before [`calibrate`].
#[must_use]
pub fn now_ns() -> u64 {
    let hz = TSC_HZ.load(Ordering::Relaxed);
    if hz == 0 {
        return 0;
    }
    ns_from_ticks(cpu::rdtsc().wrapping_sub(EPOCH.load(Ordering::Relaxed)))
}

/// Nanoseconds that `ticks` of the counter take; 0 before [`calibrate`].
#[must_use]
pub fn ns_from_ticks(ticks: u64) -> u64 {
    let hz = TSC_HZ.load(Ordering::Relaxed);
    let ns = (u128::from(ticks) * 1_000_000_000).checked_div(u128::from(hz)).unwrap_or(0);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Ticks of the counter in `us` microseconds; before [`calibrate`] as if it ran
/// at 4 GHz, so that a pause is rather too long than too short.
#[must_use]
pub fn ticks_from_us(us: u64) -> u64 {
    let hz = match TSC_HZ.load(Ordering::Relaxed) {
        0 => 4_000_000_000,
        hz => hz,
    };
    u64::try_from(u128::from(hz) * u128::from(us) / 1_000_000).unwrap_or(u64::MAX)
}

/// Lets `us` microseconds pass.
pub fn delay_us(us: u64) {
    let (start, ticks) = (cpu::rdtsc(), ticks_from_us(us));
    while cpu::rdtsc().wrapping_sub(start) < ticks {
        hint::spin_loop();
    }
}
