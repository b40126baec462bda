//! A disk or CD-ROM drive whose interrupt a test can raise: it is asked for its identity, or to
//! refuse that (ATA/ATAPI-6, "IDENTIFY DEVICE").
//!
//! The line is active from the end of the command until the status is read.

use guest_rt::interrupts::{Interrupt, Polarity, Trigger};
use guest_rt::{clock, cpu, trap};

use crate::verdict::{Check, Problem};

/// Where PCs have the two channels: command block, device control, ISA interrupt.
const CHANNELS: [(u16, u16, u32); 2] = [(0x1f0, 0x3f6, 14), (0x170, 0x376, 15)];
/// Registers of the command block.
const DATA: u16 = 0;
const DEVICE: u16 = 6;
const STATUS: u16 = 7;
const COMMAND: u16 = 7;

const IDENTIFY: u8 = 0xec;
const BUSY: u8 = 1 << 7;
const DATA_REQUEST: u8 = 1 << 3;
/// Device control: no interrupts.
const QUIET: u8 = 1 << 1;
/// Words of an identity.
const WORDS: usize = 256;
/// How long a drive may take, and its interrupt.
const PATIENCE_US: u64 = 500_000;

/// A drive.
pub struct Drive {
    block: u16,
    control: u16,
    /// Its interrupt.
    pub gsi: u32,
}

impl Drive {
    /// The first one of the machine's.
    ///
    /// # Errors
    ///
    /// A SKIP without one.
    pub fn find() -> Check<Self> {
        clock::map_shared_info()?;
        for (block, control, gsi) in CHANNELS {
            for device in [0xa0, 0xb0] {
                let drive = Self { block, control, gsi };
                drive.select(device)?;
                if drive.answers()? {
                    return Ok(drive);
                }
            }
        }
        Err(Problem::Skip("the machine has no drive at the usual ports".into()))
    }

    fn select(&self, device: u8) -> Check {
        cpu::outb(self.control, QUIET)?;
        cpu::outb(self.block + DEVICE, device)?;
        clock::delay_us(1);
        Ok(())
    }

    fn answers(&self) -> Check<bool> {
        // Nobody drives the bus, or nobody is ready for a command.
        if matches!(cpu::inb(self.block + STATUS)?, 0 | 0x7f | 0xff) {
            return Ok(false);
        }
        self.command()?;
        let answers = self.wait()?;
        self.serve()?;
        Ok(answers)
    }

    fn command(&self) -> Check {
        Ok(cpu::outb(self.block + COMMAND, IDENTIFY)?)
    }

    /// Waits for the end of the command, without a look at the register that ends the interrupt.
    fn wait(&self) -> Check<bool> {
        let start = clock::pv_ns(0);
        while cpu::inb(self.control)? & BUSY != 0 {
            if clock::pv_ns(0) - start > PATIENCE_US * 1_000 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the line active.
    pub fn raise(&self) -> Check {
        cpu::outb(self.control, 0)?;
        self.command()?;
        ensure!(self.wait()?, "the drive is busy for {PATIENCE_US} us");
        Ok(())
    }

    /// Makes it inactive, and takes what the drive has to say.
    pub fn serve(&self) -> Check {
        if cpu::inb(self.block + STATUS)? & DATA_REQUEST != 0 {
            for _ in 0..WORDS {
                cpu::inw(self.block + DATA)?;
            }
        }
        Ok(())
    }

    /// Its interrupt.
    pub fn interrupt(&self, trigger: Trigger) -> Check<Interrupt> {
        Interrupt::new(self.gsi, trigger, Polarity::High)
            .map_err(|error| Problem::Failure(alloc::format!("{error}")))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = cpu::outb(self.control, QUIET);
        let _ = self.serve();
    }
}

/// Whether `interrupt` comes; it is waited for.
pub fn comes(interrupt: &Interrupt) -> bool {
    within(PATIENCE_US, || interrupt.take())
}

/// Whether `interrupt` does not come, in the time in which it would.
pub fn stays_away(interrupt: &Interrupt) -> bool {
    !within(2_000, || interrupt.take())
}

/// Whether `done` is so within `us` microseconds, with interrupts on.
pub fn within(us: u64, mut done: impl FnMut() -> bool) -> bool {
    let start = clock::pv_ns(0);
    trap::enable();
    let mut is_done = done();
    while !is_done && clock::pv_ns(0) - start < us * 1_000 {
        cpu::relax();
        is_done = done();
    }
    trap::disable();
    is_done
}
