//! Network cards (VIRTIO 1.2, 5.1 "Network Device"), without offloads.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use event_listener::Event;
use network::MacAddress;

use super::queue::{Part, Queue};
use super::transport::Transport;
use crate::pci::Function;
use crate::wait::{self, when};
use crate::{Dma, Machine, Nic};

/// Features.
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;

/// Offset of the status in the configuration.
const STATUS_AT: usize = 6;

/// Frames in each direction at a time.
const MOST: u16 = 128;
/// Bytes of a buffer.
const BUFFER: usize = 2048;
/// Bytes before each frame; zeros where there are no offloads.
const HEADER: usize = 12;
/// Longest frame, with a VLAN tag; and the shortest, as [`Nic`] has them.
const LONGEST: usize = 1518;
const SHORTEST: usize = 60;

/// A card.
pub struct Net<M: Machine> {
    // The first: the device is reset before its memory goes.
    transport: Transport<M>,
    receive: Lane<M>,
    send: Lane<M>,
    /// Buffers that the device does not send from.
    free: RefCell<Vec<u16>>,
    served: Event,
    address: MacAddress,
    has_status: bool,
}

/// A queue with a buffer for each descriptor.
struct Lane<M: Machine> {
    queue: Queue<M>,
    buffers: M::Dma,
}

/// Brings a card up. [`Net::serve`] has to run for it.
///
/// # Errors
///
/// In words.
pub async fn probe<M: Machine>(machine: &Rc<M>, function: &Function) -> Result<Net<M>, String> {
    let started = start(&**machine, function).await;
    started.map_err(|words| {
        function.disable(&**machine);
        format!("virtio network card {function}: {words}")
    })
}

async fn start<M: Machine>(machine: &M, function: &Function) -> Result<Net<M>, String> {
    let (transport, features) = Transport::new(machine, function, MAC | STATUS).await?;
    if features & MAC == 0 {
        return Err("it has no address".into());
    }
    let mut address = [0; 6];
    for (offset, byte) in address.iter_mut().enumerate() {
        *byte = transport.config(offset, 1).to_le_bytes()[0];
    }
    let (receive, send) = (Lane::new(machine, &transport, 0)?, Lane::new(machine, &transport, 1)?);
    let free = RefCell::new((0..send.queue.size()).collect());
    let has_status = features & STATUS != 0;
    let card = Net { transport, receive, send, free, served: Event::new(), address, has_status };
    (0..card.receive.queue.size()).for_each(|place| card.receive.offer(place, BUFFER, true));
    card.transport.start();
    card.receive.queue.notify();
    Ok(card)
}

impl<M: Machine> Lane<M> {
    fn new(machine: &M, transport: &Transport<M>, number: u16) -> Result<Self, String> {
        let queue = transport.queue(machine, number, MOST)?;
        let buffers = machine.dma(usize::from(queue.size()) * BUFFER, BUFFER)?;
        Ok(Self { queue, buffers })
    }

    fn offer(&self, place: u16, bytes: usize, for_device_to_write: bool) {
        let address = self.buffers.address() + u64::from(place) * BUFFER as u64;
        let bytes = u32::try_from(bytes).unwrap_or(0);
        self.queue.offer(place, &[Part { address, bytes, for_device_to_write }]);
    }

    /// A buffer that the device is done with, and the bytes that it wrote there.
    fn take(&self) -> Option<(u16, usize)> {
        loop {
            let (place, bytes) = self.queue.take()?;
            // Nonsense is passed over.
            if let Some(place) = u16::try_from(place).ok().filter(|place| *place < self.queue.size()) {
                return Some((place, usize::try_from(bytes).unwrap_or(0)));
            }
        }
    }
}

impl<M: Machine> Net<M> {
    /// Answers the card's interrupts, for ever.
    pub async fn serve(&self) {
        wait::serve(&self.transport.interrupt, || {
            self.transport.answer();
            self.served.notify(usize::MAX);
        })
        .await;
    }

    /// The next frame, if it is there.
    fn take(&self) -> Option<Vec<u8>> {
        loop {
            let (place, bytes) = self.receive.take()?;
            let frame = bytes.checked_sub(HEADER).filter(|_| bytes <= BUFFER).map(|length| {
                let mut frame = vec![0; length];
                self.receive.buffers.read(usize::from(place) * BUFFER + HEADER, &mut frame);
                frame
            });
            self.receive.offer(place, BUFFER, true);
            self.receive.queue.notify();
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Hands a frame to the card, if it has room.
    fn put(&self, frame: &[u8]) -> bool {
        let mut free = self.free.borrow_mut();
        while let Some((place, _)) = self.send.take() {
            // One that comes back twice would be sent from twice.
            if !free.contains(&place) {
                free.push(place);
            }
        }
        let Some(place) = free.pop() else { return false };
        let mut bytes = vec![0; HEADER + frame.len().max(SHORTEST)];
        bytes[HEADER..HEADER + frame.len()].copy_from_slice(frame);
        self.send.buffers.write(usize::from(place) * BUFFER, &bytes);
        self.send.offer(place, bytes.len(), false);
        self.send.queue.notify();
        true
    }
}

impl<M: Machine> Nic for Net<M> {
    fn address(&self) -> MacAddress {
        self.address
    }

    async fn send(&self, frame: &[u8]) {
        if frame.is_empty() || frame.len() > LONGEST {
            return;
        }
        when(&self.served, || self.put(frame).then_some(())).await;
    }

    async fn receive(&self) -> Vec<u8> {
        when(&self.served, || self.take()).await
    }

    fn is_up(&self) -> bool {
        const UP: u32 = 1;
        !self.has_status || self.transport.config(STATUS_AT, 2) & UP != 0
    }
}
