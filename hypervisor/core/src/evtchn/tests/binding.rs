use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;
use xen_abi::event_channel::PortStatus;

const TIMER: u32 = 0;
const CONSOLE: u32 = 2;
const ARGO: u32 = 11;

#[test]
fn ports_are_given_out_from_1_and_the_lowest_first() {
    let domain = Domain::new(1, 100);
    domain.locked(|channels| {
        for expected in 1..=100 {
            assert_eq!(channels.bind_ipi(0), Ok(port(expected)));
        }
        assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
        assert_eq!(channels.bound(), 100);
        for freed in [70, 3] {
            assert_eq!(channels.close(freed, None), Ok(Closed::Done));
        }
        assert_eq!(channels.alloc_unbound(0), Ok(port(3)));
        assert_eq!(channels.alloc_unbound(0), Ok(port(70)));
        assert_eq!(channels.alloc_unbound(0), Err(Errno::ENOSPC));
    });
}

#[test]
#[cfg_attr(miri, ignore = "thousands of ports")]
fn the_interface_limits_the_ports() {
    let domain = Domain::new(1, u32::MAX);
    domain.locked(|channels| {
        for expected in 1..4096 {
            assert_eq!(channels.bind_ipi(0), Ok(port(expected)));
        }
        assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
        let at = ControlBlockAt::new(0).unwrap();
        assert_eq!(channels.init_control(0, Arc::new(HostPage::new()), at), Ok(()));
        for expected in 4096..1 << 17 {
            assert_eq!(channels.bind_ipi(0), Ok(port(expected)));
        }
        assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
    });
}

#[test]
fn a_domain_may_have_fewer_ports_than_a_bucket() {
    let domain = Domain::new(1, 2);
    domain.locked(|channels| {
        assert_eq!(channels.bind_ipi(0), Ok(port(1)));
        assert_eq!(channels.bind_ipi(0), Ok(port(2)));
        assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
    });
    let none = Domain::new(2, 0);
    assert_eq!(none.locked(|channels| channels.bind_ipi(0)), Err(Errno::ENOSPC));
}

#[test]
fn port_0_is_nobodys() {
    let domain = Domain::new(1, 100);
    assert_eq!(domain.table.channel(0).map(Channel::status), Ok((PortStatus::Closed, None)));
    assert_eq!(domain.table.send(0), Err(Errno::EINVAL));
    assert_eq!(is_pending(&domain.table, &domain.words, 0), Err(Errno::EINVAL));
    domain.locked(|channels| {
        assert_eq!(channels.close(0, None), Err(Errno::EINVAL));
        assert_eq!(channels.bind_vcpu(0, 0), Err(Errno::EINVAL));
    });
}

#[test]
fn ports_that_never_existed_are_refused() {
    let domain = Domain::new(1, 1000);
    for bad in [64, 1000, 4096, 131_072, u32::MAX] {
        assert_eq!(domain.table.channel(bad), Err(Errno::EINVAL), "{bad}");
        assert_eq!(domain.table.send(bad), Err(Errno::EINVAL));
        assert_eq!(unmask(&domain.table, &domain.words, bad), Err(Errno::EINVAL));
        assert_eq!(is_pending(&domain.table, &domain.words, bad), Err(Errno::EINVAL));
        domain.locked(|channels| {
            assert_eq!(channels.close(bad, None), Err(Errno::EINVAL));
            assert_eq!(channels.bind_vcpu(bad, 0), Err(Errno::EINVAL));
            assert_eq!(channels.set_priority(bad, 0), Err(Errno::EINVAL));
            assert_eq!(channels.bind_interdomain(domain.remote(), bad), Err(Errno::EINVAL));
        });
    }
    // Port 63 is free, but has existed since the first bucket.
    assert_eq!(domain.table.channel(63).map(Channel::is_bound), Ok(false));
    assert_eq!(unmask(&domain.table, &domain.words, 63), Ok(Delivered::nothing(0)));
    assert_eq!(is_pending(&domain.table, &domain.words, 63), Err(Errno::EINVAL));
}

#[test]
fn ends_find_each_other() {
    let (a, b) = (Domain::new(1, 100), Domain::new(2, 100));
    let waiting = a.locked(|a| a.alloc_unbound(2)).unwrap();
    assert_eq!(a.table.send(waiting.get()), Ok(SendTo::Nobody));
    let (bound, first) = b.locked(|b| b.bind_interdomain(a.remote(), waiting.get())).unwrap();
    assert_eq!(first, Delivered { vcpu: 0, upcall: true, newly_pending: true });
    assert_eq!(a.table.send(waiting.get()), Ok(SendTo::Remote(b.id, bound)));
    assert_eq!(b.table.send(bound.get()), Ok(SendTo::Remote(a.id, waiting)));
    assert!(a.table.receive(waiting, b.id, bound).is_some());
    assert_eq!(a.table.receive(waiting, b.id, port(2)), None, "another port");
    assert_eq!(a.table.receive(waiting, DomId::DOM0, bound), None, "another domain");
    let (status, detail) = a.table.channel(waiting.get()).unwrap().status();
    let end = xen_abi::event_channel::StatusInterdomain { dom: 2, _pad: 0, port: bound.get() };
    assert_eq!(status, PortStatus::Interdomain);
    assert_eq!(detail, Some(xen_abi::event_channel::EvtchnStatusDetail::of(&end)));
}

#[test]
fn nobody_connects_to_a_port_that_waits_for_another() {
    let (a, b, c) = (Domain::new(1, 100), Domain::new(2, 100), Domain::new(3, 100));
    let waiting = a.locked(|a| a.alloc_unbound(2)).unwrap();
    assert_eq!(c.locked(|c| c.bind_interdomain(a.remote(), waiting.get())), Err(Errno::EINVAL));
    assert_eq!(c.locked(|c| c.bind_ipi(0)), Ok(port(1)), "the port was not used up");
    let (_, bound) = connect(&a, &b);
    assert_eq!(c.locked(|c| c.bind_interdomain(b.remote(), bound.get())), Err(Errno::EINVAL));
    assert_eq!(b.locked(|b| b.bind_interdomain(a.remote(), 50)), Err(Errno::EINVAL));
}

#[test]
fn closing_makes_the_other_end_wait_again() {
    let (a, b) = (Domain::new(1, 100), Domain::new(2, 100));
    let (waiting, bound) = connect(&a, &b);
    a.locked(|a| a.bind_vcpu(waiting.get(), 2)).unwrap();
    assert_eq!(b.locked(|b| b.close(bound.get(), None)), Ok(Closed::NeedsLockOf(a.id)));
    let third = Domain::new(3, 100);
    assert_eq!(b.locked(|b| b.close(bound.get(), Some(third.remote()))), Err(Errno::EINVAL));
    assert_eq!(b.locked(|b| b.close(bound.get(), Some(a.remote()))), Ok(Closed::Done));
    assert_eq!(b.binding(bound), Binding::Free);
    assert_eq!(a.binding(waiting), Binding::Unbound(2));
    assert_eq!(a.table.channel(waiting.get()).unwrap().vcpu, 2, "its vcpu stays");
    assert!(!b.words.pending_2_level(bound.get()), "no event is left behind");
    assert_eq!(b.table.receive(bound, a.id, waiting), None);
    let again = b.locked(|b| b.bind_interdomain(a.remote(), waiting.get()));
    assert_eq!(again.map(|(port, _)| port), Ok(bound));
}

#[test]
fn a_domain_talks_to_itself() {
    let a = Domain::new(1, 100);
    let (waiting, bound) = connect(&a, &a);
    assert_eq!((waiting, bound), (port(1), port(2)));
    assert_eq!(a.table.send(1), Ok(SendTo::Remote(a.id, bound)));
    assert_eq!(a.locked(|a| a.close(1, None)), Ok(Closed::Done));
    assert_eq!(a.binding(bound), Binding::Unbound(1));
}

#[test]
fn virtual_interrupts_have_one_port_each() {
    let a = Domain::new(1, 100);
    a.locked(|channels| {
        assert_eq!(channels.bind_virq(TIMER, 2, false), Ok(port(1)));
        assert_eq!(channels.bind_virq(TIMER, 2, false), Err(Errno::EEXIST));
        assert_eq!(channels.bind_virq(TIMER, 1, false), Ok(port(2)), "one for each vcpu");
        assert_eq!(channels.bind_virq(TIMER, 3, false), Err(Errno::ENOENT));
        assert_eq!(channels.bind_virq(CONSOLE, 1, true), Err(Errno::EINVAL), "not of a vcpu");
        assert_eq!(channels.bind_virq(CONSOLE, 0, false), Err(Errno::EBUSY), "somebody else's");
        assert_eq!(channels.bind_virq(CONSOLE, 0, true), Ok(port(3)));
        assert_eq!(channels.bind_virq(ARGO, 0, false), Ok(port(4)));
        for bad in [24, 1 << 31, u32::MAX] {
            assert_eq!(channels.bind_virq(bad, 0, true), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(channels.bind_vcpu(1, 0), Err(Errno::EINVAL), "its vcpu is fixed");
        assert_eq!(channels.bind_vcpu(3, 2), Ok(()));
        assert_eq!(channels.bind_vcpu(3, 3), Err(Errno::ENOENT));
    });
    assert_eq!(a.table.send(1), Err(Errno::EINVAL), "not by the guest");
    assert_eq!(a.table.virq(TIMER, 2).map(|event| (event.port, event.vcpu)), Some((port(1), 2)));
    assert_eq!(a.table.virq(TIMER, 0), None);
    assert_eq!(a.table.virq(TIMER, 99), None);
    assert_eq!(a.table.virq(CONSOLE, 1).map(|event| (event.port, event.vcpu)), Some((port(3), 2)));
    assert_eq!(a.table.virq(24, 0), None);
    a.locked(|channels| {
        for bound in 1..=3 {
            assert_eq!(channels.close(bound, None), Ok(Closed::Done));
        }
        assert_eq!(channels.bind_virq(TIMER, 2, false), Ok(port(1)));
        assert_eq!(channels.bind_virq(CONSOLE, 0, true), Ok(port(2)));
    });
}

#[test]
fn physical_interrupts_have_one_port_each() {
    let a = Domain::new(1, 100);
    a.locked(|channels| {
        assert_eq!(channels.bind_pirq(3), Ok(port(1)));
        assert_eq!(channels.bind_pirq(3), Err(Errno::EEXIST));
        assert_eq!(channels.bind_pirq(4), Err(Errno::EINVAL));
        assert_eq!(channels.bind_vcpu(1, 1), Ok(()));
    });
    assert_eq!(a.table.pirq(3).map(|event| (event.port, event.vcpu)), Some((port(1), 1)));
    assert_eq!((a.table.pirq(0), a.table.pirq(4)), (None, None));
    a.locked(|channels| {
        assert_eq!(channels.close(1, None), Ok(Closed::Done));
        assert_eq!(channels.bind_pirq(3), Ok(port(1)));
    });
}

#[test]
fn ipis_stay_with_their_vcpu() {
    let a = Domain::new(1, 100);
    a.locked(|channels| {
        assert_eq!(channels.bind_ipi(3), Err(Errno::ENOENT));
        assert_eq!(channels.bind_ipi(u32::MAX), Err(Errno::ENOENT));
        assert_eq!(channels.bind_ipi(2), Ok(port(1)));
        assert_eq!(channels.bind_vcpu(1, 0), Err(Errno::EINVAL));
    });
    assert_eq!(a.send_own(port(1)), Delivered { vcpu: 2, upcall: true, newly_pending: true });
}

#[test]
fn a_dying_domain_gets_no_ports() {
    let a = Domain::new(1, 100);
    a.locked(|channels| {
        assert_eq!(channels.bind_ipi(0), Ok(port(1)));
        channels.forbid_new();
        assert_eq!(channels.bind_ipi(0), Err(Errno::EINVAL));
        assert_eq!(channels.close(1, None), Ok(Closed::Done));
    });
}

#[test]
fn a_reset_can_be_interrupted_but_not_doubled() {
    let a = Domain::new(1, 200);
    a.locked(|channels| {
        for _ in 0..150 {
            assert!(channels.bind_ipi(0).is_ok());
        }
        assert_eq!(channels.reset_begin(true), Err(Errno::EBUSY), "none to resume");
        assert_eq!(channels.reset_begin(false), Ok(1));
        assert_eq!(channels.reset_begin(false), Err(Errno::EBUSY));
        channels.reset_pause(77);
        assert_eq!(channels.reset_begin(true), Ok(77));
        let mut from = 77;
        while let Some(bound) = channels.table.next_bound(from) {
            assert_eq!(channels.close(bound.get(), None), Ok(Closed::Done));
            from = bound.get() + 1;
        }
        assert_eq!(channels.reset_finish().err(), Some(Errno::EAGAIN), "76 are left");
        assert_eq!(channels.reset_begin(false), Ok(1));
        while let Some(bound) = channels.table.next_bound(1) {
            assert_eq!(channels.close(bound.get(), None), Ok(Closed::Done));
        }
        assert!(channels.reset_finish().is_ok());
        assert_eq!(channels.bind_ipi(0), Ok(port(1)));
    });
}

#[test]
fn the_fifo_interface_ends_with_a_reset() {
    let a = Domain::new(1, 200);
    a.locked(|channels| {
        assert_eq!(channels.set_priority(1, 0), Err(Errno::ENOSYS));
        let at = ControlBlockAt::new(64).unwrap();
        assert_eq!(channels.init_control(0, Arc::new(HostPage::new()), at), Ok(()));
        assert!(channels.table.uses_fifo());
        assert_eq!(channels.set_priority(1, 0), Err(Errno::EACCES));
        assert_eq!(channels.bind_ipi(0), Ok(port(1)));
        assert_eq!(channels.set_priority(1, 16), Err(Errno::EINVAL));
        assert_eq!(channels.set_priority(1, 15), Ok(()));
        assert_eq!(channels.reset_begin(false), Ok(1));
        assert_eq!(channels.close(1, None), Ok(Closed::Done));
        assert!(channels.reset_finish().unwrap().is_some());
        assert!(!channels.table.uses_fifo());
        let page = Arc::new(HostPage::new());
        assert_eq!(channels.expand_array(page, |_| ()), Err(Errno::EOPNOTSUPP));
    });
}

#[derive(Clone, Debug)]
enum Op {
    AllocUnbound { domain: usize, remote: u16 },
    Bind { domain: usize, remote: usize, port: u32 },
    Virq { domain: usize, virq: u32, vcpu: u32 },
    Ipi { domain: usize, vcpu: u32 },
    Pirq { domain: usize, pirq: u32 },
    Close { domain: usize, port: u32 },
    BindVcpu { domain: usize, port: u32, vcpu: u32 },
    Send { domain: usize, port: u32 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let (domain, port) = (0..2_usize, 0..70_u32);
    prop_oneof![
        4 => (domain.clone(), 0..3_u16).prop_map(|(domain, remote)| Op::AllocUnbound { domain, remote }),
        4 => (domain.clone(), domain.clone(), 0..6_u32)
            .prop_map(|(domain, remote, port)| Op::Bind { domain, remote, port }),
        2 => (domain.clone(), 0..26_u32, 0..4_u32).prop_map(|(domain, virq, vcpu)| Op::Virq { domain, virq, vcpu }),
        8 => (domain.clone(), 0..4_u32).prop_map(|(domain, vcpu)| Op::Ipi { domain, vcpu }),
        1 => (domain.clone(), 0..5_u32).prop_map(|(domain, pirq)| Op::Pirq { domain, pirq }),
        5 => (domain.clone(), port.clone()).prop_map(|(domain, port)| Op::Close { domain, port }),
        2 => (domain.clone(), port.clone(), 0..4_u32)
            .prop_map(|(domain, port, vcpu)| Op::BindVcpu { domain, port, vcpu }),
        4 => (domain, port).prop_map(|(domain, port)| Op::Send { domain, port }),
    ]
}

const LIMIT: u32 = 65;

/// Two domains as plain maps, with what `event_channel.c` says of each operation.
#[derive(Debug, Default)]
struct Model {
    bound: [BTreeMap<u32, (Binding, u16)>; 2],
    pending: [std::collections::BTreeSet<u32>; 2],
}

impl Model {
    fn free(&self, domain: usize) -> Result<u32, Errno> {
        (1..=LIMIT).find(|port| !self.bound[domain].contains_key(port)).ok_or(Errno::ENOSPC)
    }

    fn take(&mut self, domain: usize, binding: Binding, vcpu: u16) -> Result<Option<Port>, Errno> {
        let free = self.free(domain)?;
        self.bound[domain].insert(free, (binding, vcpu));
        Ok(Some(port(free)))
    }

    fn has(&self, domain: usize, binding: Binding, vcpu: Option<u16>) -> bool {
        self.bound[domain].values().any(|&(b, v)| b == binding && vcpu.is_none_or(|vcpu| v == vcpu))
    }

    fn apply(&mut self, op: &Op) -> Result<Option<Port>, Errno> {
        let vcpu_of = |vcpu: u32| u16::try_from(vcpu).ok().filter(|&vcpu| vcpu < VCPUS).ok_or(Errno::ENOENT);
        match *op {
            Op::AllocUnbound { domain, remote } => self.take(domain, Binding::Unbound(remote), 0),
            Op::Bind { domain, remote, port: remote_port } => {
                let local = self.free(domain)?;
                let me = u16::try_from(domain).unwrap();
                let Some((waiting @ Binding::Unbound(_), _)) = self.bound[remote].get_mut(&remote_port)
                else {
                    return Err(Errno::EINVAL);
                };
                if *waiting != Binding::Unbound(me) {
                    return Err(Errno::EINVAL);
                }
                *waiting = Binding::Interdomain(DomId::new(me).unwrap(), port(local));
                let other = DomId::new(u16::try_from(remote).unwrap()).unwrap();
                self.bound[domain].insert(local, (Binding::Interdomain(other, port(remote_port)), 0));
                self.pending[domain].insert(local);
                Ok(Some(port(local)))
            }
            Op::Virq { domain, virq, vcpu } => {
                let per_vcpu = [0, 1, 7, 13].contains(&virq);
                if virq >= 24 || !per_vcpu && vcpu != 0 {
                    return Err(Errno::EINVAL);
                }
                let vcpu = vcpu_of(vcpu)?;
                if domain != 0 && !per_vcpu && virq != ARGO {
                    return Err(Errno::EBUSY);
                }
                if self.has(domain, Binding::Virq(virq), per_vcpu.then_some(vcpu)) {
                    return Err(Errno::EEXIST);
                }
                self.take(domain, Binding::Virq(virq), vcpu)
            }
            Op::Ipi { domain, vcpu } => {
                let vcpu = vcpu_of(vcpu)?;
                self.take(domain, Binding::Ipi, vcpu)
            }
            Op::Pirq { domain, pirq } => {
                if pirq >= 4 {
                    return Err(Errno::EINVAL);
                }
                if self.has(domain, Binding::Pirq(pirq), None) {
                    return Err(Errno::EEXIST);
                }
                self.take(domain, Binding::Pirq(pirq), 0)
            }
            Op::Close { domain, port } => {
                let (binding, _) = self.bound[domain].remove(&port).ok_or(Errno::EINVAL)?;
                self.pending[domain].remove(&port);
                if let Binding::Interdomain(other, peer) = binding {
                    let me = u16::try_from(domain).unwrap();
                    let other = usize::from(other.get());
                    self.bound[other].get_mut(&peer.get()).unwrap().0 = Binding::Unbound(me);
                }
                Ok(None)
            }
            Op::BindVcpu { domain, port, vcpu } => {
                let vcpu = vcpu_of(vcpu)?;
                match self.bound[domain].get_mut(&port) {
                    None | Some((Binding::Ipi | Binding::Virq(0 | 1 | 7 | 13), _)) => Err(Errno::EINVAL),
                    Some(channel) => {
                        channel.1 = vcpu;
                        Ok(None)
                    }
                }
            }
            Op::Send { domain, port } => match self.bound[domain].get(&port) {
                Some(&(Binding::Interdomain(other, peer), _)) => {
                    self.pending[usize::from(other.get())].insert(peer.get());
                    Ok(None)
                }
                Some((Binding::Ipi, _)) => {
                    self.pending[domain].insert(port);
                    Ok(None)
                }
                Some((Binding::Unbound(_), _)) => Ok(None),
                _ => Err(Errno::EINVAL),
            },
        }
    }
}

fn send(domains: &[Domain; 2], from: usize, port: u32) -> Result<(), Errno> {
    let sender = &domains[from];
    match sender.table.send(port)? {
        SendTo::Nobody => {}
        SendTo::Own(event) => {
            let _ = sender.deliver(event);
        }
        SendTo::Remote(other, peer) => {
            let receiver = &domains[usize::from(other.get())];
            let event = receiver.table.receive(peer, sender.id, super::port(port)).unwrap();
            let _ = receiver.deliver(event);
        }
    }
    Ok(())
}

fn apply(domains: &[Domain; 2], op: &Op) -> Result<Option<Port>, Errno> {
    match *op {
        Op::AllocUnbound { domain, remote } => domains[domain].locked(|c| c.alloc_unbound(remote)).map(Some),
        Op::Bind { domain, remote, port } => {
            let bound = domains[domain].locked(|c| c.bind_interdomain(domains[remote].remote(), port));
            bound.map(|(port, _)| Some(port))
        }
        Op::Virq { domain, virq, vcpu } => {
            domains[domain].locked(|c| c.bind_virq(virq, vcpu, domain == 0)).map(Some)
        }
        Op::Ipi { domain, vcpu } => domains[domain].locked(|c| c.bind_ipi(vcpu)).map(Some),
        Op::Pirq { domain, pirq } => domains[domain].locked(|c| c.bind_pirq(pirq)).map(Some),
        Op::Close { domain, port } => domains[domain].locked(|c| match c.close(port, None)? {
            Closed::Done => Ok(None),
            Closed::NeedsLockOf(other) => {
                let remote = domains[usize::from(other.get())].remote();
                assert_eq!(c.close(port, Some(remote)), Ok(Closed::Done));
                Ok(None)
            }
        }),
        Op::BindVcpu { domain, port, vcpu } => {
            domains[domain].locked(|c| c.bind_vcpu(port, vcpu)).map(|()| None)
        }
        Op::Send { domain, port } => send(domains, domain, port).map(|()| None),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn two_domains_are_what_the_model_says(ops in prop::collection::vec(any_op(), 1..steps(300))) {
        let domains = [Domain::new(0, LIMIT), Domain::new(1, LIMIT)];
        let mut model = Model::default();
        for op in ops {
            prop_assert_eq!(apply(&domains, &op), model.apply(&op), "{:?}", op);
        }
        for (index, domain) in domains.iter().enumerate() {
            let bound = (1..=LIMIT).filter_map(|port| Some((port, domain.table.channel(port).ok()?)));
            let bound = bound.filter(|(_, channel)| channel.is_bound());
            let bound: Vec<_> = bound.map(|(port, channel)| (port, (channel.binding, channel.vcpu))).collect();
            prop_assert_eq!(&bound, &model.bound[index].clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(domain.locked(|c| c.bound() as usize), bound.len());
            for port in 0..=LIMIT {
                prop_assert_eq!(domain.words.pending_2_level(port), model.pending[index].contains(&port));
            }
        }
    }
}
