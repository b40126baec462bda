//! Disks (VIRTIO 1.2, 5.2 "Block Device").

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use event_listener::Event;
use storage::{Disk, Failure, Properties, SECTOR};

use super::queue::{Part, Queue};
use super::transport::Transport;
use crate::pci::Function;
use crate::wait::{self, SECOND, when, when_within};
use crate::{Dma, Machine};

/// Features.
const READ_ONLY: u64 = 1 << 5;
const BLOCK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;

/// Offsets in the configuration.
const CAPACITY: usize = 0;
const BLOCK_BYTES: usize = 20;

/// Types of requests.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH_CACHE: u32 = 4;

/// Requests at a time.
const SLOTS: u16 = 4;
/// Descriptors of a request: header, data, status.
const CHAIN: u16 = 3;
/// Bytes of data of a request.
const LONGEST: usize = 64 * 1024;
const LONGEST_SECTORS: usize = LONGEST / SECTOR;
/// A slot's memory: data, header, status.
const HEADER: usize = LONGEST;
const HEADER_BYTES: usize = 16;
const STATUS: usize = HEADER + HEADER_BYTES;
const SLOT: usize = LONGEST + 64;

/// How long a request may take.
const LIMIT: u64 = 60 * SECOND;

/// A disk.
pub struct Block<M: Machine> {
    // The first: the device is reset before its memory goes.
    transport: Transport<M>,
    machine: Rc<M>,
    queue: Queue<M>,
    memory: M::Dma,
    slots: Vec<Cell<Slot>>,
    /// A slot has become free.
    freed: Event,
    /// A request has ended.
    ended: Event,
    properties: Properties,
    has_cache: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    /// The device has it.
    Pending,
    /// The device has it, and nobody waits.
    Abandoned,
    /// The device is done with it: the status that it gave.
    Done(u8),
}

/// Data of a request.
enum Data<'a> {
    In(&'a mut [u8]),
    Out(&'a [u8]),
    None,
}

/// Brings a disk up. [`Block::serve`] has to run for it.
///
/// # Errors
///
/// In words.
pub async fn probe<M: Machine>(machine: &Rc<M>, function: &Function) -> Result<Block<M>, String> {
    let started = start(machine, function).await;
    started.map_err(|words| {
        function.disable(&**machine);
        format!("virtio disk {function}: {words}")
    })
}

async fn start<M: Machine>(machine: &Rc<M>, function: &Function) -> Result<Block<M>, String> {
    let wanted = READ_ONLY | BLOCK_SIZE | FLUSH;
    let (transport, features) = Transport::new(&**machine, function, wanted).await?;
    let queue = transport.queue(&**machine, 0, 16)?;
    let slots = (queue.size() / CHAIN).min(SLOTS);
    if slots == 0 {
        return Err("its queue is too short".into());
    }
    let sectors = transport.config_u64(CAPACITY);
    if sectors == 0 || sectors > u64::MAX / SECTOR as u64 {
        return Err(format!("it says that it has {sectors} sectors"));
    }
    let block_bytes = if features & BLOCK_SIZE != 0 { transport.config(BLOCK_BYTES, 4) } else { 512 };
    if !block_bytes.is_power_of_two() || block_bytes < 512 {
        return Err(format!("it says that its blocks have {block_bytes} bytes"));
    }
    let read_only = features & READ_ONLY != 0;
    let memory = machine.dma(usize::from(slots) * SLOT, 4096)?;
    transport.start();
    Ok(Block {
        transport,
        machine: machine.clone(),
        queue,
        memory,
        slots: (0..slots).map(|_| Cell::new(Slot::Free)).collect(),
        freed: Event::new(),
        ended: Event::new(),
        properties: Properties { sectors, block_bytes, read_only, discard: None },
        has_cache: features & FLUSH != 0,
    })
}

impl<M: Machine> Block<M> {
    /// Answers the disk's interrupts, for ever.
    pub async fn serve(&self) {
        wait::serve(&self.transport.interrupt, || {
            self.transport.answer();
            self.collect();
        })
        .await;
    }

    /// Takes what the device has done out of the queue.
    fn collect(&self) {
        while let Some((first, _)) = self.queue.take() {
            let slot = usize::try_from(first / u32::from(CHAIN)).unwrap_or(usize::MAX);
            let Some(state) = self.slots.get(slot) else { continue };
            match state.get() {
                Slot::Pending => {
                    let mut status = [0];
                    self.memory.read(slot * SLOT + STATUS, &mut status);
                    state.set(Slot::Done(status[0]));
                }
                Slot::Abandoned => self.free(slot),
                Slot::Free | Slot::Done(_) => {}
            }
        }
        self.ended.notify(usize::MAX);
    }

    fn free(&self, slot: usize) {
        if let Some(state) = self.slots.get(slot) {
            state.set(Slot::Free);
            self.freed.notify(1);
        }
    }

    /// A request with at most [`LONGEST`] bytes of data, all of which the disk has.
    async fn request(&self, kind: u32, first: u64, mut data: Data<'_>) -> Result<(), Failure> {
        let lease = self.lease().await;
        let base = lease.slot * SLOT;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&first.to_le_bytes());
        self.memory.write(base + HEADER, &header);
        self.memory.write(base + STATUS, &[u8::MAX]);
        let bytes = match &data {
            Data::In(bytes) => bytes.len(),
            Data::Out(bytes) => {
                self.memory.write(base, bytes);
                bytes.len()
            }
            Data::None => 0,
        };
        self.offer(lease.slot, bytes, matches!(data, Data::In(_)));
        let failed = |words| Failure::Medium(format!("sector {first}: {words}"));
        match self.done(&lease).await {
            Some(0) => {
                if let Data::In(bytes) = &mut data {
                    self.memory.read(base, bytes);
                }
                Ok(())
            }
            Some(2) => Err(Failure::Unsupported),
            Some(_) => Err(failed("the disk reports an error")),
            None => Err(failed("the disk does not answer in time")),
        }
    }

    /// Waits for a slot.
    async fn lease(&self) -> Lease<'_, M> {
        let free = || self.slots.iter().position(|slot| slot.get() == Slot::Free);
        Lease { disk: self, slot: when(&self.freed, free).await }
    }

    fn offer(&self, slot: usize, bytes: usize, to_memory: bool) {
        let base = self.memory.address() + (slot * SLOT) as u64;
        let part = |offset: usize, bytes: usize, for_device_to_write| Part {
            address: base + offset as u64,
            bytes: u32::try_from(bytes).unwrap_or(0),
            for_device_to_write,
        };
        let all = [part(HEADER, HEADER_BYTES, false), part(0, bytes, to_memory), part(STATUS, 1, true)];
        let without_data = [all[0], all[2]];
        if let Some(state) = self.slots.get(slot) {
            state.set(Slot::Pending);
        }
        let first = u16::try_from(slot).unwrap_or(0) * CHAIN;
        self.queue.offer(first, if bytes == 0 { &without_data } else { &all });
        self.queue.notify();
    }

    /// Waits for the status of a slot that was offered; `None` when it does not come.
    async fn done(&self, lease: &Lease<'_, M>) -> Option<u8> {
        let status = || match self.slots.get(lease.slot).map(Cell::get) {
            Some(Slot::Done(status)) => Some(status),
            _ => None,
        };
        when_within(&*self.machine, LIMIT, &self.ended, status, || self.collect()).await
    }
}

/// A slot of one request; the device keeps it for as long as it has it.
struct Lease<'a, M: Machine> {
    disk: &'a Block<M>,
    slot: usize,
}

impl<M: Machine> Drop for Lease<'_, M> {
    fn drop(&mut self) {
        let Some(state) = self.disk.slots.get(self.slot) else { return };
        match state.get() {
            Slot::Pending => state.set(Slot::Abandoned),
            _ => self.disk.free(self.slot),
        }
    }
}

impl<M: Machine> Disk for Block<M> {
    fn properties(&self) -> Properties {
        self.properties
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties.range(first, to.len())?;
        for (first, part) in (first..).step_by(LONGEST_SECTORS).zip(to.chunks_mut(LONGEST)) {
            self.request(IN, first, Data::In(part)).await?;
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties.writable(first, from.len())?;
        for (first, part) in (first..).step_by(LONGEST_SECTORS).zip(from.chunks(LONGEST)) {
            self.request(OUT, first, Data::Out(part)).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        // Without the feature there is no cache (5.2.6.2).
        if self.has_cache { self.request(FLUSH_CACHE, 0, Data::None).await } else { Ok(()) }
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
        Err(Failure::Unsupported)
    }
}
