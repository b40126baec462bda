//! A DomU has no I/O APIC, and gets no interrupt of a device that Dom0 uses.

use guest_rt::interrupts::Trigger;
use guest_rt::{clock, cpu, println, trap};

use crate::ata::{Drive, comes};
use crate::controller::{Controller, LIMIT_MS};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "interrupts-are-dom0s",
    description: "A DomU has no I/O APIC, and gets no interrupt of a device that Dom0 uses.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const IO_APIC: u64 = 0xfec0_0000;
const ROUNDS: u32 = 20;

fn control(controller: &Controller) -> Check {
    let drive = Drive::find()?;
    let interrupt = drive.interrupt(Trigger::Edge)?;
    let mut domain = controller.spawn("interrupts-are-dom0s", "", Shape::SMALL)?;
    domain.start()?;
    domain.wait_for("ready", LIMIT_MS)?;
    for round in 0..ROUNDS {
        drive.raise()?;
        ensure!(comes(&interrupt), "round {round}: it did not come to Dom0");
        drive.serve()?;
        interrupt.done();
    }
    domain.wait(2 * LIMIT_MS)?;
    domain.verdict()
}

fn run(_: &Guest) -> Check {
    clock::map_shared_info()?;
    for pin in 0..24 {
        cpu::poke_u32(IO_APIC, 0x10 + 2 * pin)?;
        cpu::poke_u32(IO_APIC + 0x10, 0x50 + pin)?;
        ensure_eq!(cpu::peek_u32(IO_APIC + 0x10)?, u32::MAX, "the entry of pin {pin}");
    }
    println!("ready");
    trap::enable();
    let start = clock::pv_ns(0);
    while clock::pv_ns(0) - start < 300_000_000 {
        cpu::relax();
    }
    trap::disable();
    for vector in 0x20..=0xff {
        ensure_eq!(trap::count(vector), 0, "interrupts with vector {vector:#x}");
    }
    Ok(())
}
