//! Device models of a domain that its vcpus share: the I/O APIC, the address register of PCI
//! configuration space.

use core::sync::atomic::{AtomicU32, Ordering};

use hv_arch::sync::{Lock, Rank};
use hv_core::vioapic::Vioapic;
use hv_core::vlapic::Vector;

use crate::domain::Domain;
use crate::interrupts;

/// Guest-physical page of the I/O APIC's registers.
pub const IOAPIC_ADDRESS: u64 = 0xfec0_0000;
/// Identifier of the I/O APIC.
const IOAPIC_ID: u8 = 0xf;

/// Device models.
#[derive(Debug)]
pub struct Devices {
    /// Only Dom0, which has the machine's devices, has one.
    ioapic: Option<Lock<Vioapic>>,
    /// Which doubleword of PCI configuration space its data port reaches.
    pci_address: AtomicU32,
}

impl Devices {
    /// Those of Dom0, or of another domain.
    pub fn new(is_dom0: bool) -> Self {
        Self {
            ioapic: is_dom0.then(|| Lock::new(Rank::Devices, Vioapic::new(IOAPIC_ID))),
            pci_address: AtomicU32::new(0),
        }
    }

    /// What was written to the address port of PCI configuration space.
    pub fn pci_address(&self) -> u32 {
        self.pci_address.load(Ordering::Relaxed)
    }

    /// Writes to that port.
    pub fn set_pci_address(&self, address: u32) {
        self.pci_address.store(address, Ordering::Relaxed);
    }

    /// Whether there is an I/O APIC.
    pub fn has_ioapic(&self) -> bool {
        self.ioapic.is_some()
    }

    /// Loads 32 bits at `offset` of the I/O APIC's page.
    pub fn read_ioapic(&self, offset: u16) -> u32 {
        self.ioapic.as_ref().map_or(u32::MAX, |ioapic| ioapic.lock().read(offset))
    }

    /// Stores 32 bits there.
    pub fn write_ioapic(&self, domain: &Domain, offset: u16, value: u32) {
        self.with_ioapic(domain, |ioapic| ioapic.write(offset, value));
    }

    /// A level-triggered interrupt has ended.
    pub fn end_of_interrupt(&self, domain: &Domain, vector: Vector) {
        self.with_ioapic(domain, |ioapic| ioapic.end_of_interrupt(vector));
    }

    /// Does `act`, and sends the messages that come of it.
    fn with_ioapic(&self, domain: &Domain, act: impl FnOnce(&mut Vioapic)) {
        let Some(ioapic) = &self.ioapic else { return };
        let mut ioapic = ioapic.lock();
        act(&mut ioapic);
        while let Some(message) = ioapic.take_message() {
            interrupts::send(domain, message);
        }
    }
}
