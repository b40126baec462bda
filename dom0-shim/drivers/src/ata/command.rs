//! Commands, as the registers take them (ATA/ATAPI-6, 6.2 and 8).

use super::Drive;

/// Most sectors of a transfer: 28-bit commands have 8 bits for them, and 0 stands for 256.
pub(crate) const SECTORS_28: u16 = 256;

/// Codes of commands.
mod code {
    pub const READ: u8 = 0x20;
    pub const READ_EXT: u8 = 0x24;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_EXT: u8 = 0x25;
    pub const WRITE: u8 = 0x30;
    pub const WRITE_EXT: u8 = 0x34;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_EXT: u8 = 0x35;
    pub const FLUSH: u8 = 0xe7;
    pub const FLUSH_EXT: u8 = 0xea;
    pub const IDENTIFY: u8 = 0xec;
}

/// Which way data go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// From the drive.
    Read,
    /// To the drive.
    Write,
}

/// How data go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By the protocol for bus masters.
    Dma,
    /// By the protocol for CPUs, which transfer word by word.
    Pio,
}

/// What the registers are to hold. Of each pair the first goes to the register before the
/// second: only commands with 48-bit addresses have a first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Command {
    pub code: u8,
    pub device: u8,
    pub count: (Option<u8>, u8),
    /// Bits 7:0, 15:8 and 23:16 of the address.
    pub lba: [(Option<u8>, u8); 3],
}

impl Command {
    /// IDENTIFY DEVICE.
    pub(crate) fn identify(drive: Drive) -> Self {
        Self::plain(code::IDENTIFY, drive)
    }

    /// FLUSH CACHE, or FLUSH CACHE EXT.
    pub(crate) fn flush(drive: Drive, ext: bool) -> Self {
        Self::plain(if ext { code::FLUSH_EXT } else { code::FLUSH }, drive)
    }

    /// A transfer of `count` sectors, 1 to [`SECTORS_28`], from `first` on, which the drive has.
    pub(crate) fn transfer(drive: Drive, direction: Direction, mode: Mode, first: u64, count: u16) -> Self {
        const LBA28_SECTORS: u64 = 1 << 28;
        let ext = first.saturating_add(u64::from(count)) > LBA28_SECTORS;
        let code = match (direction, mode, ext) {
            (Direction::Read, Mode::Pio, false) => code::READ,
            (Direction::Read, Mode::Pio, true) => code::READ_EXT,
            (Direction::Read, Mode::Dma, false) => code::READ_DMA,
            (Direction::Read, Mode::Dma, true) => code::READ_DMA_EXT,
            (Direction::Write, Mode::Pio, false) => code::WRITE,
            (Direction::Write, Mode::Pio, true) => code::WRITE_EXT,
            (Direction::Write, Mode::Dma, false) => code::WRITE_DMA,
            (Direction::Write, Mode::Dma, true) => code::WRITE_DMA_EXT,
        };
        let [a, b, c, d, e, f, ..] = first.to_le_bytes();
        let [low, high] = count.to_le_bytes();
        if ext {
            let lba = [(Some(d), a), (Some(e), b), (Some(f), c)];
            return Self { code, device: select(drive), count: (Some(high), low), lba };
        }
        Self {
            code,
            device: select(drive) | d & 15,
            count: (None, low),
            lba: [(None, a), (None, b), (None, c)],
        }
    }

    fn plain(code: u8, drive: Drive) -> Self {
        Self { code, device: select(drive), count: (None, 0), lba: [(None, 0); 3] }
    }
}

/// The device register for linear addresses of a drive.
pub(crate) fn select(drive: Drive) -> u8 {
    const OBSOLETE_ONES: u8 = 0xa0;
    const LBA: u8 = 1 << 6;
    const SECOND: u8 = 1 << 4;
    OBSOLETE_ONES | LBA | if drive == Drive::Second { SECOND } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_use_the_old_commands() {
        let command = Command::transfer(Drive::Second, Direction::Read, Mode::Dma, 0x0abc_def0, 8);
        assert_eq!(command.code, 0xc8);
        assert_eq!(command.device, 0xa0 | 0x40 | 0x10 | 0x0a);
        assert_eq!(command.lba, [(None, 0xf0), (None, 0xde), (None, 0xbc)]);
        assert_eq!(command.count, (None, 8));
    }

    #[test]
    fn a_transfer_that_passes_the_28th_bit_uses_48() {
        let last = Command::transfer(Drive::First, Direction::Write, Mode::Pio, (1 << 28) - 1, 1);
        assert_eq!((last.code, last.device), (0x30, 0xef));
        let beyond = Command::transfer(Drive::First, Direction::Write, Mode::Pio, (1 << 28) - 1, 2);
        assert_eq!((beyond.code, beyond.device), (0x34, 0xe0));
        assert_eq!(beyond.lba, [(Some(0x0f), 0xff), (Some(0), 0xff), (Some(0), 0xff)]);
        assert_eq!(beyond.count, (Some(0), 2));
    }
}
