//! Event channels of domains: their locks, the words that they share, and telling the
//! vcpus. What a channel is and may become: [`hv_core::evtchn`].
//!
//! ```text
//!   EVTCHNOP_send, VIRQ ──> port of the receiver ──deliver──> words ──tell──> upcall, pollers
//! ```
//!
//! Locks: event locks of the two domains of a channel, the lower number first; inside
//! them the queues of one domain, and nothing else. A sender takes the receiver's queue
//! lock at most, and none that all domains share. Nobody is told with one of them held.

use core::sync::atomic::{AtomicU32, Ordering};

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hv_arch::confines::page::{PinnedPage, Words};
use hv_arch::sync::{Lock, Rank};
use hv_core::ept::Progress;
use hv_core::evtchn::{
    self, Channels, Closed, Delivered, Fifo, Notify, Port, PortTable, Ports, Remote, SendTo, SharedWords,
    VcpuInfoAt,
};
use hv_core::frame::OutOfFrames;
use hv_core::id::DomId;
use spin::RwLock;
use xen_abi::errno::Errno;
use xen_abi::xen::Virq;

use crate::domain::{Domain, MAX_VCPUS};
use crate::vcpu::Vcpu;
use crate::work::Work;
use crate::{domains, interrupts, shared};

/// Ports that a slice of a reset closes.
const SLICE: usize = 64;
/// PVH guests have no physical interrupts on event channels.
const PIRQS: u32 = 0;
/// Polled: not one port, but several, or none.
const SEVERAL: u32 = 0;

/// Event channels of a domain.
#[derive(Debug)]
pub struct Events {
    table: PortTable,
    ports: Lock<Ports>,
    fifo: Lock<Option<Fifo<PinnedPage>>>,
    /// Who is at the other end of its channels; changed with the event lock held.
    peers: RwLock<Vec<(DomId, Weak<Domain>)>>,
    /// Bit n: vcpu n polls.
    pollers: AtomicU32,
    /// The one port that each of them polls, or [`SEVERAL`].
    polled: [AtomicU32; MAX_VCPUS as usize],
}

impl Events {
    /// Of a domain that will have up to `max_vcpus` vcpus, and no port above `max_port`.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new(max_vcpus: u32, max_port: u32) -> Result<Self, OutOfFrames> {
        let out_of_memory = |_| OutOfFrames { unscrubbed: 0 };
        let table = PortTable::new(max_vcpus.min(MAX_VCPUS), PIRQS).map_err(out_of_memory)?;
        let ports = Ports::new(&table, max_port).map_err(out_of_memory)?;
        Ok(Self {
            table,
            ports: Lock::new(Rank::Events, ports),
            fifo: Lock::new(Rank::EventQueues, None),
            peers: RwLock::new(Vec::new()),
            pollers: AtomicU32::new(0),
            polled: [const { AtomicU32::new(SEVERAL) }; MAX_VCPUS as usize],
        })
    }

    /// The domain has `vcpus` vcpus now.
    pub fn set_vcpus(&self, vcpus: u32) {
        self.table.set_vcpus(vcpus);
    }

    /// What its ports are.
    pub fn table(&self) -> &PortTable {
        &self.table
    }

    /// Vcpu `vcpu` waits for an event at `port`, or at any. An event that it does not ask
    /// for can end its wait, too.
    pub fn poll(&self, vcpu: u32, port: Option<u32>) {
        if let Some(polled) = self.polled.get(vcpu as usize) {
            polled.store(port.unwrap_or(SEVERAL), Ordering::SeqCst);
            self.pollers.fetch_or(1 << vcpu, Ordering::SeqCst);
        }
    }

    /// Vcpu `vcpu` does not wait any more.
    pub fn end_poll(&self, vcpu: u32) {
        if vcpu < MAX_VCPUS && self.pollers.load(Ordering::SeqCst) >> vcpu & 1 != 0 {
            self.pollers.fetch_and(!(1 << vcpu), Ordering::SeqCst);
        }
    }

    /// Takes the vcpus, a bit each, that wait for an event at `port`.
    fn take_pollers(&self, port: Port) -> u32 {
        let waits = |vcpu: &u32| {
            let polled = self.polled.get(*vcpu as usize).map(|polled| polled.load(Ordering::SeqCst));
            polled.is_some_and(|polled| polled == SEVERAL || polled == port.get())
        };
        let theirs = ones(self.pollers.load(Ordering::SeqCst)).filter(waits);
        let bits = theirs.fold(0, |bits, vcpu| bits | 1 << vcpu);
        self.pollers.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// The domain `id`, if it is at the other end of a channel.
    fn peer(&self, id: DomId) -> Option<Arc<Domain>> {
        let peers = self.peers.read();
        peers.iter().find(|(peer, _)| *peer == id).and_then(|(_, domain)| domain.upgrade())
    }

    /// `domain` is at the other end of a channel. The event lock is held.
    fn remember_peer(&self, domain: &Arc<Domain>) {
        let known = |peer: &Weak<Domain>| core::ptr::eq(peer.as_ptr(), Arc::as_ptr(domain));
        let mut peers = self.peers.write();
        peers.retain(|(id, peer)| *id != domain.id() || known(peer));
        if !peers.iter().any(|(_, peer)| known(peer)) {
            peers.push((domain.id(), Arc::downgrade(domain)));
        }
    }

    /// Domain `id`, which is no more, has no channels.
    pub fn forget_peer(&self, id: DomId) {
        self.peers.write().retain(|(peer, _)| *peer != id);
    }
}

/// The numbers of the bits that are set.
fn ones(mut bits: u32) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let lowest = bits.checked_ilog2().map(|_| bits.trailing_zeros())?;
        bits &= bits.wrapping_sub(1);
        Some(lowest)
    })
}

impl SharedWords for Domain {
    type Info = Words;
    type Page = PinnedPage;

    fn shared_info(&self) -> &Words {
        self.memory().shared_info()
    }

    fn with_vcpu_info<R>(&self, vcpu: u16, f: impl FnOnce(VcpuInfoAt<'_, Words>) -> R) -> Option<R> {
        vcpu_info(self.vcpus().get(usize::from(vcpu))?).map(f)
    }

    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<PinnedPage>>) -> R) -> R {
        f(&mut self.events().fifo.lock())
    }
}

/// A domain that gets an event, as the vcpu sees it that runs on this pcpu.
struct Receiver<'a> {
    domain: &'a Domain,
    /// That vcpu, where it is one of the domain's: it need not be looked up.
    here: Option<&'a Vcpu>,
}

impl<'a> Receiver<'a> {
    fn new(domain: &'a Domain, here: &'a Vcpu) -> Self {
        Self { domain, here: Some(here).filter(|here| core::ptr::eq(Arc::as_ptr(here.domain()), domain)) }
    }

    /// The vcpu that runs here, if it is vcpu `id`.
    #[inline]
    fn here(&self, id: u16) -> Option<&'a Vcpu> {
        self.here.filter(|here| here.id() == u32::from(id))
    }

    /// Delivers `event`, and has the vcpus look that it concerns.
    fn notify(&self, event: Notify) {
        let delivered = evtchn::deliver(&self.domain.events().table, self, event);
        match self.here(delivered.vcpu).filter(|_| delivered.upcall) {
            Some(vcpu) => {
                interrupts::upcall_raised_here(vcpu);
                tell_pollers(self.domain, event.port(), delivered);
            }
            None => tell(self.domain, event.port(), delivered),
        }
    }
}

impl SharedWords for Receiver<'_> {
    type Info = Words;
    type Page = PinnedPage;

    fn shared_info(&self) -> &Words {
        self.domain.shared_info()
    }

    #[inline]
    fn with_vcpu_info<R>(&self, vcpu: u16, f: impl FnOnce(VcpuInfoAt<'_, Words>) -> R) -> Option<R> {
        match self.here(vcpu) {
            Some(here) => vcpu_info(here).map(f),
            None => self.domain.with_vcpu_info(vcpu, f),
        }
    }

    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<PinnedPage>>) -> R) -> R {
        self.domain.with_fifo(f)
    }
}

#[inline]
fn vcpu_info(vcpu: &Vcpu) -> Option<VcpuInfoAt<'_, Words>> {
    let (words, offset) = shared::info(vcpu)?;
    VcpuInfoAt::new(words, offset as u64)
}

/// `EVTCHNOP_send` of `caller`, which runs on this pcpu.
///
/// # Errors
///
/// `EINVAL`: no port from which one can send.
pub fn send(caller: &Vcpu, port: u32) -> Result<(), Errno> {
    let domain = caller.domain();
    match domain.events().table.send(port)? {
        SendTo::Nobody => {}
        SendTo::Own(event) => Receiver::new(domain, caller).notify(event),
        SendTo::Remote(id, peer) if id == domain.id() => arrive(caller, domain, peer, port),
        SendTo::Remote(id, peer) => {
            // The other end may be there a moment before it is written down.
            if let Some(remote) = domain.events().peer(id).or_else(|| domains::find(id)) {
                arrive(caller, &remote, peer, port);
            }
        }
    }
    Ok(())
}

/// An event for `port` of `domain`, from port `peer` of the domain of `sender`.
fn arrive(sender: &Vcpu, domain: &Domain, port: Port, peer: u32) {
    let received = |peer| domain.events().table.receive(port, sender.domain().id(), peer);
    if let Some(event) = Port::new(peer).and_then(received) {
        Receiver::new(domain, sender).notify(event);
    }
}

/// Raises a virtual interrupt of `vcpu`, which runs on this pcpu.
pub fn raise_here(vcpu: &Vcpu, virq: Virq) {
    let domain = vcpu.domain();
    if let Some(event) = domain.events().table.virq(virq.get(), vcpu.id()) {
        Receiver::new(domain, vcpu).notify(event);
    }
}

/// Raises a virtual interrupt of `domain`; of `vcpu`, if each vcpu has its own.
pub fn raise(domain: &Domain, virq: Virq, vcpu: u32) {
    if let Some(event) = domain.events().table.virq(virq.get(), vcpu) {
        tell(domain, event.port(), evtchn::deliver(&domain.events().table, domain, event));
    }
}

/// Raises a virtual interrupt that only one domain gets.
pub fn raise_global(virq: Virq) {
    if let Some(handler) = domains::find(domains::virq_handler(virq.get())) {
        raise(&handler, virq, 0);
    }
}

/// Has the vcpus look that `delivered` concerns. No lock of this file is held.
pub fn tell(domain: &Domain, port: Port, delivered: Delivered) {
    if delivered.upcall
        && let Some(vcpu) = domain.vcpus().get(usize::from(delivered.vcpu))
    {
        interrupts::upcall_raised(vcpu);
    }
    tell_pollers(domain, port, delivered);
}

fn tell_pollers(domain: &Domain, port: Port, delivered: Delivered) {
    if delivered.newly_pending && domain.events().pollers.load(Ordering::SeqCst) != 0 {
        rouse(domain, domain.events().take_pollers(port));
    }
}

#[cold]
fn rouse(domain: &Domain, pollers: u32) {
    let vcpus = domain.vcpus();
    ones(pollers).filter_map(|id| vcpus.get(id as usize)).for_each(|vcpu| vcpu.notify(Work::ROUSE));
}

/// Whether `port` of `domain` has an event.
///
/// # Errors
///
/// `EINVAL`: it is not bound.
pub fn is_pending(domain: &Domain, port: u32) -> Result<bool, Errno> {
    evtchn::is_pending(&domain.events().table, domain, port)
}

/// `EVTCHNOP_unmask` of `domain`.
///
/// # Errors
///
/// `EINVAL`: the domain never had such a port.
pub fn unmask(domain: &Domain, port: u32) -> Result<(), Errno> {
    let delivered = evtchn::unmask(&domain.events().table, domain, port)?;
    if let Some(port) = Port::new(port) {
        tell(domain, port, delivered);
    }
    Ok(())
}

/// Runs `f` with the event lock of `domain` held.
pub fn locked<R>(domain: &Domain, f: impl FnOnce(&mut Channels<'_, Domain>) -> R) -> R {
    f(&mut channels(domain, &mut domain.events().ports.lock()))
}

/// Runs `f` with the event locks of both domains held.
fn both_locked<R>(domain: &Domain, other: &Domain, f: impl FnOnce(&mut Channels<'_, Domain>) -> R) -> R {
    let (own, others) = (&domain.events().ports, &other.events().ports);
    if domain.id() == other.id() {
        return locked(domain, f);
    }
    if domain.id() < other.id() {
        let mut ports = own.lock();
        let _others = others.lock_as(Rank::SecondEvents);
        f(&mut channels(domain, &mut ports))
    } else {
        let _others = others.lock();
        f(&mut channels(domain, &mut own.lock_as(Rank::SecondEvents)))
    }
}

fn channels<'a>(domain: &'a Domain, ports: &'a mut Ports) -> Channels<'a, Domain> {
    Channels { domain: domain.id(), table: &domain.events().table, ports, shared: domain }
}

fn remote(domain: &Domain) -> Remote<'_> {
    Remote { domain: domain.id(), table: &domain.events().table }
}

/// `EVTCHNOP_bind_interdomain`: connects `domain` to `port` of `other`.
///
/// # Errors
///
/// Those of [`Channels::bind_interdomain`].
pub fn connect(domain: &Arc<Domain>, other: &Arc<Domain>, port: u32) -> Result<Port, Errno> {
    let (port, first) = both_locked(domain, other, |channels| {
        let bound = channels.bind_interdomain(remote(other), port)?;
        if !Arc::ptr_eq(domain, other) {
            domain.events().remember_peer(other);
            other.events().remember_peer(domain);
        }
        Ok::<_, Errno>(bound)
    })?;
    tell(domain, port, first);
    Ok(port)
}

/// `EVTCHNOP_close`: closes a port of `domain`.
///
/// # Errors
///
/// `EINVAL`: it is not bound.
pub fn close(domain: &Domain, port: u32) -> Result<(), Errno> {
    match locked(domain, |channels| channels.close(port, None))? {
        Closed::Done => Ok(()),
        Closed::NeedsLockOf(id) => {
            // A domain closes its ports before it ceases to be found.
            let other = domains::find(id).ok_or(Errno::EINVAL)?;
            match both_locked(domain, &other, |channels| channels.close(port, Some(remote(&other))))? {
                Closed::Done => Ok(()),
                Closed::NeedsLockOf(_) => Err(Errno::EINVAL),
            }
        }
    }
}

/// `EVTCHNOP_expand_array`: event words for the next ports of `domain`.
///
/// # Errors
///
/// Those of [`Channels::expand_array`].
pub fn expand_array(domain: &Domain, page: PinnedPage) -> Result<(), Errno> {
    let (mut upcalls, mut any) = (0_u32, false);
    let collect = |delivered: Delivered| {
        upcalls |= u32::from(delivered.upcall).checked_shl(delivered.vcpu.into()).unwrap_or(0);
        any |= delivered.newly_pending;
    };
    locked(domain, |channels| channels.expand_array(page, collect))?;
    let vcpus = domain.vcpus();
    ones(upcalls).filter_map(|id| vcpus.get(id as usize)).for_each(interrupts::upcall_raised);
    drop(vcpus);
    if any {
        rouse(domain, domain.events().pollers.swap(0, Ordering::SeqCst));
    }
    Ok(())
}

/// A slice of `EVTCHNOP_reset`: closes ports of `domain`; says whether all is done.
///
/// # Errors
///
/// `EBUSY`: another reset is under way, or none if `resuming`. `EAGAIN`: ports were bound
/// meanwhile.
pub fn reset(domain: &Arc<Domain>, resuming: bool) -> Result<bool, Errno> {
    let from = locked(domain, |channels| channels.reset_begin(resuming))?;
    match close_some(domain, from) {
        None => {
            let old = locked(domain, |channels| channels.reset_finish());
            // The pages are let go without a lock.
            old.map(|_| true)
        }
        Some(next) => {
            locked(domain, |channels| channels.reset_pause(next));
            Ok(false)
        }
    }
}

/// A slice of the end of `domain`: closes its ports, and lets it have no more.
pub fn close_all(domain: &Domain) -> Progress {
    locked(domain, |channels| channels.forbid_new());
    if close_some(domain, 0).is_some() {
        return Progress::More;
    }
    // As above.
    drop(locked(domain, |channels| channels.leave_fifo()));
    Progress::Done
}

/// Closes some ports of `domain` from `start` on; says where to go on, if there are more.
fn close_some(domain: &Domain, start: u32) -> Option<u32> {
    let mut from = start;
    for _ in 0..SLICE {
        let port = domain.events().table.next_bound(from)?;
        // Who closed it meanwhile did what is wanted.
        let _closed = close(domain, port.get());
        from = port.get().saturating_add(1);
    }
    Some(from)
}
