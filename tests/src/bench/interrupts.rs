//! An interrupt of a device.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::Apic;
use guest_rt::{cpu, trap};

use super::{FEW, Samples};
use crate::ata::Drive;
use crate::controller::Controller;
use crate::pin::{LEVEL, MASKED, Pin, apic_mode};
use crate::verdict::Check;

const VECTOR: u8 = 0x73;
/// How often the guest looks for the interrupt.
const MOST_LOOKS: u32 = 100_000;

/// The time stamp counter at the handler.
static TIME: AtomicU64 = AtomicU64::new(0);
/// Where the handler masks the pin.
static WINDOW: AtomicU64 = AtomicU64::new(0);

/// From before the write that unmasks the pin of an active line, to the handler: the write's own
/// VM exit is in it.
pub(super) fn to_handler(_: &Controller) -> Check<Samples> {
    let drive = Drive::find()?;
    let (pin, apic) = (Pin::of(drive.gsi)?, Apic::enable(apic_mode()));
    WINDOW.store(pin.window(), Ordering::Release);
    trap::set_handler(VECTOR, |_| {
        TIME.store(cpu::rdtsc(), Ordering::Release);
        let masked = cpu::poke_u32(WINDOW.load(Ordering::Acquire), u32::from(VECTOR) | LEVEL | MASKED);
        debug_assert!(masked.is_ok());
        Apic::enable(apic_mode()).eoi();
    });
    pin.direct(apic.id())?;
    // Bochs forgets a line that became active before its pin was ever level-triggered.
    pin.write(u32::from(VECTOR) | LEVEL)?;
    pin.write(u32::from(VECTOR) | LEVEL | MASKED)?;
    drive.raise()?;
    let mut samples = alloc::vec::Vec::new();
    for round in 0..FEW {
        let seen = trap::count(VECTOR);
        trap::enable();
        let start = cpu::rdtsc();
        cpu::poke_u32(pin.window(), u32::from(VECTOR) | LEVEL)?;
        // It is recognized some instructions later.
        let came = (0..MOST_LOOKS).any(|_| trap::count(VECTOR) != seen);
        trap::disable();
        ensure!(came, "round {round}: no interrupt");
        ensure_eq!(trap::count(VECTOR), seen + 1, "interrupts by round {round}");
        samples.push(TIME.load(Ordering::Acquire) - start);
    }
    pin.write(MASKED)?;
    Ok(Samples(samples))
}
