//! Switching the machine off and starting it again.

use hv_core::acpi::{AcpiEnable, Fadt, SleepTypes};
use spin::Once;
use x86_64::instructions::port::Port;
use x86_64::structures::DescriptorTablePointer;

use crate::register::Access;
use crate::{ipi, time, vmx};

/// ACPI "PM1 Control Registers": SCI_EN, SLP_TYPx, SLP_EN.
const SCI_ENABLE: u16 = 1 << 0;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP_TYPE_MASK: u16 = 7 << SLEEP_TYPE_SHIFT;
const SLEEP_ENABLE: u16 = 1 << 13;

/// Registers of the chipset, from the FADT.
#[derive(Debug)]
struct Controls {
    enable: Option<AcpiEnable>,
    pm1a: Option<Access>,
    pm1b: Option<Access>,
    soft_off: Option<SleepTypes>,
    reset: Option<(Access, u8)>,
}

// SAFETY: device registers at fixed places; whoever uses them ends everything.
unsafe impl Sync for Controls {}

static CONTROLS: Once<Controls> = Once::new();

/// Learns from the firmware's tables how the machine is switched off and reset.
/// Without them only the ways of old hardware are left.
pub fn init(fadt: &Fadt, soft_off: Option<SleepTypes>) {
    // SAFETY: registers that the FADT names, all of them for this module's use.
    let access = |register, bytes| unsafe { Access::new(register, bytes) };
    CONTROLS.call_once(|| Controls {
        enable: fadt.acpi_enable(),
        pm1a: fadt.pm1a_control().and_then(|register| access(register, 2)),
        pm1b: fadt.pm1b_control().and_then(|register| access(register, 2)),
        soft_off,
        reset: fadt.reset().and_then(|(register, value)| Some((access(register, 1)?, value))),
    });
}

/// Whether [`power_off`] has a way.
#[must_use]
pub fn can_power_off() -> bool {
    CONTROLS.get().is_some_and(|c| c.pm1a.is_some() && c.soft_off.is_some())
}

/// Switches the machine off (ACPI "S5 Soft Off"). Returns if that did not work.
pub fn power_off() {
    let Some(controls) = CONTROLS.get() else { return };
    let (Some(pm1a), Some(types)) = (&controls.pm1a, controls.soft_off) else { return };
    enter_acpi_mode(controls.enable, pm1a);
    set_sleep(pm1a, types.a);
    if let Some(pm1b) = &controls.pm1b {
        set_sleep(pm1b, types.b);
    }
    time::delay_us(1_000_000);
}

fn enter_acpi_mode(enable: Option<AcpiEnable>, pm1a: &Access) {
    let Some(enable) = enable.filter(|_| pm1a.read_u16() & SCI_ENABLE == 0) else { return };
    // SAFETY: the FADT's SMI_CMD port and its ACPI_ENABLE value.
    unsafe { Port::new(enable.port).write(enable.value) };
    for _ in 0..300 {
        if pm1a.read_u16() & SCI_ENABLE != 0 {
            return;
        }
        time::delay_us(1_000);
    }
}

fn set_sleep(control: &Access, sleep_type: u8) {
    let value = control.read_u16() & !(SLEEP_TYPE_MASK | SLEEP_ENABLE);
    control.write_u16(value | u16::from(sleep_type) << SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK | SLEEP_ENABLE);
}

/// A way to start the machine again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// The FADT's reset register.
    Acpi,
    /// Reset control register of PCI chipsets, port 0xcf9.
    Cf9,
    /// Keyboard controller, port 0x64.
    Keyboard,
    /// A fault without a handler.
    TripleFault,
}

/// Starts the machine again by `first`, and if that does not work by each other
/// way in turn. Every other pcpu stops.
pub fn reset(first: Reset) -> ! {
    // All must have left VMX operation, in which INIT is blocked.
    ipi::stop_others();
    time::delay_us(10_000);
    vmx::leave_root();
    attempt(first);
    // The keyboard controller comes late: it resets CPUs, and on some boards little else.
    for way in [Reset::Acpi, Reset::Cf9, Reset::Keyboard] {
        attempt(way);
    }
    triple_fault();
}

fn attempt(way: Reset) {
    match way {
        Reset::Acpi => {
            if let Some((register, value)) = CONTROLS.get().and_then(|c| c.reset.as_ref()) {
                register.write_u8(*value);
            }
        }
        Reset::Cf9 => {
            let mut port = Port::<u8>::new(0xcf9);
            for value in [0x02, 0x06] {
                // SAFETY: system reset requested, then hard reset on.
                unsafe { port.write(value) };
                time::delay_us(50);
            }
        }
        // SAFETY: command "pulse output line 0", which is the reset line.
        Reset::Keyboard => unsafe { Port::<u8>::new(0x64).write(0xfe) },
        Reset::TripleFault => triple_fault(),
    }
    time::delay_us(100_000);
}

fn triple_fault() -> ! {
    let nothing = DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: the next interrupt shuts the CPU down, which is the purpose.
    unsafe { x86_64::instructions::tables::lidt(&nothing) };
    loop {
        x86_64::instructions::interrupts::int3();
    }
}
