//! Device models of a domain that its vcpus share: the I/O APICs, the address register of PCI
//! configuration space.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::vec::Vec;
use hv_arch::sync::{Lock, Rank};
use hv_arch::{ioapic, percpu, time};
use hv_core::addr::PAGE_SIZE;
use hv_core::passthrough::{Action, Arrival, Passthrough};
use hv_core::vioapic::{DEFAULT_PINS, IoApicPin, Pins, Vioapic};
use hv_core::vlapic::{Trigger, Vector};

use crate::domain::Domain;
use crate::{console, interrupts, irq};

/// Guest-physical page of the I/O APIC's registers, where the machine has none.
const IOAPIC_ADDRESS: u64 = 0xfec0_0000;
/// Its identifier.
const IOAPIC_ID: u8 = 0xf;

/// Device models.
#[derive(Debug)]
pub struct Devices {
    /// Only Dom0, which has the machine's devices, has any.
    ioapics: Vec<IoApic>,
    /// Which doubleword of PCI configuration space its data port reaches.
    pci_address: AtomicU32,
}

/// An I/O APIC.
#[derive(Debug)]
struct IoApic {
    /// Its page.
    address: u64,
    /// The global system interrupt of its first pin.
    gsi_base: u32,
    pins: u8,
    state: Lock<State>,
}

#[derive(Debug)]
struct State {
    model: Vioapic,
    /// The real one that is in the same place.
    real: Passthrough,
}

impl Devices {
    /// Those of Dom0, or of another domain.
    pub fn new(is_dom0: bool) -> Self {
        let ioapics = if is_dom0 { ioapics() } else { Vec::new() };
        Self { ioapics, pci_address: AtomicU32::new(0) }
    }

    /// What was written to the address port of PCI configuration space.
    pub fn pci_address(&self) -> u32 {
        self.pci_address.load(Ordering::Relaxed)
    }

    /// Writes to that port.
    pub fn set_pci_address(&self, address: u32) {
        self.pci_address.store(address, Ordering::Relaxed);
    }

    /// Whether an I/O APIC has its registers in `page`.
    pub fn has_ioapic(&self, page: u64) -> bool {
        self.at(page).is_some()
    }

    /// Whether an I/O APIC has a pin for `gsi`.
    pub fn has_gsi(&self, gsi: u32) -> bool {
        self.ioapics.iter().any(|ioapic| ioapic.pin(gsi).is_some())
    }

    /// Loads 32 bits at `offset` of an I/O APIC's page.
    pub fn read_ioapic(&self, page: u64, offset: u16) -> u32 {
        self.at(page).map_or(u32::MAX, |ioapic| ioapic.state.lock().model.read(offset))
    }

    /// Stores 32 bits there.
    pub fn write_ioapic(&self, domain: &Domain, page: u64, offset: u16, value: u32) {
        if let Some(ioapic) = self.at(page) {
            ioapic.change(domain, |state| state.model.write(offset, value));
        }
    }

    /// A level-triggered interrupt has ended.
    pub fn end_of_interrupt(&self, domain: &Domain, vector: Vector) {
        for ioapic in &self.ioapics {
            ioapic.change(domain, |state| state.model.end_of_interrupt(vector));
        }
    }

    /// An interrupt of a device has come to this pcpu.
    pub fn interrupt(&self, domain: &Domain, gsi: u32) {
        if let Some((ioapic, pin)) = self.ioapics.iter().find_map(|ioapic| Some((ioapic, ioapic.pin(gsi)?))) {
            ioapic.interrupt(domain, pin);
        }
    }

    fn at(&self, page: u64) -> Option<&IoApic> {
        self.ioapics.iter().find(|ioapic| ioapic.address == page)
    }
}

/// One in the place of each of the machine's, or one that no device is wired to.
fn ioapics() -> Vec<IoApic> {
    let mut ioapics: Vec<IoApic> = Vec::new();
    for place in ioapic::places() {
        let page = place.address.get() & !(PAGE_SIZE - 1);
        if ioapics.iter().any(|other| other.address == page) {
            log::warn!(
                "Dom0: the I/O APIC at {:#x} shares its page with another; left out",
                place.address.get()
            );
            continue;
        }
        let mut passed = Pins::NONE;
        let pins = (0..place.pins).filter_map(IoApicPin::new);
        let is_passed = |pin: &IoApicPin| irq::is_passed(place.gsi_base.saturating_add(pin.get().into()));
        pins.filter(is_passed).for_each(|pin| passed.insert(pin));
        let model = Vioapic::new(place.id, place.pins);
        ioapics.push(IoApic::new(page, place.gsi_base, model, passed));
    }
    if ioapics.is_empty() {
        ioapics.push(IoApic::new(IOAPIC_ADDRESS, 0, Vioapic::new(IOAPIC_ID, DEFAULT_PINS), Pins::NONE));
    }
    ioapics
}

impl IoApic {
    fn new(address: u64, gsi_base: u32, model: Vioapic, passed: Pins) -> Self {
        let pins = model.pins();
        let state = State { model, real: Passthrough::new(passed) };
        Self { address, gsi_base, pins, state: Lock::new(Rank::Devices, state) }
    }

    fn pin(&self, gsi: u32) -> Option<IoApicPin> {
        let pin = IoApicPin::new(u8::try_from(gsi.checked_sub(self.gsi_base)?).ok()?)?;
        (pin.get() < self.pins).then_some(pin)
    }

    fn gsi(&self, pin: IoApicPin) -> u32 {
        self.gsi_base.saturating_add(pin.get().into())
    }

    /// Does `act`, has the real pins follow, and sends the messages that come of it.
    fn change(&self, domain: &Domain, act: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        act(&mut state);
        let State { model, real } = &mut *state;
        while let Some(action) = real.settle(model) {
            match action {
                Action::Open(pin, setup) => irq::open(domain, self.gsi(pin), setup),
                Action::Close(pin) => ioapic::mask(self.gsi(pin)),
            }
        }
        send(domain, model);
    }

    fn interrupt(&self, domain: &Domain, pin: IoApicPin) {
        let mut state = self.state.lock();
        let State { model, real } = &mut *state;
        match real.arrived(model, pin, time::now_ns()) {
            Arrival::Stale => {}
            Arrival::Edge => {
                send(domain, model);
                self.follow_vcpu(domain, model, pin);
            }
            // It would come again at once; the other way, to hold its end back, holds back
            // interrupts of other pins as well.
            Arrival::Level => {
                ioapic::mask(self.gsi(pin));
                send(domain, model);
            }
            Arrival::Storm => {
                ioapic::mask(self.gsi(pin));
                log::warn!(
                    target: console::GUEST,
                    "{}: interrupt {}: too many edges; masked until it is programmed again",
                    domain.id(),
                    self.gsi(pin)
                );
            }
        }
    }

    /// Has later interrupts come to the pcpu to which the vcpu has gone.
    fn follow_vcpu(&self, domain: &Domain, model: &Vioapic, pin: IoApicPin) {
        let setup = model.setup(pin).filter(|setup| setup.trigger == Trigger::Edge);
        if let Some(setup) = setup
            && irq::home(domain, setup.destination).is_some_and(|home| home != percpu::this().id())
        {
            irq::open(domain, self.gsi(pin), setup);
        }
    }
}

fn send(domain: &Domain, model: &mut Vioapic) {
    while let Some(message) = model.take_message() {
        interrupts::send(domain, message);
    }
}
