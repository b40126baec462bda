//! The FIFO interface: for each vcpu 16 queues of ports, linked through the event words of the ports.
//!
//! ```text
//!   control block of a vcpu          event words, 1024 to a page
//!     ready: bit q --+
//!     head[q] -------+--> word[port] --LINK--> word[port] --LINK--> 0
//!                                                 ^ tail (known to the hypervisor only)
//! ```
//!
//! The hypervisor appends at the tail; the guest takes from the head and clears LINKED, without a lock and
//! possibly at the same moment. So a port is appended only by a compare-and-exchange that sees the tail still
//! linked, and the queue starts anew at its head otherwise. PENDING without LINKED means masked; unmasking
//! puts the port in its queue.
//!
//! A port whose vcpu or priority has changed still sits in its old queue until the guest has taken it.
//! [`QueuePlace`] remembers that queue, since it must forget the port as its tail.
//!
//! Authority: `event_channel.h`; "Event Channel Upcalls" and the FIFO design as in Xen's
//! `common/event_fifo.c`. The words are the guest's to break: whatever they hold leads to no more than lost
//! or misplaced events of this guest, in a bounded number of steps.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EvtchnFifoControlBlock, FIFO_BUSY_BIT, FIFO_LINK_MASK, FIFO_LINKED_BIT, FIFO_MASKED_BIT, FIFO_MAX_QUEUES,
    FIFO_NR_CHANNELS, FIFO_PENDING_BIT,
};

use super::Port;
use super::delivery::{Delivered, SharedWords};
use super::table::{Entry, Notify, PortTable, QueuePlace, boxed_slice};
use crate::addr::PAGE_SIZE;
use crate::atomic_page::{At32, AtomicPage};

const PENDING: u32 = 1 << FIFO_PENDING_BIT;
const MASKED: u32 = 1 << FIFO_MASKED_BIT;
const LINKED: u32 = 1 << FIFO_LINKED_BIT;
const BUSY: u32 = 1 << FIFO_BUSY_BIT;

const WORDS_PER_PAGE: u32 = 1024;
const _: () = assert!(WORDS_PER_PAGE as u64 * 4 == PAGE_SIZE);
const MAX_PAGES: usize = (FIFO_NR_CHANNELS / WORDS_PER_PAGE) as usize;

/// A guest that obeys the rules changes a linked word at most this often between two looks at it: it sets
/// and clears MASKED, clears PENDING and clears LINKED.
const GUEST_CHANGES: usize = 4;

/// Place of a control block in its page: aligned, and inside as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ControlBlockAt(u64);

impl ControlBlockAt {
    /// The block at byte `offset`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a multiple of 8, or the block leaves the page.
    pub fn new(offset: u32) -> Result<Self, Errno> {
        let offset = u64::from(offset);
        let last = PAGE_SIZE - size_of::<EvtchnFifoControlBlock>() as u64;
        if offset > last || !offset.is_multiple_of(8) { Err(Errno::EINVAL) } else { Ok(Self(offset)) }
    }

    const fn ready(self) -> At32 {
        At32::masked(self.0 + offset_of!(EvtchnFifoControlBlock, ready) as u64)
    }

    fn head(self, priority: u8) -> At32 {
        At32::masked(self.0 + offset_of!(EvtchnFifoControlBlock, head) as u64 + u64::from(priority) * 4)
    }
}

/// The FIFO interface of a domain. The queue lock guards it.
#[derive(Debug)]
pub struct Fifo<P> {
    vcpus: Box<[VcpuQueues<P>]>,
    pages: Vec<P>,
}

#[derive(Debug)]
struct VcpuQueues<P> {
    control: Option<(P, ControlBlockAt)>,
    /// Last port of each queue, 0 for none; if the guest has taken it, the queue is empty.
    tails: [u32; FIFO_MAX_QUEUES],
}

impl<P: AtomicPage> Fifo<P> {
    /// The queues of a domain with `vcpus` vcpus, without control blocks and event words.
    pub(super) fn new(vcpus: u32) -> Result<Self, Errno> {
        let queues = || VcpuQueues { control: None, tails: [0; FIFO_MAX_QUEUES] };
        Ok(Self { vcpus: boxed_slice(vcpus, queues)?, pages: Vec::new() })
    }

    /// Gives `vcpu` its control block; it can have one only.
    pub(super) fn set_control(&mut self, vcpu: u16, page: P, at: ControlBlockAt) -> Result<(), Errno> {
        let queues = self.vcpus.get_mut(usize::from(vcpu)).ok_or(Errno::ENOENT)?;
        if queues.control.is_some() {
            return Err(Errno::EINVAL);
        }
        queues.control = Some((page, at));
        Ok(())
    }

    /// Adds a page of event words; returns the first port and the one past the last that have one now.
    pub(super) fn add_page(&mut self, page: P) -> Result<(u32, u32), Errno> {
        if self.pages.len() >= MAX_PAGES {
            return Err(Errno::ENOSPC);
        }
        self.pages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let start = u32::try_from(self.pages.len()).map_err(|_| Errno::ENOSPC)? * WORDS_PER_PAGE;
        self.pages.push(page);
        Ok((start, start + WORDS_PER_PAGE))
    }

    pub(super) fn set_pending<S: SharedWords<Page = P>>(
        &mut self,
        table: &PortTable,
        shared: &S,
        event: Notify,
    ) -> Delivered {
        let nothing = Delivered::nothing(event.vcpu);
        let Some(entry) = table.entry(event.port.get()) else { return nothing };
        let Some(word) = self.word(event.port.get()) else {
            entry.set_place(QueuePlace { pending: true, ..entry.place() });
            return nothing;
        };
        if self.control(event.vcpu).is_none() {
            // A guest may not unmask ports of a vcpu without a control block; so nobody waits.
            return nothing;
        }
        let newly_pending = !word.set(PENDING);
        let first_in_queue = !word.has(MASKED) && !word.set(LINKED) && !self.append(entry, event);
        let upcall = first_in_queue && self.mark_ready(event) && raise(shared, event.vcpu);
        Delivered { vcpu: event.vcpu, upcall, newly_pending }
    }

    pub(super) fn unmask<S: SharedWords<Page = P>>(
        &mut self,
        table: &PortTable,
        shared: &S,
        event: Notify,
    ) -> Delivered {
        let due = self.word(event.port.get()).is_some_and(|word| {
            word.clear(MASKED);
            word.has(PENDING)
        });
        if due { self.set_pending(table, shared, event) } else { Delivered::nothing(event.vcpu) }
    }

    pub(super) fn is_pending(&self, port: Port) -> bool {
        self.word(port.get()).is_some_and(|word| word.has(PENDING))
    }

    /// The guest takes the port from its queue as any other, and ignores it.
    pub(super) fn clear_pending(&mut self, table: &PortTable, port: Port) {
        if let Some(entry) = table.entry(port.get()) {
            entry.set_place(QueuePlace { pending: false, ..entry.place() });
        }
        if let Some(word) = self.word(port.get()) {
            word.clear(PENDING);
        }
    }

    /// Whether a closed port is still in a queue, so that it cannot be bound anew.
    pub(super) fn is_busy(&self, port: u32) -> bool {
        self.word(port).is_some_and(|word| word.has(LINKED))
    }

    /// Puts a port that was just LINKED in its queue; returns whether there are others before it.
    fn append(&mut self, entry: &Entry, event: Notify) -> bool {
        let port = event.port.get();
        let old = entry.place();
        // If the port was a tail, its queue has been emptied, and the port is linked again for another place.
        if self.tail(old.vcpu, old.priority) == port {
            self.set_tail(old.vcpu, old.priority, 0);
        }
        entry.set_place(QueuePlace { vcpu: event.vcpu, priority: event.priority, ..old });
        let tail = self.tail(event.vcpu, event.priority);
        let linked = tail != 0 && self.word(tail).is_some_and(|word| word.set_link(port));
        if !linked && let Some((page, at)) = self.control(event.vcpu) {
            page.store32(at.head(event.priority), port);
        }
        self.set_tail(event.vcpu, event.priority, port);
        linked
    }

    /// Sets the queue's bit in the control block; returns whether it was not set.
    fn mark_ready(&self, event: Notify) -> bool {
        let bit = 1 << event.priority;
        self.control(event.vcpu).is_some_and(|(page, at)| page.fetch_or32(at.ready(), bit) & bit == 0)
    }

    fn control(&self, vcpu: u16) -> Option<&(P, ControlBlockAt)> {
        self.vcpus.get(usize::from(vcpu))?.control.as_ref()
    }

    fn tail(&self, vcpu: u16, priority: u8) -> u32 {
        let queues = self.vcpus.get(usize::from(vcpu));
        queues.and_then(|queues| queues.tails.get(usize::from(priority))).copied().unwrap_or(0)
    }

    fn set_tail(&mut self, vcpu: u16, priority: u8, port: u32) {
        let queues = self.vcpus.get_mut(usize::from(vcpu));
        if let Some(tail) = queues.and_then(|queues| queues.tails.get_mut(usize::from(priority))) {
            *tail = port;
        }
    }

    fn word(&self, port: u32) -> Option<Word<'_, P>> {
        let page = self.pages.get(usize::try_from(port / WORDS_PER_PAGE).ok()?)?;
        Some(Word { page, at: At32::masked(u64::from(port % WORDS_PER_PAGE) * 4) })
    }
}

fn raise<S: SharedWords>(shared: &S, vcpu: u16) -> bool {
    shared.with_vcpu_info(vcpu, |info| info.raise()).unwrap_or(false)
}

/// An event word.
struct Word<'a, P> {
    page: &'a P,
    at: At32,
}

impl<P: AtomicPage> Word<'_, P> {
    fn has(&self, bit: u32) -> bool {
        self.page.load32(self.at) & bit != 0
    }

    /// Returns whether it was set.
    fn set(&self, bit: u32) -> bool {
        self.page.fetch_or32(self.at, bit) & bit != 0
    }

    fn clear(&self, bit: u32) {
        self.page.fetch_and32(self.at, !bit);
    }

    /// Makes `port` the next after this one, if this one is still LINKED; returns whether it was.
    ///
    /// While BUSY is set the guest does not clear MASKED, so its changes come to an end. If they do not, it
    /// breaks the rules, and loses the port from its queue.
    fn set_link(&self, port: u32) -> bool {
        let mut seen = self.page.load32(self.at);
        if let Some(linked) = self.try_set_link(&mut seen, port) {
            return linked;
        }
        seen = self.page.fetch_or32(self.at, BUSY) | BUSY;
        for _ in 0..GUEST_CHANGES {
            match self.try_set_link(&mut seen, port) {
                Some(true) => return true,
                Some(false) => {
                    self.clear(BUSY);
                    return false;
                }
                None => {}
            }
        }
        self.clear(BUSY);
        true
    }

    /// One attempt; clears BUSY where it succeeds. `None` if the guest was faster, with what it wrote in `seen`.
    fn try_set_link(&self, seen: &mut u32, port: u32) -> Option<bool> {
        if *seen & LINKED == 0 {
            return Some(false);
        }
        let linked = *seen & !(BUSY | FIFO_LINK_MASK) | port;
        match self.page.compare_exchange32(self.at, *seen, linked) {
            Ok(_) => Some(true),
            Err(now) => {
                *seen = now;
                None
            }
        }
    }
}
