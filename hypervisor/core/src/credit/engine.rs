//! What happens to vcpus: they wake, get a turn, stop.

use core::iter;

use crate::heap::Placed as _;
use crate::id::PcpuId;
use crate::pcpu_set::PcpuSet;
use xen_abi::vcpu::Runstate;

use super::entity::{At, Entity};
use super::queue::{Arrival, NEVER, Queue, Taken, Way};
use super::{CAP_PERIOD, Machine, Tag, Vcpu};

/// Queues of others that a pcpu looks at in each turn.
const PULLS: usize = 4;
/// Pcpus that are looked at to find one with little load.
const SAMPLES: usize = 2;

/// Why a vcpu wants to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// It has slept, or not been allowed to run.
    Woken,
    /// It has been on a pcpu, and its turn is over.
    Back,
    /// It has been on a pcpu, and lets others go before.
    Yielded,
}

/// What a vcpu that runs may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Stay until then at least, as long as nobody says otherwise: system time, ns; `u64::MAX` for ever.
    Stay(u64),
    /// It makes room: [`stop`], [`ready`], [`pick`].
    Leave,
}

/// `vcpu`, which is in no queue and on no pcpu, wants to run.
pub fn ready<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity, why: Ready, now: u64) {
    let way = match why {
        Ready::Woken => Way::Woken,
        Ready::Back => Way::Back,
        Ready::Yielded => Way::Behind,
    };
    activate(vcpu, entity);
    let budget = match why {
        Ready::Woken => budget_after_sleep(machine, vcpu, entity, now),
        Ready::Back | Ready::Yielded => budget(machine, vcpu, entity, now),
    };
    if budget.is_some_and(|budget| budget <= 0) {
        park(machine, vcpu, entity, now);
    } else {
        enqueue(machine, vcpu, entity, way, now);
    }
}

/// `vcpu`, which is in no queue and on no pcpu, wants to run: it does so at once on `me`, on which none is, if that is where it
/// belongs and nobody waits. Says until when, as [`wakes_at`] does; if it does not, it is [`ready`].
pub fn start<M: Machine>(
    machine: &M,
    me: PcpuId,
    vcpu: &M::Vcpu,
    entity: &mut Entity,
    now: u64,
) -> Option<u64> {
    let belongs = entity.home == me && entity.preferred.contains(me) && is_allowed(machine, entity, me);
    if !belongs || entity.next.is_some() || machine.board().is_waiting_elsewhere(me) {
        return None;
    }
    let budget = budget_after_sleep(machine, vcpu, entity, now);
    if budget.is_some_and(|budget| budget <= 0) {
        return None;
    }
    // It counts from here on, as it does if it becomes ready instead.
    activate(vcpu, entity);
    let slept = now.saturating_sub(entity.left);
    let arrival = Arrival { way: Way::Woken, place: entity.place, here: true, slept };
    let rivals = || machine.board().level(&others(machine, &entity.affinity, me));
    let parameters = machine.parameters();
    let until = machine.queue(me, |queue| {
        if queue.load() != 0 {
            return None;
        }
        queue.begin(vcpu.clone(), &arrival, rivals, 0, budget, now, &parameters);
        publish(machine, me, queue);
        queue.extend(now, false, &parameters);
        Some(queue.wakes_at())
    })?;
    put_on(machine, me, entity, now);
    Some(until.min(note_unlimited(machine, me, now)))
}

/// A vcpu is on `me` from `now` on.
fn put_on<M: Machine>(machine: &M, me: PcpuId, entity: &mut Entity, now: u64) {
    machine.board().idle().remove(me);
    (entity.at, entity.home) = (At::Pcpu(me), me);
    entity.account.change(Runstate::Running, now);
}

/// `vcpu` counts among those of its domain that want to run.
fn activate<V: Vcpu>(vcpu: &V, entity: &mut Entity) {
    if !entity.active {
        entity.active = true;
        vcpu.tag().share().note_active(true);
    }
}

/// As [`budget`], for one that has slept.
#[inline(always)]
fn budget_after_sleep<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity, now: u64) -> Option<i64> {
    budget(machine, vcpu, entity, now)?;
    entity.lose_savings(vcpu.tag().share())
}

/// How long `vcpu` may run, ns, if its domain has a cap.
#[inline(always)]
fn budget<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity, now: u64) -> Option<i64> {
    entity.budget(vcpu.tag().share(), || machine.board().next_phase(CAP_PERIOD), now)
}

/// Puts `vcpu` aside until its cap is filled up.
fn park<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity, now: u64) {
    let (home, refill) = (entity.home, entity.refill);
    machine.queue(home, |queue| {
        queue.park(vcpu.clone(), refill);
        if queue.next_refill() == refill {
            machine.hasten(home, queue.running());
        }
    });
    entity.parked = true;
    entity.at = At::Queue(home);
    entity.account.change(Runstate::Runnable, now);
}

fn enqueue<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity, way: Way, now: u64) {
    let board = machine.board();
    let allowed = entity.affinity.intersection(&machine.online());
    let back = matches!(way, Way::Back | Way::Behind) && allowed.contains(entity.home);
    let next = entity.next.take().filter(|&next| allowed.contains(next));
    let target = match next {
        Some(next) => next,
        None if back => entity.home,
        None => place(machine, entity, &allowed, vcpu.tag(), way),
    };
    let here = target == entity.home;
    let way = if here || way == Way::Woken { way } else { Way::Moved };
    let parameters = machine.parameters();
    let arrival = Arrival { way, place: entity.place, here, slept: now.saturating_sub(entity.left) };
    let mut others = allowed;
    others.remove(target);
    let rivals = || board.level(&others);
    let (lead, left) = machine.queue(target, |queue| {
        queue.advance(now);
        queue.meet_rivals(rivals, now);
        let alone = queue.load() == 0;
        let (key, lead) = queue.insert(vcpu.clone(), others.is_empty(), &arrival, rivals, &parameters);
        publish(machine, target, queue);
        // Who has got work is offered no more until it has looked.
        let starts_at_once = board.idle().remove(target) && alone;
        let left = if starts_at_once { None } else { left_over(machine, queue, alone) };
        if queue.challenge(key, now, &parameters) {
            board.unlimited().remove(target);
            machine.hasten(target, queue.running());
        }
        (lead, left)
    });
    entity.lead = lead;
    entity.parked = false;
    entity.at = At::Queue(target);
    entity.account.change(Runstate::Runnable, now);
    if let Some((reach, level)) = left {
        offer(machine, target, &reach, level, now);
    }
}

/// Where one of those that wait in `queue` may run instead, and its level: on an idle pcpu, if there is one.
fn left_over<M: Machine>(machine: &M, queue: &Queue<M::Vcpu>, alone: bool) -> Option<(PcpuSet, u64)> {
    let first = queue.first_free()?;
    let idle = machine.board().idle().load();
    let idle = if idle.is_empty() || alone { None } else { queue.first_for_any(&idle) };
    Some(idle.map_or(first, |idle| (iter::once(idle).collect(), 0)))
}

/// Lets all pcpus see how the queue of `pcpu` is.
fn publish<M: Machine>(machine: &M, pcpu: PcpuId, queue: &Queue<M::Vcpu>) {
    machine.board().publish(pcpu, queue.first_free_level(), queue.load(), queue.level());
}

/// Tells another pcpu than `target` of a vcpu that waits there, is at `level` and may run on the pcpus of `reach`: an idle
/// one, one that does not look by itself, or one that runs a vcpu which is further ahead.
fn offer<M: Machine>(machine: &M, target: PcpuId, reach: &PcpuSet, level: u64, now: u64) {
    let board = machine.board();
    let mut others = reach.intersection(&machine.online());
    others.remove(target);
    let idle = board.idle().load().intersection(&others);
    if let Some(idle) = idle.iter().find(|&pcpu| board.idle().remove(pcpu)) {
        machine.kick(idle);
    } else if let Some(pcpu) = board.next_to_ask(&board.unlimited().load().intersection(&others)) {
        machine.kick(pcpu);
    } else if let Some(pcpu) = board.some_of::<SAMPLES>(&others).max_by_key(|&pcpu| board.level_of(pcpu))
        && board.level_of(pcpu) > level
    {
        let parameters = machine.parameters();
        if machine.queue(pcpu, |queue| queue.challenge_from(level, now, &parameters)) {
            machine.kick(pcpu);
        }
    }
}

fn is_allowed<M: Machine>(machine: &M, entity: &Entity, pcpu: PcpuId) -> bool {
    entity.affinity.contains(pcpu) && machine.online().contains(pcpu)
}

/// The pcpus but `pcpu` on which a vcpu with `affinity` may run.
fn others<M: Machine>(machine: &M, affinity: &PcpuSet, pcpu: PcpuId) -> PcpuSet {
    let mut others = affinity.intersection(&machine.online());
    others.remove(pcpu);
    others
}

/// Chooses one of the pcpus `allowed` for a vcpu: an idle one, where it runs best if there is one, or one with little load.
fn place<M: Machine>(machine: &M, entity: &Entity, allowed: &PcpuSet, tag: &Tag, way: Way) -> PcpuId {
    let (board, home) = (machine.board(), entity.home);
    // One with a load has got a vcpu, and has not looked yet.
    let is_free = |pcpu: &PcpuId| board.load(*pcpu) == 0;
    if allowed.contains(home)
        && board.idle().contains(home)
        && is_free(&home)
        && entity.preferred.contains(home)
    {
        return home;
    }
    if allowed.is_only(home) {
        return home;
    }
    let best = allowed.intersection(&entity.preferred);
    let idle = board.idle().load().intersection(allowed);
    if !idle.is_empty() {
        for idle in [idle.intersection(&best), idle] {
            let home = Some(home).filter(|home| idle.contains(*home) && is_free(home));
            if let Some(pcpu) = home.or_else(|| idle.iter().find(is_free)) {
                return pcpu;
            }
        }
    }
    let among = if best.is_empty() { *allowed } else { best };
    let home = Some(home).filter(|&home| among.contains(home));
    let Some(first) = home.or_else(|| among.next_from(0)) else { return PcpuId::BOOT };
    if way == Way::Refilled {
        // It runs soon anywhere: where those are that have got most.
        return board.some_of::<PULLS>(&among).fold(first, |best, pcpu| {
            let margin = board.level_of(best) / 32;
            if board.level_of(pcpu) > board.level_of(best).saturating_add(margin) { pcpu } else { best }
        });
    }
    let own = tag.share().load();
    let burden = |pcpu| board.load(pcpu).saturating_add(if pcpu == first { 0 } else { own });
    board.some_of::<SAMPLES>(&among).fold(first, |least, pcpu| {
        if burden(pcpu).saturating_add(burden(pcpu) / 4) < burden(least) { pcpu } else { least }
    })
}

/// `vcpu`, which is in a queue, leaves it. Does nothing if a pcpu has just taken it.
pub fn leave<M: Machine>(machine: &M, vcpu: &M::Vcpu, entity: &mut Entity) {
    let At::Queue(pcpu) = entity.at else { return };
    let bound = others(machine, &entity.affinity, pcpu).is_empty();
    let left = machine.queue(pcpu, |queue| {
        let left = queue.remove(vcpu, entity.parked, bound);
        publish(machine, pcpu, queue);
        left
    });
    if let Some(left) = left {
        (entity.place, entity.home) = (Some(left.without(entity.lead)), pcpu);
    }
    (entity.at, entity.parked) = (At::Nowhere, false);
}

/// `vcpu`, which is in no queue and on no pcpu, does not want to run, or may not, from `now` on: `state`.
pub fn sleep<V: Vcpu>(vcpu: &V, entity: &mut Entity, state: Runstate, now: u64) {
    if entity.active {
        entity.active = false;
        vcpu.tag().share().note_active(false);
    }
    entity.left = now;
    entity.account.change(state, now);
}

/// `vcpu` may run on the pcpus of `affinity` only, and runs best on those of `preferred`. Says which pcpu it has
/// to leave, if it is on one: by [`tick`] that pcpu does not find out.
pub fn set_affinity<M: Machine>(
    machine: &M,
    vcpu: &M::Vcpu,
    entity: &mut Entity,
    affinity: PcpuSet,
    preferred: PcpuSet,
    now: u64,
) -> Option<PcpuId> {
    let waits = matches!(entity.at, At::Queue(_)) && !entity.parked;
    if waits {
        // It may be bound to another pcpu now, or to none.
        leave(machine, vcpu, entity);
    }
    (entity.affinity, entity.preferred) = (affinity, preferred);
    vcpu.tag().hard().store(&affinity);
    vcpu.tag().soft().store(&preferred);
    if waits {
        enqueue(machine, vcpu, entity, Way::Back, now);
    }
    match entity.at {
        At::Pcpu(pcpu) if !affinity.contains(pcpu) => Some(pcpu),
        _ => None,
    }
}

/// What `vcpu` is entitled to has changed: if it is on a pcpu, its stay there ends, and the next goes by that.
pub fn reconsider<M: Machine>(machine: &M, entity: &Entity, now: u64) {
    let At::Pcpu(pcpu) = entity.at else { return };
    machine.queue(pcpu, |queue| queue.cut_short(now));
    machine.kick(pcpu);
}

/// `me` waits for work from now on, until [`pick`] finds some. Who says so looks once more before it waits.
pub fn set_idle<M: Machine>(machine: &M, me: PcpuId) {
    if !machine.board().idle().contains(me) {
        machine.board().idle().insert(me);
    }
}

/// What a pcpu finds in its own queue.
#[derive(Debug)]
enum Found<T> {
    /// One that waits there no longer for its cap.
    Refilled(T),
    /// The first, taken out.
    First(Taken<T>),
    /// The level below which others go first; `None` if nobody waits.
    Level(Option<u64>),
}

/// What a pcpu that runs no vcpu has found: for [`follow`].
#[must_use = "it may hold a vcpu"]
#[derive(Debug)]
pub struct Next<T> {
    found: Found<T>,
    /// Vcpus wait in the queues of other pcpus.
    elsewhere: bool,
    /// When it looked.
    now: u64,
}

/// Takes the next vcpu for pcpu `me`, on which none is. It stays until [`tick`] or [`wakes_at`] say otherwise.
/// Says also until when, as [`wakes_at`] does.
pub fn pick<M: Machine>(machine: &M, me: PcpuId, now: u64) -> Option<(M::Vcpu, u64)> {
    let elsewhere = machine.board().is_waiting_elsewhere(me);
    follow(machine, me, look(machine, me, elsewhere, now))
}

/// As [`pick`], with what [`stop_for`] has found.
pub fn follow<M: Machine>(machine: &M, me: PcpuId, mut next: Next<M::Vcpu>) -> Option<(M::Vcpu, u64)> {
    loop {
        let Next { found, elsewhere, now } = next;
        let (taken, from) = match found {
            Found::First(taken) => (taken, me),
            Found::Refilled(vcpu) => {
                refill(machine, me, &vcpu, now);
                next = look(machine, me, machine.board().is_waiting_elsewhere(me), now);
                continue;
            }
            Found::Level(below) if elsewhere => {
                let Some(pulled) = pull(machine, me, below, now) else {
                    next = look(machine, me, false, now);
                    continue;
                };
                pulled
            }
            Found::Level(_) => return None,
        };
        if let Some(claimed) = claim(machine, me, taken, from, elsewhere, now) {
            return Some(claimed);
        }
        next = look(machine, me, machine.board().is_waiting_elsewhere(me), now);
    }
}

/// Looks into the queue of `me`; takes the first out unless vcpus wait `elsewhere`.
fn look<M: Machine>(machine: &M, me: PcpuId, elsewhere: bool, now: u64) -> Next<M::Vcpu> {
    let found = machine.queue(me, |queue| look_into(machine, queue, elsewhere, now));
    Next { found, elsewhere, now }
}

#[inline(always)]
fn look_into<M: Machine>(
    machine: &M,
    queue: &mut Queue<M::Vcpu>,
    elsewhere: bool,
    now: u64,
) -> Found<M::Vcpu> {
    if let Some(vcpu) = queue.unpark(now) {
        return Found::Refilled(vcpu);
    }
    if !queue.has_waiting() {
        return Found::Level(None);
    }
    queue.advance(now);
    if elsewhere {
        return Found::Level(queue.pull_level(&machine.parameters()));
    }
    queue.take_first().map_or(Found::Level(None), Found::First)
}

/// Takes a vcpu from another pcpu that is further behind than the level `below` of those here, or any if nobody waits here;
/// says from which.
fn pull<M: Machine>(
    machine: &M,
    me: PcpuId,
    below: Option<u64>,
    now: u64,
) -> Option<(Taken<M::Vcpu>, PcpuId)> {
    let waiting = machine.board().waiting_elsewhere(me);
    match below {
        Some(below) => {
            let mut others = machine.board().some_of::<PULLS>(&waiting);
            others.find_map(|other| {
                (machine.board().first(other) < below)
                    .then(|| take_for(machine, other, me, Some(below), now))?
            })
        }
        None => waiting.iter().find_map(|other| take_for(machine, other, me, None, now)),
    }
}

fn take_for<M: Machine>(
    machine: &M,
    from: PcpuId,
    me: PcpuId,
    below: Option<u64>,
    now: u64,
) -> Option<(Taken<M::Vcpu>, PcpuId)> {
    let parameters = machine.parameters();
    machine.queue(from, |queue| {
        let taken = queue.take_for(me, below, now, &parameters)?;
        publish(machine, from, queue);
        Some((taken, from))
    })
}

/// Puts a vcpu, just taken from a queue, on pcpu `me`; not if it has been moved or told not to run in that moment.
/// `elsewhere`: vcpus wait in the queues of other pcpus.
fn claim<M: Machine>(
    machine: &M,
    me: PcpuId,
    taken: Taken<M::Vcpu>,
    from: PcpuId,
    elsewhere: bool,
    now: u64,
) -> Option<(M::Vcpu, u64)> {
    let vcpu = taken.vcpu.clone();
    let until = vcpu.entity(|entity| {
        if !matches!(entity.at, At::Queue(_)) || entity.parked || vcpu.place().is_some() {
            return None;
        }
        if !entity.affinity.contains(me) {
            (entity.place, entity.home) = (Some(taken.place.without(entity.lead)), from);
            enqueue(machine, &vcpu, entity, Way::Moved, now);
            return None;
        }
        let (budget, lead) = (budget(machine, &vcpu, entity, now), entity.lead);
        put_on(machine, me, entity, now);
        let parameters = machine.parameters();
        let here = from == me;
        let way = if here { Way::Back } else { Way::Moved };
        let arrival = Arrival { way, place: Some(taken.place), here, slept: 0 };
        let (unlimited, until) = machine.queue(me, |queue| {
            queue.begin(taken.vcpu, &arrival, || None, lead, budget, now, &parameters);
            publish(machine, me, queue);
            (queue.extend(now, elsewhere, &parameters), queue.wakes_at())
        });
        Some(if unlimited { until.min(note_unlimited(machine, me, now)) } else { until })
    });
    match until {
        Some(until) => Some((vcpu, until)),
        None => {
            machine.queue(me, |queue| publish(machine, me, queue));
            None
        }
    }
}

/// Lets the vcpu that runs on `me` stay for a turn.
fn extend<M: Machine>(machine: &M, me: PcpuId, now: u64) {
    let parameters = machine.parameters();
    let elsewhere = machine.board().is_waiting_elsewhere(me);
    if machine.queue(me, |queue| queue.extend(now, elsewhere, &parameters)) {
        note_unlimited(machine, me, now);
    }
}

/// The vcpu that runs on `me` stays until something happens: who comes to wait elsewhere tells it. If one has just come,
/// returns when it is looked at again.
#[inline]
fn note_unlimited<M: Machine>(machine: &M, me: PcpuId, now: u64) -> u64 {
    let board = machine.board();
    board.unlimited().insert(me);
    // Who came to wait before that was seen told nobody.
    if !board.is_waiting_elsewhere(me) {
        return NEVER;
    }
    let parameters = machine.parameters();
    machine.queue(me, |queue| {
        queue.extend(now, true, &parameters);
        queue.wakes_at()
    })
}

/// Looks at `now` whether the vcpu that runs on `me` makes room.
pub fn tick<M: Machine>(machine: &M, me: PcpuId, now: u64) -> Verdict {
    machine.board().unlimited().remove(me);
    unpark(machine, me, now);
    let parameters = machine.parameters();
    let rival = machine.board().waiting_elsewhere(me).next_from(0);
    let (over, leaves, below) = machine.queue(me, |queue| {
        queue.advance(now);
        if let Some(rival) = rival {
            queue.meet_rivals(|| Some(machine.board().level_of(rival)), now);
        }
        publish(machine, me, queue);
        let until = queue.stay_until();
        let over = now >= until || until == NEVER;
        let leaves = now >= until && (queue.is_used_up(now) || queue.is_overtaken());
        (over, leaves, queue.pull_level(&parameters))
    });
    if leaves || over && below.is_some_and(|below| is_needed(machine, me, below)) {
        return Verdict::Leave;
    }
    if over && makes_room(machine, me, now) {
        return Verdict::Leave;
    }
    if over {
        extend(machine, me, now);
    }
    Verdict::Stay(wakes_at(machine, me))
}

/// Whether the vcpu that runs on `me`, which is further behind than all that wait for it, goes elsewhere all the same: to a
/// pcpu whose vcpus are further ahead than one that waits for `me`, and that may not go there itself.
fn makes_room<M: Machine>(machine: &M, me: PcpuId, now: u64) -> bool {
    let board = machine.board();
    let (reach, here) = machine.queue(me, |queue| (queue.running_reach(), queue.first()));
    let elsewhere = || {
        let other = board.some_of::<1>(&board.waiting_elsewhere(me)).next()?;
        machine.queue(other, |queue| queue.first_free()).filter(|(reach, _)| reach.contains(me))
    };
    let Some((waits_for, level)) = here.or_else(elsewhere) else { return false };
    let mut others = reach.intersection(&machine.online()).without(&waits_for);
    others.remove(me);
    let best = board.some_of::<PULLS>(&others).max_by_key(|&pcpu| board.level_of(pcpu));
    let Some(best) = best.filter(|&pcpu| board.level_of(pcpu) > level) else { return false };
    let parameters = machine.parameters();
    let ahead = machine.queue(best, |queue| {
        queue.advance(now);
        queue.pull_level(&parameters).is_some_and(|below| level < below)
    });
    if ahead {
        machine.queue(me, |queue| queue.send_to(best));
    }
    ahead
}

/// Whether a vcpu that waits elsewhere is behind `below`.
fn is_needed<M: Machine>(machine: &M, me: PcpuId, below: u64) -> bool {
    let waiting = machine.board().waiting_elsewhere(me);
    machine.board().some_of::<PULLS>(&waiting).any(|other| machine.board().first(other) < below)
}

/// When pcpu `me` has to look again: the turn of the vcpu that runs there is over, or a cap is filled up. System time,
/// ns; `u64::MAX` for never.
pub fn wakes_at<M: Machine>(machine: &M, me: PcpuId) -> u64 {
    machine.queue(me, |queue| queue.wakes_at())
}

/// The vcpu that runs on `me` stops at `now`. Then it is [`ready`], or [sleeps](sleep).
pub fn stop<M: Machine>(machine: &M, me: PcpuId, vcpu: &M::Vcpu, entity: &mut Entity, now: u64) {
    machine.queue(me, |queue| {
        end(machine, me, queue, vcpu, entity, now);
        publish(machine, me, queue);
    });
}

/// As [`stop`]; looks at once who may come instead, for [`follow`].
pub fn stop_for<M: Machine>(
    machine: &M,
    me: PcpuId,
    vcpu: &M::Vcpu,
    entity: &mut Entity,
    now: u64,
) -> Next<M::Vcpu> {
    let elsewhere = machine.board().is_waiting_elsewhere(me);
    let found = machine.queue(me, |queue| {
        end(machine, me, queue, vcpu, entity, now);
        let found = look_into(machine, queue, elsewhere, now);
        if !matches!(found, Found::First(_)) {
            publish(machine, me, queue);
        }
        found
    });
    Next { found, elsewhere, now }
}

#[inline]
fn end<M: Machine>(
    machine: &M,
    me: PcpuId,
    queue: &mut Queue<M::Vcpu>,
    vcpu: &M::Vcpu,
    entity: &mut Entity,
    now: u64,
) {
    machine.board().unlimited().remove(me);
    if let Some((place, ran, next)) = queue.end(now) {
        (entity.place, entity.next) = (Some(place), next);
        entity.spend(ran);
    }
    (entity.at, entity.home, entity.left) = (At::Nowhere, me, now);
    vcpu.tag().note_ran(now);
}

/// Lets vcpus of `me` whose cap is filled up wait for their turn.
fn unpark<M: Machine>(machine: &M, me: PcpuId, now: u64) {
    while let Some(vcpu) = machine.queue(me, |queue| queue.unpark(now)) {
        refill(machine, me, &vcpu, now);
    }
}

/// `vcpu`, which has been taken from those of `me` that wait for their cap to be filled up, waits for its turn.
fn refill<M: Machine>(machine: &M, me: PcpuId, vcpu: &M::Vcpu, now: u64) {
    vcpu.entity(|entity| {
        if entity.parked && entity.at == At::Queue(me) && vcpu.place().is_none() {
            if budget(machine, vcpu, entity, now).is_some_and(|budget| budget <= 0) {
                park(machine, vcpu, entity, now);
            } else {
                enqueue(machine, vcpu, entity, Way::Refilled, now);
            }
        }
    });
}
