//! Virtual time: from one event to the next, each pcpu and each vcpu does what it would on the metal.
//!
//! ```text
//!   step of the plan ─┐                          ┌─> ready, leave, sleep ─┐
//!   a sleep is over ──┼─> the earliest ──> now ──┤                        ├─> kicks ──> look
//!   alarm of a pcpu ──┘                          └─> tick, stop, pick ────┘
//! ```
//!
//! An alarm is the end of a vcpu's work, or the time that the scheduler asked for. A kick arrives at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use hv_core::credit::{self, At, Parameters, Ready, Share, Vcpu as _, Verdict};
use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;
use xen_abi::vcpu::Runstate;

use crate::machine::{Handle, Machine};
use crate::measure::{LostWork, Measured, Outcome, Stay};
use crate::plan::{self, Step};
use crate::scenario::Scenario;
use crate::work::Work;

/// Points of the curves in the picture.
const SAMPLES: u64 = 400;
/// Time slices that the timeline in the picture shows.
const TIMELINE_SLICES: u64 = 20;
/// Time begins here, so that 0 means nothing to anybody.
const BEGIN: u64 = 1;

/// Runs `scenario` to its end. `watch` hears now and then how far it is, in ns, and says whether to go on.
pub fn simulate(scenario: &Scenario, watch: &mut dyn FnMut(u64) -> bool) -> Outcome {
    let mut simulation = Simulation::new(scenario);
    simulation.run(watch);
    simulation.outcome()
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    machine: Machine,
    now: u64,
    domains: Vec<Domain>,
    vcpus: Vec<Vcpu>,
    pcpus: Vec<Pcpu>,
    /// When each pcpu looks again.
    alarms: BTreeSet<(u64, usize)>,
    /// When vcpus wake up.
    sleepers: BTreeSet<(u64, usize)>,
    /// Those that wait for a pcpu.
    waiting: BTreeSet<usize>,
    /// Those that have used up their cap.
    parked: BTreeSet<usize>,
    idle: BTreeSet<usize>,
    lost_work: Option<LostWork>,
    stays: Vec<Stay>,
    samples: Vec<(u64, Vec<u64>)>,
}

struct Domain {
    share: Arc<Share>,
    lives: bool,
    paused: bool,
}

struct Vcpu {
    handle: Handle,
    domain: usize,
    /// It wants to run, by the clock.
    on: bool,
    /// It sleeps between two bursts until then.
    asleep_until: Option<u64>,
    work: Work,
    /// Since when it waits.
    waits_since: u64,
    /// When it woke up, until it runs.
    woke: Option<u64>,
    last_pcpu: Option<usize>,
    /// All that it ran, from the begin on.
    ran: u64,
    measured: Measured,
}

#[derive(Default)]
struct Pcpu {
    running: Option<Running>,
    last: Option<usize>,
    alarm: Option<u64>,
}

#[derive(Clone, Copy)]
struct Running {
    vcpu: usize,
    since: u64,
    /// From when on its work gets done.
    works_from: u64,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let parameters = Parameters {
            slice: scenario.slice,
            rate_limit: scenario.rate_limit,
            migration_delay: scenario.migration_delay,
        };
        let machine = Machine::new(scenario.pcpus, parameters);
        let mut simulation = Self {
            scenario,
            machine,
            now: BEGIN,
            domains: Vec::new(),
            vcpus: Vec::new(),
            pcpus: (0..scenario.pcpus).map(|_| Pcpu::default()).collect(),
            alarms: BTreeSet::new(),
            sleepers: BTreeSet::new(),
            waiting: BTreeSet::new(),
            parked: BTreeSet::new(),
            idle: (0..scenario.pcpus).collect(),
            lost_work: None,
            stays: Vec::new(),
            samples: Vec::new(),
        };
        scenario.domains.iter().for_each(|domain| simulation.add(domain));
        simulation
    }

    fn add(&mut self, domain: &crate::scenario::Domain) {
        let share = Arc::new(Share::default());
        share.set_weight(domain.weight);
        share.set_cap(domain.cap);
        domain.vcpus.iter().for_each(|_| share.note_up(true));
        for vcpu in &domain.vcpus {
            let number = self.vcpus.len();
            let home = pcpu_id(number % self.scenario.pcpus);
            let handle = Handle::new(number, Arc::clone(&share), home, BEGIN);
            self.vcpus.push(Vcpu {
                handle,
                domain: self.domains.len(),
                on: false,
                asleep_until: None,
                work: Work::new(vcpu.behaviour, self.scenario.seed, number),
                waits_since: 0,
                woke: None,
                last_pcpu: None,
                ran: 0,
                measured: Measured::default(),
            });
            self.set_affinity(number, Some(vcpu.hard), Some(vcpu.soft));
        }
        self.domains.push(Domain { share, lives: false, paused: false });
    }

    fn run(&mut self, watch: &mut dyn FnMut(u64) -> bool) {
        let mut steps =
            plan::steps(self.scenario).into_iter().map(|(at, step)| (at + BEGIN, step)).peekable();
        let end = BEGIN + self.scenario.length;
        let distance = (self.scenario.length / SAMPLES).max(1);
        let mut sample = BEGIN;
        loop {
            let step = steps.peek().map_or(u64::MAX, |&(at, _)| at);
            let sleeper = self.sleepers.first().map_or(u64::MAX, |&(at, _)| at);
            let alarm = self.alarms.first().map_or(u64::MAX, |&(at, _)| at);
            let next = step.min(sleeper).min(alarm).min(sample);
            if next >= end {
                break;
            }
            self.now = next;
            if sample == next {
                self.sample();
                if !watch(next - BEGIN) {
                    return;
                }
                sample += distance;
            } else if step == next {
                while let Some((_, step)) = steps.next_if(|&(at, _)| at == next) {
                    self.apply(step);
                }
            } else if sleeper == next {
                self.end_of_sleep();
            } else {
                self.end_of_stay();
            }
            self.settle();
        }
        self.now = end;
        self.sample();
    }

    fn outcome(mut self) -> Outcome {
        for pcpu in 0..self.pcpus.len() {
            if let Some(running) = self.pcpus[pcpu].running {
                self.account(pcpu, running);
            }
        }
        for number in std::mem::take(&mut self.waiting) {
            self.note_wait(number);
        }
        let measured = self.vcpus.into_iter().map(|mut vcpu| {
            vcpu.measured.latencies.sort_unstable();
            vcpu.measured
        });
        Outcome {
            vcpus: measured.collect(),
            measured: self.scenario.length - self.scenario.warm_up,
            lost_work: self.lost_work,
            stays: self.stays,
            samples: self.samples,
        }
    }
}

/// What happens to vcpus.
impl Simulation<'_> {
    fn apply(&mut self, step: Step) {
        match step {
            Step::On(vcpu) => self.change_vcpu(vcpu, |vcpu| vcpu.on = true),
            Step::Off(vcpu) => self.change_vcpu(vcpu, |vcpu| vcpu.on = false),
            Step::Start(domain) => self.change_domain(domain, |domain| domain.lives = true),
            Step::Destroy(domain) => self.change_domain(domain, |domain| domain.lives = false),
            Step::Pause(domain) => self.change_domain(domain, |domain| domain.paused = true),
            Step::Unpause(domain) => self.change_domain(domain, |domain| domain.paused = false),
            Step::Weight(domain, weight) => self.domains[domain].share.set_weight(weight),
            Step::Cap(domain, cap) => self.set_cap(domain, cap),
            Step::Hard(vcpu, set) => self.set_affinity(vcpu, Some(set), None),
            Step::Soft(vcpu, set) => self.set_affinity(vcpu, None, Some(set)),
        }
    }

    fn change_vcpu(&mut self, number: usize, change: impl FnOnce(&mut Vcpu)) {
        let before = self.wants_to_run(number);
        change(&mut self.vcpus[number]);
        self.follow(number, before);
    }

    fn change_domain(&mut self, domain: usize, change: impl FnOnce(&mut Domain)) {
        let own = (0..self.vcpus.len()).filter(|&number| self.vcpus[number].domain == domain);
        let before: Vec<(usize, bool)> = own.map(|number| (number, self.wants_to_run(number))).collect();
        change(&mut self.domains[domain]);
        before.into_iter().for_each(|(number, before)| self.follow(number, before));
    }

    fn wants_to_run(&self, number: usize) -> bool {
        let vcpu = &self.vcpus[number];
        let domain = &self.domains[vcpu.domain];
        vcpu.on && vcpu.asleep_until.is_none() && domain.lives && !domain.paused
    }

    /// A vcpu that has wanted to run, or not, may do otherwise now.
    fn follow(&mut self, number: usize, before: bool) {
        match (before, self.wants_to_run(number)) {
            (false, true) => self.wake(number),
            (true, false) => self.suspend(number),
            _ => {}
        }
    }

    fn wake(&mut self, number: usize) {
        if self.starts(number) {
            return;
        }
        self.make_ready(number, Ready::Woken);
        if self.waiting.contains(&number) {
            self.vcpus[number].woke = Some(self.now);
        }
    }

    /// Lets a vcpu that wakes up run at once if its pcpu idles, as the hypervisor does when a timer wakes it.
    fn starts(&mut self, number: usize) -> bool {
        let handle = self.vcpus[number].handle.clone();
        let home = handle.entity(|entity| entity.pcpu());
        let starts = self.pcpus[home.index()].running.is_none()
            && handle
                .entity(|entity| credit::start(&self.machine, home, &handle, entity, self.now))
                .is_some();
        if starts {
            let vcpu = &mut self.vcpus[number];
            (vcpu.woke, vcpu.waits_since) = (Some(self.now), self.now);
            self.idle.remove(&home.index());
            self.put_on(home.index(), number);
            self.arm(home);
        }
        starts
    }

    fn make_ready(&mut self, number: usize, why: Ready) {
        let handle = self.vcpus[number].handle.clone();
        let parked = handle.entity(|entity| {
            credit::ready(&self.machine, &handle, entity, why, self.now);
            entity.is_parked()
        });
        if parked {
            self.parked.insert(number);
        } else {
            self.begin_to_wait(number);
        }
    }

    fn begin_to_wait(&mut self, number: usize) {
        self.waiting.insert(number);
        self.vcpus[number].waits_since = self.now;
    }

    fn suspend(&mut self, number: usize) {
        let handle = self.vcpus[number].handle.clone();
        if let At::Pcpu(pcpu) = handle.entity(|entity| entity.at()) {
            self.take_off(pcpu, None);
            self.machine_kick(pcpu);
            return;
        }
        if self.waiting.remove(&number) {
            self.note_wait(number);
        }
        self.parked.remove(&number);
        self.vcpus[number].woke = None;
        handle.entity(|entity| {
            credit::leave(&self.machine, &handle, entity);
            credit::sleep(&handle, entity, Runstate::Blocked, self.now);
        });
    }

    fn set_affinity(&mut self, number: usize, hard: Option<PcpuSet>, soft: Option<PcpuSet>) {
        let handle = self.vcpus[number].handle.clone();
        let pcpu = handle.entity(|entity| {
            let (hard, soft) = (hard.unwrap_or(entity.affinity()), soft.unwrap_or(entity.preferred()));
            credit::set_affinity(&self.machine, &handle, entity, hard, soft, self.now)
        });
        if let Some(pcpu) = pcpu {
            self.take_off(pcpu, Some(Ready::Back));
            self.machine_kick(pcpu);
        }
    }

    /// What a vcpu may use is counted out when its stay begins: those that run begin anew.
    fn set_cap(&mut self, domain: usize, cap: u16) {
        self.domains[domain].share.set_cap(cap);
        let runs = |pcpu: &usize| {
            self.pcpus[*pcpu].running.is_some_and(|running| self.vcpus[running.vcpu].domain == domain)
        };
        let pcpus: Vec<usize> = (0..self.pcpus.len()).filter(runs).collect();
        for pcpu in pcpus.into_iter().map(pcpu_id) {
            self.take_off(pcpu, Some(Ready::Back));
            self.machine_kick(pcpu);
        }
    }

    fn machine_kick(&self, pcpu: PcpuId) {
        credit::Machine::kick(&self.machine, pcpu);
    }

    fn end_of_sleep(&mut self) {
        if let Some((_, number)) = self.sleepers.pop_first() {
            self.change_vcpu(number, |vcpu| vcpu.asleep_until = None);
        }
    }
}

/// What happens on pcpus.
impl Simulation<'_> {
    fn end_of_stay(&mut self) {
        let Some((_, index)) = self.alarms.pop_first() else { return };
        self.pcpus[index].alarm = None;
        if let Some(running) = self.pcpus[index].running
            && self.is_done(running)
        {
            self.change_over(pcpu_id(index));
            let now = self.now;
            let vcpu = &mut self.vcpus[running.vcpu];
            let until = now.saturating_add(vcpu.work.sleep());
            vcpu.asleep_until = Some(until);
            self.sleepers.insert((until, running.vcpu));
        }
        self.look(pcpu_id(index));
    }

    fn is_done(&self, running: Running) -> bool {
        let done = self.vcpus[running.vcpu].work.done_at(running.works_from);
        done.is_some_and(|done| done <= self.now)
    }

    /// Lets kicked pcpus look until none has been kicked.
    fn settle(&mut self) {
        loop {
            let kicks = self.machine.take_kicks();
            if kicks.is_empty() {
                break;
            }
            kicks.into_iter().for_each(|pcpu| self.look(pcpu));
        }
        self.find_lost_work();
    }

    fn look(&mut self, me: PcpuId) {
        let runs = self.pcpus[me.index()].running.is_some();
        if runs && credit::tick(&self.machine, me, self.now) == Verdict::Leave {
            self.take_off(me, Some(Ready::Back));
        }
        if self.pcpus[me.index()].running.is_none() {
            self.pick(me);
        }
        self.find_filled_up();
        self.arm(me);
    }

    /// Takes the vcpu that runs on `me` off; `then` it is ready again, or sleeps.
    fn take_off(&mut self, me: PcpuId, then: Option<Ready>) {
        let Some(handle) = self.end_of_run(me) else { return };
        handle.entity(|entity| credit::stop(&self.machine, me, &handle, entity, self.now));
        match then {
            Some(why) => self.make_ready(handle.number(), why),
            None => handle.entity(|entity| credit::sleep(&handle, entity, Runstate::Blocked, self.now)),
        }
    }

    /// The vcpu that runs on `me` sleeps, and another one takes its place.
    fn change_over(&mut self, me: PcpuId) {
        let Some(handle) = self.end_of_run(me) else { return };
        let next = handle.entity(|entity| {
            let next = credit::stop_for(&self.machine, me, &handle, entity, self.now);
            credit::sleep(&handle, entity, Runstate::Blocked, self.now);
            next
        });
        self.take(me, credit::follow(&self.machine, me, next));
    }

    fn end_of_run(&mut self, me: PcpuId) -> Option<Handle> {
        let running = self.pcpus[me.index()].running.take()?;
        self.account(me.index(), running);
        let vcpu = &mut self.vcpus[running.vcpu];
        vcpu.work.progress(self.now.saturating_sub(running.works_from));
        Some(vcpu.handle.clone())
    }

    fn pick(&mut self, me: PcpuId) {
        self.take(me, credit::pick(&self.machine, me, self.now));
    }

    /// Lets `me` run who was picked, or idle.
    fn take(&mut self, me: PcpuId, picked: Option<(Handle, u64)>) {
        if let Some((handle, _)) = picked {
            self.idle.remove(&me.index());
            self.put_on(me.index(), handle.number());
        } else {
            credit::set_idle(&self.machine, me);
            self.idle.insert(me.index());
        }
    }

    fn put_on(&mut self, index: usize, number: usize) {
        // Its cap may have been filled up in this very moment.
        if self.parked.remove(&number) {
            self.begin_to_wait(number);
        }
        self.waiting.remove(&number);
        self.note_wait(number);
        let measures = self.measures();
        let pcpu = &mut self.pcpus[index];
        let cost = if pcpu.last == Some(number) { 0 } else { self.scenario.switch_cost };
        pcpu.running = Some(Running { vcpu: number, since: self.now, works_from: self.now + cost });
        pcpu.last = Some(number);
        let vcpu = &mut self.vcpus[number];
        let moved = vcpu.last_pcpu.is_some_and(|last| last != index);
        vcpu.last_pcpu = Some(index);
        let woke = vcpu.woke.take();
        if measures {
            vcpu.measured.stays += 1;
            vcpu.measured.migrations += u64::from(moved);
            vcpu.measured.latencies.extend(woke.map(|woke| self.now - woke));
        }
    }

    fn arm(&mut self, me: PcpuId) {
        let pcpu = &mut self.pcpus[me.index()];
        let done = pcpu.running.and_then(|running| self.vcpus[running.vcpu].work.done_at(running.works_from));
        let asked = credit::wakes_at(&self.machine, me).max(self.now + 1);
        let alarm = Some(done.map_or(asked, |done| done.min(asked))).filter(|&at| at != u64::MAX);
        if alarm != pcpu.alarm {
            pcpu.alarm.map(|at| self.alarms.remove(&(at, me.index())));
            self.alarms.extend(alarm.map(|at| (at, me.index())));
            pcpu.alarm = alarm;
        }
    }

    /// Those whose cap has been filled up wait from now on.
    fn find_filled_up(&mut self) {
        let is_filled = |&&number: &&usize| self.vcpus[number].handle.entity(|entity| !entity.is_parked());
        let filled: Vec<usize> = self.parked.iter().filter(is_filled).copied().collect();
        for number in filled {
            self.parked.remove(&number);
            self.begin_to_wait(number);
        }
    }
}

/// What is measured.
impl Simulation<'_> {
    fn measures(&self) -> bool {
        self.now >= self.measured_from()
    }

    fn measured_from(&self) -> u64 {
        BEGIN + self.scenario.warm_up
    }

    fn account(&mut self, pcpu: usize, running: Running) {
        let from = self.measured_from();
        let vcpu = &mut self.vcpus[running.vcpu];
        vcpu.ran += self.now - running.since;
        vcpu.measured.ran += self.now.saturating_sub(running.since.max(from));
        let timeline = from + TIMELINE_SLICES * self.scenario.slice;
        if self.now > from && running.since < timeline {
            let (from, to) = (running.since - BEGIN, self.now - BEGIN);
            self.stays.push(Stay { pcpu, vcpu: running.vcpu, from, to });
        }
    }

    fn note_wait(&mut self, number: usize) {
        let from = self.measured_from();
        let vcpu = &mut self.vcpus[number];
        let waited = self.now.saturating_sub(vcpu.waits_since.max(from));
        vcpu.measured.worst_wait = vcpu.measured.worst_wait.max(waited);
    }

    fn sample(&mut self) {
        let mut domains = vec![0; self.domains.len()];
        for vcpu in &self.vcpus {
            domains[vcpu.domain] += vcpu.ran;
        }
        for running in self.pcpus.iter().filter_map(|pcpu| pcpu.running) {
            domains[self.vcpus[running.vcpu].domain] += self.now - running.since;
        }
        self.samples.push((self.now - BEGIN, domains));
    }

    /// No pcpu may idle while a vcpu waits that may run there.
    fn find_lost_work(&mut self) {
        if self.lost_work.is_some()
            || self.idle.is_empty()
            || self.waiting.is_empty()
            || self.scenario.migration_delay > 0
        {
            return;
        }
        for &number in &self.waiting {
            let affinity = self.vcpus[number].handle.entity(|entity| entity.affinity());
            if let Some(&pcpu) = self.idle.iter().find(|&&pcpu| affinity.contains(pcpu_id(pcpu))) {
                self.lost_work = Some(LostWork { at: self.now - BEGIN, pcpu, vcpu: number });
                return;
            }
        }
    }
}

/// Scenarios have at most as many pcpus as there can be.
fn pcpu_id(index: usize) -> PcpuId {
    PcpuId::new(index).unwrap_or(PcpuId::BOOT)
}
