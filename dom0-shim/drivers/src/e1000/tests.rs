//! The driver on a model of a card whose frames come back to it, which can be told to lie.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use futures_lite::future;

use super::{E1000, probe};
use crate::pci::{Address, functions};
use crate::testing::{Config, Device, Fake, Memory};
use crate::{Nic, Task};

const ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];

#[derive(Default)]
struct Card {
    /// Registers by offset / 4.
    registers: Vec<u32>,
    causes: u32,
    mask: u32,
    /// It never comes back from a reset.
    stuck: bool,
    /// It has no address.
    nameless: bool,
    /// Length that it gives for each frame, and the status.
    lie: Option<(u16, u8)>,
    /// It takes nothing for a while.
    slow: bool,
}

impl Card {
    fn at(&mut self, offset: usize) -> &mut u32 {
        self.registers.resize(0x8000, 0);
        &mut self.registers[offset / 4]
    }

    fn loop_back(&mut self, memory: &mut Memory) {
        const SEND: usize = 0x3800;
        const RECEIVE: usize = 0x2800;
        while *self.at(SEND + 0x10) != *self.at(SEND + 0x18) {
            let head = *self.at(SEND + 0x10);
            let place = u64::from(*self.at(SEND)) + u64::from(head) * 16;
            let descriptor: [u8; 16] = memory.get(place, 16).try_into().unwrap();
            let address = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
            let length = u16::from_le_bytes(descriptor[8..10].try_into().unwrap());
            assert_eq!(descriptor[11], 0x0b);
            let frame = memory.get(address, length.into()).to_vec();
            memory.get_mut(place + 12, 1)[0] = 1;
            let count = *self.at(SEND + 8) / 16;
            *self.at(SEND + 0x10) = (head + 1) % count;
            self.causes |= 1;
            let (to, tail) = (*self.at(RECEIVE + 0x10), *self.at(RECEIVE + 0x18));
            if to == tail {
                continue;
            }
            let place = u64::from(*self.at(RECEIVE)) + u64::from(to) * 16;
            let buffer = u64::from_le_bytes(memory.get(place, 8).try_into().unwrap());
            memory.get_mut(buffer, frame.len()).copy_from_slice(&frame);
            let (length, status) = self.lie.unwrap_or((length, 3));
            memory.get_mut(place + 8, 2).copy_from_slice(&length.to_le_bytes());
            memory.get_mut(place + 12, 1)[0] = status;
            let count = *self.at(RECEIVE + 8) / 16;
            *self.at(RECEIVE + 0x10) = (to + 1) % count;
            self.causes |= 0x80;
        }
    }
}

impl Device for Card {
    fn read_register(&mut self, offset: usize, _: u8, _: &mut Memory) -> u32 {
        match offset {
            0x00 if self.stuck => 1 << 26,
            0x08 => 2,
            0xc0 => core::mem::take(&mut self.causes),
            0x5400 if !self.nameless => u32::from_le_bytes([2, 0, 0, 0]),
            0x5404 if !self.nameless => 0x8000_0100,
            // The EEPROM has nothing in it.
            0x14 => 0x10,
            _ => *self.at(offset),
        }
    }

    fn write_register(&mut self, offset: usize, _: u8, value: u32, _: &mut Memory) {
        match offset {
            0x00 => *self.at(0) = value & !(1 << 26),
            0xd0 => self.mask |= value,
            0xd8 => self.mask &= !value,
            _ => *self.at(offset) = value,
        }
    }

    fn tick(&mut self, memory: &mut Memory) {
        if !self.slow {
            self.loop_back(memory);
        }
    }

    fn line(&self) -> bool {
        self.causes & self.mask != 0
    }
}

fn machine(card: Card) -> Rc<Fake<Card>> {
    let config = Config::new(0x100e_8086, 0x0200_0000).bar(0, 0xfebc_0000, 0x2_0000).interrupt(1, 11);
    Fake::new(card, [(Address { bus: 0, device: 3, function: 0 }, config)])
}

type Started = Result<Rc<E1000<Fake<Card>>>, String>;

fn start(card: Card) -> (Rc<Fake<Card>>, Started) {
    let machine = machine(card);
    let card = machine.run(probe(&machine, &functions(&*machine)[0]));
    (machine, card.map(Rc::new))
}

fn tasks(card: &Rc<E1000<Fake<Card>>>) -> RefCell<Vec<Task>> {
    let card = card.clone();
    let serve: Task = Box::pin(async move { card.serve().await });
    vec![serve].into()
}

#[test]
fn frames_go_out_and_come_in_for_longer_than_the_rings() {
    let (machine, card) = start(Card::default());
    let card = card.unwrap();
    assert_eq!((card.address(), card.is_up()), (ADDRESS, true));
    let tasks = tasks(&card);
    for round in 0..1000_usize {
        let frame = vec![round.to_le_bytes()[0]; 60 + round];
        let received = machine.run_with(&mut tasks.borrow_mut(), async {
            card.send(&frame).await;
            card.receive().await
        });
        assert_eq!(received, frame);
    }
    assert_eq!(*machine.interrupts.borrow(), [(11, true)]);
}

#[test]
fn short_frames_are_filled_up_and_long_ones_dropped() {
    let (machine, card) = start(Card::default());
    let card = card.unwrap();
    let received = machine.run_with(&mut tasks(&card).borrow_mut(), async {
        card.send(&[1; 100]).await;
        card.receive().await;
        card.send(&[1; 1519]).await;
        card.send(&[]).await;
        card.send(&[5; 14]).await;
        card.receive().await
    });
    assert_eq!((received.len(), &received[..15]), (60, &[&[5; 14][..], &[0]].concat()[..]));
}

#[test]
fn a_sender_waits_while_there_is_no_room() {
    let (machine, card) = start(Card { slow: true, ..Card::default() });
    let card = card.unwrap();
    let tasks = tasks(&card);
    let all = async {
        for _ in 0..300 {
            card.send(&[1; 60]).await;
        }
        true
    };
    let soon = async {
        crate::Machine::sleep_ns(&*machine, 1_000_000_000).await;
        machine.device.borrow_mut().slow = false;
        future::pending().await
    };
    assert!(machine.run_with(&mut tasks.borrow_mut(), future::or(all, soon)));
    assert!(crate::Machine::now_ns(&*machine) > 1_000_000_000);
}

#[test]
fn lengths_that_cannot_be_are_frames_lost() {
    let (machine, card) = start(Card { lie: Some((u16::MAX, 3)), ..Card::default() });
    let card = card.unwrap();
    let tasks = tasks(&card);
    let received = machine.run_with(&mut tasks.borrow_mut(), async {
        card.send(&[1; 60]).await;
        let none = async {
            crate::Machine::sleep_ns(&*machine, 1_000_000).await;
            None
        };
        future::or(async { Some(card.receive().await) }, none).await
    });
    assert_eq!(received, None);
    // Nor are pieces of frames.
    machine.device.borrow_mut().lie = Some((60, 1));
    machine.run_with(&mut tasks.borrow_mut(), card.send(&[1; 60]));
    machine.run_with(&mut tasks.borrow_mut(), crate::Machine::sleep_ns(&*machine, 1_000_000));
    machine.device.borrow_mut().lie = None;
    machine.run_with(&mut tasks.borrow_mut(), card.send(&[2; 60]));
    assert_eq!(machine.run_with(&mut tasks.borrow_mut(), card.receive()), [2; 60]);
}

#[test]
fn a_broken_card_is_told_in_words() {
    let (machine, card) = start(Card { stuck: true, ..Card::default() });
    let words = card.err().unwrap();
    assert_eq!(words, "network card 00:03.0 [8086:100e]: it does not come back from a reset");
    assert_eq!(*machine.interrupts.borrow(), []);
    let (_, card) = start(Card { nameless: true, ..Card::default() });
    assert!(card.err().unwrap().ends_with("it has no address"));
}
