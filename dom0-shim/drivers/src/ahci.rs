//! Disks at AHCI controllers: Serial ATA.
//!
//! | module | |
//! |---|---|
//! | `port` | one drive, one command at a time |
//! | `tables` | a port's memory: commands, and the place for data |
//!
//! As "Serial ATA AHCI 1.3.1 Specification" has it. Commands are not queued (NCQ). Drives that
//! take packets and those behind port multipliers are left alone, with a word.

mod port;
mod tables;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use futures_lite::future;

use crate::ata::{Disk, Found};
use crate::pci::{Bar, Function};
use crate::wait::{self, MILLISECOND, SECOND, until};
use crate::{Machine, Registers};
use port::{Port, PortRegisters};

/// Class and subclass of Serial ATA controllers, and the interface of those with AHCI.
const CLASS: u16 = 0x0106;
const INTERFACE: u8 = 1;

/// Offsets of the controller's registers (3.1 "Generic Host Control").
mod register {
    pub const GHC: usize = 0x04;
    pub const IS: usize = 0x08;
    pub const PI: usize = 0x0c;
    pub const VS: usize = 0x10;
    pub const CAP2: usize = 0x24;
    pub const BOHC: usize = 0x28;
}

/// Bits of the global control.
mod control {
    pub const RESET: u32 = 1;
    pub const INTERRUPTS: u32 = 1 << 1;
    pub const AHCI: u32 = 1 << 31;
}

/// Bytes of all registers: those of 32 ports behind the controller's own.
const REGISTERS: usize = port::FIRST + 32 * port::BYTES;

/// How long the controller may take for a reset (10.4.3).
const RESET: u64 = SECOND;
/// How long the firmware may take to let go of it (10.6.3).
const HAND_OVER: u64 = 2 * SECOND;
/// How long drives may take to be seen, all at a time.
const LINKS: u64 = 100 * MILLISECOND;

/// A disk at an AHCI controller.
pub type AhciDisk<M> = Disk<Rc<Port<M>>>;

struct Controller<M: Machine> {
    registers: Rc<M::Registers>,
    interrupt: M::Interrupt,
    /// Those that are driven, by their numbers.
    ports: RefCell<Vec<(u8, Rc<Port<M>>)>>,
}

/// Whether the driver is for this function.
#[must_use]
pub fn is_for(function: &Function) -> bool {
    function.class == CLASS && function.interface == INTERFACE
}

/// Finds the disks of a controller, in the order of their ports.
pub async fn probe<M: Machine + 'static>(machine: &Rc<M>, function: &Function) -> Found<AhciDisk<M>> {
    let mut found = Found::default();
    match Controller::start(machine, function).await {
        Ok((controller, numbers)) => {
            let disks = controller.disks(machine, &numbers, &mut found);
            future::or(disks, controller.serve()).await;
            if !found.disks.is_empty() {
                found.tasks.push(Box::pin(async move { controller.serve().await }));
            }
        }
        Err(problem) => found.problems.push(problem),
    }
    if found.disks.is_empty() {
        function.disable(&**machine);
    }
    for problem in &mut found.problems {
        problem.insert_str(0, &format!("AHCI {function}: "));
    }
    found
}

impl<M: Machine> Controller<M> {
    /// Brings a controller to its first state. Its ports are told as well.
    async fn start(machine: &Rc<M>, function: &Function) -> Result<(Self, Vec<u8>), String> {
        const SLOT: u8 = 5;
        let (address, bytes) = match function.bar(&**machine, SLOT) {
            Some(Bar::Memory { address, bytes }) => (address, usize::try_from(bytes).unwrap_or(REGISTERS)),
            _ => return Err("the firmware gave it no memory for its registers".into()),
        };
        let bytes = bytes.min(REGISTERS);
        if bytes < port::FIRST + port::BYTES {
            return Err("its registers are too few".into());
        }
        let registers = Rc::new(machine.registers(address, bytes)?);
        function.enable(&**machine);
        hand_over(&**machine, &*registers).await;
        reset(&**machine, &*registers).await?;
        let implemented = registers.read(register::PI, 4);
        let with_registers = (0..32).take((bytes - port::FIRST) / port::BYTES);
        let numbers = with_registers.filter(|number| implemented >> number & 1 != 0).collect();
        let interrupt = machine.interrupt(function.gsi(&**machine)?, true)?;
        Ok((Self { registers, interrupt, ports: RefCell::default() }, numbers))
    }

    /// Finds the disks at ports.
    async fn disks(&self, machine: &Rc<M>, numbers: &[u8], found: &mut Found<AhciDisk<M>>) {
        let ports =
            || numbers.iter().map(|number| (*number, PortRegisters::<M>::new(&self.registers, *number)));
        ports().for_each(|(_, port)| port.power_up());
        let all = || ports().all(|(_, port)| port.has_link()).then_some(());
        let _ = until(&**machine, LINKS, all).await;
        self.registers.write(register::IS, 4, u32::MAX);
        self.registers.write(register::GHC, 4, control::AHCI | control::INTERRUPTS);
        for (number, port) in ports().filter(|(_, port)| port.has_link()) {
            match self.disk(machine, number, port).await {
                Ok(disk) => found.disks.push(disk),
                Err(problem) => found.problems.push(format!("port {number}: {problem}")),
            }
        }
    }

    async fn disk(
        &self,
        machine: &Rc<M>,
        number: u8,
        registers: PortRegisters<M>,
    ) -> Result<AhciDisk<M>, String> {
        let port = Rc::new(Port::start(machine, registers).await?);
        self.ports.borrow_mut().push((number, Rc::clone(&port)));
        let disk = async {
            let words = port.identify().await.map_err(|error| error.to_string())?;
            Disk::new(Rc::clone(&port), &words, true)
        };
        let disk = disk.await;
        if disk.is_err() {
            self.ports.borrow_mut().retain(|(other, _)| *other != number);
        }
        disk
    }

    /// Answers the ports' interrupts, for ever.
    async fn serve(&self) {
        wait::serve(&self.interrupt, || {
            let raised = self.registers.read(register::IS, 4);
            for (number, port) in &*self.ports.borrow() {
                if raised >> number & 1 != 0 {
                    port.answer();
                }
            }
            // After the ports': they would set it again (5.6.2 "Interrupts").
            self.registers.write(register::IS, 4, raised);
        })
        .await;
    }
}

/// Takes the controller from the firmware (10.6.3 "OS claims ownership").
async fn hand_over<M: Machine>(machine: &M, registers: &M::Registers) {
    const VERSION_1_2: u32 = 0x0001_0200;
    const HAND_OVER_IS_THERE: u32 = 1;
    const FIRMWARE: u32 = 1;
    const SYSTEM: u32 = 1 << 1;
    let read = |register| registers.read(register, 4);
    if read(register::VS) < VERSION_1_2 || read(register::CAP2) & HAND_OVER_IS_THERE == 0 {
        return;
    }
    registers.write(register::BOHC, 4, read(register::BOHC) | SYSTEM);
    let free = || (read(register::BOHC) & FIRMWARE == 0).then_some(());
    // One that does not let go loses it by the reset.
    let _ = until(machine, HAND_OVER, free).await;
}

async fn reset<M: Machine>(machine: &M, registers: &M::Registers) -> Result<(), String> {
    registers.write(register::GHC, 4, control::AHCI);
    registers.write(register::GHC, 4, control::AHCI | control::RESET);
    let is_back = || (registers.read(register::GHC, 4) & control::RESET == 0).then_some(());
    until(machine, RESET, is_back).await.ok_or("it does not come back from a reset")?;
    registers.write(register::GHC, 4, control::AHCI);
    Ok(())
}
