//! IDE controllers and the disks at them.
//!
//! A controller has two channels, each with two drives and one set of registers (`channel`).
//! Transfers go by the bus master where controller and drive can; word by word otherwise, and at
//! the last try. CD-ROMs and other drives that take packets are left alone.

mod channel;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};

use crate::Machine;
use crate::ata::{Data, Disk, Drive, Error, Found, Link, Mode};
use crate::pci::{Bar, Function};
use channel::{Channel, MOST_SECTORS, Ports};

/// Class and subclass of IDE controllers.
pub const CLASS: u16 = 0x0101;

/// A disk at an IDE controller.
pub type IdeDisk<M> = Disk<Seat<M>>;

/// A drive's place.
pub struct Seat<M: Machine> {
    channel: Rc<Channel<M>>,
    drive: Drive,
}

/// Finds the disks of a controller, each with its number there: 0 and 1 at the first channel, 2
/// and 3 at the second.
pub async fn probe<M: Machine + 'static>(machine: &Rc<M>, function: &Function) -> Found<(usize, IdeDisk<M>)> {
    let mut found = Found::default();
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
    found: &mut Found<(usize, IdeDisk<M>)>,
) -> Result<(), String> {
    let (ports, gsi, level) = resources(&**machine, function, number)?;
    if !Channel::is_there(&**machine, ports) {
        return Ok(());
    }
    let channel = Rc::new(Channel::new(machine, ports, machine.interrupt(gsi, level)?)?);
    channel.set_interrupts(false);
    let before = found.disks.len();
    for (number, drive) in (2 * usize::from(number)..).zip([Drive::First, Drive::Second]) {
        match disk(&channel, drive).await {
            Ok(disk) => found.disks.extend(disk.map(|disk| (number, disk))),
            Err(problem) => found.problems.push(format!("IDE {function} drive {number}: {problem}")),
        }
    }
    if found.disks.len() > before {
        channel.set_interrupts(true);
        found.tasks.push(Box::pin(async move { channel.serve().await }));
    }
    Ok(())
}

async fn disk<M: Machine>(channel: &Rc<Channel<M>>, drive: Drive) -> Result<Option<IdeDisk<M>>, String> {
    let Some(answer) = channel.identify(drive).await.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let seat = Seat { channel: Rc::clone(channel), drive };
    Disk::new(seat, &answer, channel.has_master()).map(Some)
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

impl<M: Machine> Link for Seat<M> {
    const MOST_SECTORS: u16 = MOST_SECTORS;
    const BY_CPU: bool = true;

    async fn transfer(&self, mode: Mode, first: u64, data: &mut Data<'_>) -> Result<(), Error> {
        self.channel.transfer(self.drive, mode, first, data).await
    }

    async fn flush(&self, ext: bool) -> Result<(), Error> {
        self.channel.flush(self.drive, ext).await
    }
}
