//! A port of a bridge.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use super::bridge::Bridge;
use crate::headers::Malformed;
use crate::link::{Abilities, Link};
use crate::offload::{self, Work};
use crate::packet::{MacAddress, Packet};
use crate::vlan::{self, Tag, VlanId};

/// Packets that wait at a port for its interface.
const MOST_PACKETS: usize = 512;
/// Bytes of memory of these packets: 16 of the longest.
const MOST_BYTES: usize = 1 << 20;
/// Bytes of memory of the packets that wait at all ports of a switch. A port may fill as much as is
/// left: those that nobody empties do not take all from the others.
pub(super) const MOST_WAITING: usize = 16 << 20;
/// What a packet takes beside its frame, bytes.
const OVERHEAD: usize = 128;
/// Groups that a port tells apart; as many as netif.h lets a front end ask for.
const MOST_GROUPS: usize = 64;

/// Who is at a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// An interface of a guest. It sends as `address` only, and no VLAN tags.
    Guest {
        /// Its address.
        address: MacAddress,
        /// The VLAN that it is in, without a tag of it; `None`: in that of untagged frames.
        vlan: Option<VlanId>,
    },
    /// Dom0's own interface, in the VLAN of untagged frames.
    Dom0 {
        /// Its address.
        address: MacAddress,
    },
    /// The outside: whatever address.
    Uplink {
        /// The card's address.
        card: MacAddress,
        /// `None`: all frames of the card; those of a VLAN are for its access ports only.
        /// Some: only those of this VLAN, which is that of untagged frames inside (`eth0.10`).
        vlan: Option<VlanId>,
    },
}

impl Role {
    /// The address of the interface; of an uplink, the card's.
    #[must_use]
    pub const fn address(&self) -> MacAddress {
        match *self {
            Self::Guest { address, .. } | Self::Dom0 { address } | Self::Uplink { card: address, .. } => {
                address
            }
        }
    }

    /// The address that is its alone.
    pub(super) const fn pinned(&self) -> Option<MacAddress> {
        match *self {
            Self::Guest { address, .. } | Self::Dom0 { address } => Some(address),
            Self::Uplink { .. } => None,
        }
    }

    /// The VLAN of frames that come in here without a tag; 0: none.
    pub(super) fn vlan(&self) -> u16 {
        match self {
            Self::Guest { vlan: Some(vlan), .. } => vlan.number(),
            _ => 0,
        }
    }

    /// The VLAN of a frame that comes in, whose tag is taken out; `None`: it may not come in.
    fn enter(&self, frame: &mut Vec<u8>) -> Option<u16> {
        let vlan = match (self, vlan::tag(frame)) {
            (Self::Uplink { vlan: Some(own), .. }, Tag::Vlan(vlan)) => (vlan == *own).then_some(0)?,
            (Self::Uplink { vlan: Some(_), .. }, _) | (_, Tag::Other) => return None,
            (Self::Uplink { vlan: None, .. }, Tag::Vlan(vlan)) => vlan.number(),
            // A guest does not choose its VLAN.
            (_, Tag::Vlan(_)) => return None,
            (_, Tag::None) => return Some(self.vlan()),
            (_, Tag::Priority) => self.vlan(),
        };
        vlan::pop(frame);
        // A second tag would be the first one where this one is taken out again.
        (vlan::tag(frame) == Tag::None).then_some(vlan)
    }

    /// The tag of frames of a VLAN that go out; `None`: they may not go out.
    fn leave(&self, vlan: u16) -> Option<Option<VlanId>> {
        match self {
            Self::Uplink { vlan: None, .. } => Some(VlanId::new(vlan)),
            Self::Uplink { vlan: Some(own), .. } => (vlan == 0).then_some(Some(*own)),
            _ => (vlan == self.vlan()).then_some(None),
        }
    }
}

/// What went through a port, seen from its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets that came from it and were admitted.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that went to it, or wait there.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets for it that there was no room for.
    pub dropped: u64,
    /// Packets from it that were not admitted: of another address, malformed, with a tag.
    pub refused: u64,
}

/// A port as its bridge has it.
pub(super) struct Slot {
    name: RefCell<String>,
    pub role: Role,
    abilities: Cell<Abilities>,
    /// Groups that it wants; `None`: all.
    groups: RefCell<Option<Vec<MacAddress>>>,
    queue: RefCell<Queue>,
    /// Bytes that wait at all ports.
    total: Rc<Cell<usize>>,
    /// Who waits for a packet; only while there is none.
    waiting: Cell<Option<Waker>>,
    counts: Cell<Counts>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Packet>,
    bytes: usize,
}

impl Slot {
    pub fn new(name: &str, role: Role, total: Rc<Cell<usize>>) -> Self {
        Self {
            name: RefCell::new(String::from(name)),
            role,
            abilities: Cell::default(),
            groups: RefCell::default(),
            queue: RefCell::default(),
            total,
            waiting: Cell::default(),
            counts: Cell::default(),
        }
    }

    pub fn name(&self) -> String {
        self.name.borrow().clone()
    }

    /// Looks at a packet that comes in; returns its VLAN, or `None` if it may not come in.
    pub fn admit(&self, packet: &mut Packet) -> Option<u16> {
        self.role.enter(&mut packet.bytes).filter(|_| offload::admit(packet).is_ok())
    }

    /// Counts a packet that came in.
    pub fn admitted(&self, packet: &Packet) {
        self.count(|counts| {
            counts.sent_packets = counts.sent_packets.wrapping_add(1);
            counts.sent_bytes = counts.sent_bytes.wrapping_add(bytes(packet));
        });
    }

    /// Counts one that did not.
    pub fn refuse(&self) {
        self.count(|counts| counts.refused = counts.refused.wrapping_add(1));
    }

    /// Whether frames of a VLAN go out here.
    pub fn is_in(&self, vlan: u16) -> bool {
        self.role.leave(vlan).is_some()
    }

    /// Whether the interface wants the frames of a group; all are told a broadcast.
    pub fn wants(&self, group: MacAddress) -> bool {
        group == [0xff; 6] || self.groups.borrow().as_ref().is_none_or(|groups| groups.contains(&group))
    }

    /// Lets a packet of a VLAN go out, if it may, as the interface can take it.
    pub fn deliver(&self, mut packet: Packet, vlan: u16) {
        let Some(tag) = self.role.leave(vlan) else { return };
        let done = match offload::work(&packet, self.abilities.get()) {
            Work::None => Ok(packet),
            Work::Complete => offload::complete(&mut packet).map(|()| packet),
            Work::Cut => return self.deliver_parts(&packet, tag),
        };
        match done {
            Ok(packet) => drop(self.enqueue(packet, tag)),
            Err(Malformed) => self.drop_one(),
        }
    }

    fn deliver_parts(&self, packet: &Packet, tag: Option<VlanId>) {
        if offload::cut(packet, |frame| self.enqueue(frame, tag)).is_err() {
            self.drop_one();
        }
    }

    /// Whether there was room for it.
    fn enqueue(&self, mut packet: Packet, tag: Option<VlanId>) -> bool {
        if let Some(vlan) = tag {
            vlan::push(&mut packet.bytes, vlan);
        }
        let mut queue = self.queue.borrow_mut();
        let size = packet.bytes.capacity().saturating_add(OVERHEAD);
        let total = queue.bytes.saturating_add(size);
        let room = MOST_WAITING.saturating_sub(self.total.get()).min(MOST_BYTES);
        if total > room || queue.packets.len() >= MOST_PACKETS {
            self.drop_one();
            return false;
        }
        self.total.set(self.total.get().saturating_add(size));
        self.count(|counts| {
            counts.received_packets = counts.received_packets.wrapping_add(1);
            counts.received_bytes = counts.received_bytes.wrapping_add(bytes(&packet));
        });
        queue.bytes = total;
        queue.packets.push_back(packet);
        drop(queue);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        true
    }

    fn take(&self) -> Option<Packet> {
        let mut queue = self.queue.borrow_mut();
        let packet = queue.packets.pop_front()?;
        let size = packet.bytes.capacity().saturating_add(OVERHEAD);
        queue.bytes = queue.bytes.saturating_sub(size);
        self.total.set(self.total.get().saturating_sub(size));
        Some(packet)
    }

    fn drop_one(&self) {
        self.count(|counts| counts.dropped = counts.dropped.wrapping_add(1));
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.queue.get_mut().bytes));
    }
}

/// A packet's length as it is counted.
fn bytes(packet: &Packet) -> u64 {
    u64::try_from(packet.bytes.len()).unwrap_or(u64::MAX)
}

/// A port of a bridge; when this is dropped the interface is unplugged. One task at a time waits
/// for packets.
pub struct Port {
    bridge: Rc<Bridge>,
    number: usize,
    slot: Rc<Slot>,
}

impl Port {
    pub(super) fn new(bridge: Rc<Bridge>, number: usize, slot: Rc<Slot>) -> Self {
        Self { bridge, number, slot }
    }

    /// What went through it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.slot.counts.get()
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.slot.name()
    }

    /// Names the interface, where its name was not known when it was plugged in.
    pub fn rename(&self, name: &str) {
        *self.slot.name.borrow_mut() = String::from(name);
    }

    /// Who is there.
    #[must_use]
    pub fn role(&self) -> Role {
        self.slot.role
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> &str {
        self.bridge.name()
    }
}

impl Link for Port {
    fn send(&self, packet: Packet) {
        self.bridge.forward(self.number, &self.slot, packet);
    }

    async fn receive(&self) -> Packet {
        poll_fn(|context| match self.slot.take() {
            Some(packet) => Poll::Ready(packet),
            None => {
                self.slot.waiting.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    fn try_receive(&self) -> Option<Packet> {
        self.slot.take()
    }

    fn set_abilities(&self, abilities: Abilities) {
        self.slot.abilities.set(abilities);
    }

    fn set_multicast(&self, groups: Option<&[MacAddress]>) {
        let groups = groups.filter(|groups| groups.len() <= MOST_GROUPS);
        *self.slot.groups.borrow_mut() = groups.map(Vec::from);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.bridge.unplug(self.number);
    }
}
