//! The ports of a domain, read without a lock.
//!
//! ```text
//!   port  16      12 11     6 5    0
//!        |  group   | bucket | port |     groups and buckets appear in order and stay
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use spin::Once;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{FIFO_NR_CHANNELS, FIFO_PRIORITY_MIN, TWO_LEVEL_NR_CHANNELS};
use xen_abi::xen::NR_VIRQS;

use super::state::{Binding, Channel, MAX_PIRQS};
use super::{Port, VirqScope};
use crate::id::DomId;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Ports of a bucket, as in Xen: a port below the end of the last bucket is "valid".
pub(super) const BUCKET: u32 = 64;
const BUCKET_PORTS: usize = BUCKET as usize;
const GROUP_BUCKETS: usize = 64;
const GROUP: u32 = BUCKET * 64;
const GROUPS: usize = (FIFO_NR_CHANNELS / GROUP) as usize;
const VIRQS: usize = NR_VIRQS as usize;

type Bucket = [Entry; BUCKET_PORTS];
type Group = [Once<Box<Bucket>>; GROUP_BUCKETS];

/// A port.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// [`Channel`]; changed with the event lock held.
    channel: AtomicU64,
    /// [`QueuePlace`]; read and changed with the queue lock held.
    place: AtomicU32,
}

/// What the FIFO interface remembers of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct QueuePlace {
    /// The vcpu in whose queue it was last.
    pub(super) vcpu: u16,
    /// The queue.
    pub(super) priority: u8,
    /// An event came while the port had no event word.
    pub(super) pending: bool,
}

impl QueuePlace {
    const PRIORITY_SHIFT: u32 = 16;
    const PENDING: u32 = 1 << 31;

    #[expect(clippy::cast_possible_truncation, reason = "fields are cut to their widths")]
    const fn unpack(word: u32) -> Self {
        let priority = (word >> Self::PRIORITY_SHIFT & FIFO_PRIORITY_MIN) as u8;
        Self { vcpu: word as u16, priority, pending: word & Self::PENDING != 0 }
    }

    const fn pack(self) -> u32 {
        let pending = if self.pending { Self::PENDING } else { 0 };
        self.vcpu as u32 | (self.priority as u32) << Self::PRIORITY_SHIFT | pending
    }
}

impl Entry {
    pub(super) fn channel(&self) -> Channel {
        Channel::unpack(self.channel.load(Ordering::Acquire))
    }

    pub(super) fn set_channel(&self, channel: Channel) {
        self.channel.store(channel.pack(), Ordering::Release);
    }

    pub(super) fn place(&self) -> QueuePlace {
        QueuePlace::unpack(self.place.load(Ordering::Relaxed))
    }

    pub(super) fn set_place(&self, place: QueuePlace) {
        self.place.store(place.pack(), Ordering::Relaxed);
    }
}

/// The ports of a domain.
#[derive(Debug)]
pub struct PortTable {
    groups: [Once<Box<Group>>; GROUPS],
    /// The port of each virtual interrupt of each vcpu, 0 for none.
    virqs: Box<[[AtomicU32; VIRQS]]>,
    /// The port of each physical interrupt, 0 for none.
    pirqs: Box<[AtomicU32]>,
    /// Vcpus that the domain has.
    vcpus: AtomicU32,
    /// The FIFO interface is in use.
    fifo: AtomicBool,
}

/// Where an event goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum SendTo {
    /// Nowhere: nobody is connected yet.
    Nobody,
    /// To the sender's own domain.
    Own(Notify),
    /// To this port of another domain, if [`PortTable::receive`] agrees.
    Remote(DomId, Port),
}

/// An event that a port of the domain is to get; for [`deliver`](super::deliver).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Notify {
    pub(super) port: Port,
    pub(super) vcpu: u16,
    pub(super) priority: u8,
}

impl Notify {
    /// The port that gets it.
    #[must_use]
    pub const fn port(self) -> Port {
        self.port
    }
}

impl PortTable {
    /// The table of a domain with room for `vcpus` vcpus, none of which it has yet, and with `pirqs` physical
    /// interrupts, without ports.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`: more vcpus or physical interrupts than a port has room to name.
    pub fn new(vcpus: u32, pirqs: u32) -> Result<Self, Errno> {
        if vcpus > u32::from(u16::MAX) || pirqs > MAX_PIRQS {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            groups: [const { Once::new() }; GROUPS],
            virqs: boxed_slice(vcpus, || core::array::from_fn(|_| AtomicU32::new(0)))?,
            pirqs: boxed_slice(pirqs, || AtomicU32::new(0))?,
            vcpus: AtomicU32::new(0),
            fifo: AtomicBool::new(false),
        })
    }

    /// The domain has `vcpus` vcpus now, as far as there is room.
    pub fn set_vcpus(&self, vcpus: u32) {
        let room = u32::try_from(self.virqs.len()).unwrap_or(u32::MAX);
        self.vcpus.store(vcpus.min(room), Ordering::Release);
    }

    /// What `port` is.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the domain never had such a port.
    pub fn channel(&self, port: u32) -> Result<Channel, Errno> {
        self.entry(port).map(Entry::channel).ok_or(Errno::EINVAL)
    }

    /// `EVTCHNOP_send`: where an event of `port` goes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no port from which one can send.
    pub fn send(&self, port: u32) -> Result<SendTo, Errno> {
        let entry = self.entry(port).ok_or(Errno::EINVAL)?;
        let mut channel = entry.channel();
        if let Binding::Unbound(_) = channel.binding {
            // The peer may be binding right now, and it raises one event at its end when it is done. With
            // the fence either it is seen here, or it sees what the guest wrote before it sent.
            fence(Ordering::SeqCst);
            channel = entry.channel();
        }
        match channel.binding {
            Binding::Interdomain(domain, peer) => Ok(SendTo::Remote(domain, peer)),
            Binding::Ipi => {
                Ok(Port::new(port).map_or(SendTo::Nobody, |port| SendTo::Own(channel.notify(port))))
            }
            Binding::Unbound(_) => Ok(SendTo::Nobody),
            Binding::Free | Binding::Reserved | Binding::Pirq(_) | Binding::Virq(_) => Err(Errno::EINVAL),
        }
    }

    /// An event for `port` from its other end, which is port `peer` of domain `from`. `None` if it is not:
    /// the channel was closed meanwhile.
    #[must_use]
    pub fn receive(&self, port: Port, from: DomId, peer: Port) -> Option<Notify> {
        let channel = self.entry(port.get())?.channel();
        (channel.binding == Binding::Interdomain(from, peer)).then(|| channel.notify(port))
    }

    /// The event for virtual interrupt `virq`, of `vcpu` if there is one for each vcpu. `None` if no port
    /// is bound to it.
    #[must_use]
    pub fn virq(&self, virq: u32, vcpu: u32) -> Option<Notify> {
        let port = Port::new(self.virq_slot(virq, vcpu)?.load(Ordering::Acquire))?;
        let channel = self.entry(port.get())?.channel();
        (channel.binding == Binding::Virq(virq)).then(|| channel.notify(port))
    }

    /// The event for physical interrupt `pirq`. `None` if no port is bound to it.
    #[must_use]
    pub fn pirq(&self, pirq: u32) -> Option<Notify> {
        let port = Port::new(self.pirq_slot(pirq)?.load(Ordering::Acquire))?;
        let channel = self.entry(port.get())?.channel();
        (channel.binding == Binding::Pirq(pirq)).then(|| channel.notify(port))
    }

    /// Whether the FIFO interface is in use.
    #[must_use]
    pub fn uses_fifo(&self) -> bool {
        // After the bit of an event was set: see `deliver`.
        self.fifo.load(Ordering::SeqCst)
    }

    /// The first port from `start` on that is bound to something: the next to close when all are to be.
    #[must_use]
    pub fn next_bound(&self, start: u32) -> Option<Port> {
        (start..FIFO_NR_CHANNELS)
            .map_while(|port| Some((port, self.entry(port)?)))
            .find(|(_, entry)| entry.channel().is_bound())
            .and_then(|(port, _)| Port::new(port))
    }

    /// `vcpu`, if it is one of the domain; `ENOENT` if not.
    pub(super) fn vcpu(&self, vcpu: u32) -> Result<u16, Errno> {
        if vcpu < self.vcpus() { u16::try_from(vcpu).map_err(|_| Errno::ENOENT) } else { Err(Errno::ENOENT) }
    }

    pub(super) fn vcpus(&self) -> u32 {
        self.vcpus.load(Ordering::Acquire)
    }

    /// One past the highest port that the interface in use can have.
    pub(super) fn interface_limit(&self) -> u32 {
        if self.uses_fifo() { FIFO_NR_CHANNELS } else { TWO_LEVEL_NR_CHANNELS }
    }

    /// Before anyone looks at the old interface's words, so that a sender who misses the change has
    /// set them already.
    pub(super) fn set_uses_fifo(&self, fifo: bool) {
        self.fifo.store(fifo, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Where the port of `virq` is written down; `None` for numbers that are no interrupt or vcpu.
    pub(super) fn virq_slot(&self, virq: u32, vcpu: u32) -> Option<&AtomicU32> {
        let vcpu = if VirqScope::of(virq) == VirqScope::Vcpu { vcpu } else { 0 };
        self.virqs.get(usize::try_from(vcpu).ok()?)?.get(usize::try_from(virq).ok()?)
    }

    /// Where the port of `pirq` is written down.
    pub(super) fn pirq_slot(&self, pirq: u32) -> Option<&AtomicU32> {
        self.pirqs.get(usize::try_from(pirq).ok()?)
    }

    /// The indices are cut to their widths, which holds under speculation too.
    pub(super) fn entry(&self, port: u32) -> Option<&Entry> {
        if port >= FIFO_NR_CHANNELS {
            return None;
        }
        let port = port as usize;
        let group = self.groups[port / (BUCKET_PORTS * GROUP_BUCKETS) % GROUPS].get()?;
        let bucket = group[port / BUCKET_PORTS % GROUP_BUCKETS].get()?;
        Some(&bucket[port % BUCKET_PORTS])
    }

    /// Makes the bucket of `port`, with the event lock held.
    pub(super) fn grow(&self, port: Port) -> Result<(), Errno> {
        let port = port.get() as usize;
        let slot = &self.groups[port / (BUCKET_PORTS * GROUP_BUCKETS) % GROUPS];
        let group = match slot.get() {
            Some(group) => group,
            None => publish(slot, boxed_array(Once::new)?),
        };
        publish(&group[port / BUCKET_PORTS % GROUP_BUCKETS], boxed_array(Entry::default)?);
        Ok(())
    }
}

impl Channel {
    pub(super) const fn notify(self, port: Port) -> Notify {
        Notify { port, vcpu: self.vcpu, priority: self.priority }
    }
}

fn publish<T>(slot: &Once<Box<T>>, value: Box<T>) -> &T {
    slot.call_once(|| value)
}

/// A slice on the heap, or `ENOMEM`.
pub(super) fn boxed_slice<T>(len: u32, make: impl FnMut() -> T) -> Result<Box<[T]>, Errno> {
    let len = len as usize;
    let mut items = Vec::new();
    items.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    items.resize_with(len, make);
    Ok(items.into_boxed_slice())
}

fn boxed_array<T, const N: usize>(make: impl FnMut() -> T) -> Result<Box<[T; N]>, Errno> {
    let len = u32::try_from(N).map_err(|_| Errno::ENOMEM)?;
    boxed_slice(len, make)?.try_into().map_err(|_| Errno::ENOMEM)
}
