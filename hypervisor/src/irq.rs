//! Interrupts of devices at the machine's I/O APICs: which are the hypervisor's, and how Dom0
//! gets the others.
//!
//! Global system interrupts (GSIs) are the same for Dom0 as for the machine: it has a virtual
//! I/O APIC in the place of each real one ([`crate::devices`]). No other domain gets any.
//!
//! | vectors | |
//! |---|---|
//! | from [`ISA_VECTOR`] | serial ports of the hypervisor's console, by ISA interrupt |
//! | from [`FIRST_VECTOR`] | devices of Dom0, by GSI |

use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_arch::trap::FIRST_INTERRUPT;
use hv_arch::{apic, ioapic, percpu, smp};
use hv_core::acpi::{ApicId, InterruptLine, Madt, Polarity, Trigger};
use hv_core::cmdline::{Options, SerialPort};
use hv_core::id::PcpuId;
use hv_core::vioapic::Setup;
use hv_core::vlapic::{self, Destination};
use spin::Once;

use crate::console;
use crate::domain::Domain;

/// Vector of ISA interrupt 0; the others follow.
const ISA_VECTOR: u8 = FIRST_INTERRUPT;
const ISA_LINES: u8 = 16;
/// The interval timer's, whose ports Dom0 does not have.
const TIMER_IRQ: u8 = 0;
/// Vector of GSI 0; the others follow.
const FIRST_VECTOR: u8 = ISA_VECTOR + ISA_LINES;
/// Vectors for GSIs; what follows is for the local APICs.
const VECTORS: u8 = apic::FIRST_LOCAL_VECTOR - FIRST_VECTOR;

/// What the firmware says of GSIs.
#[derive(Debug, Default)]
struct Board {
    /// Those that Dom0 does not get.
    own: Vec<u32>,
    /// Those that are wired in a way of their own.
    wired: Vec<InterruptLine>,
}

static BOARD: Once<Board> = Once::new();

/// Whose the devices are.
static DOM0: Once<Arc<Domain>> = Once::new();

/// Takes over the I/O APICs and routes the serial ports' interrupts to the boot CPU, so that
/// output flows and keys arrive without anyone waiting.
pub fn init(options: &Options<'_>, madt: &Madt<'_>) {
    ioapic::init(madt.io_apics());
    if ioapic::places().next().is_none() {
        log::warn!("no I/O APIC: serial ports are polled, and Dom0 gets no interrupts of devices");
        return;
    }
    let mut own = Vec::from([madt.gsi_for_isa_irq(TIMER_IRQ).gsi]);
    let open = |port: &SerialPort| console::is_open(port.io_base);
    for port in [options.com1, options.com2].into_iter().flatten().filter(open) {
        let Some(irq) = port.irq.filter(|&irq| irq < ISA_LINES) else { continue };
        let line = madt.gsi_for_isa_irq(irq);
        own.push(line.gsi);
        match ioapic::route(line, ISA_VECTOR + irq, percpu::this().apic_id()) {
            Ok(()) => console::set_irq(port.io_base, irq),
            Err(error) => log::warn!("serial interrupt {irq}: {error:?}; polled"),
        }
    }
    BOARD.call_once(|| Board { own, wired: madt.overrides().map(|wired| wired.route).collect() });
}

/// From now on Dom0 gets the interrupts that it asks for.
pub fn pass_to(dom0: &Arc<Domain>) {
    DOM0.call_once(|| Arc::clone(dom0));
}

/// Whether Dom0 may have `gsi`.
pub fn is_passed(gsi: u32) -> bool {
    gsi < u32::from(VECTORS) && BOARD.get().is_some_and(|board| !board.own.contains(&gsi))
}

/// Handles the interrupt that came with `vector`.
pub fn handle(vector: u8) {
    match vector.checked_sub(FIRST_VECTOR) {
        None => {
            if let Some(irq) = vector.checked_sub(ISA_VECTOR) {
                console::interrupt(irq);
            }
        }
        Some(gsi) => {
            if let Some(dom0) = DOM0.get() {
                dom0.devices().interrupt(dom0, gsi.into());
            }
        }
    }
}

/// Opens the pin of `gsi`: its interrupts come to the pcpu of a vcpu of `dom0` that they are
/// for.
pub fn open(dom0: &Domain, gsi: u32, setup: Setup) {
    let Some(vector) = u8::try_from(gsi).ok().filter(|&gsi| gsi < VECTORS) else { return };
    let line = line(gsi, setup);
    let target = target(dom0, setup.destination);
    if let Err(error) = ioapic::route(line, FIRST_VECTOR + vector, target) {
        log::warn!(target: console::GUEST, "{}: interrupt {gsi}: {error:?}", dom0.id());
    }
}

/// How the firmware says that the pin is wired, or as Dom0 has it.
fn line(gsi: u32, setup: Setup) -> InterruptLine {
    let wired = BOARD.get().and_then(|board| board.wired.iter().find(|line| line.gsi == gsi));
    let polarity = if setup.active_low { Polarity::ActiveLow } else { Polarity::ActiveHigh };
    let trigger = match setup.trigger {
        vlapic::Trigger::Edge => Trigger::Edge,
        vlapic::Trigger::Level => Trigger::Level,
    };
    InterruptLine { gsi, polarity: wired.map_or(polarity, |wired| wired.polarity), trigger }
}

/// The local APIC of the pcpu that runs the vcpu, or ran it last.
fn target(dom0: &Domain, destination: Destination) -> ApicId {
    home(dom0, destination)
        .and_then(smp::apic_id)
        .filter(|&id| ioapic::reaches(id))
        .or_else(|| smp::apic_id(PcpuId::BOOT))
        .unwrap_or(ApicId::new(0))
}

/// The pcpu of the first vcpu that an interrupt with `destination` is for.
pub fn home(dom0: &Domain, destination: Destination) -> Option<PcpuId> {
    let vcpus = dom0.vcpus();
    let vcpu = vcpus.iter().find(|vcpu| vcpu.lapic().lock().matches(destination))?;
    Some(vcpu.schedule().lock().pcpu())
}

/// Masks all that are Dom0's, at its end.
pub fn mask_all() {
    for place in ioapic::places() {
        let gsis = (0..place.pins).map(|pin| place.gsi_base.saturating_add(pin.into()));
        gsis.filter(|&gsi| is_passed(gsi)).for_each(ioapic::mask);
    }
}
