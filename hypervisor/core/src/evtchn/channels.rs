//! Binding and closing ports, with the event lock held.

use core::sync::atomic::Ordering;

use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EvtchnStatusDetail, FIFO_NR_CHANNELS, FIFO_PRIORITY_MIN, PortStatus, StatusInterdomain, StatusUnbound,
    TWO_LEVEL_NR_CHANNELS,
};
use xen_abi::xen::NR_VIRQS;

use super::delivery::{self, Delivered, SharedWords};
use super::fifo::{ControlBlockAt, Fifo};
use super::state::{Binding, Channel};
use super::table::{BUCKET, Entry, PortTable, QueuePlace};
use super::{Port, VirqScope};
use crate::id::DomId;

/// Which ports of a domain are taken. The event lock guards it.
#[derive(Debug)]
pub struct Ports {
    /// One past the highest port that the domain may have.
    limit: u32,
    /// One past the highest port that exists, a multiple of [`BUCKET`].
    existing: u32,
    /// Ports that are bound.
    bound: u32,
    /// No port below this one can be allocated.
    search_from: u32,
    /// The domain is going away: no more ports.
    dying: bool,
    /// Where `EVTCHNOP_reset` goes on; 0 while there is none.
    reset_from: u32,
}

impl Ports {
    /// The ports of a domain that may have no higher one than `max_port`: port 0, which is reserved.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(table: &PortTable, max_port: u32) -> Result<Self, Errno> {
        const ZERO: Port = Port::new(0).unwrap();
        table.grow(ZERO)?;
        let reserved = Channel::new(Binding::Reserved, 0);
        table.entry(0).ok_or(Errno::ENOMEM)?.set_channel(reserved);
        let limit = max_port.saturating_add(1).min(FIFO_NR_CHANNELS);
        Ok(Self { limit, existing: BUCKET, bound: 0, search_from: 1, dying: false, reset_from: 0 })
    }
}

/// The other domain of an operation. Its event lock is held, too.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// Its number.
    pub domain: DomId,
    /// Its ports.
    pub table: &'a PortTable,
}

/// What became of a port that was to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Closed {
    /// It is free.
    Done,
    /// Nothing yet: its other end belongs to this domain, whose event lock is needed. Take both in their
    /// order, and try again.
    NeedsLockOf(DomId),
}

/// The event channels of a domain whose event lock is held.
#[derive(Debug)]
pub struct Channels<'a, S> {
    /// Its number.
    pub domain: DomId,
    /// Its ports.
    pub table: &'a PortTable,
    /// What the lock guards.
    pub ports: &'a mut Ports,
    /// The words it shares.
    pub shared: &'a S,
}

impl<S: SharedWords> Channels<'_, S> {
    /// `EVTCHNOP_alloc_unbound`: a port that waits for domain `remote`.
    ///
    /// Whether the caller may do that to this domain is checked before; `DOMID_SELF` is replaced before.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`: no port left. `EINVAL`: the domain is going away.
    pub fn alloc_unbound(&mut self, remote: RawDomid) -> Result<Port, Errno> {
        let port = self.find_free()?;
        self.bind(port, Channel::new(Binding::Unbound(remote), 0));
        Ok(port)
    }

    /// `EVTCHNOP_bind_interdomain`: a port that is connected to `remote_port`, which waited for this domain.
    ///
    /// The domain may be its own peer; then `remote` is itself. The new port has an event at once: those that
    /// the peer sent while nobody was connected were dropped.
    ///
    /// # Errors
    ///
    /// As [`Channels::alloc_unbound`]; `EINVAL`: `remote_port` does not wait for this domain.
    pub fn bind_interdomain(
        &mut self,
        remote: Remote<'_>,
        remote_port: u32,
    ) -> Result<(Port, Delivered), Errno> {
        let port = self.find_free()?;
        let other_end = remote.table.entry(remote_port).ok_or(Errno::EINVAL)?;
        let waiting = other_end.channel();
        if waiting.binding != Binding::Unbound(self.domain.get()) {
            return Err(Errno::EINVAL);
        }
        let remote_port = Port::new(remote_port).ok_or(Errno::EINVAL)?;
        let channel = Channel::new(Binding::Interdomain(remote.domain, remote_port), 0);
        // This end first: who sends from the other one finds it ready.
        self.bind(port, channel);
        other_end.set_channel(Channel { binding: Binding::Interdomain(self.domain, port), ..waiting });
        Ok((port, delivery::deliver(self.table, self.shared, channel.notify(port))))
    }

    /// `EVTCHNOP_bind_virq`: a port for virtual interrupt `virq`. `handler` says whether the domain is the one
    /// that handles it, should it be [`VirqScope::Global`].
    ///
    /// # Errors
    ///
    /// `EINVAL`: no such interrupt, or a vcpu other than 0 for one that exists once. `ENOENT`: no such vcpu.
    /// `EBUSY`: another domain handles it. `EEXIST`: it has a port. Then as [`Channels::alloc_unbound`].
    pub fn bind_virq(&mut self, virq: u32, vcpu: u32, handler: bool) -> Result<Port, Errno> {
        if virq >= NR_VIRQS || (VirqScope::of(virq) != VirqScope::Vcpu && vcpu != 0) {
            return Err(Errno::EINVAL);
        }
        let notified = self.table.vcpu(vcpu)?;
        if VirqScope::of(virq) == VirqScope::Global && !handler {
            return Err(Errno::EBUSY);
        }
        let slot = self.table.virq_slot(virq, vcpu).ok_or(Errno::EINVAL)?;
        if slot.load(Ordering::Acquire) != 0 {
            return Err(Errno::EEXIST);
        }
        let port = self.find_free()?;
        self.bind(port, Channel::new(Binding::Virq(virq), notified));
        slot.store(port.get(), Ordering::Release);
        Ok(port)
    }

    /// `EVTCHNOP_bind_ipi`: a port by which the domain's vcpus notify `vcpu`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such vcpu. Then as [`Channels::alloc_unbound`].
    pub fn bind_ipi(&mut self, vcpu: u32) -> Result<Port, Errno> {
        let notified = self.table.vcpu(vcpu)?;
        let port = self.find_free()?;
        self.bind(port, Channel::new(Binding::Ipi, notified));
        Ok(port)
    }

    /// `EVTCHNOP_bind_pirq`: a port for physical interrupt `pirq` of the domain.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no such interrupt. `EEXIST`: it has a port. Then as [`Channels::alloc_unbound`].
    pub fn bind_pirq(&mut self, pirq: u32) -> Result<Port, Errno> {
        let slot = self.table.pirq_slot(pirq).ok_or(Errno::EINVAL)?;
        if slot.load(Ordering::Acquire) != 0 {
            return Err(Errno::EEXIST);
        }
        let port = self.find_free()?;
        self.bind(port, Channel::new(Binding::Pirq(pirq), 0));
        slot.store(port.get(), Ordering::Release);
        Ok(port)
    }

    /// `EVTCHNOP_close`: frees a port. The other end of a channel waits for this domain again.
    ///
    /// `remote` is the domain at the other end, if its lock is held: see [`Closed::NeedsLockOf`].
    ///
    /// # Errors
    ///
    /// `EINVAL`: the port is not bound, or was bound to yet another domain meanwhile.
    pub fn close(&mut self, port: u32, remote: Option<Remote<'_>>) -> Result<Closed, Errno> {
        let entry = self.table.entry(port).ok_or(Errno::EINVAL)?;
        let port = Port::new(port).ok_or(Errno::EINVAL)?;
        match entry.channel() {
            Channel { binding: Binding::Free | Binding::Reserved, .. } => return Err(Errno::EINVAL),
            Channel { binding: Binding::Interdomain(domain, peer), .. } => {
                let table = match remote {
                    _ if domain == self.domain => self.table,
                    Some(remote) if remote.domain == domain => remote.table,
                    Some(_) => return Err(Errno::EINVAL),
                    None => return Ok(Closed::NeedsLockOf(domain)),
                };
                self.free(entry, port);
                disconnect(table, peer, Binding::Interdomain(self.domain, port));
                return Ok(Closed::Done);
            }
            Channel { binding: Binding::Virq(virq), vcpu, .. } => {
                if let Some(slot) = self.table.virq_slot(virq, u32::from(vcpu)) {
                    slot.store(0, Ordering::Release);
                }
            }
            Channel { binding: Binding::Pirq(pirq), .. } => {
                if let Some(slot) = self.table.pirq_slot(pirq) {
                    slot.store(0, Ordering::Release);
                }
            }
            Channel { binding: Binding::Unbound(_) | Binding::Ipi, .. } => {}
        }
        self.free(entry, port);
        Ok(Closed::Done)
    }

    /// `EVTCHNOP_bind_vcpu`: `vcpu` gets the upcalls of a port from now on.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such vcpu. `EINVAL`: a port that is not bound or whose vcpu is fixed.
    pub fn bind_vcpu(&mut self, port: u32, vcpu: u32) -> Result<(), Errno> {
        let vcpu = self.table.vcpu(vcpu)?;
        let entry = self.table.entry(port).ok_or(Errno::EINVAL)?;
        let channel = entry.channel();
        match channel.binding {
            Binding::Virq(virq) if VirqScope::of(virq) == VirqScope::Vcpu => return Err(Errno::EINVAL),
            Binding::Unbound(_) | Binding::Interdomain(..) | Binding::Virq(_) | Binding::Pirq(_) => {}
            Binding::Free | Binding::Reserved | Binding::Ipi => return Err(Errno::EINVAL),
        }
        entry.set_channel(Channel { vcpu, ..channel });
        Ok(())
    }

    /// `EVTCHNOP_set_priority`: the queue for the next events of a port.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the domain never had such a port, or no such priority. `ENOSYS`: not with the 2-level interface.
    /// `EACCES`: the port is not bound.
    pub fn set_priority(&mut self, port: u32, priority: u32) -> Result<(), Errno> {
        let entry = self.table.entry(port).ok_or(Errno::EINVAL)?;
        let channel = entry.channel();
        if !self.table.uses_fifo() {
            return Err(Errno::ENOSYS);
        }
        if !channel.is_bound() {
            return Err(Errno::EACCES);
        }
        let known = u8::try_from(priority).ok().filter(|_| priority <= FIFO_PRIORITY_MIN);
        entry.set_channel(Channel { priority: known.ok_or(Errno::EINVAL)?, ..channel });
        Ok(())
    }

    /// `EVTCHNOP_init_control`: `vcpu` gets a control block; the first one changes the domain over to the
    /// FIFO interface. Events that are pending become so again when their event words are there.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such vcpu. `EINVAL`: it has one. `ENOMEM`.
    pub fn init_control(&mut self, vcpu: u32, page: S::Page, at: ControlBlockAt) -> Result<(), Errno> {
        let vcpu = self.table.vcpu(vcpu)?;
        if self.table.uses_fifo() {
            return self.shared.with_fifo(|fifo| match fifo {
                Some(fifo) => fifo.set_control(vcpu, page, at),
                None => Err(Errno::EINVAL),
            });
        }
        let mut fifo = Fifo::new(self.table.vcpus())?;
        fifo.set_control(vcpu, page, at)?;
        self.shared.with_fifo(|slot| *slot = Some(fifo));
        self.table.set_uses_fifo(true);
        self.carry_over();
        Ok(())
    }

    /// `EVTCHNOP_expand_array`: event words for the next 1024 ports. `delivered` gets the events that they waited for.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: not with the 2-level interface. `ENOSPC`: all ports have one. `ENOMEM`.
    pub fn expand_array(&mut self, page: S::Page, mut delivered: impl FnMut(Delivered)) -> Result<(), Errno> {
        self.shared.with_fifo(|fifo| {
            let fifo = fifo.as_mut().ok_or(Errno::EOPNOTSUPP)?;
            let (start, end) = fifo.add_page(page)?;
            for port in (start..end.min(self.ports.existing)).filter_map(Port::new) {
                let Some(entry) = self.table.entry(port.get()) else { continue };
                let place = entry.place();
                if place.pending {
                    entry.set_place(QueuePlace { pending: false, ..place });
                    delivered(fifo.set_pending(self.table, self.shared, entry.channel().notify(port)));
                }
            }
            Ok(())
        })
    }

    /// `EVTCHNOP_reset`, first step: where to start closing ports, by [`PortTable::next_bound`] and
    /// [`Channels::close`]. `resuming` goes on where [`Channels::reset_pause`] stopped.
    ///
    /// # Errors
    ///
    /// `EBUSY`: a reset is under way, or none if `resuming`.
    pub fn reset_begin(&mut self, resuming: bool) -> Result<u32, Errno> {
        match (resuming, self.ports.reset_from) {
            (true, 0) | (false, 1..) => Err(Errno::EBUSY),
            (true, port) => Ok(port),
            (false, 0) => {
                self.ports.reset_from = 1;
                Ok(1)
            }
        }
    }

    /// The reset goes on at `port` in a while.
    pub fn reset_pause(&mut self, port: u32) {
        self.ports.reset_from = port.max(1);
    }

    /// The reset's last step: back to the 2-level interface. Returns what the FIFO interface held, to be
    /// dropped without locks.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: ports were bound meanwhile.
    pub fn reset_finish(&mut self) -> Result<Option<Fifo<S::Page>>, Errno> {
        self.ports.reset_from = 0;
        if self.ports.bound == 0 { Ok(self.leave_fifo()) } else { Err(Errno::EAGAIN) }
    }

    /// The domain is going away: it gets no more ports. Those it has are to be closed, then
    /// [`Channels::leave_fifo`].
    pub fn forbid_new(&mut self) {
        self.ports.dying = true;
    }

    /// Ends the FIFO interface. Returns what it held, to be dropped without locks.
    pub fn leave_fifo(&mut self) -> Option<Fifo<S::Page>> {
        self.table.set_uses_fifo(false);
        self.shared.with_fifo(Option::take)
    }

    /// Number of ports that are bound.
    #[must_use]
    pub fn bound(&self) -> u32 {
        self.ports.bound
    }

    /// The lowest free port, which exists then.
    fn find_free(&mut self) -> Result<Port, Errno> {
        if self.ports.dying {
            return Err(Errno::EINVAL);
        }
        let end = self.ports.limit.min(self.table.interface_limit());
        let existing = self.ports.existing;
        let candidates = self.ports.search_from..end.min(existing);
        let (found, search_from) = self.shared.with_fifo(|fifo| {
            let busy = |port| fifo.as_ref().is_some_and(|fifo| fifo.is_busy(port));
            search(self.table, candidates, busy)
        });
        self.ports.search_from = search_from;
        let port = found.or((existing < end).then_some(existing)).and_then(Port::new).ok_or(Errno::ENOSPC)?;
        if port.get() >= existing {
            self.table.grow(port)?;
            self.ports.existing = existing.saturating_add(BUCKET);
        }
        Ok(port)
    }

    fn bind(&mut self, port: Port, channel: Channel) {
        if let Some(entry) = self.table.entry(port.get()) {
            entry.set_channel(channel);
            self.ports.bound = self.ports.bound.saturating_add(1);
        }
    }

    fn free(&mut self, entry: &Entry, port: Port) {
        delivery::clear_pending(self.table, self.shared, port);
        entry.set_channel(Channel::FREE);
        self.ports.bound = self.ports.bound.saturating_sub(1);
        self.ports.search_from = self.ports.search_from.min(port.get());
    }

    /// Remembers what the 2-level interface has pending, for the event words to come.
    fn carry_over(&mut self) {
        let page = self.shared.shared_info();
        self.shared.with_fifo(|_| {
            for port in (1..self.ports.existing.min(TWO_LEVEL_NR_CHANNELS)).filter_map(Port::new) {
                let Some(entry) = self.table.entry(port.get()) else { continue };
                if delivery::is_pending_2_level(page, port) {
                    entry.set_place(QueuePlace { pending: true, ..entry.place() });
                }
            }
        });
    }
}

/// The first of `candidates` that is free and not `busy`, and where the next search has to start.
fn search(
    table: &PortTable,
    candidates: core::ops::Range<u32>,
    busy: impl Fn(u32) -> bool,
) -> (Option<u32>, u32) {
    let end = candidates.end.max(candidates.start);
    let is_free = |port| table.entry(port).is_some_and(|entry| entry.channel().binding == Binding::Free);
    let mut free = candidates.filter(|&port| is_free(port)).peekable();
    let first = free.peek().copied();
    (free.find(|&port| !busy(port)), first.unwrap_or(end))
}

/// `port` lost its other end, if it was this one: it waits for that domain again.
fn disconnect(table: &PortTable, port: Port, other_end: Binding) {
    let (Some(entry), Binding::Interdomain(domain, _)) = (table.entry(port.get()), other_end) else { return };
    let channel = entry.channel();
    if channel.binding == other_end {
        entry.set_channel(Channel { binding: Binding::Unbound(domain.get()), ..channel });
    }
}

impl Channel {
    /// `EVTCHNOP_status`: what it is, and the number that goes with it.
    #[must_use]
    pub fn status(self) -> (PortStatus, Option<EvtchnStatusDetail>) {
        match self.binding {
            Binding::Free | Binding::Reserved => (PortStatus::Closed, None),
            Binding::Unbound(dom) => {
                (PortStatus::Unbound, Some(EvtchnStatusDetail::of(&StatusUnbound { dom })))
            }
            Binding::Interdomain(dom, port) => {
                let end = StatusInterdomain { dom: dom.get(), _pad: 0, port: port.get() };
                (PortStatus::Interdomain, Some(EvtchnStatusDetail::of(&end)))
            }
            Binding::Pirq(pirq) => (PortStatus::Pirq, Some(EvtchnStatusDetail::of(&pirq))),
            Binding::Virq(virq) => (PortStatus::Virq, Some(EvtchnStatusDetail::of(&virq))),
            Binding::Ipi => (PortStatus::Ipi, None),
        }
    }
}
