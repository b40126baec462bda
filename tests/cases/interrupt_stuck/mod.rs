//! A line that stays active, whose interrupt is ended and never served, leaves Dom0 and the
//! hypervisor running.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::apic::Apic;
use guest_rt::cpu;
use guest_rt::trap::{self, Frame};

use crate::ata::{Drive, within};
use crate::controller::Controller;
use crate::pin::{LEVEL, MASKED, Pin, apic_mode};
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "interrupt-stuck",
    description: "A line that stays active and is never served leaves Dom0 and the hypervisor running.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const VECTOR: u8 = 0x72;
/// From so many on the handler masks the pin: between two of them nothing else may run.
const MOST: u64 = 200;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// Where the handler masks the pin.
static WINDOW: AtomicU64 = AtomicU64::new(0);

fn run(_: &Controller) -> Check {
    let drive = Drive::find()?;
    let (pin, apic) = (Pin::of(drive.gsi)?, Apic::enable(apic_mode()));
    COUNT.store(0, Ordering::Release);
    WINDOW.store(pin.window(), Ordering::Release);
    trap::set_handler(VECTOR, handle);
    pin.direct(apic.id())?;
    pin.write(u32::from(VECTOR) | LEVEL)?;
    drive.raise()?;
    let came = within(1_000_000, || COUNT.load(Ordering::Acquire) >= MOST);
    ensure!(came, "the line was active, and {} interrupts came", COUNT.load(Ordering::Acquire));
    ensure_eq!(more()?, 0, "interrupts while the pin is masked");
    pin.write(u32::from(VECTOR) | LEVEL)?;
    ensure_eq!(more()?, 1, "interrupts after the pin was unmasked, until it was masked again");
    drive.serve()?;
    pin.write(u32::from(VECTOR) | LEVEL)?;
    ensure_eq!(more()?, 0, "interrupts after the device was served");
    pin.write(MASKED)
}

/// Ends the interrupt, as most kernels' handlers do, and gives up at last.
fn handle(_: &mut Frame) {
    if COUNT.fetch_add(1, Ordering::AcqRel) + 1 >= MOST {
        let masked = cpu::poke_u32(WINDOW.load(Ordering::Acquire), u32::from(VECTOR) | LEVEL | MASKED);
        debug_assert!(masked.is_ok());
    }
    Apic::enable(apic_mode()).eoi();
}

/// Interrupts in 2 ms.
fn more() -> Check<u64> {
    let before = COUNT.load(Ordering::Acquire);
    within(2_000, || false);
    Ok(COUNT.load(Ordering::Acquire) - before)
}
