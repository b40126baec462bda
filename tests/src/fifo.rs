//! A guest's side of the FIFO interface (`event_channel.h`): it takes from the heads of the queues what the
//! hypervisor appends at their tails.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_abi::RawPort;
use xen_abi::event_channel::{
    FIFO_LINK_MASK, FIFO_LINKED_BIT, FIFO_MASKED_BIT, FIFO_MAX_QUEUES, FIFO_PENDING_BIT,
};

use crate::evtchn::{self, Answer};

const PENDING: u32 = 1 << FIFO_PENDING_BIT;
const MASKED: u32 = 1 << FIFO_MASKED_BIT;
const LINKED: u32 = 1 << FIFO_LINKED_BIT;

/// Event words of a page.
pub const WORDS: usize = 1024;
/// Words of a control block before its heads: the ready bits, and one that is reserved.
const HEADS: usize = 2;

/// A page that the hypervisor writes to, too. It stays pinned until a reset or the end of the domain.
#[repr(C, align(4096))]
pub struct Page([AtomicU32; WORDS]);

impl Page {
    /// A page of zeros.
    pub fn new() -> Box<Self> {
        Box::new(Self([const { AtomicU32::new(0) }; WORDS]))
    }

    /// Its guest frame.
    pub fn frame(&self) -> u64 {
        core::ptr::from_ref(self) as u64 / 4096
    }

    /// Its words.
    pub fn words(&self) -> &[AtomicU32; WORDS] {
        &self.0
    }
}

/// The queues of one vcpu, and the event words of all ports.
pub struct Fifo {
    control: Box<Page>,
    array: Vec<Box<Page>>,
    /// First port of each queue, as far as it was read; 0 for none.
    heads: [RawPort; FIFO_MAX_QUEUES],
    /// Queues that are known to have events.
    ready: u32,
}

impl Fifo {
    /// Changes the domain over: `vcpu` has a control block, and `pages` pages of ports have words. All are
    /// masked.
    pub fn new(vcpu: u32, pages: usize) -> Answer<Self> {
        let mut fifo = Self { control: Page::new(), array: Vec::new(), heads: [0; _], ready: 0 };
        evtchn::init_control(fifo.control.frame(), 0, vcpu)?;
        for _ in 0..pages {
            let page = Page::new();
            page.words().iter().for_each(|word| word.store(MASKED, Ordering::Release));
            evtchn::expand_array(page.frame())?;
            fifo.array.push(page);
        }
        Ok(fifo)
    }

    /// The control block.
    pub fn control(&self) -> &Page {
        &self.control
    }

    /// The event word of a port.
    ///
    /// # Panics
    ///
    /// When the port has none.
    pub fn word(&self, port: RawPort) -> &AtomicU32 {
        let port = port as usize;
        &self.array[port / WORDS].words()[port % WORDS]
    }

    /// Whether a port has an event, which stays.
    pub fn is_pending(&self, port: RawPort) -> bool {
        self.word(port).load(Ordering::Acquire) & PENDING != 0
    }

    /// Whether a port is in a queue.
    pub fn is_linked(&self, port: RawPort) -> bool {
        self.word(port).load(Ordering::Acquire) & LINKED != 0
    }

    /// Masks a port.
    pub fn mask(&self, port: RawPort) {
        self.word(port).fetch_or(MASKED, Ordering::AcqRel);
    }

    /// Unmasks a port; the hypervisor queues an event that it has.
    pub fn unmask(&self, port: RawPort) -> Answer {
        evtchn::unmask(port)
    }

    /// Takes the next event, of the most urgent queue: its port. Ports without an event that are in the queue,
    /// because they were closed or masked meanwhile, are passed over.
    pub fn take(&mut self) -> Option<RawPort> {
        loop {
            self.ready |= self.control.words()[0].swap(0, Ordering::AcqRel);
            let queue = self.ready.trailing_zeros() as usize;
            let head = match *self.heads.get(queue)? {
                0 => self.control.words()[HEADS + queue].load(Ordering::Acquire),
                head => head,
            };
            let old = self.word(head).fetch_and(!(LINKED | FIFO_LINK_MASK), Ordering::AcqRel);
            self.heads[queue] = old & FIFO_LINK_MASK;
            if self.heads[queue] == 0 {
                self.ready &= !(1 << queue);
            }
            if old & (PENDING | MASKED) == PENDING {
                self.word(head).fetch_and(!PENDING, Ordering::AcqRel);
                return Some(head);
            }
        }
    }

    /// Takes all events.
    pub fn take_all(&mut self) -> Vec<RawPort> {
        core::iter::from_fn(|| self.take()).collect()
    }
}
