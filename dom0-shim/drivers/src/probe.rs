//! Finds all devices that there are drivers for, and names them.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use network::MacAddress;
use storage::{Disk, Failure, Properties};

use crate::ahci::{self, AhciDisk};
use crate::ata;
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
    /// disk keeps its name when others come and go), `sda`, ... at AHCI controllers, `vda`, ...
    /// for virtio.
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
    /// At an AHCI controller.
    Ahci(AhciDisk<M>),
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
        } else if ahci::is_for(&function) {
            found.add_ahci(machine, &function).await;
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
        let ata::Found { disks, tasks, problems } = ide::probe(machine, function).await;
        self.tasks.extend(tasks);
        self.problems.extend(problems);
        for (number, disk) in disks {
            self.disks.push((name("hd", controller * DRIVES + number), AnyDisk::Ide(disk)));
        }
    }

    async fn add_ahci(&mut self, machine: &Rc<M>, function: &Function) {
        let ata::Found { disks, tasks, problems } = ahci::probe(machine, function).await;
        self.tasks.extend(tasks);
        self.problems.extend(problems);
        for disk in disks {
            let before = self.disks.iter().filter(|(_, disk)| matches!(disk, AnyDisk::Ahci(_))).count();
            self.disks.push((name("sd", before), AnyDisk::Ahci(disk)));
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

/// The same call of a disk of any kind.
macro_rules! of_any {
    ($disk:ident = $any:expr => $call:expr) => {
        match $any {
            AnyDisk::Ahci($disk) => $call,
            AnyDisk::Ide($disk) => $call,
            AnyDisk::Virtio($disk) => $call,
        }
    };
}

impl<M: Machine> AnyDisk<M> {
    /// What the device calls itself.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Ahci(disk) => disk.model(),
            Self::Ide(disk) => disk.model(),
            Self::Virtio(_) => "virtio",
        }
    }
}

impl<M: Machine> Disk for AnyDisk<M> {
    fn properties(&self) -> Properties {
        of_any!(disk = self => disk.properties())
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        of_any!(disk = self => disk.read(first, to).await)
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        of_any!(disk = self => disk.write(first, from).await)
    }

    async fn flush(&self) -> Result<(), Failure> {
        of_any!(disk = self => disk.flush().await)
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        of_any!(disk = self => disk.discard(first, count).await)
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
    use futures_lite::future;
    use proptest::prelude::*;

    use super::*;
    use crate::pci::Address;
    use crate::testing::{Config, Device, Fake, Memory};

    /// A device whose registers, memory and interrupts are noise.
    struct Noise(u64);

    impl Noise {
        fn read(&mut self, bytes: u8) -> u32 {
            self.next() >> (32 - 8 * u32::from(bytes))
        }

        /// A linear congruential generator's upper half (Knuth, MMIX).
        fn next(&mut self) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(self.0 >> 32).unwrap()
        }
    }

    impl Device for Noise {
        fn read_port(&mut self, _: u16, bytes: u8, _: &mut Memory) -> u32 {
            self.read(bytes)
        }

        fn read_register(&mut self, offset: usize, bytes: u8, _: &mut Memory) -> u32 {
            // Resetting, features or sectors, bytes of a block, entries of a queue, a disk's
            // signature: anything else is refused.
            match offset {
                0x00 => self.read(bytes) & !(1 << 26),
                0x04 => self.read(bytes) & 0xff,
                0x14 if bytes == 4 => 512,
                0x18 => 1 << (self.read(bytes) % 16),
                0x124.. if offset % 0x80 == 0x24 => 0x101,
                _ => self.read(bytes),
            }
        }

        fn tick(&mut self, memory: &mut Memory) {
            let (place, value) = (u64::from(self.next() % (1 << 20)), self.next());
            memory.get_mut(0x10_0000 + place, 4).copy_from_slice(&value.to_le_bytes());
        }

        fn line(&self) -> bool {
            self.0 >> 63 != 0
        }
    }

    /// A virtio device: structures 1 to 4 in its first base address register.
    fn virtio(id: u32) -> Config {
        let mut config = Config::new(id, 0).bar(0, 0xfe00_0000, 0x4000).interrupt(1, 10);
        config.words[1] = 1 << 20;
        config.words[13] = 0x40;
        for kind in 0..4_u32 {
            let at = 16 + 5 * usize::try_from(kind).unwrap();
            let next = if kind == 3 { 0 } else { 4 * (u32::try_from(at).unwrap() + 5) };
            config.words[at..at + 4].copy_from_slice(&[
                9 | next << 8 | (kind + 1) << 24,
                0,
                kind << 12,
                0x1000,
            ]);
        }
        config
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn devices_that_make_noise_are_refused_or_used_to_an_end(seed: u64) {
            let at = |device| Address { bus: 0, device, function: 0 };
            let machine = Fake::new(Noise(seed), [
                (at(1), Config::new(0x7010_8086, 0x0101_8000).bar(4, 0xc001, 16)),
                (at(2), Config::new(0x100e_8086, 0x0200_0000).bar(0, 0xfebc_0000, 0x2_0000).interrupt(1, 11)),
                (at(3), virtio(0x1042_1af4)),
                (at(4), virtio(0x1041_1af4)),
                (at(5), Config::new(0x2922_8086, 0x0106_0100).bar(5, 0xfebf_0000, 0x1000).interrupt(1, 11)),
            ]);
            let Found { disks, nics, mut tasks, .. } = machine.run(probe(&machine));
            for (_, disk) in &disks {
                let used = async {
                    let first = disk.properties().sectors.saturating_sub(1);
                    let _ = disk.read(first, &mut [0; 512]).await;
                    let _ = disk.flush().await;
                };
                machine.run_with(&mut tasks, used);
            }
            for (_, card) in &nics {
                let used = async {
                    for _ in 0..300 {
                        card.send(&[1; 60]).await;
                        card.receive().await;
                    }
                };
                machine.run_with(&mut tasks, future::or(used, machine.sleep_ns(1_000_000_000)));
            }
        }
    }

    #[test]
    fn names_go_on_behind_z() {
        assert_eq!(name("hd", 0), "hda");
        assert_eq!(name("vd", 25), "vdz");
        assert_eq!(name("vd", 26), "vdaa");
        assert_eq!(name("vd", 26 + 27), "vdbb");
    }
}
