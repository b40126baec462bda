//! The driver on a model of a PIIX with drives, which can be told to misbehave.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};

use futures_lite::future;
use storage::{Disk, Failure};

use super::{IdeDisk, probe};
use crate::ata::Found;
use crate::ata::testing::{Fault, Model, pattern};
use crate::pci::{Address, functions};
use crate::testing::{Config, Device, Fake, Memory};
use crate::{Machine, Task};

const BUSY: u8 = 0x80;
const READY: u8 = 0x40;
const DATA: u8 = 0x08;
const ERROR: u8 = 0x01;
const MASTER: u16 = 0xc000;

#[derive(Default)]
struct Ide {
    drives: [Option<Model>; 2],
    /// Registers 1 to 6, with what was written before.
    registers: [[u8; 2]; 7],
    status: u8,
    error: u8,
    control: u8,
    interrupt: bool,
    /// What the bus master has: command, status, table.
    master: (u8, u8, u32),
    /// A DMA command, until the bus master is started and time passes.
    dma: Option<u8>,
    /// Words that are yet to be read, or bytes to be written and where.
    words: VecDeque<u16>,
    out: Option<(usize, Vec<u8>)>,
    faults: VecDeque<Fault>,
    loses_interrupts: bool,
    /// The whole channel stays busy, also after a reset.
    stuck: bool,
    commands: Vec<u8>,
    resets: usize,
}

impl Ide {
    fn selected(&mut self) -> Option<&mut Model> {
        self.drives[usize::from(self.registers[6][0] >> 4 & 1)].as_mut()
    }

    fn range(&self, ext: bool) -> (usize, usize) {
        let register = |number: usize| usize::from(self.registers[number][0]);
        let before = |number: usize| usize::from(self.registers[number][1]);
        let low = register(3) | register(4) << 8 | register(5) << 16;
        if ext {
            let high = before(3) | before(4) << 8 | before(5) << 16;
            return (low | high << 24, before(2) << 8 | register(2));
        }
        (low | (register(6) & 15) << 24, register(2))
    }

    fn raise(&mut self) {
        if self.control & 2 == 0 && !self.loses_interrupts {
            self.interrupt = true;
        }
    }

    fn end(&mut self, error: u8) {
        self.error = error;
        self.status = READY | if error == 0 { 0 } else { ERROR };
        self.master.1 |= 4;
        self.master.1 &= !1;
        self.raise();
    }

    fn command(&mut self, code: u8) {
        self.commands.push(code);
        let (first, count) = self.range(matches!(code, 0x24 | 0x25 | 0x34 | 0x35));
        let Some(model) = self.selected() else { return };
        match code {
            0xec if model.packet => self.end(4),
            0xec => {
                self.words = model.identify.into_iter().collect();
                self.status = READY | DATA;
                self.raise();
            }
            0xe7 => {
                model.cached = false;
                self.end(0);
            }
            0xc8 | 0xca | 0x25 | 0x35 => {
                self.status = BUSY;
                self.dma = Some(code);
            }
            0x20 | 0x24 | 0x30 | 0x34 => {
                let range = first * 512..(first + count) * 512;
                let Some(bytes) = model.sectors.get(range.clone()) else { return self.end(0x10) };
                if matches!(code, 0x20 | 0x24) {
                    self.words = bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect();
                    self.raise();
                } else {
                    self.out = Some((range.start, Vec::with_capacity(range.len())));
                }
                self.status = READY | DATA;
                match self.faults.pop_front() {
                    Some(Fault::Hang) => self.status = BUSY,
                    Some(_) => self.end(0x40),
                    None => {}
                }
            }
            _ => self.end(4),
        }
    }

    fn word(&mut self) -> u32 {
        let word = self.words.pop_front().unwrap_or(0);
        if self.words.is_empty() {
            self.status = READY;
        } else if self.words.len().is_multiple_of(256) {
            self.raise();
        }
        word.into()
    }

    fn put(&mut self, word: u32) {
        let Some((at, mut bytes)) = self.out.take() else { return };
        bytes.extend(&word.to_le_bytes()[..2]);
        let (ended, sector) = (bytes.len() == bytes.capacity(), bytes.len().is_multiple_of(512));
        if ended {
            let model = self.selected().unwrap();
            model.sectors[at..at + bytes.len()].copy_from_slice(&bytes);
            model.cached = true;
            self.status = READY;
        } else {
            self.out = Some((at, bytes));
        }
        if sector {
            self.raise();
        }
    }

    fn transfer(&mut self, code: u8, memory: &mut Memory) {
        let (command, _, table) = self.master;
        let (first, count) = self.range(matches!(code, 0x25 | 0x35));
        let to_memory = matches!(code, 0xc8 | 0x25);
        assert_eq!(command & 8 != 0, to_memory, "the bus master's direction is wrong");
        let entry = memory.get(table.into(), 8);
        let address = u32::from_le_bytes(entry[..4].try_into().unwrap());
        let length = u32::from_le_bytes(entry[4..].try_into().unwrap());
        assert_eq!(length >> 16, 0x8000, "the first entry is the last");
        let length = match usize::try_from(length & 0xffff).unwrap() {
            0 => 0x1_0000,
            length => length,
        };
        assert_eq!(address & 0xffff_0000, (address + u32::try_from(length).unwrap() - 1) & 0xffff_0000);
        assert_eq!(length, count * 512);
        let model = self.selected().unwrap();
        let Some(sectors) = model.sectors.get_mut(first * 512..first * 512 + length) else {
            return self.end(0x10);
        };
        let memory = memory.get_mut(address.into(), length);
        if to_memory {
            memory.copy_from_slice(sectors);
        } else {
            sectors.copy_from_slice(memory);
            model.cached = true;
        }
        self.end(0);
    }
}

impl Device for Ide {
    fn read_port(&mut self, port: u16, _: u8, _: &mut Memory) -> u32 {
        let there = self.drives.iter().any(Option::is_some);
        match port {
            0x1f0..0x1f8 | 0x3f6 if !there => 0xff,
            0x1f0 => self.word(),
            0x1f1 => self.error.into(),
            0x1f7 | 0x3f6 => {
                if port == 0x1f7 {
                    self.interrupt = false;
                }
                match (self.stuck, self.selected()) {
                    (true, _) => BUSY.into(),
                    (_, None) => 0,
                    _ => self.status.into(),
                }
            }
            0x1f2..0x1f7 => self.registers[usize::from(port - 0x1f0)][0].into(),
            MASTER => self.master.0.into(),
            0xc002 => self.master.1.into(),
            _ => u32::MAX,
        }
    }

    fn write_port(&mut self, port: u16, _: u8, value: u32, _: &mut Memory) {
        let byte = value.to_le_bytes()[0];
        match port {
            0x1f0 => self.put(value),
            0x1f1..0x1f7 => {
                let register = &mut self.registers[usize::from(port - 0x1f0)];
                *register = [byte, register[0]];
            }
            0x1f7 => self.command(byte),
            0x3f6 => {
                self.control = byte;
                if byte & 4 != 0 {
                    (self.dma, self.out, self.status, self.error) = (None, None, READY, 1);
                    self.words.clear();
                    self.resets += 1;
                }
            }
            MASTER => {
                self.master.0 = byte;
                self.master.1 = self.master.1 & !1 | byte & 1;
            }
            0xc002 => self.master.1 &= !(byte & 6),
            0xc004 => self.master.2 = value,
            _ => {}
        }
    }

    fn tick(&mut self, memory: &mut Memory) {
        if self.master.0 & 1 == 0 {
            return;
        }
        let Some(code) = self.dma.take() else { return };
        match self.faults.pop_front() {
            None => self.transfer(code, memory),
            Some(Fault::Bad) => self.end(0x40),
            Some(Fault::Hang) => {}
            Some(Fault::Bus) => {
                self.end(0);
                self.master.1 |= 2;
            }
        }
    }

    fn line(&self) -> bool {
        self.interrupt
    }
}

/// A machine, its disks, and what runs for them.
struct Setup {
    machine: Rc<Fake<Ide>>,
    disks: Vec<(usize, IdeDisk<Fake<Ide>>)>,
    tasks: RefCell<Vec<Task>>,
    problems: Vec<String>,
}

impl Setup {
    fn new(drives: [Option<Model>; 2], has_master: bool) -> Self {
        let config = Config::new(0x7010_8086, if has_master { 0x0101_8000 } else { 0x0101_0000 });
        let config = config.bar(4, u32::from(MASTER) | 1, 16);
        let address = Address { bus: 0, device: 1, function: 0 };
        // After power-on the signature is there.
        let machine = Fake::new(Ide { drives, status: READY, ..Ide::default() }, [(address, config)]);
        let found = machine.run(probe(&machine, &functions(&*machine)[0]));
        let Found { disks, tasks, problems } = found;
        Self { machine, disks, tasks: tasks.into(), problems }
    }

    /// With one disk.
    fn one(drives: [Option<Model>; 2]) -> Self {
        let setup = Self::new(drives, true);
        assert_eq!((setup.disks.len(), &setup.problems[..]), (1, &[][..]));
        setup
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.machine.run_with(&mut self.tasks.borrow_mut(), work)
    }

    fn disk(&self) -> &IdeDisk<Fake<Ide>> {
        &self.disks[0].1
    }

    fn model(&self) -> RefMut<'_, Ide> {
        self.machine.device.borrow_mut()
    }

    fn sectors(&self, drive: usize, first: usize, bytes: usize) -> Vec<u8> {
        self.model().drives[drive].as_ref().unwrap().sectors[first * 512..][..bytes].to_vec()
    }
}

fn small() -> [Option<Model>; 2] {
    [Some(Model::new(64)), None]
}

fn round_trip(setup: &Setup) {
    let written = pattern(300 * 512);
    setup.run(setup.disk().write(5, &written)).unwrap();
    let mut read = vec![0; written.len()];
    setup.run(setup.disk().read(5, &mut read)).unwrap();
    assert_eq!(read, written);
    assert_eq!(setup.sectors(0, 5, written.len()), written);
    assert_eq!(setup.model().resets, 0);
}

#[test]
fn long_transfers_go_in_parts_by_the_bus_master() {
    let setup = Setup::one([Some(Model::new(1000)), None]);
    round_trip(&setup);
    assert_eq!(setup.model().commands[2..], [0xca, 0xca, 0xca, 0xc8, 0xc8, 0xc8]);
}

#[test]
fn without_a_bus_master_the_cpu_transfers() {
    let setup = Setup::new([Some(Model::new(1000)), None], false);
    round_trip(&setup);
    assert_eq!(setup.model().commands[2..], [0x30, 0x30, 0x30, 0x20, 0x20, 0x20]);
}

#[test]
fn lost_interrupts_cost_time_only() {
    for has_master in [false, true] {
        let setup = Setup::new([Some(Model::new(1000)), None], has_master);
        setup.model().loses_interrupts = true;
        round_trip(&setup);
    }
}

#[test]
fn both_drives_are_found_and_cdroms_left_alone() {
    let setup = Setup::one([Some(Model { packet: true, ..Model::new(8) }), Some(Model::new(64))]);
    assert_eq!((setup.disks[0].0, setup.disk().properties().sectors), (1, 64));
    setup.run(setup.disk().write(3, &pattern(512))).unwrap();
    assert_eq!(setup.sectors(1, 3, 512), pattern(512));
    assert_eq!(*setup.machine.interrupts.borrow(), [(14, false)]);
}

#[test]
fn nothing_there_is_no_disk() {
    let setup = Setup::new([None, None], true);
    assert!(setup.disks.is_empty() && setup.problems.is_empty(), "{:?}", setup.problems);
    assert_eq!(*setup.machine.interrupts.borrow(), []);
}

#[test]
fn sectors_beyond_the_end_are_refused() {
    let setup = Setup::one(small());
    let disk = setup.disk();
    let mut bytes = vec![0; 1024];
    for first in [63, 64, u64::MAX] {
        assert_eq!(setup.run(disk.read(first, &mut bytes)), Err(Failure::OutOfRange));
        assert_eq!(setup.run(disk.write(first, &bytes)), Err(Failure::OutOfRange));
    }
    assert_eq!(setup.run(disk.read(0, &mut bytes[..100])), Err(Failure::Unsupported));
    assert_eq!(setup.run(disk.read(62, &mut bytes)), Ok(()));
}

#[test]
fn flush_empties_the_cache() {
    let setup = Setup::one(small());
    let is_cached = || setup.model().drives[0].as_ref().unwrap().cached;
    setup.run(setup.disk().write(0, &pattern(512))).unwrap();
    assert!(is_cached());
    setup.run(setup.disk().flush()).unwrap();
    assert!(!is_cached());
}

#[test]
fn errors_are_tried_again_and_then_told_in_words() {
    let setup = Setup::one(small());
    let mut bytes = vec![0; 512];
    setup.model().faults.extend([Fault::Bad, Fault::Bad]);
    assert_eq!(setup.run(setup.disk().read(7, &mut bytes)), Ok(()));
    setup.model().faults.extend([Fault::Bad; 3]);
    let failure = setup.run(setup.disk().read(7, &mut bytes)).unwrap_err();
    let words = "sector 7: a sector cannot be read any more (error register 0x40)";
    assert_eq!(failure, Failure::Medium(words.into()));
    assert_eq!(setup.model().resets, 0);
    assert_eq!(setup.run(setup.disk().read(7, &mut bytes)), Ok(()));
    assert_eq!(setup.model().commands.last(), Some(&0xc8));
}

#[test]
fn a_bus_master_that_fails_is_given_up() {
    let setup = Setup::one(small());
    let mut bytes = vec![0; 512];
    setup.model().faults.extend([Fault::Bus, Fault::Bus]);
    setup.run(setup.disk().read(7, &mut bytes)).unwrap();
    setup.run(setup.disk().read(7, &mut bytes)).unwrap();
    assert_eq!(setup.model().commands[2..], [0xc8, 0xc8, 0x20, 0x20]);
}

#[test]
fn a_drive_that_hangs_is_reset_and_goes_on() {
    let setup = Setup::one(small());
    setup.model().faults.extend([Fault::Hang]);
    setup.run(setup.disk().write(7, &pattern(512))).unwrap();
    assert_eq!(setup.model().resets, 1);
    assert_eq!(setup.sectors(0, 7, 512), pattern(512));
}

#[test]
fn a_dead_drive_is_told_in_words_and_soon() {
    let setup = Setup::one(small());
    setup.model().stuck = true;
    let mut bytes = vec![0; 512];
    let words = Err(Failure::Medium("sector 0: the drive does not answer in time".into()));
    assert_eq!(setup.run(setup.disk().read(0, &mut bytes)), words);
    let before = setup.machine.now_ns();
    assert_eq!(setup.run(setup.disk().read(0, &mut bytes)), words);
    assert!(setup.machine.now_ns() - before < 100_000_000);
    setup.model().stuck = false;
    assert_eq!(setup.run(setup.disk().read(0, &mut bytes)), Ok(()));
}

#[test]
fn a_request_that_is_dropped_is_ended_before_the_next() {
    let setup = Setup::one(small());
    let mut bytes = vec![0; 512];
    let read = async { setup.disk().read(1, &mut bytes).await.is_ok() };
    assert!(!setup.run(future::or(read, async { false })));
    let written = pattern(512);
    setup.run(setup.disk().write(2, &written)).unwrap();
    assert_eq!(setup.model().resets, 1);
    assert_eq!(setup.sectors(0, 2, 512), written);
}

#[test]
fn several_requests_take_turns() {
    let setup = Setup::new([Some(Model::new(64)), Some(Model::new(32))], true);
    let [(_, first), (_, second)] = &setup.disks[..] else { panic!("two disks") };
    let (a, b) = (pattern(4096), [7; 4096]);
    let both = setup.run(future::zip(first.write(8, &a), second.write(16, &b)));
    assert_eq!(both, (Ok(()), Ok(())));
    assert_eq!((setup.sectors(0, 8, 4096), setup.sectors(1, 16, 4096)), (a, b.to_vec()));
}

#[test]
fn garbage_for_an_identity_is_told() {
    let garbage = Model { identify: [0xffff; 256], ..Model::new(8) };
    let setup = Setup::new([Some(garbage), Some(Model::new(8))], true);
    assert_eq!(setup.disks.len(), 1);
    assert_eq!(setup.problems, ["IDE 00:01.0 [8086:7010] drive 0: it is no disk"]);
}
