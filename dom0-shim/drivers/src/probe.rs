//! Finds all devices that there are drivers for, and names them.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use network::MacAddress;
use storage::{Disk, Failure, Properties};

use crate::e1000::{self, E1000};
use crate::ide::{self, IdeDisk};
use crate::pci::{self, Function};
use crate::virtio::Kind;
use crate::virtio::block::{self, Block};
use crate::virtio::net::{self, Net};
use crate::{Machine, Nic, Task};

/// Drives of an IDE controller, whether they are there or not.
const DRIVES: usize = 4;

/// What is in the machine.
pub struct Found<M: Machine> {
    /// Disks by name: `hda`, `hdb`, ... at IDE controllers (the third letter is the place, so a
    /// disk keeps its name when others come and go), `vda`, ... for virtio.
    pub disks: Vec<(String, AnyDisk<M>)>,
    /// Network cards, in the order of their places: `eth0`, ...
    pub nics: Vec<(String, AnyNic<M>)>,
    /// What has to run for the devices to work.
    pub tasks: Vec<Task>,
    /// What is wrong with devices that cannot be used.
    pub problems: Vec<String>,
}

/// A disk of any kind.
pub enum AnyDisk<M: Machine> {
    /// At an IDE controller.
    Ide(IdeDisk<M>),
    /// A virtio device.
    Virtio(Rc<Block<M>>),
}

/// A network card of any kind.
pub enum AnyNic<M: Machine> {
    /// Of Intel's 8254x family.
    E1000(Rc<E1000<M>>),
    /// A virtio device.
    Virtio(Rc<Net<M>>),
}

/// Looks for devices, and brings those up that there is a driver for; all others stay as they are.
pub async fn probe<M: Machine + 'static>(machine: &Rc<M>) -> Found<M> {
    let mut found = Found { disks: Vec::new(), nics: Vec::new(), tasks: Vec::new(), problems: Vec::new() };
    let (mut controllers, mut places) = (0.., 0..);
    for function in pci::functions(&**machine) {
        if function.class == ide::CLASS {
            let number = controllers.next().unwrap_or(0);
            found.add_ide(machine, &function, number).await;
        } else if e1000::is_for(&function) {
            found.add_e1000(machine, &function).await;
        } else if let Some(kind) = Kind::of(&function) {
            match kind {
                Kind::Block => found.add_block(machine, &function, places.next().unwrap_or(0)).await,
                Kind::Net => found.add_net(machine, &function).await,
            }
        }
    }
    found
}

impl<M: Machine + 'static> Found<M> {
    async fn add_ide(&mut self, machine: &Rc<M>, function: &Function, controller: usize) {
        let ide::Found { disks, tasks, problems } = ide::probe(machine, function).await;
        self.tasks.extend(tasks);
        self.problems.extend(problems);
        for disk in disks {
            let place = controller * DRIVES + usize::from(disk.number());
            self.disks.push((name("hd", place), AnyDisk::Ide(disk)));
        }
    }

    async fn add_e1000(&mut self, machine: &Rc<M>, function: &Function) {
        match e1000::probe(machine, function).await {
            Ok(card) => {
                let card = Rc::new(card);
                let served = card.clone();
                self.tasks.push(Box::pin(async move { served.serve().await }));
                self.add_nic(AnyNic::E1000(card));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    async fn add_block(&mut self, machine: &Rc<M>, function: &Function, place: usize) {
        match block::probe(machine, function).await {
            Ok(disk) => {
                let disk = Rc::new(disk);
                let served = disk.clone();
                self.tasks.push(Box::pin(async move { served.serve().await }));
                self.disks.push((name("vd", place), AnyDisk::Virtio(disk)));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    async fn add_net(&mut self, machine: &Rc<M>, function: &Function) {
        match net::probe(machine, function).await {
            Ok(card) => {
                let card = Rc::new(card);
                let served = card.clone();
                self.tasks.push(Box::pin(async move { served.serve().await }));
                self.add_nic(AnyNic::Virtio(card));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    fn add_nic(&mut self, card: AnyNic<M>) {
        self.nics.push((format!("eth{}", self.nics.len()), card));
    }
}

/// `hda` to `hdz`, then `hdaa` and so on.
fn name(prefix: &str, place: usize) -> String {
    let letter = |place: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[place % 26]);
    match place / 26 {
        0 => format!("{prefix}{}", letter(place)),
        high => format!("{}{}", name(prefix, high - 1), letter(place)),
    }
}

impl<M: Machine> AnyDisk<M> {
    /// What the device calls itself.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Ide(disk) => disk.model(),
            Self::Virtio(_) => "virtio",
        }
    }
}

impl<M: Machine> Disk for AnyDisk<M> {
    fn properties(&self) -> Properties {
        match self {
            Self::Ide(disk) => disk.properties(),
            Self::Virtio(disk) => disk.properties(),
        }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.read(first, to).await,
            Self::Virtio(disk) => disk.read(first, to).await,
        }
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.write(first, from).await,
            Self::Virtio(disk) => disk.write(first, from).await,
        }
    }

    async fn flush(&self) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.flush().await,
            Self::Virtio(disk) => disk.flush().await,
        }
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.discard(first, count).await,
            Self::Virtio(disk) => disk.discard(first, count).await,
        }
    }
}

impl<M: Machine> Nic for AnyNic<M> {
    fn address(&self) -> MacAddress {
        match self {
            Self::E1000(card) => card.address(),
            Self::Virtio(card) => card.address(),
        }
    }

    async fn send(&self, frame: &[u8]) {
        match self {
            Self::E1000(card) => card.send(frame).await,
            Self::Virtio(card) => card.send(frame).await,
        }
    }

    async fn receive(&self) -> Vec<u8> {
        match self {
            Self::E1000(card) => card.receive().await,
            Self::Virtio(card) => card.receive().await,
        }
    }

    fn is_up(&self) -> bool {
        match self {
            Self::E1000(card) => card.is_up(),
            Self::Virtio(card) => card.is_up(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_on_behind_z() {
        assert_eq!(name("hd", 0), "hda");
        assert_eq!(name("vd", 25), "vdz");
        assert_eq!(name("vd", 26), "vdaa");
        assert_eq!(name("vd", 26 + 27), "vdbb");
    }
}
