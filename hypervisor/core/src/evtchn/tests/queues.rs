use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::thread;
use std::vec::Vec;

const PENDING: u32 = 1 << 31;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;
const BUSY: u32 = 1 << 28;
const LINK: u32 = (1 << 17) - 1;
/// Byte of the control blocks in their pages.
const AT: u64 = 128;

/// A domain with the FIFO interface, seen from inside: it takes events as `event_channel.h` says.
#[derive(Debug)]
struct Guest {
    domain: Domain,
    controls: Vec<Arc<HostPage>>,
    words: Vec<Arc<HostPage>>,
    /// The port to take next from each queue of each vcpu, 0 for the head in the control block.
    heads: Mutex<[[u32; 16]; VCPUS as usize]>,
}

impl Guest {
    /// `ipis` ports, of the vcpus in turn.
    fn new(ipis: u32) -> Self {
        let mut guest = Self::without_words(ipis);
        guest.add_words();
        guest
    }

    fn without_words(ipis: u32) -> Self {
        let domain = Domain::new(1, 5000);
        let mut controls = Vec::new();
        for vcpu in 0..u32::from(VCPUS) {
            let page = Arc::new(HostPage::new());
            let at = ControlBlockAt::new(u32::try_from(AT).unwrap()).unwrap();
            domain.locked(|channels| channels.init_control(vcpu, page.clone(), at)).unwrap();
            controls.push(page);
        }
        for index in 0..ipis {
            domain.locked(|channels| channels.bind_ipi(index % u32::from(VCPUS))).unwrap();
        }
        Self { domain, controls, words: Vec::new(), heads: Mutex::default() }
    }

    fn add_words(&mut self) -> Vec<Delivered> {
        let page = Arc::new(HostPage::new());
        let mut delivered = Vec::new();
        self.domain
            .locked(|channels| channels.expand_array(page.clone(), |one| delivered.push(one)))
            .unwrap();
        self.words.push(page);
        delivered
    }

    fn word(&self, port: u32) -> (&HostPage, At32) {
        (&self.words[port as usize / 1024], At32::masked(u64::from(port % 1024) * 4))
    }

    fn read(&self, port: u32) -> u32 {
        let (page, at) = self.word(port);
        page.load32(at)
    }

    fn mask(&self, port: u32) {
        let (page, at) = self.word(port);
        page.fetch_or32(at, MASKED);
    }

    fn unmask(&self, port: u32) -> Delivered {
        unmask(&self.domain.table, &self.domain.words, port).unwrap()
    }

    /// Clears LINKED and LINK; returns the port that was linked.
    fn unlink(&self, port: u32) -> u32 {
        let (page, at) = self.word(port);
        let mut seen = page.load32(at);
        while let Err(now) = page.compare_exchange32(at, seen, seen & !(LINKED | LINK)) {
            seen = now;
        }
        seen & LINK
    }

    /// The upcall handler: the ports it has served, in order.
    fn upcall(&self, vcpu: u16) -> Vec<u32> {
        let mut served = Vec::new();
        let control = &self.controls[usize::from(vcpu)];
        let _ = self.domain.words.take_upcall(vcpu);
        let take_ready = || control.fetch_and32(At32::masked(AT), 0);
        let mut ready = take_ready();
        while ready != 0 {
            let queue = ready.trailing_zeros();
            let taken = self.take(vcpu, queue);
            if taken.1 == 0 {
                ready &= !(1 << queue);
            }
            served.extend(taken.0);
            ready |= take_ready();
        }
        served
    }

    /// Takes one port from a queue; returns it if it has an event to serve, and the next one.
    fn take(&self, vcpu: u16, queue: u32) -> (Option<u32>, u32) {
        let head = &mut self.heads.lock().unwrap()[usize::from(vcpu)][queue as usize];
        if *head == 0 {
            *head = self.controls[usize::from(vcpu)].load32(At32::masked(AT + 8 + u64::from(queue) * 4));
        }
        let port = *head;
        *head = self.unlink(port);
        let (page, at) = self.word(port);
        let due = page.load32(at) & (PENDING | MASKED) == PENDING;
        if due {
            page.fetch_and32(at, !PENDING);
        }
        (due.then_some(port), *head)
    }

    fn send(&self, raw: u32) -> Delivered {
        self.domain.send_own(port(raw))
    }
}

const UPCALL: Delivered = Delivered { vcpu: 0, upcall: true, newly_pending: true };
const QUEUED: Delivered = Delivered { vcpu: 0, upcall: false, newly_pending: true };
const NOTHING: Delivered = Delivered { vcpu: 0, upcall: false, newly_pending: false };

#[test]
fn control_blocks_lie_inside_their_page_and_are_given_once() {
    for (offset, fits) in
        [(0, true), (4024, true), (4032, false), (4, false), (4096, false), (u32::MAX, false)]
    {
        assert_eq!(ControlBlockAt::new(offset).is_ok(), fits, "{offset}");
    }
    let guest = Guest::new(0);
    let again = |vcpu| {
        let (page, at) = (Arc::new(HostPage::new()), ControlBlockAt::new(0).unwrap());
        guest.domain.locked(|channels| channels.init_control(vcpu, page, at))
    };
    assert_eq!(again(1), Err(Errno::EINVAL));
    assert_eq!(again(u32::from(VCPUS)), Err(Errno::ENOENT));
}

#[test]
#[cfg_attr(miri, ignore = "a hundred pages")]
fn there_are_event_words_for_all_ports_and_no_more() {
    let mut guest = Guest::without_words(0);
    for _ in 0..128 {
        assert!(guest.add_words().is_empty());
    }
    let page = Arc::new(HostPage::new());
    assert_eq!(guest.domain.locked(|channels| channels.expand_array(page, |_| ())), Err(Errno::ENOSPC));
}

#[test]
fn events_come_in_the_order_in_which_they_were_sent() {
    let guest = Guest::new(12);
    assert_eq!(guest.send(4), UPCALL);
    assert_eq!(guest.send(1), QUEUED);
    assert_eq!(guest.send(7), QUEUED);
    assert_eq!(guest.send(4), NOTHING);
    assert_eq!(guest.upcall(0), [4, 1, 7]);
    assert_eq!(guest.send(1), UPCALL);
    assert_eq!(guest.upcall(0), [1]);
    assert_eq!(guest.upcall(0), []);
}

#[test]
fn urgent_events_come_first() {
    let guest = Guest::new(12);
    guest.domain.locked(|channels| channels.set_priority(7, 0)).unwrap();
    guest.domain.locked(|channels| channels.set_priority(1, 15)).unwrap();
    for port in [1, 4, 7, 10] {
        let _ = guest.send(port);
    }
    assert_eq!(guest.upcall(0), [7, 4, 10, 1]);
}

#[test]
fn masked_events_wait() {
    let guest = Guest::new(3);
    guest.mask(1);
    assert_eq!(guest.send(1), QUEUED);
    assert_eq!(guest.read(1), PENDING | MASKED);
    assert_eq!(is_pending(&guest.domain.table, &guest.domain.words, 1), Ok(true));
    assert_eq!(guest.upcall(0), []);
    assert_eq!(guest.unmask(1), Delivered { newly_pending: false, ..UPCALL });
    assert_eq!(guest.upcall(0), [1]);
    assert_eq!(guest.unmask(1), NOTHING);
}

#[test]
fn a_port_moves_between_vcpus_and_queues() {
    let guest = Guest::new(0);
    let moving = guest.domain.locked(|channels| channels.alloc_unbound(1)).unwrap();
    let (sender, _) = guest
        .domain
        .locked(|channels| channels.bind_interdomain(guest.domain.remote(), moving.get()))
        .unwrap();
    assert_eq!(guest.upcall(0), [sender.get()], "the first event of a new channel");
    let send = || {
        let event = guest.domain.table.receive(moving, guest.domain.id, sender).unwrap();
        guest.domain.deliver(event)
    };
    assert_eq!(send(), UPCALL);
    guest.domain.locked(|channels| channels.bind_vcpu(moving.get(), 2)).unwrap();
    assert!(!send().newly_pending);
    assert_eq!(guest.upcall(2), [], "still in the old queue");
    assert_eq!(guest.upcall(0), [moving.get()]);
    assert_eq!(send(), Delivered { vcpu: 2, ..UPCALL });
    guest.domain.locked(|channels| channels.set_priority(moving.get(), 3)).unwrap();
    assert_eq!(guest.upcall(2), [moving.get()]);
    assert_eq!(send(), Delivered { vcpu: 2, ..UPCALL });
    assert_eq!(guest.upcall(2), [moving.get()]);
}

#[test]
fn a_closed_port_is_not_given_out_while_it_is_in_a_queue() {
    let guest = Guest::new(6);
    let _ = guest.send(1);
    let _ = guest.send(4);
    guest.domain.locked(|channels| {
        assert_eq!(channels.close(1, None), Ok(Closed::Done));
        assert_eq!(channels.bind_ipi(0), Ok(port(7)), "port 1 is busy");
    });
    assert_eq!(guest.upcall(0), [4], "the closed one is skipped");
    assert_eq!(guest.domain.locked(|channels| channels.bind_ipi(0)), Ok(port(1)));
    assert_eq!(guest.domain.locked(|channels| channels.bind_ipi(0)), Ok(port(8)));
}

#[test]
fn events_wait_for_their_words() {
    let mut guest = Guest::without_words(3);
    assert_eq!(guest.send(1), NOTHING);
    assert_eq!(is_pending(&guest.domain.table, &guest.domain.words, 1), Ok(false));
    assert_eq!(guest.add_words(), [UPCALL]);
    assert_eq!(guest.upcall(0), [1]);
}

#[test]
fn pending_events_survive_the_change_of_the_interface() {
    let domain = Domain::new(1, 1000);
    for _ in 0..3 {
        domain.locked(|channels| channels.bind_ipi(0)).unwrap();
    }
    let _ = domain.send_own(port(2));
    let (control, words) = (Arc::new(HostPage::new()), Arc::new(HostPage::new()));
    let mut delivered = Vec::new();
    domain.locked(|channels| {
        let at = ControlBlockAt::new(0).unwrap();
        channels.init_control(0, control.clone(), at).unwrap();
        channels.expand_array(words.clone(), |one| delivered.push(one)).unwrap();
    });
    assert_eq!(delivered, [QUEUED], "the upcall is pending since the first time");
    assert_eq!(control.load32(At32::masked(8 + 7 * 4)), 2);
}

#[test]
fn events_of_a_vcpu_without_a_control_block_are_dropped() {
    let domain = Domain::new(1, 1000);
    domain.locked(|channels| {
        channels.bind_ipi(1).unwrap();
        channels.init_control(0, Arc::new(HostPage::new()), ControlBlockAt::new(0).unwrap()).unwrap();
        channels.expand_array(Arc::new(HostPage::new()), |_| ()).unwrap();
    });
    assert_eq!(domain.send_own(port(1)), Delivered { vcpu: 1, ..NOTHING });
}

#[test]
fn a_guest_that_breaks_its_words_loses_only_its_own_events() {
    let guest = Guest::new(9);
    let _ = guest.send(1);
    // A tail that links to itself, with everything set.
    let (page, at) = guest.word(1);
    page.fetch_or32(at, BUSY | LINKED | 1);
    assert_eq!(guest.send(4), QUEUED);
    assert_eq!(guest.read(1) & (LINK | BUSY), 4, "linked all the same");
    // LINKED taken away: the queue begins anew, and the head moves.
    page.fetch_and32(at, 0);
    let (page, at) = guest.word(4);
    page.fetch_and32(at, 0);
    assert_eq!(guest.send(7), QUEUED, "the ready bit is still set");
    assert_eq!(guest.controls[0].load32(At32::masked(AT + 8 + 7 * 4)), 7);
    // LINKED set by the guest itself: the event is pending, and in no queue.
    let (page, at) = guest.word(2);
    page.fetch_or32(at, LINKED);
    assert_eq!(guest.send(2), Delivered { vcpu: 1, ..QUEUED });
}

#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Mask(u32),
    Unmask(u32),
    Move(u32, u32),
    Priority(u32, u32),
    Upcall(u16),
    Take(u16),
}

const PORTS: u32 = 8;

fn any_step() -> impl Strategy<Value = Step> {
    let port = 1..=PORTS;
    prop_oneof![
        6 => port.clone().prop_map(Step::Send),
        1 => port.clone().prop_map(Step::Mask),
        1 => port.clone().prop_map(Step::Unmask),
        1 => (port.clone(), 0..u32::from(VCPUS)).prop_map(|(port, vcpu)| Step::Move(port, vcpu)),
        1 => (port, 0..16_u32).prop_map(|(port, priority)| Step::Priority(port, priority)),
        2 => (0..VCPUS).prop_map(Step::Upcall),
        2 => (0..VCPUS).prop_map(Step::Take),
    ]
}

proptest! {
    #![proptest_config(config())]

    /// Every unmasked event is served by the upcalls that were asked for, once, wherever its port has moved.
    #[test]
    fn every_event_is_served(steps in prop::collection::vec(any_step(), 1..steps(200))) {
        let guest = Guest::new(0);
        // Loopback channels: unlike IPIs their ports move. The odd ones send, the even ones receive.
        let channels: Vec<_> = (0..PORTS).map(|_| connect(&guest.domain, &guest.domain)).collect();
        let mut upcalls = BTreeSet::new();
        let mut served = Vec::new();
        for vcpu in 0..VCPUS {
            let _ = guest.upcall(vcpu);
        }
        let (mut pending, mut masked) = (BTreeSet::new(), BTreeSet::new());
        let receiver = |port: u32| channels[port as usize - 1].0;
        for step in steps {
            match step {
                Step::Send(port) => {
                    let (to, from) = channels[port as usize - 1];
                    let event = guest.domain.table.receive(to, guest.domain.id, from).unwrap();
                    let delivered = guest.domain.deliver(event);
                    prop_assert_eq!(delivered.newly_pending, pending.insert(to.get()));
                    upcalls.extend(delivered.upcall.then_some(delivered.vcpu));
                }
                Step::Mask(port) => {
                    guest.mask(receiver(port).get());
                    masked.insert(receiver(port).get());
                }
                Step::Unmask(port) => {
                    let delivered = guest.unmask(receiver(port).get());
                    masked.remove(&receiver(port).get());
                    upcalls.extend(delivered.upcall.then_some(delivered.vcpu));
                }
                Step::Move(port, vcpu) => {
                    guest.domain.locked(|channels| channels.bind_vcpu(receiver(port).get(), vcpu)).unwrap();
                }
                Step::Priority(port, priority) => {
                    guest.domain.locked(|channels| channels.set_priority(receiver(port).get(), priority)).unwrap();
                }
                Step::Upcall(vcpu) => if upcalls.remove(&vcpu) {
                    served.extend(guest.upcall(vcpu));
                },
                Step::Take(vcpu) => {
                    // The handler is interrupted after one port and asks itself to come back.
                    let control = &guest.controls[usize::from(vcpu)];
                    let ready = control.load32(At32::masked(AT));
                    if upcalls.contains(&vcpu) && ready != 0 {
                        let queue = ready.trailing_zeros();
                        control.fetch_and32(At32::masked(AT), !(1 << queue));
                        let (port, next) = guest.take(vcpu, queue);
                        if next != 0 {
                            control.fetch_or32(At32::masked(AT), 1 << queue);
                        }
                        served.extend(port);
                    }
                }
            }
            for port in served.drain(..) {
                prop_assert!(!masked.contains(&port), "masked");
                prop_assert!(pending.remove(&port), "served without an event");
            }
        }
        for vcpu in upcalls {
            for port in guest.upcall(vcpu) {
                prop_assert!(pending.remove(&port));
            }
        }
        let waiting: BTreeSet<_> = pending.difference(&masked).collect();
        prop_assert!(waiting.is_empty(), "{waiting:?} of {pending:?}");
    }
}

/// Two senders, a vcpu that takes what comes and masks and unmasks meanwhile: the last event of each port is
/// never lost.
#[test]
fn no_event_is_lost_between_senders_and_the_guest() {
    let rounds = if cfg!(miri) { 10 } else { 5_000 };
    let guest = Guest::new(24);
    let ports = |first: u32| (0..4).map(move |index| first + index * 3);
    thread::scope(|scope| {
        let senders = [1, 13].map(|first| {
            let guest = &guest;
            scope.spawn(move || (0..rounds).for_each(|_| ports(first).for_each(|port| _ = guest.send(port))))
        });
        while senders.iter().any(|sender| !sender.is_finished()) {
            guest.mask(4);
            let _ = guest.upcall(0);
            let _ = guest.unmask(4);
            thread::yield_now();
        }
    });
    let _ = guest.upcall(0);
    for port in ports(1).chain(ports(13)) {
        assert_eq!(guest.read(port), 0, "{port}");
    }
}
