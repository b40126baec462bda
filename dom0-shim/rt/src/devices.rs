//! What drivers of the machine's devices stand on: [`drivers::Machine`], in Dom0.
//!
//! Dom0 has its RAM at its real addresses (`docs/p2m.md`), so memory of the heap is memory for
//! DMA. It has the machine's ports and, at the first touch, the devices' registers; a port or a
//! place that it does not have reads as all ones and takes no writes.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::format;
use alloc::string::{String, ToString};
use core::alloc::Layout;
use core::arch::asm;
use core::ops::Range;
use core::ptr::NonNull;

use crate::interrupts::{self, Polarity, Trigger};
use crate::{cpu, heap, timer};

/// Up to where addresses are their own.
const MAPPED: u64 = 1 << 32;

/// The machine, as Dom0 sees it. [`crate::timer::init`] and [`crate::channels::init`] come first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Devices;

impl drivers::Machine for Devices {
    type Registers = Registers;
    type Dma = Dma;
    type Interrupt = Interrupt;

    fn read_port(&self, port: u16, bytes: u8) -> u32 {
        let value = match bytes {
            1 => cpu::inb(port).map(u32::from),
            2 => cpu::inw(port).map(u32::from),
            _ => cpu::inl(port),
        };
        value.unwrap_or(u32::MAX)
    }

    fn write_port(&self, port: u16, bytes: u8, value: u32) {
        let [a, b, ..] = value.to_le_bytes();
        // A port that Dom0 does not have takes no writes.
        let _ = match bytes {
            1 => cpu::outb(port, a),
            2 => cpu::outw(port, u16::from_le_bytes([a, b])),
            _ => cpu::outl(port, value),
        };
    }

    fn registers(&self, address: u64, bytes: usize) -> Result<Registers, String> {
        let end = address.checked_add(bytes as u64).filter(|end| *end <= MAPPED);
        match end {
            Some(end) if address >= heap::end() => Ok(Registers(address..end)),
            _ => Err(format!("registers at {address:#x} cannot be reached: not between RAM and 4 GiB")),
        }
    }

    fn dma(&self, bytes: usize, align: usize) -> Result<Dma, String> {
        let layout = Layout::from_size_align(bytes.max(1), align).map_err(|error| error.to_string())?;
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) });
        let block = block.ok_or_else(|| format!("no {bytes} bytes of memory for DMA are left"))?;
        Ok(Dma { block, layout, bytes })
    }

    fn interrupt(&self, gsi: u32, level: bool) -> Result<Interrupt, String> {
        let (trigger, polarity) =
            if level { (Trigger::Level, Polarity::Low) } else { (Trigger::Edge, Polarity::High) };
        interrupts::Interrupt::new(gsi, trigger, polarity).map(Interrupt).map_err(|error| error.to_string())
    }

    fn now_ns(&self) -> u64 {
        timer::now_ns()
    }

    async fn sleep_ns(&self, ns: u64) {
        timer::sleep_ns(ns).await;
    }
}

/// Registers of a device. The hypervisor maps them uncached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers(Range<u64>);

impl Registers {
    fn place(&self, offset: usize, bytes: u8) -> Option<u64> {
        let place = self.0.start.checked_add(offset as u64)?;
        let end = place.checked_add(bytes.into())?;
        (end <= self.0.end && place.is_multiple_of(bytes.into())).then_some(place)
    }
}

impl drivers::Registers for Registers {
    fn read(&self, offset: usize, bytes: u8) -> u32 {
        let read = |place| match bytes {
            1 => cpu::peek_u8(place).ok().map(u32::from),
            2 => cpu::peek_u16(place).ok().map(u32::from),
            _ => cpu::peek_u32(place).ok(),
        };
        self.place(offset, bytes).and_then(read).unwrap_or(u32::MAX)
    }

    fn write(&self, offset: usize, bytes: u8, value: u32) {
        let [a, b, ..] = value.to_le_bytes();
        let Some(place) = self.place(offset, bytes) else { return };
        // A device that is gone takes no writes.
        let _ = match bytes {
            1 => cpu::poke_u8(place, a),
            2 => cpu::poke_u16(place, u16::from_le_bytes([a, b])),
            _ => cpu::poke_u32(place, value),
        };
    }
}

/// Memory that devices read and write.
#[derive(Debug)]
pub struct Dma {
    block: NonNull<u8>,
    layout: Layout,
    bytes: usize,
}

impl Dma {
    /// # Panics
    ///
    /// When the bytes are not in there.
    fn place(&self, offset: usize, bytes: usize) -> *mut u8 {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        assert!(end.is_some(), "{bytes} bytes at {offset} are not in {} bytes for DMA", self.bytes);
        // SAFETY: in the block.
        unsafe { self.block.as_ptr().add(offset) }
    }
}

impl drivers::Dma for Dma {
    fn address(&self) -> u64 {
        self.block.as_ptr() as u64
    }

    fn len(&self) -> usize {
        self.bytes
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        // SAFETY: what is read is in the block, what is written is the slice.
        unsafe { copy(self.place(offset, to.len()), to.as_mut_ptr(), to.len()) };
    }

    fn write(&self, offset: usize, from: &[u8]) {
        // SAFETY: what is written is in the block, of which nobody has a reference.
        unsafe { copy(from.as_ptr(), self.place(offset, from.len()), from.len()) };
    }
}

impl Drop for Dma {
    fn drop(&mut self) {
        // SAFETY: it is from the heap, with this layout.
        unsafe { dealloc(self.block.as_ptr(), self.layout) };
    }
}

/// Copies, by instructions that the compiler knows nothing about: a device may change the bytes
/// at any time. Stores of a CPU reach memory in their order (SDM "Memory Ordering"); those of
/// one string instruction may not, and are before all later ones.
///
/// # Safety
///
/// `bytes` bytes at `from` may be read, those at `to` written.
unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) bytes % 8,
            inout("rcx") bytes / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// A device's interrupt.
#[derive(Debug)]
pub struct Interrupt(interrupts::Interrupt);

impl drivers::Interrupt for Interrupt {
    async fn raised(&self) {
        self.0.raised().await;
    }

    fn done(&self) {
        self.0.done();
    }
}
