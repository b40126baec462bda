//! Which vcpu runs where: the wiring of the policy in [`hv_core::credit`] to vcpus, pcpus and timers.
//!
//! ```text
//!            wake                    pick
//!   asleep ────────> in a run queue ──────> on a pcpu
//!     ^                    ^                    │
//!     │                    └──turn is over──────┤
//!     └──────────nothing to do, paused──────────┘
//! ```
//!
//! What is here besides: when a vcpu sleeps, and which timer wakes it.

use core::ops::Deref;
use core::sync::atomic::{AtomicUsize, Ordering};

use alloc::sync::Arc;
use hv_arch::sync::{Lock, Rank};
use hv_arch::{ipi, percpu, smp};
use hv_core::credit::{self, Board, Entity, Machine, Parameters, Queue, Ready, Tag, Verdict};
use hv_core::heap::Placed;
use hv_core::id::{MAX_PCPUS, PcpuId};
use hv_core::pcpu_set::PcpuSet;
use xen_abi::vcpu::{Runstate, VcpuRunstateInfo};

pub use hv_core::credit::At;

use crate::clock;
use crate::exit::Stop;
use crate::vcpu::Vcpu;
use crate::work::Work;
use crate::{init, timers};

/// What the scheduler knows of a vcpu.
#[derive(Debug)]
pub struct Schedule {
    entity: Entity,
    /// It has nothing to do.
    asleep: bool,
    /// Whose timer wakes it.
    timer: Option<PcpuId>,
}

impl Schedule {
    /// A vcpu that sleeps and may run everywhere; it starts on `home`.
    pub fn new(home: PcpuId) -> Self {
        Self { entity: Entity::new(home, clock::now()), asleep: true, timer: None }
    }

    /// Where its time went until system time `now`.
    pub fn runstate(&self, now: u64) -> VcpuRunstateInfo {
        self.entity.account().info(now)
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }
}

impl Deref for Schedule {
    type Target = Entity;

    fn deref(&self) -> &Entity {
        &self.entity
    }
}

/// A vcpu as the scheduler's queues hold it.
#[derive(Clone, Debug)]
struct Member(Arc<Vcpu>);

impl Placed for Member {
    fn place(&self) -> Option<usize> {
        self.0.tag().place()
    }

    fn set_place(&self, place: Option<usize>) {
        self.0.tag().set_place(place);
    }
}

impl credit::Vcpu for Member {
    fn tag(&self) -> &Tag {
        self.0.tag()
    }

    fn entity<R>(&self, work: impl FnOnce(&mut Entity) -> R) -> R {
        work(&mut self.0.schedule().lock().entity)
    }
}

/// Vcpus that could run and that do run, by pcpu.
static QUEUES: [Lock<Queue<Member>>; MAX_PCPUS] =
    [const { Lock::new(Rank::RunQueue, Queue::new()) }; MAX_PCPUS];
static BOARD: Board = Board::new();

/// The machine's pcpus.
struct Pcpus;

impl Machine for Pcpus {
    type Vcpu = Member;

    fn queue<R>(&self, pcpu: PcpuId, work: impl FnOnce(&mut Queue<Member>) -> R) -> R {
        work(&mut QUEUES[pcpu.index()].lock())
    }

    fn board(&self) -> &Board {
        &BOARD
    }

    fn online(&self) -> PcpuSet {
        smp::online_set()
    }

    fn parameters(&self) -> Parameters {
        init::parameters()
    }

    fn kick(&self, pcpu: PcpuId) {
        if pcpu != percpu::this().id() {
            ipi::send(pcpu);
        } else if let Some(member) = QUEUES[pcpu.index()].lock().running() {
            member.0.owe(Work::TICK);
        }
    }

    fn hasten(&self, pcpu: PcpuId, running: Option<&Member>) {
        if pcpu != percpu::this().id() {
            ipi::send(pcpu);
        } else if let Some(member) = running {
            member.0.owe(Work::TURN);
        }
    }
}

/// Whether `vcpu` may go on where it is, on `pcpu`.
pub fn may_stay(vcpu: &Vcpu, pcpu: PcpuId) -> bool {
    vcpu.may_run() && vcpu.schedule().lock().affinity().contains(pcpu)
}

/// A pcpu for a new vcpu: all of them in turn.
pub fn home() -> PcpuId {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let count = smp::online().count().max(1);
    let index = NEXT.fetch_add(1, Ordering::Relaxed) % count;
    smp::online().nth(index).unwrap_or(PcpuId::BOOT)
}

/// Wakes `vcpu` if it sleeps. If it runs elsewhere its pcpu looks at once what is
/// owed to it.
pub fn wake(vcpu: &Arc<Vcpu>) {
    let mut schedule = vcpu.schedule().lock();
    match schedule.at() {
        At::Pcpu(pcpu) => {
            drop(schedule);
            kick(pcpu);
        }
        At::Queue(_) => {}
        At::Nowhere => {
            rouse(vcpu, &mut schedule);
            if vcpu.may_run() {
                make_ready(vcpu, &mut schedule);
            }
        }
    }
}

/// A vcpu that runs here.
pub struct Picked {
    member: Member,
    /// When [`tick`] has to be asked, if nothing else happens: system time, ns; `u64::MAX` for never.
    pub until: u64,
}

impl Picked {
    fn new((member, until): (Member, u64)) -> Self {
        Self { member, until }
    }

    /// It.
    pub fn vcpu(&self) -> &Arc<Vcpu> {
        &self.member.0
    }
}

/// As [`wake`], on a pcpu that has nothing to run; returns `vcpu` if that is to run it at once.
pub fn wake_here(vcpu: Arc<Vcpu>) -> Option<Picked> {
    let member = Member(vcpu);
    let vcpu = &member.0;
    let mut schedule = vcpu.schedule().lock();
    if schedule.at() == At::Nowhere && vcpu.may_run() {
        rouse(vcpu, &mut schedule);
        let (me, now) = (percpu::this().id(), clock::now());
        let until = credit::start(&Pcpus, me, &member, &mut schedule.entity, now);
        if until.is_none() {
            credit::ready(&Pcpus, &member, &mut schedule.entity, Ready::Woken, now);
        }
        drop(schedule);
        return until.map(|until| Picked { member, until });
    }
    drop(schedule);
    wake(vcpu);
    None
}

/// `vcpu` sleeps no more.
fn rouse(vcpu: &Arc<Vcpu>, schedule: &mut Schedule) {
    schedule.asleep = false;
    if let Some(pcpu) = schedule.timer.take() {
        timers::remove(pcpu, vcpu);
    }
}

#[inline(always)]
fn make_ready(vcpu: &Arc<Vcpu>, schedule: &mut Schedule) {
    let member = Member(Arc::clone(vcpu));
    credit::ready(&Pcpus, &member, &mut schedule.entity, Ready::Woken, clock::now());
}

/// Lets `vcpu` run if it has anything to do, after a reason why it might not is gone.
pub fn resume(vcpu: &Arc<Vcpu>) {
    let mut schedule = vcpu.schedule().lock();
    if schedule.at() == At::Nowhere && !schedule.asleep && vcpu.may_run() {
        make_ready(vcpu, &mut schedule);
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
    match schedule.at() {
        At::Pcpu(pcpu) => {
            drop(schedule);
            kick(pcpu);
        }
        At::Queue(_) => {
            let member = Member(Arc::clone(vcpu));
            credit::leave(&Pcpus, &member, &mut schedule.entity);
            credit::sleep(&member, &mut schedule.entity, Runstate::Offline, clock::now());
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
    let preferred = schedule.preferred();
    place(vcpu, &mut schedule, affinity, preferred);
}

/// Lets `vcpu` run on the pcpus of `preferred` as long as they have room.
pub fn set_preferred(vcpu: &Arc<Vcpu>, preferred: PcpuSet) {
    let mut schedule = vcpu.schedule().lock();
    let affinity = schedule.affinity();
    place(vcpu, &mut schedule, affinity, preferred);
}

fn place(vcpu: &Arc<Vcpu>, schedule: &mut Schedule, affinity: PcpuSet, preferred: PcpuSet) {
    let member = Member(Arc::clone(vcpu));
    let now = clock::now();
    let left = credit::set_affinity(&Pcpus, &member, &mut schedule.entity, affinity, preferred, now);
    if let Some(pcpu) = left {
        vcpu.owe(Work::LEAVE);
        kick(pcpu);
    }
}

/// The share of the domain of `vcpu` has changed.
pub fn reconsider(vcpu: &Arc<Vcpu>) {
    credit::reconsider(&Pcpus, &vcpu.schedule().lock().entity, clock::now());
}

/// Makes `pcpu`, another one or this, look for work.
pub fn kick(pcpu: PcpuId) {
    if pcpu != percpu::this().id() {
        ipi::send(pcpu);
    }
}

/// Takes the next vcpu for this pcpu.
pub fn pick() -> Option<Picked> {
    credit::pick(&Pcpus, percpu::this().id(), clock::now()).map(Picked::new)
}

/// Says that this pcpu waits for work, and takes a vcpu that has come until then. It is the first to get
/// those that come later.
pub fn pick_or_idle() -> Option<Picked> {
    credit::set_idle(&Pcpus, percpu::this().id());
    pick()
}

/// Whether the vcpu on this pcpu makes room, or until when it may stay: system time, ns.
pub fn tick() -> Verdict {
    credit::tick(&Pcpus, percpu::this().id(), clock::now())
}

/// When this pcpu has to look at its queue again: system time, ns; `u64::MAX` for never.
pub fn wakes_at() -> u64 {
    credit::wakes_at(&Pcpus, percpu::this().id())
}

/// Whether others find `pcpu` when they look for an idle one.
pub fn is_marked_idle(pcpu: PcpuId) -> bool {
    BOARD.idle().contains(pcpu)
}

/// Whether a vcpu waits for `pcpu`.
pub fn has_work(pcpu: PcpuId) -> bool {
    QUEUES[pcpu.index()].lock().has_waiting()
}

/// What this pcpu may run next: for [`follow`].
pub struct Next(credit::Next<Member>);

/// Takes back the pcpu from the vcpu that was picked, which stopped for the reason `stop`. If it is not to run again
/// soon, and if `looks` says so, returns what this pcpu has found instead.
pub fn put_back(picked: &Picked, stop: Stop, looks: bool) -> Option<Next> {
    let vcpu = picked.vcpu();
    let next = release(&picked.member, &mut vcpu.schedule().lock(), stop, looks);
    vcpu.shared().write_runstate(vcpu);
    next
}

/// Decides where a vcpu goes from this pcpu.
fn release(member: &Member, schedule: &mut Schedule, stop: Stop, looks: bool) -> Option<Next> {
    let (vcpu, me, now) = (&member.0, percpu::this().id(), clock::now());
    // Under the lock: who wakes it has said so before, or finds it asleep.
    schedule.asleep = stop == Stop::Blocked && !vcpu.owed().wakes();
    let may_run = vcpu.may_run();
    if may_run && !schedule.asleep {
        let why = match stop {
            Stop::Yielded => Ready::Yielded,
            // What it waits for has come at the last moment.
            Stop::Blocked => Ready::Woken,
            _ => Ready::Back,
        };
        credit::stop(&Pcpus, me, member, &mut schedule.entity, now);
        credit::ready(&Pcpus, member, &mut schedule.entity, why, now);
        return None;
    }
    let next = if looks {
        Some(Next(credit::stop_for(&Pcpus, me, member, &mut schedule.entity, now)))
    } else {
        credit::stop(&Pcpus, me, member, &mut schedule.entity, now);
        None
    };
    let deadline = vcpu.deadline();
    // When it may run again, it looks at its deadline itself.
    schedule.asleep &= may_run || deadline.is_none();
    let state = if schedule.asleep && vcpu.is_up() { Runstate::Blocked } else { Runstate::Offline };
    credit::sleep(member, &mut schedule.entity, state, now);
    if let Some(deadline) = deadline.filter(|_| may_run) {
        schedule.timer = Some(me);
        timers::insert(me, deadline, vcpu);
    }
    next
}

/// Takes the vcpu for this pcpu that [`put_back`] has found, or another one.
pub fn follow(Next(next): Next) -> Option<Picked> {
    credit::follow(&Pcpus, percpu::this().id(), next).map(Picked::new)
}
