//! Finds all devices that there are drivers for, and names them.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use storage::{Disk, Failure, Properties};

use crate::ide::{self, IdeDisk};
use crate::pci::{self, Function};
use crate::{Machine, Task};

/// Drives of an IDE controller, whether they are there or not.
const DRIVES: usize = 4;

/// What is in the machine.
pub struct Found<M: Machine> {
    /// Disks by name: `hda`, `hdb`, ... at IDE controllers (the third letter is the place, so a
    /// disk keeps its name when others come and go), `vda`, ... for virtio.
    pub disks: Vec<(String, AnyDisk<M>)>,
    /// What has to run for the devices to work.
    pub tasks: Vec<Task>,
    /// What is wrong with devices that cannot be used.
    pub problems: Vec<String>,
}

/// A disk of any kind.
pub enum AnyDisk<M: Machine> {
    /// At an IDE controller.
    Ide(IdeDisk<M>),
}

/// Looks for devices, and brings those up that there is a driver for; all others stay as they are.
pub async fn probe<M: Machine + 'static>(machine: &Rc<M>) -> Found<M> {
    let mut found = Found { disks: Vec::new(), tasks: Vec::new(), problems: Vec::new() };
    let functions = pci::functions(&**machine);
    for (number, function) in functions.iter().filter(|function| function.class == ide::CLASS).enumerate() {
        found.add_ide(machine, function, number).await;
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
        }
    }
}

impl<M: Machine> Disk for AnyDisk<M> {
    fn properties(&self) -> Properties {
        match self {
            Self::Ide(disk) => disk.properties(),
        }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.read(first, to).await,
        }
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.write(first, from).await,
        }
    }

    async fn flush(&self) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.flush().await,
        }
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        match self {
            Self::Ide(disk) => disk.discard(first, count).await,
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
