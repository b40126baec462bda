//! The scheduler on a machine of the tests: time passes from event to event.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

use alloc::sync::Arc;
use xen_abi::vcpu::Runstate;

use super::*;

const MS: u64 = 1_000_000;

fn pcpu(index: usize) -> PcpuId {
    PcpuId::new(index).unwrap()
}

/// What a vcpu does: it runs for `work`, then sleeps for `pause`, again and again.
#[derive(Clone, Copy, Debug)]
struct Behaviour {
    work: u64,
    pause: u64,
}

const BUSY: Behaviour = Behaviour { work: u64::MAX, pause: 0 };

struct Guest {
    tag: Tag,
    entity: RefCell<Entity>,
    behaviour: Behaviour,
    /// What is left of its work.
    left: Cell<u64>,
    woke: Cell<u64>,
    waits: RefCell<Vec<u64>>,
}

type Handle = Rc<Guest>;

#[derive(Clone)]
struct TestVcpu(Handle);

impl Placed for TestVcpu {
    fn place(&self) -> Option<usize> {
        self.0.tag.place()
    }

    fn set_place(&self, place: Option<usize>) {
        self.0.tag.set_place(place);
    }
}

impl Vcpu for TestVcpu {
    fn tag(&self) -> &Tag {
        &self.0.tag
    }

    fn entity<R>(&self, work: impl FnOnce(&mut Entity) -> R) -> R {
        work(&mut self.0.entity.borrow_mut())
    }
}

struct TestMachine {
    queues: Vec<RefCell<Queue<TestVcpu>>>,
    board: Board,
    parameters: Parameters,
    kicks: RefCell<Vec<PcpuId>>,
}

impl Machine for TestMachine {
    type Vcpu = TestVcpu;

    fn queue<R>(&self, pcpu: PcpuId, work: impl FnOnce(&mut Queue<TestVcpu>) -> R) -> R {
        work(&mut self.queues[pcpu.index()].borrow_mut())
    }

    fn board(&self) -> &Board {
        &self.board
    }

    fn online(&self) -> PcpuSet {
        (0..self.queues.len()).map(pcpu).collect()
    }

    fn parameters(&self) -> Parameters {
        self.parameters
    }

    fn kick(&self, pcpu: PcpuId) {
        self.kicks.borrow_mut().push(pcpu);
    }

    fn hasten(&self, pcpu: PcpuId, _: Option<&TestVcpu>) {
        self.kick(pcpu);
    }
}

struct Simulation {
    machine: TestMachine,
    now: u64,
    running: Vec<Option<(TestVcpu, u64)>>,
    /// When each pcpu looks again.
    alarms: Vec<u64>,
    sleepers: BTreeMap<(u64, usize), TestVcpu>,
    vcpus: Vec<TestVcpu>,
}

impl Simulation {
    fn new(pcpus: usize) -> Self {
        let machine = TestMachine {
            queues: (0..pcpus).map(|_| RefCell::new(Queue::new())).collect(),
            board: Board::new(),
            parameters: Parameters::DEFAULT,
            kicks: RefCell::default(),
        };
        for index in 0..pcpus {
            set_idle(&machine, pcpu(index));
        }
        Self {
            machine,
            now: 1,
            running: (0..pcpus).map(|_| None).collect(),
            alarms: std::vec![u64::MAX; pcpus],
            sleepers: BTreeMap::new(),
            vcpus: Vec::new(),
        }
    }

    fn domain(&mut self, weight: u16, cap: u16, behaviours: &[(Behaviour, &[usize])]) -> Vec<TestVcpu> {
        let share = Arc::new(Share::default());
        share.set_weight(weight);
        share.set_cap(cap);
        behaviours.iter().for_each(|_| share.note_up(true));
        let vcpus = behaviours.iter().map(|&(behaviour, cpus)| {
            let home = pcpu(self.vcpus.len() % self.running.len());
            let vcpu = TestVcpu(Rc::new(Guest {
                tag: Tag::new(Arc::clone(&share)),
                entity: RefCell::new(Entity::new(home, self.now)),
                behaviour,
                left: Cell::new(behaviour.work),
                woke: Cell::new(self.now),
                waits: RefCell::default(),
            }));
            if !cpus.is_empty() {
                let affinity = cpus.iter().map(|&cpu| pcpu(cpu)).collect();
                vcpu.entity(|entity| {
                    set_affinity(&self.machine, &vcpu, entity, affinity, PcpuSet::ALL, self.now)
                });
            }
            self.vcpus.push(vcpu.clone());
            vcpu
        });
        let vcpus: Vec<_> = vcpus.collect();
        for vcpu in &vcpus {
            self.wake(vcpu);
            self.settle();
        }
        vcpus
    }

    /// As the hypervisor does when a timer fires: on an idle pcpu, its vcpu starts at once.
    fn wake(&mut self, vcpu: &TestVcpu) {
        vcpu.0.woke.set(self.now);
        let started = vcpu.entity(|entity| {
            let home = entity.pcpu();
            if self.running[home.index()].is_none()
                && start(&self.machine, home, vcpu, entity, self.now).is_some()
            {
                return Some(home);
            }
            ready(&self.machine, vcpu, entity, Ready::Woken, self.now);
            None
        });
        if let Some(home) = started {
            self.put_on(home, vcpu.clone());
            self.arm(home);
        }
    }

    /// Lets kicked pcpus look until there is nothing to look at.
    fn settle(&mut self) {
        loop {
            let kicked = self.machine.kicks.take();
            if kicked.is_empty() {
                break;
            }
            kicked.into_iter().for_each(|pcpu| self.look(pcpu));
        }
        self.check_work();
    }

    fn look(&mut self, me: PcpuId) {
        let leave = self.running[me.index()].is_some() && tick(&self.machine, me, self.now) == Verdict::Leave;
        if leave {
            let vcpu = self.take_off(me);
            vcpu.entity(|entity| {
                stop(&self.machine, me, &vcpu, entity, self.now);
                ready(&self.machine, &vcpu, entity, Ready::Back, self.now);
            });
        }
        if self.running[me.index()].is_none() {
            self.pick(me);
        }
        self.arm(me);
    }

    fn take_off(&mut self, me: PcpuId) -> TestVcpu {
        let (vcpu, since) = self.running[me.index()].take().unwrap();
        vcpu.0.left.set(vcpu.0.left.get().saturating_sub(self.now - since));
        vcpu
    }

    fn pick(&mut self, me: PcpuId) {
        match pick(&self.machine, me, self.now) {
            Some((vcpu, _)) => self.put_on(me, vcpu),
            None => set_idle(&self.machine, me),
        }
    }

    fn put_on(&mut self, me: PcpuId, vcpu: TestVcpu) {
        if vcpu.0.left.get() == vcpu.0.behaviour.work {
            vcpu.0.waits.borrow_mut().push(self.now - vcpu.0.woke.get());
        }
        self.running[me.index()] = Some((vcpu, self.now));
    }

    fn arm(&mut self, me: PcpuId) {
        let done = self.running[me.index()]
            .as_ref()
            .map_or(u64::MAX, |(vcpu, since)| since.saturating_add(vcpu.0.left.get()));
        self.alarms[me.index()] = wakes_at(&self.machine, me).max(self.now + 1).min(done);
    }

    fn check_work(&self) {
        for (index, running) in self.running.iter().enumerate() {
            if running.is_none() {
                let waits = |vcpu: &&TestVcpu| {
                    vcpu.entity(|entity| {
                        matches!(entity.at(), At::Queue(_))
                            && !entity.is_parked()
                            && entity.affinity().contains(pcpu(index))
                    })
                };
                assert!(!self.vcpus.iter().any(|vcpu| waits(&vcpu)), "pcpu {index} idles at {}", self.now);
            }
        }
    }

    fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        loop {
            let alarm = self.alarms.iter().copied().min().unwrap();
            let sleeper = self.sleepers.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let next = alarm.min(sleeper);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if sleeper <= alarm {
                let (_, vcpu) = self.sleepers.pop_first().unwrap();
                self.wake(&vcpu);
            } else {
                let index = self.alarms.iter().position(|&at| at == alarm).unwrap();
                self.expire(index);
            }
            self.settle();
        }
    }

    fn expire(&mut self, index: usize) {
        let done = self.running[index]
            .as_ref()
            .is_some_and(|(vcpu, since)| since.saturating_add(vcpu.0.left.get()) <= self.now);
        if done {
            let (me, vcpu) = (pcpu(index), self.take_off(pcpu(index)));
            let next = vcpu.entity(|entity| {
                let next = stop_for(&self.machine, me, &vcpu, entity, self.now);
                sleep(&vcpu, entity, Runstate::Blocked, self.now);
                next
            });
            if let Some((next, _)) = follow(&self.machine, me, next) {
                self.put_on(me, next);
            }
            vcpu.0.left.set(vcpu.0.behaviour.work);
            let name = self.vcpus.iter().position(|other| Rc::ptr_eq(&other.0, &vcpu.0)).unwrap();
            self.sleepers.insert((self.now + vcpu.0.behaviour.pause, name), vcpu);
        }
        self.look(pcpu(index));
    }

    /// What each of `vcpus` has run, ns.
    fn used(&self, vcpus: &[TestVcpu]) -> Vec<u64> {
        vcpus
            .iter()
            .map(|vcpu| vcpu.entity(|entity| entity.account().times_at(self.now)[Runstate::Running as usize]))
            .collect()
    }

    /// What `groups` get in the next `ns`, in percent of one pcpu.
    fn shares(&mut self, groups: &[&[TestVcpu]], ns: u64) -> Vec<f64> {
        let sum = |simulation: &Self| -> Vec<u64> {
            groups.iter().map(|group| simulation.used(group).into_iter().sum()).collect()
        };
        let before = sum(self);
        self.run(ns);
        let after = sum(self);
        #[expect(clippy::cast_precision_loss, reason = "times of seconds")]
        let share = |(after, before)| (after - before) as f64 / ns as f64 * 100.0;
        after.into_iter().zip(before).map(share).collect()
    }
}

fn assert_close(shares: &[f64], wanted: &[f64], within: f64) {
    let close = shares.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() <= within);
    assert!(close && shares.len() == wanted.len(), "{shares:.2?} instead of {wanted:.2?}");
}

#[test]
fn table_4_1_t01_t02_t03() {
    let mut simulation = Simulation::new(4);
    let one = simulation.domain(256, 0, &[(BUSY, &[1])]);
    let two = simulation.domain(768, 0, &[(BUSY, &[2, 3]), (BUSY, &[2, 3])]);
    let three = simulation.domain(256, 0, &[(BUSY, &[2, 3]), (BUSY, &[2, 3])]);
    let shares = simulation.shares(&[&one, &two, &three], 2_000 * MS);
    assert_close(&shares, &[100.0, 150.0, 50.0], 1.0);
}

#[test]
fn three_on_two() {
    let mut simulation = Simulation::new(2);
    let domains: Vec<_> = (0..3).map(|_| simulation.domain(256, 0, &[(BUSY, &[])])).collect();
    let groups: Vec<&[TestVcpu]> = domains.iter().map(|domain| &domain[..]).collect();
    let shares = simulation.shares(&groups, 2_000 * MS);
    assert_close(&shares, &[66.67; 3], 1.0);
}

#[test]
fn seven_on_two_and_a_bound_one() {
    let mut simulation = Simulation::new(2);
    let mut domains: Vec<_> = (0..6).map(|_| simulation.domain(256, 0, &[(BUSY, &[])])).collect();
    domains.push(simulation.domain(256, 0, &[(BUSY, &[0])]));
    let groups: Vec<&[TestVcpu]> = domains.iter().map(|domain| &domain[..]).collect();
    let shares = simulation.shares(&groups, 2_000 * MS);
    assert_close(&shares, &[200.0 / 7.0; 7], 1.0);
}

#[test]
fn a_cluster_that_does_better_keeps_what_it_has() {
    // Two may run on pcpu 0 only, one everywhere: it gets all of pcpu 1 and nothing of pcpu 0.
    let mut simulation = Simulation::new(2);
    let bound: Vec<_> = (0..2).map(|_| simulation.domain(256, 0, &[(BUSY, &[0])])).collect();
    let free = simulation.domain(256, 0, &[(BUSY, &[])]);
    let shares = simulation.shares(&[&bound[0], &bound[1], &free], 2_000 * MS);
    assert_close(&shares, &[50.0, 50.0, 100.0], 1.0);
}

#[test]
fn heavy_ones_that_cannot_use_their_weight() {
    // Weights 256 512 256 256 256 on 4 pcpus: the heavy one has a whole pcpu, the others share three.
    let mut simulation = Simulation::new(4);
    let weights = [256, 512, 256, 256, 256];
    let domains: Vec<_> = weights.iter().map(|&w| simulation.domain(w, 0, &[(BUSY, &[])])).collect();
    let groups: Vec<&[TestVcpu]> = domains.iter().map(|domain| &domain[..]).collect();
    simulation.run(1_000 * MS);
    let shares = simulation.shares(&groups, 2_000 * MS);
    assert_close(&shares, &[75.0, 100.0, 75.0, 75.0, 75.0], 1.0);
}

#[test]
fn caps_t13_t14_t17() {
    let mut simulation = Simulation::new(4);
    let two = simulation.domain(256, 160, &[(BUSY, &[]), (BUSY, &[])]);
    let one = simulation.domain(256, 50, &[(BUSY, &[])]);
    let shares = simulation.shares(&[&two[..1], &two[1..], &one], 2_000 * MS);
    assert_close(&shares, &[80.0, 80.0, 50.0], 1.0);
}

#[test]
fn a_small_waker_among_busy_vcpus_runs_at_once() {
    let mut simulation = Simulation::new(2);
    for _ in 0..6 {
        simulation.domain(256, 0, &[(BUSY, &[])]);
    }
    let waker = simulation.domain(256, 0, &[(Behaviour { work: MS / 10, pause: 7 * MS + 123 }, &[])]);
    simulation.run(5_000 * MS);
    let mut waits = waker[0].0.waits.take();
    waits.sort_unstable();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(waits.len() > 500 && median <= MS / 5 && worst <= 30 * MS, "{} {median} {worst}", waits.len());
}

#[test]
fn extreme_weights_do_not_starve() {
    let mut simulation = Simulation::new(1);
    let heavy = simulation.domain(65535, 0, &[(BUSY, &[])]);
    let light = simulation.domain(1, 0, &[(BUSY, &[])]);
    simulation.run(3_000 * MS);
    let shares = simulation.shares(&[&heavy, &light], 10_000 * MS);
    assert_close(&shares, &[99.9, 0.1], 0.05);
}

#[test]
fn keys_that_begin_anew_change_no_share() {
    const HOUR: u64 = 3_600_000 * MS;
    let mut simulation = Simulation::new(1);
    let light = simulation.domain(1, 0, &[(BUSY, &[]), (BUSY, &[])]);
    let heavy = simulation.domain(3, 0, &[(BUSY, &[])]);
    simulation.domain(4, 0, &[(Behaviour { work: MS, pause: 9 * MS }, &[])]);
    let epoch = |simulation: &Simulation| simulation.machine.queues[0].borrow().epoch();
    let first = epoch(&simulation);
    let mut crossed = 0;
    for _ in 0..40 {
        // As if all had run that long without being looked at.
        simulation.machine.queues[0].borrow_mut().skip(HOUR);
        let before = epoch(&simulation);
        simulation.run(1_000 * MS);
        if epoch(&simulation) != before {
            crossed += 1;
            let shares = simulation.shares(&[&light, &heavy], 4_000 * MS);
            assert_close(&[shares[1] / shares[0]], &[3.0], 0.1);
        }
    }
    assert!(crossed > 0 && epoch(&simulation) != first, "{crossed}");
}
