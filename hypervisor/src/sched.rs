//! Which vcpu runs where: run queues, waking, sleeping, pausing.
//!
//! ```text
//!            wake                    pick
//!   asleep ────────> in a run queue ──────> on a pcpu
//!     ^                    ^                    │
//!     │                    └──slice used up─────┤
//!     └──────────nothing to do, paused──────────┘
//! ```
//!
//! Each pcpu has a queue and takes turns by time slices; a vcpu that wakes goes to
//! the front. A pcpu without work takes some from others. Which vcpu comes next and
//! for how long is decided in this file alone: [`pick`], [`claim`], [`put_back`].

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use hv_arch::sync::{Lock, Rank};
use hv_arch::{cpu, ipi, percpu, smp};
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::pcpu_set::PcpuSet;
use hv_core::runstate::RunstateAccount;
use xen_abi::vcpu::{Runstate, VcpuRunstateInfo};

use crate::clock;
use crate::exit::Stop;
use crate::vcpu::Vcpu;
use crate::work::Work;
use crate::{init, timers};

/// Where a vcpu is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// In no queue: it sleeps or may not run.
    Nowhere,
    /// In the run queue of a pcpu.
    Queue(PcpuId),
    /// On a pcpu.
    Pcpu(PcpuId),
}

/// What the scheduler knows of a vcpu.
#[derive(Debug)]
pub struct Schedule {
    at: At,
    /// It has nothing to do.
    asleep: bool,
    /// Where it ran last.
    home: PcpuId,
    /// Where it may run.
    affinity: PcpuSet,
    /// Where it runs best.
    preferred: PcpuSet,
    /// Whose timer wakes it.
    timer: Option<PcpuId>,
    account: RunstateAccount,
}

impl Schedule {
    /// A vcpu that sleeps and may run everywhere; it starts on `home`.
    pub fn new(home: PcpuId) -> Self {
        Self {
            at: At::Nowhere,
            asleep: true,
            home,
            affinity: PcpuSet::ALL,
            preferred: PcpuSet::ALL,
            timer: None,
            account: RunstateAccount::new(clock::now()),
        }
    }

    /// Where it is.
    pub fn at(&self) -> At {
        self.at
    }

    /// Where its time went.
    pub fn account(&self) -> &RunstateAccount {
        &self.account
    }

    /// Where its time went until system time `now`.
    pub fn runstate(&self, now: u64) -> VcpuRunstateInfo {
        self.account.info(now)
    }

    fn enter(&mut self, state: Runstate) {
        self.account.change(state, clock::now());
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Where it may run.
    pub fn affinity(&self) -> PcpuSet {
        self.affinity
    }

    /// Where it runs best: soft affinity.
    pub fn preferred(&self) -> PcpuSet {
        self.preferred
    }

    /// Sets where it runs best.
    pub fn set_preferred(&mut self, preferred: PcpuSet) {
        self.preferred = preferred;
    }

    /// Whether it is on a pcpu.
    pub fn is_running(&self) -> bool {
        matches!(self.at, At::Pcpu(_))
    }

    /// The pcpu that runs it, or ran it last.
    pub fn home(&self) -> PcpuId {
        self.home
    }
}

/// Vcpus that could run, by pcpu.
static QUEUES: [Lock<Queue>; MAX_PCPUS] = [const { Lock::new(Rank::RunQueue, Queue::new()) }; MAX_PCPUS];

/// Vcpus that wait for one pcpu.
#[derive(Debug)]
struct Queue {
    vcpus: VecDeque<Waiting>,
    /// Since when vcpus that have just woken up have been going before one that waits for
    /// its turn, in ticks of the time stamp counter.
    passed_over: Option<u64>,
}

impl Queue {
    const fn new() -> Self {
        Self { vcpus: VecDeque::new(), passed_over: None }
    }

    /// Takes the first vcpu. But vcpus that wake each other in turns do not keep out those
    /// that wait for their turn for longer than a time slice.
    fn take_first(&mut self, now: u64) -> Option<Waiting> {
        if self.vcpus.len() <= 1 {
            self.passed_over = None;
            return self.vcpus.pop_front();
        }
        let turn = self.vcpus.iter().position(|waiting| !waiting.woken).unwrap_or(0);
        if turn == 0 {
            self.passed_over = None;
            return self.vcpus.pop_front();
        }
        let since = *self.passed_over.get_or_insert(now);
        if now.saturating_sub(since) < init::time_slice() {
            return self.vcpus.pop_front();
        }
        self.passed_over = None;
        self.vcpus.remove(turn)
    }
}

/// A vcpu that waits for its turn.
#[derive(Debug)]
struct Waiting {
    vcpu: Arc<Vcpu>,
    /// It has slept, so it has not had a share lately.
    woken: bool,
}

/// What other vcpus want of a pcpu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Nothing.
    None,
    /// Their turn, when the time slice is over.
    Turn,
    /// To go on, since they have just woken up.
    Wakeup,
}

/// What other vcpus want of `pcpu`.
pub fn claim_on(pcpu: PcpuId) -> Claim {
    match QUEUES[pcpu.index()].lock().vcpus.front() {
        None => Claim::None,
        Some(Waiting { woken: false, .. }) => Claim::Turn,
        Some(Waiting { woken: true, .. }) => Claim::Wakeup,
    }
}

/// Whether `vcpu` may go on where it is, on `pcpu`.
pub fn may_stay(vcpu: &Vcpu, pcpu: PcpuId) -> bool {
    vcpu.may_run() && vcpu.schedule().lock().affinity.contains(pcpu)
}

/// A pcpu for a new vcpu: all of them in turn.
pub fn home() -> PcpuId {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let count = smp::online().count().max(1);
    let index = NEXT.fetch_add(1, Ordering::Relaxed) % count;
    smp::online().nth(index).unwrap_or(PcpuId::BOOT)
}

const WORDS: usize = MAX_PCPUS / 64;
/// Pcpus that wait for work.
static IDLE: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

fn is_idle(pcpu: PcpuId) -> bool {
    IDLE[pcpu.index() / 64].load(Ordering::SeqCst) >> (pcpu.index() % 64) & 1 != 0
}

/// An idle pcpu of `allowed`.
fn any_idle(allowed: &PcpuSet) -> Option<PcpuId> {
    IDLE.iter().zip(allowed.words()).zip((0..).step_by(64)).find_map(|((idle, allowed), first)| {
        let bit = (idle.load(Ordering::SeqCst) & allowed).checked_ilog2()?;
        PcpuId::new(usize::try_from(bit).ok()?.checked_add(first)?)
    })
}

/// Says whether this pcpu waits for work: then it is the first to get some.
pub fn set_idle(idle: bool) {
    let index = percpu::this().id().index();
    let (word, bit) = (&IDLE[index / 64], 1 << (index % 64));
    if idle {
        word.fetch_or(bit, Ordering::SeqCst);
    } else {
        word.fetch_and(!bit, Ordering::SeqCst);
    }
}

/// Wakes `vcpu` if it sleeps. If it runs elsewhere its pcpu looks at once what is
/// owed to it.
pub fn wake(vcpu: &Arc<Vcpu>) {
    let mut schedule = vcpu.schedule().lock();
    match schedule.at {
        At::Pcpu(pcpu) => {
            drop(schedule);
            kick(pcpu);
        }
        At::Queue(_) => {}
        At::Nowhere => {
            schedule.asleep = false;
            if let Some(pcpu) = schedule.timer.take() {
                timers::remove(pcpu, vcpu);
            }
            if vcpu.may_run() {
                let pcpu = place(&mut schedule);
                enqueue(vcpu, pcpu, End::Woken);
                drop(schedule);
                offer(pcpu);
            }
        }
    }
}

/// Lets `vcpu` run if it has anything to do, after a reason why it might not is gone.
pub fn resume(vcpu: &Arc<Vcpu>) {
    let mut schedule = vcpu.schedule().lock();
    if schedule.at == At::Nowhere && !schedule.asleep && vcpu.may_run() {
        let pcpu = place(&mut schedule);
        enqueue(vcpu, pcpu, End::Back);
        drop(schedule);
        offer(pcpu);
    }
}

/// Takes `vcpu` off its queue or pcpu, after a reason has come why it may not run.
/// It can still be on the pcpu for a moment.
pub fn suspend(vcpu: &Arc<Vcpu>) {
    vcpu.owe(Work::LEAVE);
    let mut schedule = vcpu.schedule().lock();
    // The reason may be gone again, and who took it away found the vcpu where it was: nobody
    // would put it back. Who takes it away from now on waits for the lock.
    if vcpu.may_run() {
        return;
    }
    match schedule.at {
        At::Pcpu(pcpu) => {
            drop(schedule);
            kick(pcpu);
        }
        At::Queue(pcpu) => {
            schedule.at = At::Nowhere;
            schedule.enter(Runstate::Offline);
            dequeue(vcpu, pcpu);
        }
        At::Nowhere => {
            if let Some(pcpu) = schedule.timer.take() {
                // Its deadline is looked at again when it may run.
                schedule.asleep = false;
                timers::remove(pcpu, vcpu);
            }
        }
    }
}

/// Lets `vcpu` run on the pcpus of `affinity` only.
pub fn set_affinity(vcpu: &Arc<Vcpu>, affinity: PcpuSet) {
    let mut schedule = vcpu.schedule().lock();
    schedule.affinity = affinity;
    match schedule.at {
        At::Pcpu(pcpu) if !affinity.contains(pcpu) => {
            drop(schedule);
            vcpu.owe(Work::LEAVE);
            kick(pcpu);
        }
        At::Queue(pcpu) if !affinity.contains(pcpu) => {
            dequeue(vcpu, pcpu);
            let pcpu = place(&mut schedule);
            enqueue(vcpu, pcpu, End::Back);
            drop(schedule);
            offer(pcpu);
        }
        _ => {}
    }
}

/// Which end of a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The front, after sleep: behind those that have woken up before.
    Woken,
    Front,
    Back,
}

/// Chooses a pcpu: the last one if it is idle, another idle one, the last one.
fn place(schedule: &mut Schedule) -> PcpuId {
    let allowed = &schedule.affinity;
    let home = Some(schedule.home).filter(|&home| allowed.contains(home) && smp::is_online(home));
    let idle = || any_idle(allowed);
    let any = || smp::online().find(|&pcpu| allowed.contains(pcpu));
    let pcpu = home.filter(|&home| is_idle(home)).or_else(idle).or(home).or_else(any).unwrap_or(PcpuId::BOOT);
    schedule.home = pcpu;
    schedule.at = At::Queue(pcpu);
    schedule.enter(Runstate::Runnable);
    pcpu
}

fn enqueue(vcpu: &Arc<Vcpu>, pcpu: PcpuId, end: End) {
    let waiting = Waiting { vcpu: Arc::clone(vcpu), woken: end == End::Woken };
    let queue = &mut QUEUES[pcpu.index()].lock().vcpus;
    match end {
        End::Woken => {
            let woken = queue.iter().take_while(|waiting| waiting.woken).count();
            if woken == queue.len() { queue.push_back(waiting) } else { queue.insert(woken, waiting) }
        }
        End::Front => queue.push_front(waiting),
        End::Back => queue.push_back(waiting),
    }
}

fn dequeue(vcpu: &Arc<Vcpu>, pcpu: PcpuId) {
    let removed = {
        let queue = &mut QUEUES[pcpu.index()].lock().vcpus;
        queue
            .iter()
            .position(|waiting| Arc::ptr_eq(&waiting.vcpu, vcpu))
            .and_then(|index| queue.remove(index))
    };
    drop(removed);
}

/// Tells `pcpu` that its queue has got longer.
fn offer(pcpu: PcpuId) {
    if pcpu == percpu::this().id() {
        if let Some(current) = CURRENT[pcpu.index()].lock().as_ref() {
            current.owe(Work::TICK);
        }
    } else {
        kick(pcpu);
    }
}

/// What runs on each pcpu.
static CURRENT: [Lock<Option<Arc<Vcpu>>>; MAX_PCPUS] = [const { Lock::new(Rank::RunQueue, None) }; MAX_PCPUS];

/// Makes `pcpu`, another one or this, look for work.
pub fn kick(pcpu: PcpuId) {
    if pcpu != percpu::this().id() {
        ipi::send(pcpu);
    }
}

/// Takes the next vcpu for this pcpu.
pub fn pick() -> Option<Arc<Vcpu>> {
    let me = percpu::this().id();
    let vcpu = take(me, me).or_else(|| smp::online().find_map(|other| take(other, me)))?;
    *CURRENT[me.index()].lock() = Some(Arc::clone(&vcpu));
    Some(vcpu)
}

/// Whether a vcpu waits for `pcpu`.
pub fn has_work(pcpu: PcpuId) -> bool {
    claim_on(pcpu) != Claim::None
}

fn take(from: PcpuId, me: PcpuId) -> Option<Arc<Vcpu>> {
    loop {
        let vcpu = {
            let mut queue = QUEUES[from.index()].lock();
            if from == me {
                queue.take_first(cpu::rdtsc())
            } else {
                let fits = |waiting: &Waiting| {
                    waiting.vcpu.schedule().try_lock().is_some_and(|schedule| schedule.affinity.contains(me))
                };
                let queue = &mut queue.vcpus;
                queue.iter().position(fits).and_then(|index| queue.remove(index))
            }
        }?
        .vcpu;
        if claim(&vcpu, me) {
            return Some(vcpu);
        }
    }
}

/// Puts `vcpu`, just taken from a queue, on this pcpu; not if it has been paused or
/// moved in that moment.
fn claim(vcpu: &Arc<Vcpu>, me: PcpuId) -> bool {
    let mut schedule = vcpu.schedule().lock();
    if !matches!(schedule.at, At::Queue(_)) {
        return false;
    }
    if !schedule.affinity.contains(me) {
        let pcpu = place(&mut schedule);
        enqueue(vcpu, pcpu, End::Back);
        drop(schedule);
        kick(pcpu);
        return false;
    }
    schedule.at = At::Pcpu(me);
    schedule.home = me;
    schedule.enter(Runstate::Running);
    true
}

/// Takes back the pcpu from `vcpu`, which stopped for the reason `stop`.
pub fn put_back(vcpu: &Arc<Vcpu>, stop: Stop) {
    let me = percpu::this().id();
    let previous = CURRENT[me.index()].lock().take();
    drop(previous);
    let kicked = release(vcpu, &mut vcpu.schedule().lock(), stop, me);
    if let Some(pcpu) = kicked {
        kick(pcpu);
    }
    vcpu.shared().write_runstate(vcpu);
}

/// Decides where `vcpu` goes from pcpu `me`; returns the pcpu that has to be told.
fn release(vcpu: &Arc<Vcpu>, schedule: &mut Schedule, stop: Stop, me: PcpuId) -> Option<PcpuId> {
    schedule.at = At::Nowhere;
    // Under the lock: who wakes it has said so before, or finds it asleep.
    schedule.asleep = stop == Stop::Blocked && !vcpu.owed().wakes();
    let waits = if vcpu.is_up() { Runstate::Blocked } else { Runstate::Offline };
    if !vcpu.may_run() {
        // When it may, it looks at its deadline itself.
        schedule.asleep &= vcpu.deadline().is_none();
        schedule.enter(if schedule.asleep { waits } else { Runstate::Offline });
        return None;
    }
    if schedule.asleep {
        schedule.enter(waits);
        if let Some(deadline) = vcpu.deadline() {
            schedule.timer = Some(me);
            timers::insert(me, deadline, vcpu);
        }
        return None;
    }
    let end = if stop == Stop::Interrupted { End::Front } else { End::Back };
    if schedule.affinity.contains(me) {
        schedule.at = At::Queue(me);
        schedule.enter(Runstate::Runnable);
        enqueue(vcpu, me, end);
        return None;
    }
    let pcpu = place(schedule);
    enqueue(vcpu, pcpu, end);
    Some(pcpu)
}
