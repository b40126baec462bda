//! Network cards of Intel's 8254x family: that of Bochs, QEMU and others.
//!
//! ```text
//!   send() ──> buffer, descriptor ──TDT──> card ──> done bit ──> room for the next
//!   receive() <── frame, descriptor <── card <──RDT── empty buffer
//!   serve(): interrupt ──> its causes ──> wakes those that wait
//! ```
//!
//! Registers and descriptors: "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
//! Developer's Manual" (8254x), chapters 3, 13 and 14. Legacy descriptors; no offloads.
//! What the card writes is not believed: a length beyond the buffer is a frame lost.

mod ring;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use event_listener::Event;
use network::MacAddress;

use crate::pci::{Bar, Function};
use crate::wait::{self, MILLISECOND, SECOND, until, when};
use crate::{Machine, Nic, Registers};
use ring::{BUFFER, Descriptor, Ring};

const INTEL: u16 = 0x8086;
/// 82543GC, 82540EM, 82545EM, 82574L.
const DEVICES: [u16; 4] = [0x1004, 0x100e, 0x100f, 0x10d3];

/// Bytes of the registers.
const REGISTERS: usize = 0x2_0000;

/// Offsets of registers.
mod register {
    pub const CTRL: usize = 0x0000;
    pub const STATUS: usize = 0x0008;
    pub const EERD: usize = 0x0014;
    pub const ICR: usize = 0x00c0;
    pub const ITR: usize = 0x00c4;
    pub const IMS: usize = 0x00d0;
    pub const IMC: usize = 0x00d8;
    pub const RCTL: usize = 0x0100;
    pub const TCTL: usize = 0x0400;
    pub const TIPG: usize = 0x0410;
    /// Address (low, high), length, and at 0x10 and 0x18 head and tail of the ring.
    pub const RDBAL: usize = 0x2800;
    pub const TDBAL: usize = 0x3800;
    pub const MTA: usize = 0x5200;
    pub const RAL: usize = 0x5400;
    pub const RAH: usize = 0x5404;
}

/// Bits of the device control register.
mod control {
    pub const LINK_RESET: u32 = 1 << 3;
    pub const AUTO_SPEED: u32 = 1 << 5;
    pub const LINK_UP: u32 = 1 << 6;
    pub const INVERT_LOSS: u32 = 1 << 7;
    pub const RESET: u32 = 1 << 26;
    pub const PHY_RESET: u32 = 1 << 31;
}

/// Causes of interrupts.
mod cause {
    /// Descriptors were written back.
    pub const SENT: u32 = 1;
    pub const LINK: u32 = 1 << 2;
    pub const FEW_LEFT: u32 = 1 << 4;
    pub const OVERRUN: u32 = 1 << 6;
    pub const RECEIVED: u32 = 1 << 7;
}

/// Receive: on, all frames of all addresses, buffers of 2048 bytes, check sequence removed.
const RECEIVE: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26;
/// Transmit: on, short frames padded, collision threshold and distance as for full duplex.
const TRANSMIT: u32 = 1 << 1 | 1 << 3 | 0x0f << 4 | 0x40 << 12;
/// Gaps between frames, as the manual says for copper.
const GAPS: u32 = 10 | 8 << 10 | 6 << 20;
/// Least time between interrupts: 50 us, in units of 256 ns.
const INTERRUPT_GAP: u32 = 195;

/// Descriptor commands: end of the frame, check sequence added, done bit wanted.
const SEND: u8 = 1 | 1 << 1 | 1 << 3;
/// Descriptor status: the card is done with it; it is the end of a frame.
const DONE: u8 = 1;
const END: u8 = 1 << 1;

/// Longest frame, with a VLAN tag.
const LONGEST: usize = 1518;
/// Shortest frame, as [`Nic`] has them.
const SHORTEST: usize = 60;

/// A card.
pub struct E1000<M: Machine> {
    registers: M::Registers,
    interrupt: M::Interrupt,
    address: MacAddress,
    receive: Ring<M>,
    send: Ring<M>,
    /// The oldest frame that the card may still be sending.
    unsent: Cell<u16>,
    received: Event,
    sent: Event,
}

/// Whether the driver is for this function.
#[must_use]
pub fn is_for(function: &Function) -> bool {
    function.vendor == INTEL && DEVICES.contains(&function.device)
}

/// Brings a card up. [`E1000::serve`] has to run for it.
///
/// # Errors
///
/// In words.
pub async fn probe<M: Machine>(machine: &Rc<M>, function: &Function) -> Result<E1000<M>, String> {
    let problem = |words: String| format!("network card {function}: {words}");
    let started = start(machine, function).await;
    started.map_err(|words| {
        function.disable(&**machine);
        problem(words)
    })
}

async fn start<M: Machine>(machine: &Rc<M>, function: &Function) -> Result<E1000<M>, String> {
    let registers = match function.bar(&**machine, 0) {
        Some(Bar::Memory { address, bytes }) if bytes >= REGISTERS as u64 => {
            machine.registers(address, REGISTERS)?
        }
        _ => return Err("the firmware gave it no memory for its registers".into()),
    };
    function.enable(&**machine);
    reset(&**machine, &registers).await?;
    let card = E1000 {
        address: address(&**machine, &registers).await?,
        registers,
        interrupt: machine.interrupt(function.gsi(&**machine)?, true)?,
        receive: Ring::new(&**machine)?,
        send: Ring::new(&**machine)?,
        unsent: Cell::new(0),
        received: Event::new(),
        sent: Event::new(),
    };
    card.open();
    Ok(card)
}

/// Brings the card to its first state, with interrupts off.
async fn reset<M: Machine>(machine: &M, registers: &M::Registers) -> Result<(), String> {
    registers.write(register::IMC, 4, u32::MAX);
    registers.write(register::RCTL, 4, 0);
    registers.write(register::TCTL, 4, 0);
    let before = registers.read(register::CTRL, 4);
    registers.write(register::CTRL, 4, before | control::RESET);
    machine.sleep_ns(10 * MILLISECOND).await;
    let is_back = || (registers.read(register::CTRL, 4) & control::RESET == 0).then_some(());
    until(machine, SECOND, is_back).await.ok_or("it does not come back from a reset")?;
    registers.write(register::IMC, 4, u32::MAX);
    registers.read(register::ICR, 4);
    Ok(())
}

/// The address that the card has from its EEPROM.
async fn address<M: Machine>(machine: &M, registers: &M::Registers) -> Result<MacAddress, String> {
    const VALID: u32 = 1 << 31;
    const MULTICAST: u8 = 1;
    let (low, high) = (registers.read(register::RAL, 4), registers.read(register::RAH, 4));
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, ..] = high.to_le_bytes();
    let mut address = [a, b, c, d, e, f];
    if high & VALID == 0 || address == [0; 6] {
        for (number, bytes) in (0..).zip(address.as_chunks_mut().0) {
            *bytes = eeprom(machine, registers, number).await?.to_le_bytes();
        }
    }
    if address == [0; 6] || address[0] & MULTICAST != 0 {
        return Err("it has no address".into());
    }
    Ok(address)
}

/// A word of the EEPROM.
async fn eeprom<M: Machine>(machine: &M, registers: &M::Registers, number: u32) -> Result<u16, String> {
    const START: u32 = 1;
    const DONE: u32 = 1 << 4;
    registers.write(register::EERD, 4, START | number << 8);
    let read = || Some(registers.read(register::EERD, 4)).filter(|value| value & DONE != 0);
    let value = until(machine, 10 * MILLISECOND, read).await.ok_or("its EEPROM cannot be read")?;
    let [.., low, high] = value.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

impl<M: Machine> E1000<M> {
    /// Lets frames in and out.
    fn open(&self) {
        let (clear, set) = (
            control::LINK_RESET | control::INVERT_LOSS | control::PHY_RESET,
            control::AUTO_SPEED | control::LINK_UP,
        );
        self.write(register::CTRL, self.registers.read(register::CTRL, 4) & !clear | set);
        (0..128).for_each(|word| self.write(register::MTA + 4 * word, 0));
        self.send.tell(&self.registers, register::TDBAL);
        self.write(register::TIPG, GAPS);
        self.write(register::TCTL, TRANSMIT);
        self.receive.fill();
        self.receive.tell(&self.registers, register::RDBAL);
        self.write(register::RCTL, RECEIVE);
        // One entry stays unused: a tail that is the head is an empty ring.
        self.write(register::RDBAL + ring::TAIL, u32::from(ring::before(0)));
        self.write(register::ITR, INTERRUPT_GAP);
        self.write(register::IMS, cause::RECEIVED | cause::OVERRUN | cause::FEW_LEFT | cause::LINK);
    }

    /// Answers the card's interrupts, for ever.
    pub async fn serve(&self) {
        wait::serve(&self.interrupt, || {
            // Reading it ends the interrupt.
            let causes = self.registers.read(register::ICR, 4);
            if causes & cause::SENT != 0 {
                self.write(register::IMC, cause::SENT);
                self.sent.notify(usize::MAX);
            }
            self.received.notify(usize::MAX);
        })
        .await;
    }

    /// The next frame, if it is there. Those with errors are dropped by the card.
    fn take(&self) -> Option<Vec<u8>> {
        loop {
            let place = self.receive.next();
            let Descriptor { length, status, .. } = self.receive.read(place)?;
            let frame = (status & END != 0 && usize::from(length) <= BUFFER)
                .then(|| self.receive.buffer(place, length.into()));
            self.receive.put(place, Descriptor::default());
            self.write(register::RDBAL + ring::TAIL, place.into());
            self.receive.advance();
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Hands a frame to the card, if it has room.
    fn put(&self, frame: &[u8]) -> bool {
        while self.unsent.get() != self.send.next() && self.send.read(self.unsent.get()).is_some() {
            self.unsent.set(ring::behind(self.unsent.get()));
        }
        let place = self.send.next();
        if ring::behind(place) == self.unsent.get() {
            return false;
        }
        self.send.fill_buffer(place, frame, SHORTEST);
        let length = u16::try_from(frame.len().max(SHORTEST)).unwrap_or(0);
        self.send.put(place, Descriptor { length, command: SEND, status: 0 });
        self.send.advance();
        self.write(register::TDBAL + ring::TAIL, self.send.next().into());
        true
    }

    fn write(&self, register: usize, value: u32) {
        self.registers.write(register, 4, value);
    }
}

impl<M: Machine> Nic for E1000<M> {
    fn address(&self) -> MacAddress {
        self.address
    }

    async fn send(&self, frame: &[u8]) {
        if frame.is_empty() || frame.len() > LONGEST {
            return;
        }
        when(&self.sent, || {
            let sent = self.put(frame);
            if !sent {
                self.write(register::IMS, cause::SENT);
            }
            sent.then_some(())
        })
        .await;
    }

    async fn receive(&self) -> Vec<u8> {
        when(&self.received, || self.take()).await
    }

    fn is_up(&self) -> bool {
        const LINK: u32 = 1 << 1;
        let status = self.registers.read(register::STATUS, 4);
        // All ones: the card is gone.
        status != u32::MAX && status & LINK != 0
    }
}

impl<M: Machine> Drop for E1000<M> {
    /// The card must not use memory that is given back.
    fn drop(&mut self) {
        self.write(register::IMC, u32::MAX);
        self.write(register::CTRL, control::RESET);
    }
}
