//! Who waits for a pcpu, and who runs there.

use crate::heap::Heap;
use crate::id::PcpuId;
use crate::pcpu_set::PcpuSet;

use super::board::{NOBODY, SPREAD};
use super::entity::Place;
use super::zone::{Zone, divided};
use super::{LONGEST_WAIT, Parameters, Vcpu};

/// How many of those that wait a pcpu looks at that has work of its own.
const GLANCES: usize = 16;
/// How long a vcpu that sleeps keeps the level at which it was, ns.
const REMEMBERED: u64 = 250_000_000;
/// A time that does not come.
pub const NEVER: u64 = u64::MAX;

/// Those that wait for a pcpu, and the one that runs there.
#[derive(Debug)]
pub struct Queue<T> {
    /// They may run here only.
    bound: Heap<u64, T>,
    /// They may run elsewhere, too.
    free: Heap<u64, T>,
    /// Where those in `free` may run; more than that when some of them have gone.
    reach: PcpuSet,
    /// They have used up their cap; by the time at which it is filled up.
    parked: Heap<u64, T>,
    stay: Option<Stay<T>>,
    /// Of those that wait and the one that runs.
    load: u64,
    zone: Zone,
}

/// One stay of a vcpu on the pcpu.
#[derive(Debug)]
struct Stay<T> {
    vcpu: T,
    key: u64,
    /// By how much `key` is lower than it deserves, since it has just woken up.
    lead: u64,
    start: u64,
    /// When others have their turn, if there are any.
    end: u64,
    /// Since when there have been none.
    alone: u64,
    /// When it has used up its cap.
    limit: u64,
    /// Where it goes afterwards, for the sake of one that cannot go there.
    next: Option<PcpuId>,
}

/// How a vcpu comes into a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It has slept.
    Woken,
    /// It has just been on this pcpu.
    Back,
    /// As `Back`; it lets others go before.
    Behind,
    /// Its cap has been filled up.
    Refilled,
    /// From another pcpu.
    Moved,
}

/// A vcpu on its way from a queue to a pcpu.
#[derive(Debug)]
pub struct Taken<T> {
    pub vcpu: T,
    /// How far it was, where it waited.
    pub place: Place,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    /// Nobody waits, nobody runs.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bound: Heap::new(),
            free: Heap::new(),
            reach: PcpuSet::NONE,
            parked: Heap::new(),
            stay: None,
            load: 0,
            zone: Zone::new(),
        }
    }

    /// The vcpu that runs here.
    pub fn running(&self) -> Option<&T> {
        self.stay.as_ref().map(|stay| &stay.vcpu)
    }

    /// Whether a vcpu waits for its turn.
    pub fn has_waiting(&self) -> bool {
        !self.bound.is_empty() || !self.free.is_empty()
    }

    /// When the next cap is filled up.
    pub(super) fn next_refill(&self) -> u64 {
        self.parked.first().unwrap_or(NEVER)
    }

    /// Until when the vcpu that runs here may stay.
    pub(super) fn stay_until(&self) -> u64 {
        self.stay.as_ref().map_or(NEVER, |stay| stay.end.min(stay.limit))
    }

    /// When the pcpu has to look again.
    pub(super) fn wakes_at(&self) -> u64 {
        self.stay_until().min(self.next_refill())
    }

    /// The load, those that wait and the one that runs.
    pub(super) fn load(&self) -> u64 {
        self.load
    }

    fn first_key(&self) -> Option<u64> {
        match (self.bound.first(), self.free.first()) {
            (Some(bound), Some(free)) => Some(bound.min(free)),
            (bound, free) => bound.or(free),
        }
    }

    /// The least key here, of those that wait and the one that runs.
    fn least_key(&self) -> Option<u64> {
        match (self.stay.as_ref(), self.first_key()) {
            (Some(stay), Some(first)) => Some(first.min(stay.key)),
            (stay, first) => stay.map(|stay| stay.key).or(first),
        }
    }
}

impl<T: Vcpu> Queue<T> {
    /// Counts what has been used until `now`.
    pub(super) fn advance(&mut self, now: u64) {
        let passed = self.zone.pass(now);
        let Some(stay) = self.stay.as_mut().filter(|_| passed != 0) else { return };
        stay.key = stay.key.saturating_add(stay.vcpu.tag().share().charge(passed));
        let key = stay.key;
        let least = self.first_key().map_or(key, |first| first.min(key));
        self.zone.advance(least, passed);
        if self.zone.is_far() {
            self.begin_anew();
        }
    }

    /// How often keys have begun anew, or counted as others' do.
    #[cfg(test)]
    pub(super) fn epoch(&self) -> u32 {
        self.zone.epoch()
    }

    /// All use up what one nanosecond of each would be in `ns`.
    #[cfg(test)]
    pub(super) fn skip(&mut self, ns: u64) {
        let more = divided(ns, 1 << 16, 1);
        let moved = |key: u64| key.saturating_add(more);
        self.bound.rekey(moved);
        self.free.rekey(moved);
        if let Some(stay) = &mut self.stay {
            stay.key = moved(stay.key);
        }
        self.zone.skip(more);
    }

    /// Brings all keys back to where they began: the order is what counts.
    #[cold]
    fn begin_anew(&mut self) {
        let less = self.zone.begin_anew();
        let lessened = |key: u64| key.saturating_sub(less);
        self.bound.rekey(lessened);
        self.free.rekey(lessened);
        if let Some(stay) = &mut self.stay {
            stay.key = lessened(stay.key);
        }
    }

    /// If the one that runs here has had no rivals for long, what it used counts no more than what those did that are at
    /// `level`.
    pub(super) fn meet_rivals(&mut self, level: impl FnOnce() -> Option<u64>, now: u64) {
        let for_long = |stay: &Stay<T>| stay.end == NEVER && now.saturating_sub(stay.alone) >= REMEMBERED;
        if self.stay.as_ref().is_some_and(for_long) && !self.has_waiting() {
            self.advance(now);
            self.zone.adopt(level().unwrap_or(Zone::COMMON));
        }
    }

    /// Puts `vcpu` into the queue. `bound`: it may run here only. Returns its key, and by how much that is lower than
    /// it deserves: one that has just woken up goes before those that wait for their turn, for a quarter of a round.
    /// `rivals`: the level at which others are that may be its rivals.
    pub(super) fn insert(
        &mut self,
        vcpu: T,
        bound: bool,
        arrival: &Arrival,
        rivals: impl FnOnce() -> Option<u64>,
        parameters: &Parameters,
    ) -> (u64, u64) {
        let load = vcpu.tag().share().load();
        let deserved = self.key_for(arrival, rivals, self.load + load, parameters);
        vcpu.tag().set_load(load);
        self.load += load;
        let lead = if arrival.way == Way::Woken { self.lead(deserved, parameters) } else { 0 };
        let key = deserved.saturating_sub(lead);
        if bound {
            self.bound.insert(key, vcpu);
        } else {
            self.insert_free(key, vcpu);
        }
        (key, lead)
    }

    fn insert_free(&mut self, key: u64, vcpu: T) {
        if self.free.is_empty() {
            self.reach = PcpuSet::NONE;
        }
        self.reach = self.reach.union(&vcpu.tag().hard().load());
        self.free.insert(key, vcpu);
    }

    /// How far one goes ahead that has woken up with the key `deserved`: by a quarter of a round, and before all others
    /// unless it has used more than that in advance.
    fn lead(&self, deserved: u64, parameters: &Parameters) -> u64 {
        let Some(least) = self.least_key() else { return 0 };
        let quarter = Zone::span(parameters.slice / 4, self.load);
        let behind = if deserved <= self.zone.clock() + quarter { deserved.saturating_sub(least) } else { 0 };
        behind + quarter
    }

    /// Which key a vcpu gets that makes the load `load`.
    fn key_for(
        &mut self,
        arrival: &Arrival,
        rivals: impl FnOnce() -> Option<u64>,
        load: u64,
        parameters: &Parameters,
    ) -> u64 {
        let clock = self.zone.clock();
        let Arrival { way, place, here, slept } = *arrival;
        let own = place.filter(|_| here).and_then(|place| self.zone.own_key(&place));
        if self.stay.is_none() && !self.has_waiting() {
            let key = own.map_or(clock, |own| own.max(clock));
            let remembered = place.filter(|_| slept < REMEMBERED);
            if remembered.is_none() || own.is_none() {
                let level = remembered.map(|place| place.level).or_else(rivals);
                if let Some(level) = level {
                    self.zone.adopt(level);
                }
            }
            return key;
        }
        let round = Zone::span(parameters.slice, load);
        let key = match (way, own, place) {
            (Way::Woken, Some(own), _) => own.max(clock),
            (Way::Woken, None, place) => {
                let debt = place.map_or(0, |place| place.debt);
                clock + debt.saturating_sub(Zone::span(slept, load))
            }
            (Way::Behind, Some(own), _) => own.max(self.first_key().map_or(clock, |first| first + 1)),
            (_, Some(own), _) => own.max(clock.saturating_sub(4 * round)),
            (_, None, Some(place)) => self.zone.key(place.level).max(clock.saturating_sub(4 * round)),
            (_, None, None) => clock,
        };
        if key <= clock { key } else { key.min(clock + Zone::span(LONGEST_WAIT, load)) }
    }

    /// Puts `vcpu` aside until its cap is filled up, at `refill`.
    pub(super) fn park(&mut self, vcpu: T, refill: u64) {
        self.parked.insert(refill, vcpu);
    }

    /// Takes one whose cap is filled up by `now`.
    pub(super) fn unpark(&mut self, now: u64) -> Option<T> {
        self.parked.take_due(now)
    }

    /// Takes `vcpu` out, if it still is in; returns how far it was.
    pub(super) fn remove(&mut self, vcpu: &T, parked: bool, bound: bool) -> Option<Place> {
        let place = vcpu.place()?;
        if parked {
            self.parked.remove(place);
            return None;
        }
        let heap = if bound { &mut self.bound } else { &mut self.free };
        let (key, removed) = heap.remove_entry(place)?;
        self.load -= removed.tag().load();
        Some(self.zone.leave(key))
    }

    /// The level of the first that may run elsewhere; for the [`Board`](super::Board).
    pub(super) fn first_free_level(&self) -> u64 {
        self.free.first().map_or(NOBODY, |key| self.zone.level(key).min(NOBODY - 1))
    }

    /// Where the first that waits may run, and its level.
    pub(super) fn first(&self) -> Option<(PcpuSet, u64)> {
        let all = [&self.bound, &self.free].into_iter().filter_map(|heap| heap.iter().next());
        all.min_by_key(|(key, _)| *key).map(|(key, vcpu)| (vcpu.tag().hard().load(), self.zone.level(*key)))
    }

    /// Whether one waits that may run on one of `idle`: on which.
    pub(super) fn first_for_any(&self, idle: &PcpuSet) -> Option<PcpuId> {
        self.free.iter().find_map(|(_, vcpu)| vcpu.tag().hard().load().intersection(idle).next_from(0))
    }

    /// Where the one that runs here may run.
    pub(super) fn running_reach(&self) -> PcpuSet {
        self.stay.as_ref().map_or(PcpuSet::NONE, |stay| stay.vcpu.tag().hard().load())
    }

    /// Sends the one that runs here to `pcpu` when it stops.
    pub(super) fn send_to(&mut self, pcpu: PcpuId) {
        if let Some(stay) = &mut self.stay {
            stay.next = Some(pcpu);
        }
    }

    /// Where the first of those that may run elsewhere may run, and its level.
    pub(super) fn first_free(&self) -> Option<(PcpuSet, u64)> {
        self.free.iter().next().map(|(key, vcpu)| (vcpu.tag().hard().load(), self.zone.level(*key)))
    }

    /// Takes the first that waits.
    pub(super) fn take_first(&mut self) -> Option<Taken<T>> {
        let bound = match (self.bound.first(), self.free.first()) {
            (Some(bound), Some(free)) => bound < free,
            (bound, _) => bound.is_some(),
        };
        let heap = if bound { &mut self.bound } else { &mut self.free };
        let (key, vcpu) = heap.remove_entry(0)?;
        self.take(key, vcpu)
    }

    fn take(&mut self, key: u64, vcpu: T) -> Option<Taken<T>> {
        self.load -= vcpu.tag().load();
        Some(Taken { vcpu, place: self.zone.leave(key) })
    }

    /// Takes one for `thief`, another pcpu: among the first ones it is the furthest behind, and below the level
    /// `below`, if that is given; otherwise any that may run there.
    pub(super) fn take_for(
        &mut self,
        thief: PcpuId,
        below: Option<u64>,
        now: u64,
        parameters: &Parameters,
    ) -> Option<Taken<T>> {
        if !self.reach.contains(thief) {
            return None;
        }
        self.advance(now);
        let Some(place) = self.find_for(thief, below, now, parameters) else {
            if below.is_none() {
                // All have been looked at: who asks again finds out by `reach` alone.
                self.reach = self
                    .free
                    .iter()
                    .fold(PcpuSet::NONE, |reach, (_, vcpu)| reach.union(&vcpu.tag().hard().load()));
            }
            return None;
        };
        let (key, vcpu) = self.free.remove_entry(place)?;
        self.take(key, vcpu)
    }

    /// Where in `free` the one is that [`Queue::take_for`] takes.
    fn find_for(
        &self,
        thief: PcpuId,
        below: Option<u64>,
        now: u64,
        parameters: &Parameters,
    ) -> Option<usize> {
        let fits = |vcpu: &T| {
            let tag = vcpu.tag();
            tag.hard().contains(thief)
                && (parameters.migration_delay == 0
                    || now.saturating_sub(tag.last_ran()) >= parameters.migration_delay)
        };
        let looked_at = if below.is_some() { GLANCES } else { usize::MAX };
        let limit = below.map(|below| self.zone.key(below));
        let candidates = self
            .free
            .iter()
            .take(looked_at)
            .filter(|(key, vcpu)| limit.is_none_or(|limit| *key < limit) && fits(vcpu));
        candidates
            .take(GLANCES)
            .filter_map(|(key, vcpu)| Some((!vcpu.tag().soft().contains(thief), *key, vcpu.place()?)))
            .min()
            .map(|(_, _, place)| place)
    }

    /// `vcpu` runs from `now` on. It has `budget` ns, if its domain has a cap, and `lead` from the queue.
    #[expect(clippy::too_many_arguments, reason = "all that makes up a stay")]
    pub(super) fn begin(
        &mut self,
        vcpu: T,
        arrival: &Arrival,
        rivals: impl FnOnce() -> Option<u64>,
        lead: u64,
        budget: Option<i64>,
        now: u64,
        parameters: &Parameters,
    ) {
        // Nobody runs: no time is to be counted.
        self.zone.pass(now);
        let load = vcpu.tag().share().load();
        let key = self.key_for(arrival, rivals, self.load + load, parameters);
        vcpu.tag().set_load(load);
        self.load += load;
        let limit = budget.map_or(NEVER, |budget| now.saturating_add_signed(budget.max(0)));
        self.stay = Some(Stay { vcpu, key, lead, start: now, end: NEVER, alone: now, limit, next: None });
    }

    /// Lets the vcpu that runs here stay: for its part of a slice when others wait here, a glance when others
    /// wait elsewhere, and otherwise until something happens, which is said by `true`.
    #[inline]
    pub(super) fn extend(&mut self, now: u64, elsewhere: bool, parameters: &Parameters) -> bool {
        let length = match self.has_waiting() {
            true => Some(self.stay_length(parameters)),
            false => elsewhere.then(|| parameters.glance()),
        };
        let Some(stay) = &mut self.stay else { return false };
        if stay.end != NEVER {
            stay.alone = now;
        }
        // Pcpus with the same load would for ever look at each other at the same points of their rounds.
        let uneven = |length: u64| length - length / 32 * (now.wrapping_mul(SPREAD) >> 61);
        stay.end = length.map_or(NEVER, |length| now + uneven(length));
        length.is_none()
    }

    /// Its part of a slice.
    fn stay_length(&self, parameters: &Parameters) -> u64 {
        let own = self.stay.as_ref().map_or(0, |stay| stay.vcpu.tag().load());
        divided(parameters.slice, own, self.load.max(1)).clamp(parameters.shortest_stay(), parameters.slice)
    }

    /// A vcpu with `key` has come: shortens the stay of the one that runs here. Says whether the pcpu has to
    /// be told.
    pub(super) fn challenge(&mut self, key: u64, now: u64, parameters: &Parameters) -> bool {
        let goes_before = match &self.stay {
            Some(stay) => key <= stay.key,
            None => return true,
        };
        let least = if goes_before { parameters.rate_limit } else { self.stay_length(parameters) };
        let Some(stay) = &mut self.stay else { return true };
        let end = now.max(stay.start.saturating_add(least));
        let sooner = end < stay.end;
        stay.end = stay.end.min(end);
        sooner
    }

    /// A vcpu at `level` waits elsewhere: shortens the stay of the one that runs here if all here are further ahead by more
    /// than keeps vcpus where they are. Says whether the pcpu has to be told.
    pub(super) fn challenge_from(&mut self, level: u64, now: u64, parameters: &Parameters) -> bool {
        self.advance(now);
        let ahead = self.pull_level(parameters).is_some_and(|below| level < below);
        let Some(stay) = self.stay.as_mut().filter(|_| ahead) else { return false };
        let end = now.max(stay.start.saturating_add(parameters.rate_limit));
        let sooner = end < stay.end;
        stay.end = stay.end.min(end);
        sooner
    }

    /// The stay of the one that runs here ends now.
    pub(super) fn cut_short(&mut self, now: u64) {
        if let Some(stay) = &mut self.stay {
            stay.limit = now;
        }
    }

    /// Whether the turn of the one that runs here is over, and another one here is further behind.
    pub(super) fn is_overtaken(&self) -> bool {
        self.stay.as_ref().is_some_and(|stay| self.first_key().is_some_and(|first| first < stay.key))
    }

    /// Whether the one that runs here has used up its cap.
    pub(super) fn is_used_up(&self, now: u64) -> bool {
        self.stay.as_ref().is_some_and(|stay| now >= stay.limit)
    }

    /// The level below which a vcpu that waits elsewhere goes before the one that would run next here: a quarter of a
    /// round, which keeps vcpus where they are.
    pub(super) fn pull_level(&self, parameters: &Parameters) -> Option<u64> {
        let next = self.least_key()?;
        let margin = Zone::span(parameters.slice / 4, self.load);
        Some(self.zone.level(next.saturating_sub(margin)))
    }

    /// The one that runs here stops at `now`: how far it is, for how long it ran, and where it goes if not here.
    pub(super) fn end(&mut self, now: u64) -> Option<(Place, u64, Option<PcpuId>)> {
        self.advance(now);
        let stay = self.stay.as_ref()?;
        self.load -= stay.vcpu.tag().load();
        let ended =
            (self.zone.leave(stay.key.saturating_add(stay.lead)), now.saturating_sub(stay.start), stay.next);
        self.stay = None;
        Some(ended)
    }

    /// The level here.
    pub(super) fn level(&self) -> u64 {
        self.zone.level(self.zone.clock())
    }
}

/// How a vcpu comes into a queue.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub way: Way,
    /// How far it was; `None` if it has never run.
    pub place: Option<Place>,
    /// Whether `place` is of this queue.
    pub here: bool,
    /// How long it slept, ns.
    pub slept: u64,
}
