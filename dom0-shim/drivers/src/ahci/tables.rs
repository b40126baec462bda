//! A port's memory (AHCI 1.3.1, 4 "System Memory Structures").
//!
//! ```text
//!   0x000  command list: 32 headers, of which the first is used ──┐
//!   0x400  what the drive sends                                   │
//!   0x500  command table: the command's FIS <─────────────────────┘
//!   0x580    its one region ──> buffer
//! ```
//!
//! Data pass through a buffer of the port's own: a command that is given up, or one that nobody
//! waits for any more, writes nowhere else.

use alloc::string::String;

use crate::ata::{Command, Data, SECTORS_28};
use crate::{Dma, Machine};

/// Sectors that the buffer holds: as many as the short commands transfer.
pub(super) const MOST_SECTORS: u16 = SECTORS_28;
const BUFFER: usize = MOST_SECTORS as usize * storage::SECTOR;

const RECEIVED: usize = 0x400;
const TABLE: usize = 0x500;
const REGION: usize = TABLE + 0x80;
const BYTES: usize = REGION + 16;
/// The command list's is the largest that is wanted.
const ALIGN: usize = 1024;

pub(super) struct Tables<M: Machine> {
    memory: M::Dma,
    buffer: M::Dma,
}

impl<M: Machine> Tables<M> {
    /// Tables with one command, which always is in the same place.
    ///
    /// # Errors
    ///
    /// In words, when there is no memory.
    pub(super) fn new(machine: &M) -> Result<Self, String> {
        let memory = machine.dma(BYTES, ALIGN)?;
        let buffer = machine.dma(BUFFER, 4096)?;
        memory.write(8, &(memory.address() + TABLE as u64).to_le_bytes());
        memory.write(REGION, &buffer.address().to_le_bytes());
        Ok(Self { memory, buffer })
    }

    /// Where the command list is, and the place for what the drive sends.
    pub(super) fn places(&self) -> [u64; 2] {
        [0, RECEIVED].map(|offset| self.memory.address() + offset as u64)
    }

    /// Writes a command, and its data if they go to the drive.
    pub(super) fn put(&self, command: &Command, data: &Data<'_>) {
        const FIS_WORDS: u32 = 5;
        const TO_DRIVE: u32 = 1 << 6;
        const ONE_REGION: u32 = 1 << 16;
        let bytes = data.len().min(BUFFER);
        let mut flags = FIS_WORDS;
        if let Some(last) = u32::try_from(bytes).ok().and_then(|bytes| bytes.checked_sub(1)) {
            flags |= ONE_REGION;
            self.memory.write(REGION + 12, &last.to_le_bytes());
            if let Data::Out(from) = data {
                flags |= TO_DRIVE;
                self.buffer.write(0, &from[..bytes]);
            }
        }
        self.memory.write(TABLE, &fis(command));
        self.memory.write(4, &[0; 4]);
        self.memory.write(0, &flags.to_le_bytes());
    }

    /// Takes the data that the drive gave.
    pub(super) fn get(&self, data: &mut Data<'_>) {
        if let Data::In(to) = data {
            let bytes = to.len().min(BUFFER);
            self.buffer.read(0, &mut to[..bytes]);
        }
    }
}

/// Register FIS from host to device (Serial ATA, "Register Host to Device FIS"): the command
/// block registers, of those that are written twice the later value first.
fn fis(command: &Command) -> [u8; 20] {
    const REGISTERS: u8 = 0x27;
    const IS_COMMAND: u8 = 0x80;
    let Command { code, device, count, lba: [low, middle, high] } = *command;
    let mut fis = [0; 20];
    fis[..4].copy_from_slice(&[REGISTERS, IS_COMMAND, code, 0]);
    fis[4..8].copy_from_slice(&[low.1, middle.1, high.1, device]);
    fis[8..11].copy_from_slice(&[low, middle, high].map(|(before, _)| before.unwrap_or(0)));
    fis[12..14].copy_from_slice(&[count.1, count.0.unwrap_or(0)]);
    fis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ata::{Direction, Drive, Mode};

    #[test]
    fn addresses_of_48_bits_stand_in_two_places() {
        let command =
            Command::transfer(Drive::First, Direction::Read, Mode::Dma, 0x1234_5678_9abc, MOST_SECTORS);
        assert_eq!(
            fis(&command),
            [0x27, 0x80, 0x25, 0, 0xbc, 0x9a, 0x78, 0xe0, 0x56, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn short_commands_say_0_for_the_most_sectors() {
        let command = Command::transfer(Drive::First, Direction::Write, Mode::Dma, 0x0abc_def0, MOST_SECTORS);
        let fis = fis(&command);
        assert_eq!(fis[..8], [0x27, 0x80, 0xca, 0, 0xf0, 0xde, 0xbc, 0xea]);
        assert_eq!(fis[12], 0);
    }
}
