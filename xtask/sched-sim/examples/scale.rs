//! A machine with many vcpus on which one operation of the scheduler stands out: what it costs is counted by
//! `cargo xtask sched-sim --scale`, which runs this in callgrind and has it collect inside [`counted`] only.
//!
//! ```text
//!   scale OPERATION VCPUS PCPUS GROUP ROUNDS
//! ```
//!
//! Vcpus are domains of one vcpu each, with different weights, all busy but a tenth of them, which sleep. With
//! `GROUP` they are pinned to groups of so many pcpus; 0 is none. In each round of `ROUNDS` one turn ends, one vcpu
//! falls asleep, another one wakes up, and pcpus pick the next. At the end it says `performed N`: how often
//! the operation was done.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use hv_core::credit::{self, Parameters, Ready, Share, Vcpu as _, Verdict};
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::pcpu_set::PcpuSet;
use sched_sim::machine::{Handle, Machine};
use xen_abi::vcpu::Runstate;

/// Rounds before those that count, at most; fewer vcpus need no more than one each.
const MOST_WARM_UP: usize = 2000;
/// One of so many vcpus sleeps.
const SLEEPERS: usize = 10;
/// Weights are this at least, and up to 16 times as much.
const LEAST_WEIGHT: u16 = 64;
const SEED: u64 = 1;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, numbers @ ..] = arguments.as_slice() else {
        bail!("expected OPERATION VCPUS PCPUS GROUP ROUNDS")
    };
    let operation = Operation::named(operation)?;
    let numbers = numbers.iter().map(|text| text.parse().with_context(|| format!("`{text}` is no number")));
    let numbers: Vec<usize> = numbers.collect::<Result<_>>()?;
    let &[vcpus, pcpus, group, rounds] = numbers.as_slice() else {
        bail!("expected four numbers: VCPUS PCPUS GROUP ROUNDS")
    };
    ensure!((1..=MAX_PCPUS).contains(&pcpus), "PCPUS is 1 to {MAX_PCPUS}");
    ensure!(vcpus >= 2 * pcpus, "at least two vcpus for each pcpu");
    ensure!(operation != Operation::Idle || pcpus > 1, "idle: the vcpus need a pcpu beside the idle one");
    println!("performed {}", Bench::new(operation, vcpus, pcpus, group).run(rounds)?);
    Ok(())
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// A vcpu that has slept wants to run, and waits for its turn.
    Wake,
    /// A vcpu that runs falls asleep.
    Sleep,
    /// A turn ends, and the vcpu waits for the next.
    Turn,
    /// A pcpu takes its next vcpu.
    Pick,
    /// A pcpu finds none: no vcpu may run there.
    Idle,
}

impl Operation {
    fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "wake" => Self::Wake,
            "sleep" => Self::Sleep,
            "turn" => Self::Turn,
            "pick" => Self::Pick,
            "idle" => Self::Idle,
            _ => bail!("`{name}` is none of wake, sleep, turn, pick, idle"),
        })
    }
}

/// Callgrind collects inside. A function of its own, and not left before `work` returns.
#[inline(never)]
fn counted(work: impl FnOnce() -> bool) -> bool {
    black_box(work())
}

struct Bench {
    machine: Machine,
    now: u64,
    vcpus: Vec<Handle>,
    sleepers: Vec<usize>,
    running: Vec<Option<Handle>>,
    /// When each pcpu looks again, and the same in order.
    looks: Vec<Option<u64>>,
    alarms: BTreeSet<(u64, usize)>,
    random: fastrand::Rng,
    operation: Operation,
    /// The warm-up is over.
    counts: bool,
    performed: Cell<u64>,
}

impl Bench {
    fn new(operation: Operation, vcpus: usize, pcpus: usize, group: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let machine = Machine::new(pcpus, Parameters::DEFAULT);
        let now = 1;
        let handles = (0..vcpus).map(|number| {
            let share = Arc::new(Share::default());
            share.set_weight(random.u16(LEAST_WEIGHT..=16 * LEAST_WEIGHT));
            share.note_up(true);
            let home = number % pcpus;
            let handle = Handle::new(number, share, pcpu_id(home), now);
            let affinity = affinity(operation, home, pcpus, group);
            handle.entity(|entity| {
                credit::set_affinity(&machine, &handle, entity, affinity, PcpuSet::ALL, now);
            });
            handle
        });
        let vcpus = handles.collect();
        Self {
            machine,
            now,
            vcpus,
            sleepers: Vec::new(),
            running: vec![None; pcpus],
            looks: vec![None; pcpus],
            alarms: BTreeSet::new(),
            random,
            operation,
            counts: false,
            performed: Cell::new(0),
        }
    }

    /// How often the operation was done in `rounds`.
    fn run(&mut self, rounds: usize) -> Result<u64> {
        let mut order: Vec<usize> = (0..self.vcpus.len()).collect();
        self.random.shuffle(&mut order);
        self.sleepers = order.split_off(order.len() - order.len().div_ceil(SLEEPERS));
        for number in order {
            self.wake(number);
        }
        for _ in 0..self.vcpus.len().min(MOST_WARM_UP) {
            self.round()?;
        }
        self.counts = true;
        for _ in 0..rounds {
            self.round()?;
        }
        Ok(self.performed.get())
    }

    fn round(&mut self) -> Result<()> {
        self.end_a_turn()?;
        self.fall_asleep()?;
        let sleeper = self.random.usize(..self.sleepers.len());
        let sleeper = self.sleepers.swap_remove(sleeper);
        self.wake(sleeper);
        if self.operation == Operation::Idle {
            let lonely = pcpu_id(self.running.len() - 1);
            let mut found = None;
            self.perform(Operation::Idle, || {
                found = credit::pick(&self.machine, lonely, self.now).map(|(vcpu, _)| vcpu);
                found.is_none()
            });
            ensure!(found.is_none(), "a vcpu runs where it may not");
        }
        Ok(())
    }

    /// Does `work`, which says whether it was what is counted.
    fn perform(&self, operation: Operation, work: impl FnOnce() -> bool) {
        if self.counts && operation == self.operation {
            self.performed.set(self.performed.get() + u64::from(counted(work)));
        } else {
            work();
        }
    }

    /// Time passes until a turn is over. What pcpus do that look and go on counts as a part of it.
    fn end_a_turn(&mut self) -> Result<()> {
        loop {
            let (at, index) = self.alarms.pop_first().context("all vcpus run alone")?;
            self.now = self.now.max(at);
            self.looks[index] = None;
            let left = self.turn(index, true);
            self.refill(index);
            if left {
                return Ok(());
            }
        }
    }

    /// A pcpu looks whether its vcpu makes room; says whether it did. It counts only when its time is up.
    fn turn(&mut self, index: usize, is_due: bool) -> bool {
        let Some(handle) = &self.running[index] else { return false };
        let (machine, me, now) = (&self.machine, pcpu_id(index), self.now);
        let mut left = false;
        let mut work = || {
            left = credit::tick(machine, me, now) == Verdict::Leave;
            if left {
                handle.entity(|entity| {
                    credit::stop(machine, me, handle, entity, now);
                    credit::ready(machine, handle, entity, Ready::Back, now);
                });
            }
            left
        };
        if is_due {
            self.perform(Operation::Turn, work);
        } else {
            work();
        }
        if left {
            self.running[index] = None;
        }
        left
    }

    /// The vcpu of some pcpu falls asleep.
    fn fall_asleep(&mut self) -> Result<()> {
        let busy = (0..self.running.len()).filter(|&index| self.running[index].is_some());
        let busy: Vec<usize> = busy.collect();
        let index = *self.random.choice(&busy).context("no vcpu runs")?;
        let handle = self.running[index].take().context("no vcpu runs")?;
        self.perform(Operation::Sleep, || {
            handle.entity(|entity| {
                credit::stop(&self.machine, pcpu_id(index), &handle, entity, self.now);
                credit::sleep(&handle, entity, Runstate::Blocked, self.now);
            });
            true
        });
        self.sleepers.push(handle.number());
        self.refill(index);
        Ok(())
    }

    fn wake(&mut self, number: usize) {
        let handle = &self.vcpus[number];
        self.perform(Operation::Wake, || {
            handle.entity(|entity| credit::ready(&self.machine, handle, entity, Ready::Woken, self.now));
            true
        });
        self.settle();
    }

    /// Lets kicked pcpus look until none has been kicked.
    fn settle(&mut self) {
        loop {
            let kicks = self.machine.take_kicks();
            if kicks.is_empty() {
                return;
            }
            for index in kicks.into_iter().map(PcpuId::index) {
                self.turn(index, false);
                self.pick(index);
            }
        }
    }

    /// The pcpu takes its next vcpu if it has none; others follow.
    fn refill(&mut self, index: usize) {
        self.pick(index);
        self.settle();
    }

    fn pick(&mut self, index: usize) {
        let me = pcpu_id(index);
        if self.running[index].is_none() {
            let mut found = None;
            self.perform(Operation::Pick, || {
                found = credit::pick(&self.machine, me, self.now).map(|(vcpu, _)| vcpu);
                found.is_some()
            });
            if found.is_none() {
                credit::set_idle(&self.machine, me);
            }
            self.running[index] = found;
        }
        let at = credit::wakes_at(&self.machine, me).max(self.now + 1);
        let look = Some(at).filter(|&at| at != u64::MAX);
        if let Some(before) = std::mem::replace(&mut self.looks[index], look) {
            self.alarms.remove(&(before, index));
        }
        self.alarms.extend(look.map(|at| (at, index)));
    }
}

/// Where a vcpu of pcpu `home` may run: nowhere near the last pcpu if that one shall idle.
fn affinity(operation: Operation, home: usize, pcpus: usize, group: usize) -> PcpuSet {
    let first = home.checked_div(group).map_or(0, |number| number * group);
    let end = if group == 0 { pcpus } else { (first + group).min(pcpus) };
    let mut affinity: PcpuSet = (first..end).filter_map(PcpuId::new).collect();
    if operation == Operation::Idle {
        affinity.remove(pcpu_id(pcpus - 1));
    }
    affinity
}

/// As many pcpus as there can be at most, as `main` has checked.
fn pcpu_id(index: usize) -> PcpuId {
    PcpuId::new(index).unwrap_or(PcpuId::BOOT)
}
