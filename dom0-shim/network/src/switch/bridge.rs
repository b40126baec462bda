//! A bridge: which packet goes to which port.
//!
//! - To the address of an interface: to its port.
//! - To an address that was learned: to that port.
//! - To an unknown address: to all uplinks. Elsewhere all addresses are known.
//! - To a group: to all ports that want it.
//!
//! Never to the port that it came from, never to another VLAN.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::kind::Kind;
use super::port::{Role, Slot};
use super::table::{Learned, Table};
use crate::headers::ETHERNET;
use crate::packet::{MacAddress, Packet};

/// The longest packet: a whole packet of IP, an Ethernet header and a tag.
const LONGEST: usize = 65535 + ETHERNET + 4;

/// Groups that no bridge forwards (IEEE 802.1Q, table 8-1): spanning tree, pause, LACP, 802.1X,
/// LLDP.
const RESERVED: [u8; 5] = [0x01, 0x80, 0xc2, 0x00, 0x00];

/// A bridge.
pub(super) struct Bridge {
    name: String,
    kind: Kind,
    /// By port number; an unplugged one leaves its place.
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    table: RefCell<Table>,
    /// The time of the switch, s.
    now: Rc<Cell<u64>>,
}

impl Bridge {
    pub fn new(name: &str, kind: Kind, now: Rc<Cell<u64>>) -> Self {
        Self { name: String::from(name), kind, slots: RefCell::default(), table: RefCell::default(), now }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Forwards a packet that comes in at a port, or drops it.
    pub fn forward(&self, from: usize, slot: &Slot, mut packet: Packet) {
        let Some((vlan, to)) = self.admit(from, slot, &mut packet) else { return slot.refuse() };
        let slots = self.slots.borrow();
        if is_group(to) {
            return flood(&slots, packet, vlan, from, |slot| slot.wants(to));
        }
        let known = self.table.borrow().find(vlan, to);
        match known {
            Some(port) if port == from => {}
            Some(port) => {
                if let Some(Some(slot)) = slots.get(port) {
                    slot.deliver(packet, vlan);
                }
            }
            None => flood(&slots, packet, vlan, from, |slot| matches!(slot.role, Role::Uplink { .. })),
        }
    }

    /// VLAN and destination of a packet; `None` if it may not come in.
    fn admit(&self, from: usize, slot: &Slot, packet: &mut Packet) -> Option<(u16, MacAddress)> {
        let frame = &packet.bytes;
        if !(ETHERNET..=LONGEST).contains(&frame.len()) {
            return None;
        }
        let to: MacAddress = *frame.first_chunk()?;
        let source: MacAddress = *frame.get(6..)?.first_chunk()?;
        if to.starts_with(&RESERVED) && to[5] < 0x10 {
            return None;
        }
        match slot.role.pinned() {
            Some(own) if own != source => return None,
            None if !is_station(source) => return None,
            _ => {}
        }
        let vlan = slot.admit(packet)?;
        // Without its tag it may be too short.
        if packet.bytes.len() < ETHERNET {
            return None;
        }
        if slot.role.pinned().is_none() {
            let learned = self.table.borrow_mut().learn(vlan, source, from, self.now.get());
            if learned == Learned::Pinned {
                return None;
            }
        }
        slot.admitted(packet);
        Some((vlan, to))
    }

    /// Plugs in an interface; returns the port's number.
    pub fn plug(&self, slot: Rc<Slot>) -> usize {
        let mut slots = self.slots.borrow_mut();
        let free = slots.iter().position(Option::is_none);
        let number = free.unwrap_or(slots.len());
        if let Some(address) = slot.role.pinned() {
            self.table.borrow_mut().pin(slot.role.vlan(), address, number);
        }
        match slots.get_mut(number) {
            Some(place) => *place = Some(slot),
            None => slots.push(Some(slot)),
        }
        number
    }

    pub fn unplug(&self, number: usize) {
        if let Some(place) = self.slots.borrow_mut().get_mut(number) {
            *place = None;
        }
        self.table.borrow_mut().forget(number);
    }

    pub fn expire(&self) {
        self.table.borrow_mut().expire(self.now.get());
    }

    /// What is plugged in, by port number.
    pub fn slots(&self) -> Vec<(usize, Rc<Slot>)> {
        let slots = self.slots.borrow();
        slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.clone()?))).collect()
    }

    /// See [`Table::iter`].
    pub fn addresses(&self) -> Vec<(u16, MacAddress, usize, Option<u64>)> {
        self.table.borrow().iter().collect()
    }
}

/// Sends a packet to all ports but one that are in its VLAN and chosen; the last one gets the
/// packet itself, the others copies.
fn flood(slots: &[Option<Rc<Slot>>], packet: Packet, vlan: u16, from: usize, chosen: impl Fn(&Slot) -> bool) {
    let others = slots.iter().enumerate().filter(|&(number, _)| number != from);
    let ports = others.filter_map(|(_, slot)| slot.as_deref());
    let mut ports = ports.filter(|slot| slot.is_in(vlan) && chosen(slot)).peekable();
    while let Some(slot) = ports.next() {
        if ports.peek().is_none() {
            return slot.deliver(packet, vlan);
        }
        slot.deliver(packet.clone(), vlan);
    }
}

/// Whether an address is that of a group, or all ones.
pub(super) const fn is_group(address: MacAddress) -> bool {
    address[0] & 1 != 0
}

/// Whether an address can be that of an interface.
pub(super) fn is_station(address: MacAddress) -> bool {
    !is_group(address) && address != [0; 6]
}
