//! A machine for tests: models of devices, memory, time that passes while everybody waits.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use futures_lite::future;

use crate::Task;
use crate::pci::Address;
use crate::{Dma, Interrupt, Machine, Registers};

/// Where memory for DMA begins: not at 0, so that an address that was not written is wrong.
const MEMORY: u64 = 0x10_0000;
const MEMORY_BYTES: usize = 4 << 20;

/// The memory that devices reach.
pub(crate) struct Memory(Vec<u8>);

impl Memory {
    /// Reads; a model's address that is no memory ends the test.
    pub(crate) fn get(&self, address: u64, bytes: usize) -> &[u8] {
        let at = usize::try_from(address.checked_sub(MEMORY).expect("DMA below the memory")).unwrap();
        &self.0[at..at + bytes]
    }

    pub(crate) fn get_mut(&mut self, address: u64, bytes: usize) -> &mut [u8] {
        let at = usize::try_from(address.checked_sub(MEMORY).expect("DMA below the memory")).unwrap();
        &mut self.0[at..at + bytes]
    }
}

/// A model of a device.
pub(crate) trait Device {
    fn read_port(&mut self, _port: u16, _bytes: u8, _memory: &mut Memory) -> u32 {
        u32::MAX
    }

    fn write_port(&mut self, _port: u16, _bytes: u8, _value: u32, _memory: &mut Memory) {}

    fn read_register(&mut self, _offset: usize, _bytes: u8, _memory: &mut Memory) -> u32 {
        u32::MAX
    }

    fn write_register(&mut self, _offset: usize, _bytes: u8, _value: u32, _memory: &mut Memory) {}

    /// Time passes.
    fn tick(&mut self, _memory: &mut Memory) {}

    /// Whether its interrupt line is up.
    fn line(&self) -> bool;
}

/// A function's configuration space; bits of `writable` can be changed.
#[derive(Clone)]
pub(crate) struct Config {
    pub words: [u32; 64],
    pub writable: [u32; 64],
}

impl Config {
    pub(crate) fn new(id: u32, class: u32) -> Self {
        let mut config = Self { words: [0; 64], writable: [0; 64] };
        config.words[0] = id;
        config.words[2] = class;
        config.writable[1] = 0xffff;
        config.writable[15] = 0xff;
        config
    }

    /// A base address register of `bytes`.
    pub(crate) fn bar(mut self, slot: usize, value: u32, bytes: u32) -> Self {
        self.words[4 + slot] = value;
        self.writable[4 + slot] = !(bytes - 1);
        self
    }

    /// The interrupt pin, and the line that the firmware has written.
    pub(crate) fn interrupt(mut self, pin: u32, line: u32) -> Self {
        self.words[15] = pin << 8 | line;
        self
    }
}

pub(crate) struct Fake<D: Device> {
    me: Weak<Self>,
    pub device: RefCell<D>,
    pub functions: RefCell<BTreeMap<Address, Config>>,
    /// Interrupts that drivers have: pin, and whether by level.
    pub interrupts: RefCell<Vec<(u32, bool)>>,
    memory: Rc<RefCell<Memory>>,
    allocated: Cell<usize>,
    selected: Cell<u32>,
    now: Cell<u64>,
    /// An edge came that nobody was told of.
    edge: Cell<bool>,
    was_up: Cell<bool>,
}

impl<D: Device> Fake<D> {
    pub(crate) fn new(device: D, functions: impl IntoIterator<Item = (Address, Config)>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            device: RefCell::new(device),
            functions: RefCell::new(functions.into_iter().collect()),
            interrupts: RefCell::default(),
            memory: Rc::new(RefCell::new(Memory([0xcc].repeat(MEMORY_BYTES)))),
            allocated: Cell::new(0),
            selected: Cell::new(0),
            now: Cell::new(0),
            edge: Cell::new(false),
            was_up: Cell::new(false),
        })
    }

    /// Runs a task to its end; time passes while it waits.
    pub(crate) fn run<T>(&self, task: impl Future<Output = T>) -> T {
        let mut task = pin!(task);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000_000 {
            if let Poll::Ready(output) = task.as_mut().poll(&mut context) {
                return output;
            }
            self.now.set(self.now.get() + 100_000);
            self.with(Device::tick);
        }
        panic!("the task never ends");
    }

    /// Likewise, while `services` run.
    pub(crate) fn run_with<T>(&self, services: &mut [Task], task: impl Future<Output = T>) -> T {
        let serve = poll_fn(|context| {
            services.iter_mut().for_each(|service| assert!(service.as_mut().poll(context).is_pending()));
            Poll::Pending
        });
        self.run(future::or(task, serve))
    }

    fn with<T>(&self, work: impl FnOnce(&mut D, &mut Memory) -> T) -> T {
        let result = work(&mut self.device.borrow_mut(), &mut self.memory.borrow_mut());
        let up = self.device.borrow().line();
        if up && !self.was_up.replace(up) {
            self.edge.set(true);
        }
        self.was_up.set(up);
        result
    }

    fn config_word(&self, change: impl FnOnce(&mut u32, u32)) -> u32 {
        let selected = self.selected.get();
        let [low, middle, bus, high] = selected.to_le_bytes();
        assert_eq!(high, 0x80, "configuration is accessed without an address");
        let address = Address { bus, device: middle >> 3, function: middle & 7 };
        let word = usize::from(low / 4);
        let mut functions = self.functions.borrow_mut();
        let Some(config) = functions.get_mut(&address) else { return u32::MAX };
        change(&mut config.words[word], config.writable[word]);
        config.words[word]
    }
}

impl<D: Device> Machine for Fake<D> {
    type Registers = FakeRegisters<D>;
    type Dma = FakeDma;
    type Interrupt = FakeInterrupt<D>;

    fn read_port(&self, port: u16, bytes: u8) -> u32 {
        match port {
            0xcfc..0xd00 => {
                let value = self.config_word(|_, _| {}) >> (8 * (port - 0xcfc));
                if bytes == 4 { value } else { value & ((1 << (8 * bytes)) - 1) }
            }
            _ => self.with(|device, memory| device.read_port(port, bytes, memory)),
        }
    }

    fn write_port(&self, port: u16, bytes: u8, value: u32) {
        match port {
            0xcf8 => self.selected.set(value),
            0xcfc..0xd00 => {
                let shift = 8 * u32::from(port - 0xcfc);
                let lanes = (u32::MAX >> (32 - 8 * u32::from(bytes))) << shift;
                self.config_word(|word, writable| {
                    let mask = writable & lanes;
                    *word = *word & !mask | value << shift & mask;
                });
            }
            _ => self.with(|device, memory| device.write_port(port, bytes, value, memory)),
        }
    }

    fn registers(&self, _: u64, _: usize) -> Result<Self::Registers, String> {
        Ok(FakeRegisters(self.me.upgrade().unwrap()))
    }

    fn dma(&self, bytes: usize, align: usize) -> Result<FakeDma, String> {
        let at = self.allocated.get().next_multiple_of(align);
        self.allocated.set(at + bytes);
        let mut memory = self.memory.borrow_mut();
        let place = memory.0.get_mut(at..at + bytes).ok_or("no memory")?;
        place.fill(0);
        Ok(FakeDma { memory: self.memory.clone(), at, bytes })
    }

    fn interrupt(&self, gsi: u32, level: bool) -> Result<FakeInterrupt<D>, String> {
        self.interrupts.borrow_mut().push((gsi, level));
        Ok(FakeInterrupt { machine: self.me.upgrade().unwrap(), gsi, level })
    }

    fn now_ns(&self) -> u64 {
        self.now.get()
    }

    async fn sleep_ns(&self, ns: u64) {
        let deadline = self.now.get().saturating_add(ns);
        poll_fn(|_| if self.now.get() >= deadline { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

pub(crate) struct FakeRegisters<D: Device>(Rc<Fake<D>>);

impl<D: Device> Registers for FakeRegisters<D> {
    fn read(&self, offset: usize, bytes: u8) -> u32 {
        assert!(offset.is_multiple_of(bytes.into()));
        self.0.with(|device, memory| device.read_register(offset, bytes, memory))
    }

    fn write(&self, offset: usize, bytes: u8, value: u32) {
        assert!(offset.is_multiple_of(bytes.into()));
        self.0.with(|device, memory| device.write_register(offset, bytes, value, memory));
    }
}

pub(crate) struct FakeDma {
    memory: Rc<RefCell<Memory>>,
    at: usize,
    bytes: usize,
}

impl Dma for FakeDma {
    fn address(&self) -> u64 {
        MEMORY + self.at as u64
    }

    fn len(&self) -> usize {
        self.bytes
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.memory.borrow().0[self.at..][..self.bytes][offset..offset + to.len()]);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.memory.borrow_mut().0[self.at..][..self.bytes][offset..offset + from.len()]
            .copy_from_slice(from);
    }
}

pub(crate) struct FakeInterrupt<D: Device> {
    machine: Rc<Fake<D>>,
    gsi: u32,
    level: bool,
}

impl<D: Device> Interrupt for FakeInterrupt<D> {
    async fn raised(&self) {
        let has_come = || {
            if self.level { self.machine.device.borrow().line() } else { self.machine.edge.replace(false) }
        };
        poll_fn(|_| if has_come() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn done(&self) {}
}

impl<D: Device> Drop for FakeInterrupt<D> {
    fn drop(&mut self) {
        self.machine.interrupts.borrow_mut().retain(|interrupt| *interrupt != (self.gsi, self.level));
    }
}
