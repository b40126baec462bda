//! What a driver stands on. The kernel around implements it; tests stand in for it.

use alloc::string::String;

/// The machine.
pub trait Machine {
    /// A device's registers in memory.
    type Registers: Registers;
    /// Memory that devices may read and write.
    type Dma: Dma;
    /// A device's interrupt.
    type Interrupt: Interrupt;

    /// Reads an I/O port: 1, 2 or 4 bytes wide.
    fn read_port(&self, port: u16, bytes: u8) -> u32;

    /// Writes an I/O port: 1, 2 or 4 bytes wide.
    fn write_port(&self, port: u16, bytes: u8, value: u32);

    /// Registers at a physical address.
    ///
    /// # Errors
    ///
    /// In words, when they cannot be reached.
    fn registers(&self, address: u64, bytes: usize) -> Result<Self::Registers, String>;

    /// Memory for DMA: zeroed, physically contiguous, aligned to `align` (a power of two), below
    /// 4 GiB.
    ///
    /// # Errors
    ///
    /// In words, when there is none.
    fn dma(&self, bytes: usize, align: usize) -> Result<Self::Dma, String>;

    /// The interrupt of the I/O APICs' pin `gsi`.
    ///
    /// # Errors
    ///
    /// In words.
    fn interrupt(&self, gsi: u32, level: bool) -> Result<Self::Interrupt, String>;

    /// Time since the machine started, ns.
    fn now_ns(&self) -> u64;

    /// Waits.
    fn sleep_ns(&self, ns: u64) -> impl Future<Output = ()>;
}

/// Registers of a device, uncached; offsets are multiples of the width, and in there.
pub trait Registers {
    /// Reads a register: 1, 2 or 4 bytes wide.
    fn read(&self, offset: usize, bytes: u8) -> u32;

    /// Writes a register: 1, 2 or 4 bytes wide.
    fn write(&self, offset: usize, bytes: u8, value: u32);
}

/// Memory that a device reads and writes meanwhile; given back when this is dropped (the
/// driver stops the device first). Functions panic where a place is not in it.
pub trait Dma {
    /// Its physical address.
    fn address(&self) -> u64;

    /// Its bytes.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies out of it.
    fn read(&self, offset: usize, to: &mut [u8]);

    /// Copies into it. The device sees writes in their order.
    fn write(&self, offset: usize, from: &[u8]);
}

/// A device's interrupt; it is masked when this is dropped. Devices share level-triggered ones:
/// who has one has to serve it, whether the device has something to do or not.
pub trait Interrupt {
    /// Waits until it has come since it was last told. It does not come again before
    /// [`Interrupt::done`]: a level-triggered one would not stop.
    fn raised(&self) -> impl Future<Output = ()>;

    /// The device has been served.
    fn done(&self);
}
