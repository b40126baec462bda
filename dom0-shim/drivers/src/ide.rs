//! IDE controllers and the disks at them.
//!
//! | module | |
//! |---|---|
//! | `identify` | what a drive says of itself |
//! | `command` | commands, as the registers take them |
//! | `channel` | two drives, one set of registers, one command at a time |
//! | `error` | what goes wrong |
//!
//! Transfers go by the bus master where controller and drive can; word by word otherwise, and at
//! the last try. CD-ROMs and other drives that take packets are left alone.

mod channel;
mod command;
mod error;
mod identify;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use storage::{Failure, Properties, SECTOR};

use crate::pci::{Bar, Function};
use crate::{Machine, Task};
use channel::{Channel, Data, Ports};
use command::{MOST_SECTORS, Mode};
use error::Error;
use identify::{Flush, Identity};

/// Class and subclass of IDE controllers.
pub const CLASS: u16 = 0x0101;

/// Bytes of the longest transfer.
const LONGEST: usize = MOST_SECTORS as usize * SECTOR;

/// Which drive of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drive {
    /// Drive 0, "master".
    First,
    /// Drive 1, "slave".
    Second,
}

/// A disk at an IDE controller.
pub struct IdeDisk<M: Machine> {
    channel: Rc<Channel<M>>,
    drive: Drive,
    identity: Identity,
    /// How transfers are tried first.
    mode: Cell<Mode>,
    /// Its number at the controller: 0 and 1 at the first channel, 2 and 3 at the second.
    number: u8,
}

/// What is at a controller.
pub struct Found<M: Machine> {
    /// Its disks.
    pub disks: Vec<IdeDisk<M>>,
    /// What has to run for them to work.
    pub tasks: Vec<Task>,
    /// What is wrong with those that cannot be used.
    pub problems: Vec<String>,
}

/// Finds the disks of a controller.
pub async fn probe<M: Machine + 'static>(machine: &Rc<M>, function: &Function) -> Found<M> {
    let mut found = Found { disks: Vec::new(), tasks: Vec::new(), problems: Vec::new() };
    function.enable(&**machine);
    for number in 0..2 {
        if let Err(problem) = channel(machine, function, number, &mut found).await {
            found.problems.push(format!("IDE {function} channel {number}: {problem}"));
        }
    }
    if found.disks.is_empty() {
        function.disable(&**machine);
    }
    found
}

async fn channel<M: Machine + 'static>(
    machine: &Rc<M>,
    function: &Function,
    number: u8,
    found: &mut Found<M>,
) -> Result<(), String> {
    let (ports, gsi, level) = resources(&**machine, function, number)?;
    if !Channel::is_there(&**machine, ports) {
        return Ok(());
    }
    let channel = Rc::new(Channel::new(machine, ports, machine.interrupt(gsi, level)?)?);
    channel.set_interrupts(false);
    let before = found.disks.len();
    for (drive, number) in [(Drive::First, 2 * number), (Drive::Second, 2 * number + 1)] {
        match IdeDisk::identify(&channel, drive, number).await {
            Ok(disk) => found.disks.extend(disk),
            Err(problem) => found.problems.push(format!("IDE {function} drive {number}: {problem}")),
        }
    }
    if found.disks.len() > before {
        channel.set_interrupts(true);
        found.tasks.push(Box::pin(async move { channel.serve().await }));
    }
    Ok(())
}

/// Where a channel's registers are, the pin that its interrupt arrives at, and whether that is
/// level-triggered (PCI IDE Controller Specification 1.0).
fn resources<M: Machine>(machine: &M, function: &Function, number: u8) -> Result<(Ports, u32, bool), String> {
    const LEGACY: [(u16, u16, u32); 2] = [(0x1f0, 0x3f6, 14), (0x170, 0x376, 15)];
    const BUS_MASTER: u8 = 1 << 7;
    let native = function.interface >> (2 * number) & 1 != 0;
    let master = match function.bar(machine, 4) {
        Some(Bar::Ports { base, len: 16.. }) if function.interface & BUS_MASTER != 0 => {
            base.checked_add(8 * u16::from(number))
        }
        _ => None,
    };
    if !native {
        let (command, control, gsi) = LEGACY[usize::from(number & 1)];
        return Ok((Ports { command, control, master }, gsi, false));
    }
    match (function.bar(machine, 2 * number), function.bar(machine, 2 * number + 1)) {
        (Some(Bar::Ports { base: command, len: 8.. }), Some(Bar::Ports { base, len: 4.. })) => {
            Ok((Ports { command, control: base + 2, master }, function.gsi(machine)?, true))
        }
        _ => Err("the firmware gave it no I/O ports".into()),
    }
}

impl<M: Machine> IdeDisk<M> {
    async fn identify(channel: &Rc<Channel<M>>, drive: Drive, number: u8) -> Result<Option<Self>, String> {
        let Some(words) = channel.identify(drive).await.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let identity = Identity::parse(&words)?;
        let mode = if channel.has_master() && identity.dma { Mode::Dma } else { Mode::Pio };
        Ok(Some(Self { channel: channel.clone(), drive, identity, mode: Cell::new(mode), number }))
    }

    /// What the drive calls itself.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.identity.model
    }

    /// Its number at the controller: 0 and 1 at the first channel, 2 and 3 at the second.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Transfers at most [`LONGEST`] bytes. What goes wrong is tried again, the last time word
    /// by word; when that helps where the bus master failed, it is not asked any more.
    async fn transfer(&self, first: u64, mut data: Data<'_>) -> Result<(), Failure> {
        let mode = self.mode.get();
        let mut failed = None;
        for mode in [mode, mode, Mode::Pio] {
            match self.channel.transfer(self.drive, mode, first, &mut data).await {
                Ok(()) => {
                    if matches!(failed, Some(Error::Bus | Error::Timeout)) {
                        self.mode.set(mode);
                    }
                    return Ok(());
                }
                Err(error) => failed = Some(error),
            }
        }
        let error = failed.map_or_else(String::new, |error| error.to_string());
        Err(Failure::Medium(format!("sector {first}: {error}")))
    }
}

impl<M: Machine> storage::Disk for IdeDisk<M> {
    fn properties(&self) -> Properties {
        let Identity { sectors, block_bytes, .. } = self.identity;
        Properties { sectors, block_bytes, read_only: false, discard: None }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        self.properties().range(first, to.len())?;
        for (first, part) in (first..).step_by(MOST_SECTORS.into()).zip(to.chunks_mut(LONGEST)) {
            self.transfer(first, Data::In(part)).await?;
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        self.properties().writable(first, from.len())?;
        for (first, part) in (first..).step_by(MOST_SECTORS.into()).zip(from.chunks(LONGEST)) {
            self.transfer(first, Data::Out(part)).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        let ext = match self.identity.flush {
            Flush::Ext => true,
            Flush::Plain => false,
            Flush::NoCache => return Ok(()),
        };
        // Not again: what the drive could not write may be what it drops (ATA/ATAPI-6, 8.10).
        let flushed = self.channel.flush(self.drive, ext).await;
        flushed.map_err(|error| Failure::Medium(format!("its cache is not on the medium: {error}")))
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), Failure> {
        Err(Failure::Unsupported)
    }
}
