//! Frames for the tests of this crate.

use core::cell::{Cell, RefCell};
use core::fmt;
use std::collections::VecDeque;
use std::string::{String, ToString};
use std::vec::Vec;

use event_listener::Event;
use futures_lite::future::yield_now;

use crate::kernel::Kernel;
use crate::nic::Nic;
use crate::packet::MacAddress;

pub const A: MacAddress = [2, 0x17, 0x42, 0x2f, 0, 1];
pub const B: MacAddress = [2, 0x17, 0x42, 0x2f, 0, 2];
pub const C: MacAddress = [2, 0x17, 0x42, 0x2f, 0, 3];
pub const OUTSIDE: MacAddress = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub const BROADCAST: MacAddress = [0xff; 6];

/// A frame of no protocol.
pub fn frame(to: MacAddress, from: MacAddress, text: &str) -> Vec<u8> {
    [&to[..], &from, &[0x88, 0xb5], text.as_bytes()].concat()
}

/// TCP over IPv4 from `A` to `B` with a payload that counts; FIN, PSH and CWR are set. The
/// checksum is that of the pseudo header.
pub fn tcp_v4(payload: usize) -> Vec<u8> {
    v4(6, &[&tcp(), &counting(payload)[..]].concat())
}

/// UDP over IPv4.
pub fn udp_v4(payload: usize) -> Vec<u8> {
    let length = u16::try_from(8 + payload).unwrap().to_be_bytes();
    v4(17, &[&[0x30, 0x39, 0, 7], &length[..], &[0, 0], &counting(payload)].concat())
}

/// TCP over IPv6.
pub fn tcp_v6(payload: usize) -> Vec<u8> {
    let length = u16::try_from(20 + payload).unwrap().to_be_bytes();
    let mut frame = [&B[..], &A, &[0x86, 0xdd, 0x60, 0, 0, 0], &length, &[6, 64]].concat();
    for last in [1, 2] {
        frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    frame.extend(tcp());
    frame.extend(counting(payload));
    blank(frame)
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut frame = [&B[..], &A, &[8, 0, 0x45, 0], &total, &[0x12, 0xff, 0x40, 0, 64, protocol]].concat();
    frame.extend([0, 0, 192, 168, 42, 1, 192, 168, 42, 2]);
    frame.extend(payload);
    let sum = crate::checksum::Sum::of(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum);
    blank(frame)
}

fn tcp() -> [u8; 20] {
    [0x30, 0x39, 0, 80, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9, 0x50, 0x99, 0x10, 0, 0, 0, 0, 0]
}

fn counting(length: usize) -> Vec<u8> {
    (0_u8..=250).cycle().take(length).collect()
}

fn blank(mut frame: Vec<u8>) -> Vec<u8> {
    let headers = crate::headers::Headers::of(&frame).unwrap();
    let sum = headers.pseudo_sum(&frame, headers.end - headers.transport).partial();
    frame[headers.checksum()..][..2].copy_from_slice(&sum);
    frame
}

/// A card.
#[derive(Default)]
pub struct Card {
    incoming: RefCell<VecDeque<Vec<u8>>>,
    flood: RefCell<Option<Vec<u8>>>,
    outgoing: RefCell<Vec<Vec<u8>>>,
    arrived: Event,
}

impl Card {
    /// A frame arrives.
    pub fn arrive(&self, frame: Vec<u8>) {
        self.incoming.borrow_mut().push_back(frame);
        self.arrived.notify(1);
    }

    /// The same frame arrives for ever.
    pub fn flood_with(&self, frame: Vec<u8>) {
        *self.flood.borrow_mut() = Some(frame);
    }

    /// What was sent since this was last asked.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.outgoing.take()
    }
}

impl Nic for Card {
    fn address(&self) -> MacAddress {
        OUTSIDE
    }

    async fn send(&self, frame: &[u8]) {
        self.outgoing.borrow_mut().push(frame.to_vec());
    }

    async fn receive(&self) -> Vec<u8> {
        loop {
            let flood = self.flood.borrow().clone();
            if let Some(frame) = flood.or_else(|| self.incoming.borrow_mut().pop_front()) {
                return frame;
            }
            self.arrived.listen().await;
        }
    }

    fn is_up(&self) -> bool {
        true
    }
}

/// A kernel whose time goes on whenever somebody who sleeps is asked.
#[derive(Default)]
pub struct Clock {
    now: Cell<u64>,
    lines: RefCell<Vec<String>>,
}

impl Clock {
    /// What was logged.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }
}

impl Kernel for Clock {
    fn now_ns(&self) -> u64 {
        self.now.get()
    }

    async fn sleep_ns(&self, ns: u64) {
        let until = self.now.get().saturating_add(ns);
        while self.now.get() < until {
            self.now.set(self.now.get() + 1_000_000);
            yield_now().await;
        }
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn log(&self, line: fmt::Arguments<'_>) {
        self.lines.borrow_mut().push(line.to_string());
    }
}
