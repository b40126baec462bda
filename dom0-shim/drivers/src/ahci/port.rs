//! A port: one drive, one command at a time.
//!
//! ```text
//!   turn ──> tables ──PxCI──> drive ──> interrupt: causes ──> data ──> turn's end
//!                                  └── nothing for a while: look, at last give up
//! ```
//!
//! After anything but success nobody knows what the drive does: the next turn begins with
//! "Software Error Recovery" (AHCI 1.3.1, 6.2.2), which ends all that was under way.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::{Cell, OnceCell};

use event_listener::Event;

use super::tables::{MOST_SECTORS, Tables};
use crate::ata::{Command, Data, Drive, Error, Link, Mode, Turn, Turns, WORDS};
use crate::wait::{MILLISECOND, SECOND, until, when_within};
use crate::{Machine, Registers};

/// Where the registers of the first port are, and bytes of each port's.
pub(super) const FIRST: usize = 0x100;
pub(super) const BYTES: usize = 0x80;

/// Offsets in a port's registers (3.3 "Port Registers").
mod register {
    /// Command list and received FIS: low and high halves.
    pub const LISTS: [usize; 2] = [0x00, 0x08];
    pub const IS: usize = 0x10;
    pub const IE: usize = 0x14;
    pub const CMD: usize = 0x18;
    pub const TFD: usize = 0x20;
    pub const SIG: usize = 0x24;
    pub const SSTS: usize = 0x28;
    pub const SCTL: usize = 0x2c;
    pub const SERR: usize = 0x30;
    pub const CI: usize = 0x38;
}

/// Bits of PxCMD.
mod cmd {
    pub const START: u32 = 1;
    pub const SPIN_UP: u32 = 1 << 1;
    pub const POWER_ON: u32 = 1 << 2;
    pub const RECEIVE: u32 = 1 << 4;
    pub const RECEIVES: u32 = 1 << 14;
    pub const RUNS: u32 = 1 << 15;
    /// The link is to be active.
    pub const ACTIVE: u32 = 1 << 28;
}

/// Causes of interrupts.
mod cause {
    /// A command, or the last part of one without DMA, has ended.
    pub const ENDED: u32 = 1;
    pub const ENDED_PIO: u32 = 1 << 1;
    /// The link came or went.
    pub const LINK: u32 = 1 << 6 | 1 << 22;
    /// The connection to the drive failed.
    pub const INTERFACE: u32 = 1 << 27;
    /// The controller could not reach memory.
    pub const BUS: u32 = 1 << 28 | 1 << 29;
    /// The drive reports an error.
    pub const TASK_FILE: u32 = 1 << 30;
    pub const ALL: u32 = ENDED | ENDED_PIO | LINK | INTERFACE | BUS | TASK_FILE;
}

/// Bits of PxTFD: the drive's status register. Its error register is above.
mod status {
    pub const DATA: u32 = 1 << 3;
    pub const FAULT: u32 = 1 << 5;
    pub const BUSY: u32 = 1 << 7;
}

/// PxSCTL: no power saving, and with a reset of the link or without.
const LINK_STAYS_ON: u32 = 3 << 8;
const RESET_LINK: u32 = LINK_STAYS_ON | 1;

/// How long the controller may take to leave a command (10.3.2).
const STOP: u64 = SECOND / 2;
/// How long a drive may take to be seen after a reset of the link.
const LINK: u64 = SECOND;
/// How long it may take until it is ready (ATA/ATAPI-6, 9.2).
const READY: u64 = 31 * SECOND;
/// How long a command may take.
const TRANSFER: u64 = 10 * SECOND;
/// How long writing the cache to the medium may take.
const FLUSH: u64 = 60 * SECOND;

/// Words of IDENTIFY DEVICE that tell one drive from another: serial number and model.
type Name = ([u16; 10], [u16; 20]);

/// A port with a drive.
pub struct Port<M: Machine> {
    machine: Rc<M>,
    registers: PortRegisters<M>,
    tables: Tables<M>,
    turns: Turns,
    /// Causes of interrupts since the command began.
    causes: Cell<u32>,
    interrupted: Event,
    /// The link came or went since the drive was asked who it is.
    link_changed: Cell<bool>,
    name: OnceCell<Name>,
}

/// A port's registers.
pub(super) struct PortRegisters<M: Machine> {
    all: Rc<M::Registers>,
    first: usize,
}

impl<M: Machine> PortRegisters<M> {
    /// Those of port `number`, which is below 32.
    pub(super) fn new(all: &Rc<M::Registers>, number: u8) -> Self {
        Self { all: Rc::clone(all), first: FIRST + BYTES * usize::from(number) }
    }

    /// Lets a drive come up, if there is one.
    pub(super) fn power_up(&self) {
        self.write(register::SCTL, LINK_STAYS_ON);
        let before = self.read(register::CMD);
        self.write(register::CMD, before | cmd::SPIN_UP | cmd::POWER_ON | cmd::ACTIVE);
    }

    /// Whether a drive is seen and can be talked to.
    pub(super) fn has_link(&self) -> bool {
        const ESTABLISHED: u32 = 3;
        self.read(register::SSTS) & 15 == ESTABLISHED
    }

    fn read(&self, register: usize) -> u32 {
        self.all.read(self.first + register, 4)
    }

    fn write(&self, register: usize, value: u32) {
        self.all.write(self.first + register, 4, value);
    }

    fn set_cmd(&self, clear: u32, set: u32) {
        self.write(register::CMD, self.read(register::CMD) & !clear | set);
    }

    fn is_ready(&self) -> bool {
        self.read(register::TFD) & (status::BUSY | status::DATA) == 0
    }
}

impl<M: Machine> Port<M> {
    /// Starts a port that has a link.
    ///
    /// # Errors
    ///
    /// In words: the drive is none that there is a driver for, or does not come up.
    pub(super) async fn start(machine: &Rc<M>, registers: PortRegisters<M>) -> Result<Self, String> {
        let port = Self {
            tables: Tables::new(&**machine)?,
            machine: Rc::clone(machine),
            registers,
            turns: Turns::default(),
            causes: Cell::new(0),
            interrupted: Event::new(),
            link_changed: Cell::new(false),
            name: OnceCell::new(),
        };
        for (register, place) in register::LISTS.into_iter().zip(port.tables.places()) {
            let [a, b, c, d, e, f, g, h] = place.to_le_bytes();
            port.registers.write(register, u32::from_le_bytes([a, b, c, d]));
            port.registers.write(register + 4, u32::from_le_bytes([e, f, g, h]));
        }
        port.registers.set_cmd(0, cmd::RECEIVE);
        port.first_message().await.map_err(|_| "the drive does not get ready")?;
        port.check_signature()?;
        port.run();
        port.registers.write(register::IE, cause::ALL);
        Ok(port)
    }

    /// What the drive says that it is (Serial ATA, "Device signature").
    fn check_signature(&self) -> Result<(), String> {
        const DISK: u32 = 0x0000_0101;
        const PACKETS: u32 = 0xeb14_0101;
        const MULTIPLIER: u32 = 0x9669_0101;
        match self.registers.read(register::SIG) {
            DISK => Ok(()),
            PACKETS => Err("a CD-ROM, or another drive that takes packets: it is not driven".into()),
            MULTIPLIER => Err("a port multiplier: the drives behind it are not driven".into()),
            other => Err(format!("a device of an unknown kind ({other:#010x}): it is not driven")),
        }
    }

    /// Asks the drive what it is.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(super) async fn identify(&self) -> Result<[u16; WORDS], Error> {
        let mut turn = self.turn().await?;
        let words = self.ask().await?;
        let _ = self.name.set(name(&words));
        turn.end();
        Ok(words)
    }

    /// Answers the port's interrupt, and notes its causes.
    pub(super) fn answer(&self) {
        let causes = self.registers.read(register::IS);
        if causes & cause::LINK != 0 {
            // It is what these two stand for.
            self.registers.write(register::SERR, u32::MAX);
            self.link_changed.set(true);
        }
        self.registers.write(register::IS, causes);
        self.causes.set(self.causes.get() | causes);
        self.interrupted.notify(usize::MAX);
    }

    async fn command(&self, command: &Command, data: &mut Data<'_>, limit: u64) -> Result<(), Error> {
        let mut turn = self.turn().await?;
        self.execute(command, data, limit).await?;
        turn.end();
        Ok(())
    }

    async fn turn(&self) -> Result<Turn<'_>, Error> {
        let mut turn = self.turns.next().await;
        if turn.is_unfinished() || self.link_changed.get() {
            let recovered = self.recover(turn.is_dead()).await;
            turn.recovered(recovered)?;
        }
        turn.begin();
        Ok(turn)
    }

    async fn ask(&self) -> Result<[u16; WORDS], Error> {
        let mut bytes = [0; 2 * WORDS];
        self.execute(&Command::identify(Drive::First), &mut Data::In(&mut bytes), TRANSFER).await?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u16::from_le_bytes(*bytes);
        }
        Ok(words)
    }

    async fn execute(&self, command: &Command, data: &mut Data<'_>, limit: u64) -> Result<(), Error> {
        self.tables.put(command, data);
        self.causes.set(0);
        self.registers.write(register::CI, 1);
        let (ended, look) = (|| self.ended(), || self.answer());
        let ended = when_within(&*self.machine, limit, &self.interrupted, ended, look).await;
        ended.unwrap_or(Err(Error::Timeout))?;
        self.tables.get(data);
        Ok(())
    }

    /// How the command ended, if it has.
    fn ended(&self) -> Option<Result<(), Error>> {
        match self.causes.get() {
            0 => None,
            u32::MAX => Some(Err(Error::Gone)),
            causes if causes & cause::LINK != 0 => Some(Err(Error::Gone)),
            causes if causes & cause::BUS != 0 => Some(Err(Error::Bus)),
            causes if causes & cause::TASK_FILE != 0 => Some(Err(self.reported())),
            causes if causes & cause::INTERFACE != 0 => Some(Err(Error::Link)),
            _ => (self.registers.read(register::CI) & 1 == 0).then_some(Ok(())),
        }
    }

    /// The error that the drive reports.
    fn reported(&self) -> Error {
        let task_file = self.registers.read(register::TFD);
        let [_, error, ..] = task_file.to_le_bytes();
        if task_file & status::FAULT != 0 { Error::Fault } else { Error::Drive(error) }
    }

    /// Ends what the drive does. One that was seen to be dead is not reset again: it takes its
    /// time to come back, and those who wait are not to wait as long again.
    async fn recover(&self, dead: bool) -> Result<(), Error> {
        self.halt().await;
        let link_changed = self.link_changed.replace(false);
        if dead {
            self.ready(MILLISECOND).await?;
        } else if link_changed || !self.registers.is_ready() || !self.registers.has_link() {
            self.reset_link().await?;
        }
        self.run();
        self.link_changed.set(false);
        if dead || link_changed { self.recognise().await } else { Ok(()) }
    }

    /// Resets the drive by its link, "COMRESET" (10.4.2).
    async fn reset_link(&self) -> Result<(), Error> {
        self.registers.write(register::SCTL, RESET_LINK);
        self.machine.sleep_ns(2 * MILLISECOND).await;
        self.registers.write(register::SCTL, LINK_STAYS_ON);
        let link = || self.registers.has_link().then_some(());
        until(&*self.machine, LINK, link).await.ok_or(Error::Gone)?;
        self.first_message().await
    }

    /// Waits for what a drive says of itself as it comes up.
    async fn first_message(&self) -> Result<(), Error> {
        // As long as it says that the link is new, the message is not taken.
        self.registers.write(register::SERR, u32::MAX);
        self.ready(READY).await
    }

    async fn ready(&self, limit: u64) -> Result<(), Error> {
        let ready = || (self.registers.has_link() && self.registers.is_ready()).then_some(());
        until(&*self.machine, limit, ready).await.ok_or(Error::Timeout)
    }

    /// Whether it still is the same drive: one that was put in its place must not get what is
    /// for it.
    async fn recognise(&self) -> Result<(), Error> {
        let words = self.ask().await?;
        if self.name.get().is_none_or(|known| *known == name(&words)) { Ok(()) } else { Err(Error::Replaced) }
    }

    /// Lets the controller work on commands; what was before is forgotten.
    fn run(&self) {
        self.registers.write(register::SERR, u32::MAX);
        self.registers.write(register::IS, u32::MAX);
        self.registers.set_cmd(0, cmd::START);
    }

    /// Stops the controller's work on commands.
    async fn halt(&self) {
        self.registers.set_cmd(cmd::START, 0);
        let halted = || (self.registers.read(register::CMD) & cmd::RUNS == 0).then_some(());
        // One that goes on is stopped by the reset of the link.
        let _ = until(&*self.machine, STOP, halted).await;
    }
}

fn name(words: &[u16; WORDS]) -> Name {
    let mut name = Name::default();
    name.0.copy_from_slice(&words[10..20]);
    name.1.copy_from_slice(&words[27..47]);
    name
}

impl<M: Machine> Link for Rc<Port<M>> {
    const MOST_SECTORS: u16 = MOST_SECTORS;
    // Either way the controller transfers.
    const BY_CPU: bool = false;

    async fn transfer(&self, mode: Mode, first: u64, data: &mut Data<'_>) -> Result<(), Error> {
        let command = Command::transfer(Drive::First, data.direction(), mode, first, data.sectors());
        self.command(&command, data, TRANSFER).await
    }

    async fn flush(&self, ext: bool) -> Result<(), Error> {
        self.command(&Command::flush(Drive::First, ext), &mut Data::Out(&[]), FLUSH).await
    }
}

impl<M: Machine> Drop for Port<M> {
    /// The controller must not use memory that is given back.
    fn drop(&mut self) {
        self.registers.write(register::IE, 0);
        for (stop, is_on) in [(cmd::START, cmd::RUNS), (cmd::RECEIVE, cmd::RECEIVES)] {
            self.registers.set_cmd(stop, 0);
            // Soon done, unless the drive is broken; a few looks give it time.
            (0..1000).any(|_| self.registers.read(register::CMD) & is_on == 0);
        }
    }
}
