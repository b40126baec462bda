//! Registers, features and states of a device (VIRTIO 1.2, 3.1, 4.1.4).

use alloc::string::String;

use super::queue::Queue;
use crate::pci::{Bar, Capability, Function};
use crate::wait::{SECOND, until};
use crate::{Machine, Registers};

/// Features of all devices: the interface is that of version 1.
const VERSION_1: u64 = 1 << 32;

/// The capability of vendors.
const VENDOR_CAPABILITY: u8 = 9;

/// Offsets in the common configuration.
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const STATUS: usize = 0x14;
    pub const GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFF: usize = 0x1e;
    pub const QUEUE_DESCRIPTORS: usize = 0x20;
    pub const QUEUE_DRIVER: usize = 0x28;
    pub const QUEUE_DEVICE: usize = 0x30;
    pub const BYTES: usize = 0x38;
}

/// Bits of the device status.
mod status {
    pub const ACKNOWLEDGE: u32 = 1;
    pub const DRIVER: u32 = 2;
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
}

/// Types of configuration structures.
mod structure {
    pub const COMMON: u32 = 1;
    pub const NOTIFY: u32 = 2;
    pub const ISR: u32 = 3;
    pub const DEVICE: u32 = 4;
}

/// A device's registers. It is reset when this is dropped: it must not use the queues then.
pub(super) struct Transport<M: Machine> {
    common: M::Registers,
    device: M::Registers,
    isr: M::Registers,
    pub(super) interrupt: M::Interrupt,
    notify: Region,
    multiplier: u64,
}

/// Where a configuration structure is.
#[derive(Clone, Copy)]
struct Region {
    address: u64,
    bytes: u64,
}

impl<M: Machine> Transport<M> {
    /// Resets the device and agrees on the features: those of `wanted` that it has.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) async fn new(machine: &M, function: &Function, wanted: u64) -> Result<(Self, u64), String> {
        let find = |kind| find(machine, function, kind);
        let legacy = || String::from("it has the legacy interface only");
        let (common, _) = find(structure::COMMON).ok_or_else(legacy)?;
        let (notify, at) = find(structure::NOTIFY).ok_or_else(legacy)?;
        let (isr, _) = find(structure::ISR).ok_or_else(legacy)?;
        let (device, _) = find(structure::DEVICE).ok_or_else(legacy)?;
        let map = |region: Region, least: usize| {
            let bytes = usize::try_from(region.bytes).unwrap_or(0);
            if bytes < least {
                return Err(String::from("its registers are too few"));
            }
            machine.registers(region.address, bytes)
        };
        let transport = Self {
            common: map(common, common::BYTES)?,
            device: map(device, 8)?,
            isr: map(isr, 1)?,
            interrupt: machine.interrupt(function.gsi(machine)?, true)?,
            notify,
            multiplier: at
                .offset
                .checked_add(16)
                .map_or(0, |offset| function.address.read(machine, offset, 4))
                .into(),
        };
        function.enable(machine);
        let features = transport.negotiate(machine, wanted | VERSION_1).await?;
        Ok((transport, features))
    }

    async fn negotiate(&self, machine: &M, wanted: u64) -> Result<u64, String> {
        self.set_status(0);
        until(machine, SECOND, || (self.status() == 0).then_some(()))
            .await
            .ok_or("it does not come back from a reset")?;
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let mut features = 0;
        for half in 0..2 {
            self.common.write(common::DEVICE_FEATURE_SELECT, 4, half);
            let offered = self.common.read(common::DEVICE_FEATURE, 4);
            let [low, high] = [wanted, wanted >> 32].map(low);
            let taken = offered & if half == 0 { low } else { high };
            self.common.write(common::DRIVER_FEATURE_SELECT, 4, half);
            self.common.write(common::DRIVER_FEATURE, 4, taken);
            features |= u64::from(taken) << (32 * half);
        }
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        if features & VERSION_1 == 0 || self.status() & status::FEATURES_OK == 0 {
            return Err("it does not agree on its features".into());
        }
        Ok(features)
    }

    /// Prepares a queue of at most `most` entries, a power of two.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn queue(&self, machine: &M, number: u16, most: u16) -> Result<Queue<M>, String> {
        self.common.write(common::QUEUE_SELECT, 2, number.into());
        let size = self.common.read(common::QUEUE_SIZE, 2);
        let size = u16::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two())
            .ok_or("it lacks a queue")?
            .min(most);
        self.common.write(common::QUEUE_SIZE, 2, size.into());
        let offset = u64::from(self.common.read(common::QUEUE_NOTIFY_OFF, 2) & 0xffff) * self.multiplier;
        if offset.saturating_add(2) > self.notify.bytes || !offset.is_multiple_of(2) {
            return Err("a queue has no register to notify it".into());
        }
        let bell = machine.registers(self.notify.address.saturating_add(offset), 2)?;
        let queue = Queue::new(machine, number, size, bell)?;
        let [descriptors, driver, device] = queue.places();
        for (register, place) in [
            (common::QUEUE_DESCRIPTORS, descriptors),
            (common::QUEUE_DRIVER, driver),
            (common::QUEUE_DEVICE, device),
        ] {
            self.common.write(register, 4, low(place));
            self.common.write(register + 4, 4, low(place >> 32));
        }
        self.common.write(common::QUEUE_ENABLE, 2, 1);
        Ok(queue)
    }

    /// The device may work from now on.
    pub(super) fn start(&self) {
        let all = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;
        self.set_status(all);
    }

    /// Ends the interrupt, if it is this device's.
    pub(super) fn answer(&self) {
        self.isr.read(0, 1);
    }

    /// Reads the device's own configuration, 1, 2 or 4 bytes.
    pub(super) fn config(&self, offset: usize, bytes: u8) -> u32 {
        self.device.read(offset, bytes)
    }

    /// Reads 8 bytes of it.
    pub(super) fn config_u64(&self, offset: usize) -> u64 {
        // It may change between the halves; then its generation does.
        const TRIES: u32 = 8;
        let generation = || self.common.read(common::GENERATION, 1);
        let mut value = 0;
        for _ in 0..TRIES {
            let before = generation();
            value = u64::from(self.config(offset + 4, 4)) << 32 | u64::from(self.config(offset, 4));
            if generation() == before {
                break;
            }
        }
        value
    }

    fn status(&self) -> u32 {
        self.common.read(common::STATUS, 1)
    }

    fn set_status(&self, value: u32) {
        self.common.write(common::STATUS, 1, value);
    }
}

impl<M: Machine> Drop for Transport<M> {
    fn drop(&mut self) {
        self.set_status(0);
        // Done at once, or when it is told so (4.1.4.3.1); a few looks give it time.
        (0..1000).any(|_| self.status() == 0);
    }
}

/// A configuration structure and its capability (4.1.4 "Virtio Structure PCI Capabilities").
fn find<M: Machine>(machine: &M, function: &Function, kind: u32) -> Option<(Region, Capability)> {
    let read = |at: Capability, offset: u8, bytes| {
        at.offset.checked_add(offset).map_or(0, |offset| function.address.read(machine, offset, bytes))
    };
    function.capabilities(machine).into_iter().filter(|at| at.id == VENDOR_CAPABILITY).find_map(|at| {
        if read(at, 3, 1) != kind {
            return None;
        }
        let slot = u8::try_from(read(at, 4, 1)).ok()?;
        let Some(Bar::Memory { address, bytes }) = function.bar(machine, slot) else { return None };
        let (offset, length) = (u64::from(read(at, 8, 4)), u64::from(read(at, 12, 4)));
        let fits = offset.checked_add(length).is_some_and(|end| end <= bytes) && offset.is_multiple_of(4);
        fits.then(|| (Region { address: address + offset, bytes: length }, at))
    })
}

pub(super) fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
