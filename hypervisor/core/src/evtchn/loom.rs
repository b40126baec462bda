//! Races between senders and a guest that takes its events meanwhile, in all orders that loom finds.
//!
//! The guest's side is what its part of the protocol says (`event_channel.h`; Linux's
//! `events_2l.c` and `events_fifo.c` do the same). What has to hold: no event is lost, none is seen that was not
//! sent, and an event that the guest has not seen leaves an upcall pending.
//!
//! Loom takes `SeqCst` for acquire and release. On x86 a locked instruction orders all that is before and behind
//! it (SDM "Memory Ordering"), which a fence behind each stands for.

use std::collections::BTreeMap;
use std::vec::Vec;

use ::loom::model::Builder;
use ::loom::sync::{Arc, Mutex};
use ::loom::thread;
use xen_abi::event_channel::{FIFO_LINK_MASK, FIFO_LINKED_BIT, FIFO_MASKED_BIT, FIFO_PENDING_BIT};

use super::*;
use crate::atomic_page::{At8, At32, At64, AtomicPage};
use crate::id::DomId;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// `evtchn_pending_sel` of vcpu 0, the first words of `evtchn_pending` and `evtchn_mask`.
const SELECTOR: u64 = 8;
const PENDING_WORD: u64 = 0x800;
const MASK_WORD: u64 = 0xa00;
/// Queue of a port for which no other was chosen, and its head in the control block.
const QUEUE: usize = 7;
const READY: u64 = 0;
const HEAD: u64 = 8 + 4 * QUEUE as u64;

const PENDING: u32 = 1 << FIFO_PENDING_BIT;
const MASKED: u32 = 1 << FIFO_MASKED_BIT;
const LINKED: u32 = 1 << FIFO_LINKED_BIT;

/// The words of a page that a test touches.
#[derive(Debug)]
struct Page {
    byte: AtomicU8,
    words: BTreeMap<usize, AtomicU32>,
    doubles: BTreeMap<usize, AtomicU64>,
}

impl Page {
    fn new(words: &[u64], doubles: &[u64]) -> Self {
        Self {
            byte: AtomicU8::new(0),
            words: words.iter().map(|&at| (at as usize, AtomicU32::new(0))).collect(),
            doubles: doubles.iter().map(|&at| (at as usize, AtomicU64::new(0))).collect(),
        }
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        &self.words[&(at as usize)]
    }

    fn double(&self, at: u64) -> &AtomicU64 {
        &self.doubles[&(at as usize)]
    }

    fn swap32(&self, at: u64, value: u32) -> u32 {
        locked(self.word(at).swap(value, Ordering::SeqCst))
    }
}

/// What a locked instruction returned.
fn locked<T>(value: T) -> T {
    fence(Ordering::SeqCst);
    value
}

impl AtomicPage for Page {
    fn load8(&self, _: At8) -> u8 {
        self.byte.load(Ordering::Acquire)
    }

    fn fetch_or8(&self, _: At8, bits: u8) -> u8 {
        locked(self.byte.fetch_or(bits, Ordering::SeqCst))
    }

    fn load32(&self, at: At32) -> u32 {
        self.word(at.offset() as u64).load(Ordering::Acquire)
    }

    fn store32(&self, at: At32, value: u32) {
        self.word(at.offset() as u64).store(value, Ordering::Release);
    }

    fn fetch_or32(&self, at: At32, bits: u32) -> u32 {
        locked(self.word(at.offset() as u64).fetch_or(bits, Ordering::SeqCst))
    }

    fn fetch_and32(&self, at: At32, bits: u32) -> u32 {
        locked(self.word(at.offset() as u64).fetch_and(bits, Ordering::SeqCst))
    }

    fn compare_exchange32(&self, at: At32, current: u32, new: u32) -> Result<u32, u32> {
        let word = self.word(at.offset() as u64);
        locked(word.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst))
    }

    fn load64(&self, at: At64) -> u64 {
        self.double(at.offset() as u64).load(Ordering::Acquire)
    }

    fn fetch_or64(&self, at: At64, bits: u64) -> u64 {
        locked(self.double(at.offset() as u64).fetch_or(bits, Ordering::SeqCst))
    }

    fn fetch_and64(&self, at: At64, bits: u64) -> u64 {
        locked(self.double(at.offset() as u64).fetch_and(bits, Ordering::SeqCst))
    }
}

/// A domain of one vcpu with IPI ports 1 to `ports`.
struct Domain {
    table: PortTable,
    info: Page,
    control: Arc<Page>,
    array: Arc<Page>,
    fifo: Mutex<Option<Fifo<Arc<Page>>>>,
}

impl SharedWords for Domain {
    type Info = Page;
    type Page = Arc<Page>;

    fn shared_info(&self) -> &Page {
        &self.info
    }

    fn with_vcpu_info<R>(&self, _: u16, f: impl FnOnce(VcpuInfoAt<'_, Page>) -> R) -> Option<R> {
        VcpuInfoAt::new(&self.info, 0).map(f)
    }

    fn with_fifo<R>(&self, f: impl FnOnce(&mut Option<Fifo<Arc<Page>>>) -> R) -> R {
        f(&mut self.fifo.lock().unwrap())
    }
}

impl Domain {
    fn new(ports: u32) -> (Self, Ports) {
        let table = PortTable::new(1, 0).unwrap();
        table.set_vcpus(1);
        let mut taken = Ports::new(&table, 100).unwrap();
        let domain = Self {
            table,
            info: Page::new(&[], &[SELECTOR, PENDING_WORD, MASK_WORD]),
            control: Arc::new(Page::new(&[READY, HEAD], &[])),
            array: Arc::new(Page::new(&[0, 4, 8, 12], &[])),
            fifo: Mutex::new(None),
        };
        for _ in 0..ports {
            domain.channels(&mut taken).bind_ipi(0).unwrap();
        }
        (domain, taken)
    }

    /// With the FIFO interface, nothing masked.
    fn with_queues(ports: u32) -> Self {
        let (domain, mut taken) = Self::new(ports);
        domain.change_over(&mut taken);
        domain
    }

    fn channels<'a>(&'a self, ports: &'a mut Ports) -> Channels<'a, Self> {
        Channels { domain: DomId::new(1).unwrap(), table: &self.table, ports, shared: self }
    }

    fn change_over(&self, ports: &mut Ports) {
        let mut channels = self.channels(ports);
        channels.init_control(0, Arc::clone(&self.control), ControlBlockAt::new(0).unwrap()).unwrap();
        channels.expand_array(Arc::clone(&self.array), |_| {}).unwrap();
    }

    /// `EVTCHNOP_send`.
    fn send(&self, port: u32) {
        match self.table.send(port) {
            Ok(SendTo::Own(event)) => {
                let _told = deliver(&self.table, self, event);
            }
            other => panic!("{other:?}"),
        }
    }

    fn upcall_pending(&self) -> bool {
        self.info.byte.load(Ordering::Acquire) != 0
    }

    /// The handler of upcalls: the ports whose events it takes, a bit each.
    fn handle_2_level(&self) -> u64 {
        locked(self.info.byte.swap(0, Ordering::SeqCst));
        if locked(self.info.double(SELECTOR).swap(0, Ordering::SeqCst)) == 0 {
            return 0;
        }
        let pending = self.info.double(PENDING_WORD).load(Ordering::Acquire);
        let due = pending & !self.info.double(MASK_WORD).load(Ordering::Acquire);
        locked(self.info.double(PENDING_WORD).fetch_and(!due, Ordering::SeqCst)) & due
    }
}

/// The guest's place in its queue.
#[derive(Default)]
struct Consumer {
    head: u32,
    ready: bool,
}

impl Consumer {
    /// The handler of upcalls: the ports whose events it takes.
    fn handle(&mut self, domain: &Domain) -> Vec<u32> {
        locked(domain.info.byte.swap(0, Ordering::SeqCst));
        let mut taken = Vec::new();
        self.ready |= domain.control.swap32(READY, 0) != 0;
        while self.ready {
            taken.extend(self.take_one(domain));
            self.ready |= domain.control.swap32(READY, 0) != 0;
        }
        taken
    }

    fn take_one(&mut self, domain: &Domain) -> Option<u32> {
        let port = match self.head {
            0 => domain.control.word(HEAD).load(Ordering::Acquire),
            head => head,
        };
        let word = domain.array.word(u64::from(port) * 4);
        let old = locked(word.fetch_and(!(LINKED | FIFO_LINK_MASK), Ordering::SeqCst));
        self.head = old & FIFO_LINK_MASK;
        self.ready = self.head != 0;
        let due = old & (PENDING | MASKED) == PENDING;
        if due {
            locked(word.fetch_and(!PENDING, Ordering::SeqCst));
        }
        due.then_some(port)
    }
}

/// Tries all orders in which threads are interrupted at most so often.
fn check(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

fn spawn(domain: &Arc<Domain>, act: impl FnOnce(&Domain) + 'static) -> thread::JoinHandle<()> {
    let domain = Arc::clone(domain);
    thread::spawn(move || act(&domain))
}

/// Two senders and the handler: what it has not taken has an upcall pending.
#[test]
fn two_level_events_are_taken_or_raise_an_upcall() {
    check(3, || {
        let domain = Arc::new(Domain::new(2).0);
        let senders = [spawn(&domain, |domain| domain.send(1)), spawn(&domain, |domain| domain.send(2))];
        let mut taken = domain.handle_2_level();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(taken == 0b110 || domain.upcall_pending(), "taken {taken:#b}");
        taken |= domain.handle_2_level();
        assert_eq!(taken, 0b110);
    });
}

/// A masked port is unmasked while its event comes.
#[test]
fn two_level_unmasking_loses_no_event() {
    check(3, || {
        let domain = Arc::new(Domain::new(1).0);
        domain.info.double(MASK_WORD).store(0b10, Ordering::Release);
        let sender = spawn(&domain, |domain| domain.send(1));
        let _told = unmask(&domain.table, &*domain, 1).unwrap();
        sender.join().unwrap();
        assert!(domain.upcall_pending());
        assert_eq!(domain.handle_2_level(), 0b10);
    });
}

/// The handler leaves a port masked alone, and unmasks it itself.
#[test]
fn two_level_handlers_that_mask_lose_no_event() {
    check(3, || {
        let domain = Arc::new(Domain::new(1).0);
        let sender = spawn(&domain, |domain| domain.send(1));
        domain.info.fetch_or64(At64::masked(MASK_WORD), 0b10);
        let mut taken = domain.handle_2_level();
        let _told = unmask(&domain.table, &*domain, 1).unwrap();
        sender.join().unwrap();
        assert!(taken == 0b10 || domain.upcall_pending(), "taken {taken:#b}");
        taken |= domain.handle_2_level();
        assert_eq!(taken, 0b10);
    });
}

/// An event comes while the domain changes over: the new interface has it.
#[test]
fn events_survive_the_change_to_queues() {
    check(3, || {
        let (domain, mut ports) = Domain::new(1);
        let domain = Arc::new(domain);
        let sender = spawn(&domain, |domain| domain.send(1));
        domain.change_over(&mut ports);
        sender.join().unwrap();
        assert!(domain.upcall_pending());
        assert_eq!(Consumer::default().handle(&domain), [1]);
    });
}

/// Two senders and the handler: what it has not taken has an upcall pending; nothing comes twice.
#[test]
fn queues_lose_no_event() {
    check(3, || {
        let domain = Arc::new(Domain::with_queues(2));
        let senders = [spawn(&domain, |domain| domain.send(1)), spawn(&domain, |domain| domain.send(2))];
        let mut consumer = Consumer::default();
        let mut taken = consumer.handle(&domain);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(taken.len() == 2 || domain.upcall_pending(), "taken {taken:?}");
        taken.extend(consumer.handle(&domain));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}

/// One sender, several ports, the guest in the middle: their order stays.
#[test]
fn queues_keep_the_order() {
    check(3, || {
        let domain = Arc::new(Domain::with_queues(3));
        domain.send(1);
        let sender = spawn(&domain, |domain| {
            domain.send(2);
            domain.send(3);
        });
        let mut consumer = Consumer::default();
        let mut taken = consumer.handle(&domain);
        sender.join().unwrap();
        taken.extend(consumer.handle(&domain));
        assert_eq!(taken, [1, 2, 3]);
    });
}

/// A port is sent to again while the guest takes it: it comes once or twice, and the last time is not lost.
#[test]
fn queues_take_a_port_again() {
    check(3, || {
        let domain = Arc::new(Domain::with_queues(1));
        domain.send(1);
        let sender = spawn(&domain, |domain| domain.send(1));
        let mut consumer = Consumer::default();
        let mut taken = consumer.handle(&domain);
        assert!(!taken.is_empty());
        sender.join().unwrap();
        taken.extend(consumer.handle(&domain));
        assert!(taken == [1] || taken == [1, 1], "{taken:?}");
        assert_eq!(domain.array.word(4).load(Ordering::Acquire), 0, "nothing is left");
    });
}

/// A masked port is unmasked while its event comes: it is queued, once.
#[test]
fn queues_lose_no_event_by_unmasking() {
    check(3, || {
        let domain = Arc::new(Domain::with_queues(1));
        domain.array.word(4).store(MASKED, Ordering::Release);
        let sender = spawn(&domain, |domain| domain.send(1));
        let _told = unmask(&domain.table, &*domain, 1).unwrap();
        sender.join().unwrap();
        assert!(domain.upcall_pending());
        assert_eq!(Consumer::default().handle(&domain), [1]);
    });
}
