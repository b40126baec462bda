//! The driver on a model of a controller with drives, which can be told to misbehave.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};

use futures_lite::future;
use storage::{Disk, Failure};

use super::{AhciDisk, probe};
use crate::ata::Found;
use crate::ata::testing::{Fault, Model, pattern};
use crate::pci::{Address, Function, functions};
use crate::testing::{Config, Device, Fake, Memory};
use crate::{Machine, Task};

const READY: u32 = 0x50;
const BUSY: u32 = 0x80;
const DISK: u32 = 0x0101;
const CDROM: u32 = 0xeb14_0101;

const START: u32 = 1;
const RECEIVE: u32 = 1 << 4;
const RUNS: u32 = 1 << 15;
const RECEIVES: u32 = 1 << 14;

#[derive(Default)]
struct Port {
    drive: Option<Model>,
    lists: u64,
    received: u64,
    is: u32,
    ie: u32,
    cmd: u32,
    tfd: u32,
    sctl: u32,
    serr: u32,
    ci: u32,
    /// It says that it is busy, whatever is done.
    stuck: bool,
    /// It does nothing more until it is stopped.
    hangs: bool,
}

#[derive(Default)]
struct Hba {
    ports: Vec<Port>,
    ghc: u32,
    is: u32,
    bohc: u32,
    faults: VecDeque<Fault>,
    loses_interrupts: bool,
    /// It does not come back from a reset.
    broken: bool,
    commands: Vec<u8>,
    link_resets: usize,
    starts: usize,
}

impl Port {
    fn read(&self, register: usize) -> u32 {
        match register {
            0x10 => self.is,
            0x14 => self.ie,
            0x18 => self.cmd,
            0x20 if self.stuck => BUSY,
            0x20 => self.tfd,
            0x24 => self.drive.as_ref().map_or(u32::MAX, |drive| if drive.packet { CDROM } else { DISK }),
            0x28 if self.drive.is_some() && self.sctl & 15 == 0 => 0x123,
            0x28 => 0,
            0x2c => self.sctl,
            0x30 => self.serr,
            0x38 => self.ci,
            _ => 0,
        }
    }

    /// The drive has come up, if there is one, and says so.
    fn come_up(&mut self) {
        if self.drive.is_some() && self.cmd & RECEIVE != 0 && self.serr & 1 << 26 == 0 {
            self.tfd = READY;
        }
    }

    /// Takes the drive out, or puts one in.
    fn plug(&mut self, drive: Option<Model>) {
        self.drive = drive;
        (self.tfd, self.ci) = (0x7f, 0);
        self.serr |= 1 << 16 | 1 << 26;
        self.is |= 1 << 22 | 1 << 6;
    }

    fn end(&mut self, cause: u32, error: u32) {
        self.tfd = READY | if error == 0 { 0 } else { error << 8 | 1 };
        self.is |= cause;
        if error == 0 {
            self.ci = 0;
        } else {
            self.hangs = true;
        }
    }

    fn execute(&mut self, memory: &mut Memory) -> u8 {
        let word = |at: u64, memory: &Memory| u32::from_le_bytes(memory.get(at, 4).try_into().unwrap());
        let flags = word(self.lists, memory);
        assert_eq!((flags & 31, self.lists % 1024, self.received % 256), (5, 0, 0));
        let table = u64::from(word(self.lists + 8, memory));
        assert_eq!((table % 128, word(self.lists + 12, memory)), (0, 0));
        let fis: [u8; 20] = memory.get(table, 20).try_into().unwrap();
        assert_eq!((fis[0], fis[1], fis[7] & 0x50), (0x27, 0x80, 0x40));
        let code = fis[2];
        let is_write = matches!(code, 0xca | 0x35 | 0x30 | 0x34);
        assert_eq!(flags & 1 << 6 != 0, is_write);
        let region = (flags >> 16 == 1).then(|| {
            assert_eq!(word(table + 0x84, memory), 0);
            let bytes = word(table + 0x8c, memory) + 1;
            (u64::from(word(table + 0x80, memory)), usize::try_from(bytes).unwrap())
        });
        let drive = self.drive.as_mut().unwrap();
        let (first, count) = range(&fis);
        let sectors = first * 512..(first + count) * 512;
        match (code, region) {
            (0xec, Some((at, 512))) => {
                let bytes: Vec<u8> = drive.identify.iter().flat_map(|word| word.to_le_bytes()).collect();
                memory.get_mut(at, 512).copy_from_slice(&bytes);
                self.end(2, 0);
            }
            (0xe7 | 0xea, None) => {
                drive.cached = false;
                self.end(1, 0);
            }
            (0xc8 | 0xca, Some((at, bytes))) => {
                assert_eq!(bytes, sectors.len());
                match drive.sectors.get_mut(sectors) {
                    Some(sectors) if is_write => {
                        sectors.copy_from_slice(memory.get(at, bytes));
                        drive.cached = true;
                        self.end(1, 0);
                    }
                    Some(sectors) => {
                        memory.get_mut(at, bytes).copy_from_slice(sectors);
                        self.end(1, 0);
                    }
                    None => self.end(1 << 30, 0x10),
                }
            }
            _ => self.end(1 << 30, 4),
        }
        code
    }
}

/// Sectors of a command with a 28-bit address.
fn range(fis: &[u8; 20]) -> (usize, usize) {
    let [low, middle, high, device] = [fis[4], fis[5], fis[6], fis[7]].map(usize::from);
    let count = if fis[12] == 0 { 256 } else { usize::from(fis[12]) };
    (low | middle << 8 | high << 16 | (device & 15) << 24, count)
}

impl Hba {
    fn reset(&mut self) {
        for port in &mut self.ports {
            let drive = port.drive.take();
            *port = Port { drive, tfd: 0x7f, serr: 1 << 26, stuck: port.stuck, ..Port::default() };
        }
        (self.ghc, self.is) = (if self.broken { 1 } else { 0 }, 0);
    }

    fn write_port(&mut self, number: usize, register: usize, value: u32) {
        let port = &mut self.ports[number];
        match register {
            0x00 => port.lists = port.lists >> 32 << 32 | u64::from(value),
            0x04 => port.lists = port.lists << 32 >> 32 | u64::from(value) << 32,
            0x08 => port.received = port.received >> 32 << 32 | u64::from(value),
            0x0c => port.received = port.received << 32 >> 32 | u64::from(value) << 32,
            // What the link has to say goes by the register of its own.
            0x10 => port.is &= !(value & !(1 << 22 | 1 << 6)),
            0x14 => port.ie = value,
            0x18 => {
                let started = value & START != 0 && port.cmd & START == 0;
                if started {
                    assert_eq!(port.tfd & 0x88, 0, "a port is started while its drive is busy");
                    assert_ne!(port.cmd & RECEIVE, 0);
                }
                self.starts += usize::from(started);
                port.cmd = value & !(RUNS | RECEIVES);
                port.cmd |= if value & START != 0 { RUNS } else { 0 };
                port.cmd |= if value & RECEIVE != 0 { RECEIVES } else { 0 };
                if value & START == 0 {
                    (port.ci, port.hangs) = (0, false);
                }
                if port.tfd == 0x7f {
                    port.come_up();
                }
            }
            0x2c => {
                if port.sctl & 15 == 1 && value & 15 == 0 {
                    assert_eq!(port.cmd & START, 0, "the link is reset while the port runs");
                    (port.tfd, port.serr) = (0x7f, port.serr | 1 << 26);
                    self.link_resets += 1;
                }
                port.sctl = value;
            }
            0x30 => {
                port.serr &= !value;
                if port.serr & 1 << 26 == 0 {
                    port.is &= !(1 << 22 | 1 << 6);
                }
                if port.tfd == 0x7f {
                    port.come_up();
                }
            }
            0x38 => {
                assert_eq!((value, port.cmd & RUNS), (1, RUNS));
                port.ci = 1;
                port.tfd = BUSY;
            }
            _ => {}
        }
    }
}

impl Device for Hba {
    fn read_register(&mut self, offset: usize, bytes: u8, _: &mut Memory) -> u32 {
        assert_eq!(bytes, 4);
        match offset {
            0x04 => self.ghc,
            0x08 => self.is,
            0x0c => (1 << self.ports.len()) - 1,
            0x10 => 0x0001_0300,
            0x24 => 1,
            0x28 => self.bohc,
            0x100.. => self.ports[(offset - 0x100) / 0x80].read(offset % 0x80),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: usize, bytes: u8, value: u32, _: &mut Memory) {
        assert_eq!(bytes, 4);
        match offset {
            0x04 if value & 1 != 0 => self.reset(),
            0x04 => self.ghc = value,
            0x08 => self.is &= !value,
            // The firmware lets go as it is told that the system wants it.
            0x28 => self.bohc = if value & 2 != 0 { 2 } else { value },
            0x100.. => self.write_port((offset - 0x100) / 0x80, offset % 0x80, value),
            _ => {}
        }
    }

    fn tick(&mut self, memory: &mut Memory) {
        for (number, port) in self.ports.iter_mut().enumerate() {
            if port.ci & 1 != 0 && port.drive.is_some() && !port.hangs && !port.stuck {
                match self.faults.pop_front() {
                    None => self.commands.push(port.execute(memory)),
                    Some(Fault::Bad) => port.end(1 << 30, 0x40),
                    Some(Fault::Hang) => port.hangs = true,
                    Some(Fault::Bus) => {
                        port.is |= 1 << 29;
                        port.hangs = true;
                    }
                }
            }
            if port.is & port.ie != 0 {
                self.is |= 1 << number;
            }
        }
    }

    fn line(&self) -> bool {
        self.ghc & 2 != 0 && self.is != 0 && !self.loses_interrupts
    }
}

/// A machine, its disks, and what runs for them.
struct Setup {
    machine: Rc<Fake<Hba>>,
    function: Function,
    disks: Vec<AhciDisk<Fake<Hba>>>,
    tasks: RefCell<Vec<Task>>,
    problems: Vec<String>,
}

impl Setup {
    fn new(drives: impl IntoIterator<Item = Option<Model>>) -> Self {
        let ports = drives.into_iter().map(|drive| Port { drive, ..Port::default() }).collect();
        Self::of(Hba { ports, bohc: 1, ..Hba::default() })
    }

    fn of(hba: Hba) -> Self {
        let config = Config::new(0x2922_8086, 0x0106_0102).bar(5, 0xfebf_0000, 0x1000).interrupt(1, 11);
        let address = Address { bus: 0, device: 4, function: 0 };
        let machine = Fake::new(hba, [(address, config)]);
        let function = functions(&*machine)[0];
        assert!(super::is_for(&function));
        let Found { disks, tasks, problems } = machine.run(probe(&machine, &function));
        Self { machine, function, disks, tasks: tasks.into(), problems }
    }

    /// With one disk.
    fn one(sectors: usize) -> Self {
        let setup = Self::new([Some(Model::new(sectors))]);
        assert_eq!((setup.disks.len(), &setup.problems[..]), (1, &[][..]));
        setup
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.machine.run_with(&mut self.tasks.borrow_mut(), work)
    }

    fn disk(&self) -> &AhciDisk<Fake<Hba>> {
        &self.disks[0]
    }

    fn read(&self, first: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0xee; 512];
        self.run(self.disk().read(first, &mut bytes)).map(|()| bytes)
    }

    fn model(&self) -> RefMut<'_, Hba> {
        self.machine.device.borrow_mut()
    }

    fn drive(&self, port: usize) -> RefMut<'_, Model> {
        RefMut::map(self.model(), |hba| hba.ports[port].drive.as_mut().unwrap())
    }

    fn sectors(&self, port: usize, first: usize, bytes: usize) -> Vec<u8> {
        self.drive(port).sectors[first * 512..][..bytes].to_vec()
    }
}

fn medium(words: &str) -> Failure {
    Failure::Medium(words.into())
}

fn round_trip(setup: &Setup) {
    let written = pattern(300 * 512);
    setup.run(setup.disk().write(5, &written)).unwrap();
    let mut read = vec![0; written.len()];
    setup.run(setup.disk().read(5, &mut read)).unwrap();
    assert_eq!(read, written);
    assert_eq!(setup.sectors(0, 5, written.len()), written);
    let model = setup.model();
    assert_eq!((model.link_resets, model.starts), (0, 1));
}

#[test]
fn long_transfers_go_in_parts() {
    let setup = Setup::one(1000);
    round_trip(&setup);
    assert_eq!(setup.model().commands, [0xec, 0xca, 0xca, 0xc8, 0xc8]);
    assert_eq!(*setup.machine.interrupts.borrow(), [(11, true)]);
}

#[test]
fn lost_interrupts_cost_time_only() {
    let setup = Setup::one(1000);
    setup.model().loses_interrupts = true;
    round_trip(&setup);
}

#[test]
fn disks_are_driven_and_other_drives_left_with_a_word() {
    let cdrom = Model { packet: true, ..Model::new(8) };
    let setup = Setup::new([Some(cdrom), None, Some(Model::new(64)), Some(Model::new(32))]);
    assert_eq!(setup.disks.iter().map(|disk| disk.properties().sectors).collect::<Vec<_>>(), [64, 32]);
    let words = "AHCI 00:04.0 [8086:2922]: port 0: \
                 a CD-ROM, or another drive that takes packets: it is not driven";
    assert_eq!(setup.problems, [words]);
    assert_eq!(setup.model().ports[0].cmd & (RUNS | RECEIVES), 0);
    setup.run(setup.disks[1].write(3, &pattern(512))).unwrap();
    assert_eq!(setup.sectors(3, 3, 512), pattern(512));
}

#[test]
fn nothing_there_is_no_disk() {
    let setup = Setup::new([None, None]);
    assert!(setup.disks.is_empty() && setup.problems.is_empty(), "{:?}", setup.problems);
    assert_eq!(*setup.machine.interrupts.borrow(), []);
    const BUS_MASTER: u32 = 4;
    assert_eq!(setup.function.address.read(&*setup.machine, 4, 2) & BUS_MASTER, 0);
}

#[test]
fn the_firmware_is_told() {
    assert_eq!(Setup::one(8).model().bohc, 2);
}

#[test]
fn a_controller_that_stays_in_its_reset_is_told_in_words() {
    let setup = Setup::of(Hba { broken: true, ..Hba::default() });
    assert!(setup.disks.is_empty());
    assert_eq!(setup.problems, ["AHCI 00:04.0 [8086:2922]: it does not come back from a reset"]);
}

#[test]
fn a_drive_that_does_not_come_up_is_told_in_words() {
    let port = Port { drive: Some(Model::new(8)), stuck: true, ..Port::default() };
    let setup = Setup::of(Hba { ports: vec![port], ..Hba::default() });
    assert_eq!(setup.problems, ["AHCI 00:04.0 [8086:2922]: port 0: the drive does not get ready"]);
}

#[test]
fn garbage_for_an_identity_is_told() {
    let garbage = Model { identify: [0xffff; 256], ..Model::new(8) };
    let setup = Setup::new([Some(garbage), Some(Model::new(8))]);
    assert_eq!(setup.disks.len(), 1);
    assert_eq!(setup.problems, ["AHCI 00:04.0 [8086:2922]: port 0: it is no disk"]);
}

#[test]
fn sectors_beyond_the_end_are_refused() {
    let setup = Setup::one(64);
    let mut bytes = vec![0; 1024];
    for first in [63, 64, u64::MAX] {
        assert_eq!(setup.run(setup.disk().read(first, &mut bytes)), Err(Failure::OutOfRange));
        assert_eq!(setup.run(setup.disk().write(first, &bytes)), Err(Failure::OutOfRange));
    }
    assert_eq!(setup.run(setup.disk().read(62, &mut bytes)), Ok(()));
}

#[test]
fn flush_empties_the_cache() {
    let mut with_48_bits = Model::new(64);
    with_48_bits.identify[83] |= 1 << 13 | 1 << 10;
    with_48_bits.identify[100] = 64;
    for (model, code) in [(Model::new(64), 0xe7), (with_48_bits, 0xea)] {
        let setup = Setup::new([Some(model)]);
        setup.run(setup.disk().write(0, &pattern(512))).unwrap();
        assert!(setup.drive(0).cached);
        setup.run(setup.disk().flush()).unwrap();
        assert!(!setup.drive(0).cached);
        assert_eq!(setup.model().commands.last(), Some(&code));
    }
}

#[test]
fn a_flush_that_fails_is_not_tried_again() {
    let setup = Setup::one(64);
    setup.model().faults.extend([Fault::Bad]);
    let words = "its cache is not on the medium: a sector cannot be read any more (error register 0x40)";
    assert_eq!(setup.run(setup.disk().flush()), Err(medium(words)));
}

#[test]
fn errors_are_tried_again_and_then_told_in_words() {
    let setup = Setup::one(64);
    setup.model().faults.extend([Fault::Bad, Fault::Bus]);
    assert!(setup.read(7).is_ok());
    setup.model().faults.extend([Fault::Bad; 3]);
    let words = "sector 7: a sector cannot be read any more (error register 0x40)";
    assert_eq!(setup.read(7), Err(medium(words)));
    assert!(setup.read(7).is_ok());
    // The port is started again after each error; the drive is reset only where it is busy still.
    let model = setup.model();
    assert_eq!((model.starts, model.link_resets), (6, 1));
}

#[test]
fn a_drive_that_hangs_is_reset_and_goes_on() {
    let setup = Setup::one(64);
    setup.model().faults.extend([Fault::Hang]);
    setup.run(setup.disk().write(7, &pattern(512))).unwrap();
    assert_eq!(setup.model().link_resets, 1);
    assert_eq!(setup.sectors(0, 7, 512), pattern(512));
}

#[test]
fn a_dead_drive_is_told_in_words_and_soon() {
    let setup = Setup::one(64);
    setup.model().ports[0].stuck = true;
    let words = Err(medium("sector 0: the drive does not answer in time"));
    assert_eq!(setup.read(0), words);
    let before = setup.machine.now_ns();
    assert_eq!(setup.read(0), words);
    assert!(setup.machine.now_ns() - before < 100_000_000);
    setup.model().ports[0].stuck = false;
    assert!(setup.read(0).is_ok());
}

#[test]
fn a_drive_is_not_taken_for_another_one() {
    let setup = Setup::one(64);
    setup.drive(0).sectors[..512].fill(1);
    let before = setup.drive(0).clone();
    let mut other = Model::new(64);
    other.identify[10] += 1;
    setup.model().ports[0].plug(None);
    assert_eq!(setup.read(0), Err(medium("sector 0: the drive does not answer in time")));
    setup.model().ports[0].plug(Some(other));
    let replaced = Err(medium("sector 0: another drive is in its place"));
    assert_eq!(setup.read(0), replaced);
    assert_eq!(setup.run(setup.disk().write(0, &[7; 512])), replaced.clone().map(drop));
    assert_eq!(setup.sectors(0, 0, 512), [0; 512]);
    setup.model().ports[0].plug(Some(before));
    assert_eq!(setup.read(0), Ok(vec![1; 512]));
}

#[test]
fn a_drive_that_is_replaced_while_nobody_asks_is_noticed() {
    let setup = Setup::one(64);
    let mut other = Model::new(64);
    other.identify[30] = 0x4141;
    setup.model().ports[0].plug(Some(other));
    assert_eq!(setup.read(0), Err(medium("sector 0: another drive is in its place")));
}

#[test]
fn a_request_that_is_dropped_is_ended_before_the_next() {
    let setup = Setup::one(64);
    let mut bytes = vec![0; 512];
    let read = async { setup.disk().read(1, &mut bytes).await.is_ok() };
    assert!(!setup.run(future::or(read, async { false })));
    let written = pattern(512);
    setup.run(setup.disk().write(2, &written)).unwrap();
    assert_eq!(setup.model().link_resets, 1);
    assert_eq!(setup.sectors(0, 2, 512), written);
}

#[test]
fn drives_work_side_by_side() {
    let setup = Setup::new([Some(Model::new(64)), Some(Model::new(32))]);
    let (a, b) = (pattern(4096), [7; 4096]);
    let both = setup.run(future::zip(setup.disks[0].write(8, &a), setup.disks[1].write(16, &b)));
    assert_eq!(both, (Ok(()), Ok(())));
    assert_eq!((setup.sectors(0, 8, 4096), setup.sectors(1, 16, 4096)), (a, b.to_vec()));
}

#[test]
fn a_port_is_stopped_before_its_memory_goes() {
    let mut setup = Setup::one(64);
    setup.tasks.borrow_mut().clear();
    setup.disks.clear();
    assert_eq!(setup.model().ports[0].cmd & (START | RECEIVE), 0);
}
