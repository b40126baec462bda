//! A channel: two drives, one set of registers, one command at a time.
//!
//! ```text
//!   turn ──> select, registers, command ──> interrupt: report ──> data ──> turn's end
//!              │                              │
//!              └── bus master: start          └── nothing for a while: look, at last give up
//! ```
//!
//! Registers: ATA/ATAPI-6, 7; the bus master: Intel 82371AB (PIIX4) data sheet, "Bus master IDE
//! I/O space registers", as all others have it. Data pass through memory of the channel's own:
//! a command that is given up, or one that nobody waits for any more, writes nowhere else.

use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;

use event_listener::Event;
use storage::SECTOR;

use crate::ata::{Command, Data, Direction, Drive, Error, Mode, Turn, Turns, WORDS, select};
use crate::wait::{self, MILLISECOND, SECOND, until, when_within};
use crate::{Dma, Machine};

/// Most sectors of a transfer: what a region holds.
pub(super) const MOST_SECTORS: u16 = 128;
/// Memory for it. It does not cross a multiple of 64 KiB, which a region must not.
const BUFFER: usize = MOST_SECTORS as usize * SECTOR;
const BUFFER_ALIGN: usize = 64 * 1024;
/// The table of regions has one entry.
const TABLE: usize = 8;

/// Offsets in the command block.
mod register {
    pub const DATA: u16 = 0;
    pub const ERROR: u16 = 1;
    pub const COUNT: u16 = 2;
    pub const LBA: [u16; 3] = [3, 4, 5];
    pub const DEVICE: u16 = 6;
    /// Reading it answers the interrupt.
    pub const STATUS: u16 = 7;
    pub const COMMAND: u16 = 7;
}

/// Bits of the status register.
mod status {
    pub const ERROR: u8 = 1;
    pub const DATA: u8 = 1 << 3;
    pub const FAULT: u8 = 1 << 5;
    pub const READY: u8 = 1 << 6;
    pub const BUSY: u8 = 1 << 7;
}

/// Bits of the device control register.
mod control {
    pub const NO_INTERRUPT: u8 = 1 << 1;
    pub const RESET: u8 = 1 << 2;
}

/// Offsets in the bus master's ports, and bits there.
mod master {
    pub const COMMAND: u16 = 0;
    pub const STATUS: u16 = 2;
    pub const TABLE: u16 = 4;

    pub const START: u8 = 1;
    pub const TO_MEMORY: u8 = 1 << 3;

    pub const ACTIVE: u8 = 1;
    pub const ERROR: u8 = 1 << 1;
    pub const INTERRUPT: u8 = 1 << 2;
}

/// How long a drive may be busy before it takes a command.
const READY: u64 = 5 * SECOND;
/// How long a reset may take (ATA/ATAPI-6, 9.2).
const RESET: u64 = 31 * SECOND;
/// How long a command may take.
const TRANSFER: u64 = 10 * SECOND;
/// How long writing the cache to the medium may take.
const FLUSH: u64 = 60 * SECOND;

/// Where a channel's registers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ports {
    /// The command block.
    pub command: u16,
    /// Device control and alternate status.
    pub control: u16,
    /// The bus master's, if there is one.
    pub master: Option<u16>,
}

pub(super) struct Channel<M: Machine> {
    machine: Rc<M>,
    ports: Ports,
    interrupt: M::Interrupt,
    transfer: Option<Transfer<M>>,
    turns: Turns,
    /// Whether the bus master is part of the command that is under way.
    by_master: Cell<bool>,
    /// How that command ended, from its interrupt to the one who waits.
    report: Cell<Option<Report>>,
    reported: Event,
}

/// How a command, or a part of it, ended.
#[derive(Clone, Copy)]
struct Report {
    status: u8,
    /// The bus master could not reach memory.
    bus_error: bool,
}

/// The bus master with its memory.
struct Transfer<M: Machine> {
    master: u16,
    buffer: M::Dma,
    /// Its one entry says where the buffer is.
    table: M::Dma,
    table_address: u32,
}

impl<M: Machine> Transfer<M> {
    fn new(machine: &M, master: u16) -> Result<Self, String> {
        let buffer = machine.dma(BUFFER, BUFFER_ALIGN)?;
        let table = machine.dma(TABLE, TABLE)?;
        let address = |memory: &M::Dma| {
            u32::try_from(memory.address()).map_err(|_| String::from("memory for DMA is above 4 GiB"))
        };
        table.write(0, &address(&buffer)?.to_le_bytes());
        let table_address = address(&table)?;
        Ok(Self { master, buffer, table, table_address })
    }
}

impl<M: Machine> Channel<M> {
    /// A channel whose drives are quiet.
    ///
    /// # Errors
    ///
    /// In words, when there is no memory for transfers.
    pub(super) fn new(machine: &Rc<M>, ports: Ports, interrupt: M::Interrupt) -> Result<Self, String> {
        let transfer = match ports.master {
            Some(master) => Some(Transfer::new(&**machine, master)?),
            None => None,
        };
        let channel = Self {
            machine: machine.clone(),
            ports,
            interrupt,
            transfer,
            turns: Turns::default(),
            by_master: Cell::new(false),
            report: Cell::new(None),
            reported: Event::new(),
        };
        channel.stop_master();
        Ok(channel)
    }

    /// Whether there is anything at all: nothing drives the lines of an empty channel.
    pub(super) fn is_there(machine: &M, ports: Ports) -> bool {
        machine.read_port(ports.control, 1).to_le_bytes()[0] != 0xff
    }

    /// Answers the drives' interrupts, for ever.
    pub(super) async fn serve(&self) {
        wait::serve(&self.interrupt, || self.look(true)).await;
    }

    /// Whether transfers can go by the bus master.
    pub(super) fn has_master(&self) -> bool {
        self.transfer.is_some()
    }

    /// Lets the drives interrupt, or not.
    pub(super) fn set_interrupts(&self, on: bool) {
        self.write(self.ports.control, if on { 0 } else { control::NO_INTERRUPT });
    }

    /// Asks a drive what it is; `None` where none answers. Interrupts are off.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(super) async fn identify(&self, drive: Drive) -> Result<Option<[u16; WORDS]>, Error> {
        const LIMIT: u64 = SECOND;
        if self.begin(&Command::identify(drive)).await.is_err() || matches!(self.alternate_status(), 0 | 0xff)
        {
            return Ok(None);
        }
        until(&*self.machine, LIMIT, || self.idle()).await.ok_or(Error::Timeout)?;
        let status = self.read(self.ports.command + register::STATUS);
        if status & status::ERROR != 0 || status & status::DATA == 0 {
            // What takes packets refuses the command and leaves its signature.
            return Ok(None);
        }
        let mut words = [0; WORDS];
        words.fill_with(|| self.data_in());
        Ok(Some(words))
    }

    /// Transfers sectors from `first` on: at most [`MOST_SECTORS`], all of which the drive has.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(super) async fn transfer(
        &self,
        drive: Drive,
        mode: Mode,
        first: u64,
        data: &mut Data<'_>,
    ) -> Result<(), Error> {
        let command = Command::transfer(drive, data.direction(), mode, first, data.sectors());
        let mut turn = self.turn().await?;
        self.by_master.set(mode == Mode::Dma);
        let result = match (&self.transfer, mode) {
            (Some(transfer), Mode::Dma) => self.by_master(transfer, &command, data).await,
            _ => self.by_words(&command, data).await,
        };
        end(&mut turn, &result);
        result
    }

    /// Has a drive write its cache to the medium.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(super) async fn flush(&self, drive: Drive, ext: bool) -> Result<(), Error> {
        let mut turn = self.turn().await?;
        self.by_master.set(false);
        let result = async {
            self.begin(&Command::flush(drive, ext)).await?;
            self.ended(FLUSH).await.map(drop)
        }
        .await;
        end(&mut turn, &result);
        result
    }

    /// Waits until no other command is under way. What ended in an error, or was left by the one
    /// who waited for it, is ended by a reset.
    async fn turn(&self) -> Result<Turn<'_>, Error> {
        let mut turn = self.turns.next().await;
        if turn.is_unfinished() {
            let limit = if turn.is_dead() { MILLISECOND } else { RESET };
            let reset = self.reset(limit).await;
            turn.recovered(reset)?;
        }
        turn.begin();
        Ok(turn)
    }

    async fn by_master(
        &self,
        transfer: &Transfer<M>,
        command: &Command,
        data: &mut Data<'_>,
    ) -> Result<(), Error> {
        if let Data::Out(bytes) = data {
            transfer.buffer.write(0, bytes);
        }
        self.prepare_master(transfer, data);
        self.begin(command).await?;
        self.start_master(transfer, data.direction());
        let ended = self.ended(TRANSFER).await;
        self.stop_master();
        ended?;
        if let Data::In(bytes) = data {
            transfer.buffer.read(0, bytes);
        }
        Ok(())
    }

    async fn by_words(&self, command: &Command, data: &mut Data<'_>) -> Result<(), Error> {
        self.begin(command).await?;
        match data {
            Data::In(bytes) => {
                for sector in bytes.chunks_exact_mut(SECTOR) {
                    self.wants_data(self.ended(TRANSFER).await?)?;
                    for word in sector.as_chunks_mut().0 {
                        *word = self.data_in().to_le_bytes();
                    }
                }
                Ok(())
            }
            Data::Out(bytes) => {
                // There is no interrupt before the first sector.
                let status = until(&*self.machine, READY, || self.idle()).await.ok_or(Error::Timeout)?;
                let mut status = self.check(Report { status, bus_error: false })?;
                for sector in bytes.chunks_exact(SECTOR) {
                    self.wants_data(status)?;
                    for word in sector.as_chunks().0 {
                        self.data_out(u16::from_le_bytes(*word));
                    }
                    status = self.ended(TRANSFER).await?;
                }
                Ok(())
            }
        }
    }

    fn wants_data(&self, status: u8) -> Result<(), Error> {
        if status & status::DATA != 0 { Ok(()) } else { Err(Error::NoData) }
    }

    /// Selects the drive and hands it the command.
    async fn begin(&self, command: &Command) -> Result<(), Error> {
        self.select(command.device).await?;
        let pairs =
            [(register::COUNT, command.count)].into_iter().chain(register::LBA.into_iter().zip(command.lba));
        for (register, (first, second)) in pairs {
            if let Some(first) = first {
                self.write(self.ports.command + register, first);
            }
            self.write(self.ports.command + register, second);
        }
        self.report.set(None);
        self.write(self.ports.command + register::COMMAND, command.code);
        self.settle();
        Ok(())
    }

    /// Selects a drive, once the one that is selected has nothing more to do.
    async fn select(&self, device: u8) -> Result<(), Error> {
        let quiet = || self.idle().filter(|status| status & status::DATA == 0);
        until(&*self.machine, READY, quiet).await.ok_or(Error::Timeout)?;
        self.write(self.ports.command + register::DEVICE, device);
        self.settle();
        until(&*self.machine, READY, quiet).await.ok_or(Error::Timeout)?;
        Ok(())
    }

    /// Waits until the drive has done what it can do without us.
    async fn ended(&self, limit: u64) -> Result<u8, Error> {
        let report = || self.report.take();
        let ended = when_within(&*self.machine, limit, &self.reported, report, || self.look(false)).await;
        self.check(ended.ok_or(Error::Timeout)?)
    }

    /// Tells of the command's end, if it is there.
    fn look(&self, interrupted: bool) {
        if let Some(report) = self.answer(interrupted) {
            self.report.set(Some(report));
            self.reported.notify(usize::MAX);
        }
    }

    /// Answers the interrupt if drive, and bus master if it has a part in it, are at an end. An
    /// interrupt may have been another device's, or got lost.
    fn answer(&self, interrupted: bool) -> Option<Report> {
        let master = self.master_status();
        if self.by_master.get() {
            let lost = !interrupted && master & master::ACTIVE == 0;
            if master & (master::INTERRUPT | master::ERROR) == 0 && !lost {
                return None;
            }
        }
        self.idle()?;
        let status = self.read(self.ports.command + register::STATUS);
        self.clear_master();
        Some(Report { status, bus_error: master & master::ERROR != 0 })
    }

    fn check(&self, report: Report) -> Result<u8, Error> {
        let Report { status, bus_error } = report;
        if status == 0xff || status & status::READY == 0 {
            return Err(Error::Gone);
        }
        if status & status::FAULT != 0 {
            return Err(Error::Fault);
        }
        if status & status::ERROR != 0 {
            return Err(Error::Drive(self.read(self.ports.command + register::ERROR)));
        }
        if bus_error && self.by_master.get() { Err(Error::Bus) } else { Ok(status) }
    }

    /// Ends what the drives do (ATA/ATAPI-6, 9.2 "Software reset").
    async fn reset(&self, limit: u64) -> Result<(), Error> {
        self.stop_master();
        self.write(self.ports.control, control::RESET);
        self.machine.sleep_ns(MILLISECOND).await;
        self.set_interrupts(true);
        self.machine.sleep_ns(2 * MILLISECOND).await;
        until(&*self.machine, limit, || self.idle()).await.ok_or(Error::Timeout)?;
        // After a reset the first drive is selected; a wrong one would answer for it.
        self.write(self.ports.command + register::DEVICE, select(Drive::First));
        self.settle();
        Ok(())
    }

    /// The status, if the selected drive is not busy.
    fn idle(&self) -> Option<u8> {
        Some(self.alternate_status()).filter(|status| status & status::BUSY == 0)
    }

    /// The status is right 400 ns after a command: four reads last longer.
    fn settle(&self) {
        for _ in 0..4 {
            self.alternate_status();
        }
    }

    fn alternate_status(&self) -> u8 {
        self.read(self.ports.control)
    }

    fn prepare_master(&self, transfer: &Transfer<M>, data: &Data<'_>) {
        const LAST: u32 = 1 << 31;
        self.stop_master();
        // 0 stands for 64 KiB.
        let bytes = u32::try_from(data.len() % BUFFER_ALIGN).unwrap_or(0);
        transfer.table.write(4, &(LAST | bytes).to_le_bytes());
        self.machine.write_port(transfer.master + master::TABLE, 4, transfer.table_address);
        self.write(transfer.master + master::COMMAND, direction(data.direction()));
    }

    fn start_master(&self, transfer: &Transfer<M>, to: Direction) {
        self.write(transfer.master + master::COMMAND, direction(to) | master::START);
    }

    fn stop_master(&self) {
        if let Some(master) = self.ports.master {
            self.write(master + master::COMMAND, 0);
            self.clear_master();
        }
    }

    /// Clears what the bus master tells; the firmware's notes of the drives stay.
    fn clear_master(&self) {
        if let Some(master) = self.ports.master {
            let status = self.read(master + master::STATUS);
            self.write(master + master::STATUS, status | master::ERROR | master::INTERRUPT);
        }
    }

    fn master_status(&self) -> u8 {
        self.ports.master.map_or(0, |master| self.read(master + master::STATUS))
    }

    fn read(&self, port: u16) -> u8 {
        self.machine.read_port(port, 1).to_le_bytes()[0]
    }

    fn write(&self, port: u16, value: u8) {
        self.machine.write_port(port, 1, u32::from(value));
    }

    fn data_in(&self) -> u16 {
        let [low, high, ..] = self.machine.read_port(self.ports.command + register::DATA, 2).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    fn data_out(&self, word: u16) {
        self.machine.write_port(self.ports.command + register::DATA, 2, u32::from(word));
    }
}

/// The bus master's direction.
fn direction(to: Direction) -> u8 {
    match to {
        Direction::Read => master::TO_MEMORY,
        Direction::Write => 0,
    }
}

/// One that reports an error is at its end; after any other one nobody knows what the drives do.
fn end(turn: &mut Turn<'_>, result: &Result<(), Error>) {
    if matches!(result, Ok(()) | Err(Error::Drive(_))) {
        turn.end();
    }
}
