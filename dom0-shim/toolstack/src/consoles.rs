//! Consoles: the back end of each domain's ring, and what it said.
//!
//! ```text
//! guest ──out──> ring ──take──> scroll-back, 64 KiB ──> viewers, each with a cursor
//! guest <──in─── ring <──send── queue, 4 KiB <───────── what they type
//! ```
//!
//! A guest that floods its console costs a ring full, [`TURNS`] times in [`PERIOD_NS`];
//! what it says beyond waits in its ring. What a slow viewer has not seen when the
//! scroll-back is full is lost, and it is told how much.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::pin::pin;

use event_listener::Event;
use futures_util::future::{Either, select};
use xen_abi::RawPort;
use xl::toolstack::{DomId, Done, Failure};

use crate::create::yield_now;
use crate::environment::{Environment, Platform};
use crate::hypervisor::{Hypervisor, Ring};
use crate::manager::{Manager, of_domain};

/// Bytes of output that are kept.
const SCROLL_BACK: usize = 64 << 10;
/// Bytes of input that wait for room in the ring.
const INPUT: usize = 4 << 10;
/// How often the ring is looked at in a period.
const TURNS: u32 = 30;
/// Length of a period, ns. Each console has its own, as long as it is used.
const PERIOD_NS: u64 = 200_000_000;
/// Consoles of domains that are gone, kept until their end is read.
const CLOSED: usize = 4;

/// All consoles.
pub(crate) struct Consoles<R> {
    backs: RefCell<BTreeMap<DomId, Back<R>>>,
    /// Those of domains that are gone, the newest last.
    closed: RefCell<VecDeque<(DomId, Output)>>,
    /// Told when there is output, or a console is closed.
    output: Event,
}

impl<R> Default for Consoles<R> {
    fn default() -> Self {
        Self { backs: RefCell::default(), closed: RefCell::default(), output: Event::new() }
    }
}

/// One domain's back end.
struct Back<R> {
    ring: R,
    /// Dom0's port.
    port: RawPort,
    output: Output,
    /// What was typed and found no room yet.
    input: VecDeque<u8>,
    /// How often the ring may be looked at in this period.
    turns: u32,
    /// When this period began, ns.
    since: u64,
    /// An event came when it might not be looked at any more.
    late: bool,
    /// Its indices have made no sense, which was reported.
    broken: bool,
}

/// What a domain said, and how far it was read.
#[derive(Default)]
struct Output {
    bytes: VecDeque<u8>,
    /// Bytes that it said in all.
    end: u64,
    /// Bytes of them that were read.
    cursor: u64,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.end = self.end.saturating_add(bytes.len() as u64);
        let excess = self.bytes.len().saturating_sub(SCROLL_BACK);
        self.bytes.drain(..excess);
    }

    /// Number of the oldest byte that is kept.
    fn start(&self) -> u64 {
        self.end.saturating_sub(self.bytes.len() as u64)
    }

    /// What follows `cursor`, which moves to the end. What was lost is told first.
    fn read(&self, cursor: &mut u64) -> Vec<u8> {
        let mut text = Vec::new();
        let lost = self.start().saturating_sub(*cursor);
        if lost > 0 {
            text.extend_from_slice(format!("\r\n[{lost} bytes are lost]\r\n").as_bytes());
        }
        let seen = cursor.saturating_sub(self.start());
        text.extend(self.bytes.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX)));
        *cursor = self.end;
        text
    }
}

impl<R> Back<R> {
    /// When the period ends, ns.
    fn period_ends(&self) -> u64 {
        self.since.saturating_add(PERIOD_NS)
    }

    /// Begins another period, if this one is over.
    fn renew(&mut self, now: u64) {
        if self.period_ends() <= now {
            (self.since, self.turns, self.late) = (now, TURNS, false);
        }
    }

    /// Takes a turn; whether there was one.
    fn take_turn(&mut self) -> bool {
        let due = self.turns > 0;
        self.turns = self.turns.saturating_sub(1);
        self.late |= !due;
        due
    }
}

impl<R: Ring> Back<R> {
    /// Moves bytes in both directions; whether any were moved, and whether the ring's
    /// indices made no sense for the first time.
    fn pump(&mut self) -> (bool, bool) {
        let (taken, sense) = match self.ring.take() {
            Ok(bytes) => (bytes, true),
            // Its bytes are lost; the next ones are counted from where it is now.
            Err(_) => (Vec::new(), false),
        };
        self.output.push(&taken);
        let sent = self.ring.send(self.input.make_contiguous()).unwrap_or(0);
        self.input.drain(..sent.min(self.input.len()));
        let news = !sense && !self.broken;
        self.broken |= !sense;
        (!taken.is_empty() || sent > 0, news)
    }
}

impl<R> Consoles<R> {
    /// Starts to read from the scroll-back: what has been lost by now is not told.
    pub(crate) fn rewind(&self, domain: DomId) -> Done {
        let mut backs = self.backs.borrow_mut();
        let back = backs.get_mut(&domain);
        let back = back.ok_or_else(|| Failure(format!("domain {domain} has no console here")))?;
        back.output.cursor = back.output.start();
        Ok(())
    }

    /// What nobody has read yet, by the one cursor that all readers share. `None` when
    /// the domain is gone, and all is read.
    pub(crate) async fn next_output(&self, domain: DomId) -> Option<Vec<u8>> {
        loop {
            let listener = self.output.listen();
            match self.unread(domain) {
                Some(text) if text.is_empty() => listener.await,
                Some(text) => return Some(text),
                None => return None,
            }
        }
    }

    fn unread(&self, domain: DomId) -> Option<Vec<u8>> {
        if let Some(back) = self.backs.borrow_mut().get_mut(&domain) {
            let mut cursor = back.output.cursor;
            let text = back.output.read(&mut cursor);
            back.output.cursor = cursor;
            return Some(text);
        }
        let mut closed = self.closed.borrow_mut();
        let place = closed.iter().position(|(id, _)| *id == domain)?;
        let (_, output) = closed.remove(place)?;
        let mut cursor = output.cursor;
        Some(output.read(&mut cursor)).filter(|text| !text.is_empty())
    }

    /// What a viewer with a cursor of its own has not seen; 0 is the first byte ever, and
    /// `None` for the cursor is the oldest one that is kept.
    fn seen_from(&self, domain: DomId, cursor: &mut Option<u64>) -> Option<Vec<u8>> {
        let backs = self.backs.borrow();
        let closed = self.closed.borrow();
        let output = match backs.get(&domain) {
            Some(back) => &back.output,
            None => &closed.iter().find(|(id, _)| *id == domain)?.1,
        };
        let gone = !backs.contains_key(&domain);
        let mut place = cursor.unwrap_or(output.start());
        let text = output.read(&mut place);
        *cursor = Some(place);
        if gone && text.is_empty() { None } else { Some(text) }
    }

    /// Keeps nothing of a console that was closed.
    pub(crate) fn discard(&self, domain: DomId) {
        self.closed.borrow_mut().retain(|(id, _)| *id != domain);
        self.output.notify(usize::MAX);
    }
}

/// One who looks at a console, with a place of his own in what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Viewer {
    domain: DomId,
    cursor: Option<u64>,
}

impl<E: Environment> Manager<E> {
    /// Serves all consoles; never ends.
    pub async fn serve_consoles(&self) {
        let platform = self.env.platform();
        loop {
            let now = platform.now_ns();
            self.look_at_late(now);
            let event = pin!(platform.console_event());
            // Time matters only while somebody is late.
            match self.late_until() {
                None => self.console_event(event.await),
                Some(end) => {
                    let left = end.saturating_sub(now).div_ceil(1_000_000);
                    if let Either::Left((port, _)) = select(event, pin!(platform.sleep(left))).await {
                        self.console_event(port);
                    }
                }
            }
            // However many events come, others have their turn.
            yield_now().await;
        }
    }

    /// A viewer of a domain's console, who begins with its scroll-back.
    ///
    /// # Errors
    ///
    /// When it has no console here.
    pub fn view(&self, domain: DomId) -> Done<Viewer> {
        let there = self.consoles.backs.borrow().contains_key(&domain);
        let viewer = Viewer { domain, cursor: None };
        there.then_some(viewer).ok_or_else(|| Failure(format!("domain {domain} has no console here")))
    }

    /// What the viewer has not seen yet; waits until there is some. `None` when the
    /// domain is gone.
    pub async fn look(&self, viewer: &mut Viewer) -> Option<Vec<u8>> {
        loop {
            let listener = self.consoles.output.listen();
            match self.consoles.seen_from(viewer.domain, &mut viewer.cursor) {
                Some(text) if text.is_empty() => listener.await,
                text => return text,
            }
        }
    }

    /// Opens a domain's console: its ring at `frame`, its port `port`.
    pub(crate) fn open_console(&self, domain: DomId, frame: u64, port: RawPort) -> Done {
        let words = |error| of_domain(domain, error);
        let ring = self.hypervisor().open_ring(domain, frame).map_err(words)?;
        let port = self.env.platform().bind(domain, port)?;
        let back = Back {
            ring,
            port,
            output: Output::default(),
            input: VecDeque::new(),
            turns: TURNS,
            since: self.env.platform().now_ns(),
            late: false,
            broken: false,
        };
        self.consoles.discard(domain);
        self.consoles.backs.borrow_mut().insert(domain, back);
        Ok(())
    }

    /// Reads a console out and closes it. What it said stays until it is read, or until
    /// some others are closed.
    pub(crate) fn close_console(&self, domain: DomId) {
        let Some(mut back) = self.consoles.backs.borrow_mut().remove(&domain) else { return };
        back.pump();
        self.env.platform().unbind(back.port);
        let mut closed = self.consoles.closed.borrow_mut();
        closed.push_back((domain, back.output));
        if closed.len() > CLOSED {
            closed.pop_front();
        }
        drop(closed);
        self.consoles.output.notify(usize::MAX);
    }

    /// Types into a console. What finds no room in the queue is lost.
    pub(crate) fn type_into(&self, domain: DomId, bytes: &[u8]) {
        {
            let mut backs = self.consoles.backs.borrow_mut();
            let Some(back) = backs.get_mut(&domain) else { return };
            let room = INPUT.saturating_sub(back.input.len());
            back.input.extend(bytes.iter().take(room));
        }
        self.pump(domain);
    }

    /// An event at one of Dom0's ports.
    fn console_event(&self, port: RawPort) {
        let now = self.env.platform().now_ns();
        let due = {
            let mut backs = self.consoles.backs.borrow_mut();
            let Some((domain, back)) = backs.iter_mut().find(|(_, back)| back.port == port) else { return };
            // Turns of a period that is over do not count, late or not.
            back.renew(now);
            back.take_turn().then_some(*domain)
        };
        if let Some(domain) = due {
            self.pump(domain);
        }
    }

    /// When the first of those that came too late has its turn, ns.
    fn late_until(&self) -> Option<u64> {
        let backs = self.consoles.backs.borrow();
        backs.values().filter(|back| back.late).map(Back::period_ends).min()
    }

    /// Looks at those that came too late in a period that is over.
    fn look_at_late(&self, now: u64) {
        let due: Vec<DomId> = {
            let mut backs = self.consoles.backs.borrow_mut();
            let late = backs.iter_mut().filter(|(_, back)| back.late);
            late.filter_map(|(domain, back)| {
                back.renew(now);
                (!back.late && back.take_turn()).then_some(*domain)
            })
            .collect()
        };
        due.into_iter().for_each(|domain| self.pump(domain));
    }

    /// Moves bytes of one console, and tells who waits for them.
    fn pump(&self, domain: DomId) {
        let (port, moved, broken) = {
            let mut backs = self.consoles.backs.borrow_mut();
            let Some(back) = backs.get_mut(&domain) else { return };
            let (moved, broken) = back.pump();
            (back.port, moved, broken)
        };
        if broken {
            let words = "its indices make no sense; what it said meanwhile is lost";
            self.env.platform().log(format_args!("console of domain {domain}: {words}"));
        }
        if moved {
            self.env.platform().notify(port);
        }
        self.consoles.output.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;
    use std::vec;

    use pollster::block_on;
    use xl::toolstack::Toolstack;
    use xl_config::domain::{Action, DomainConfig};

    use super::*;
    use crate::testing::{World, config, run, turns};

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn what_a_guest_says_is_kept_until_it_is_read() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.say(id, b"hello ");
            turns(8).await;
            world.say(id, b"world");
            turns(8).await;
            assert_eq!(manager.console_output(id).await.unwrap(), b"hello world");
            manager.console_rewind(id).unwrap();
            assert_eq!(manager.console_output(id).await.unwrap(), b"hello world");
            assert!(world.notified.get() >= 2, "the guest hears that there is room");
            assert!(manager.console_rewind(77).is_err());
        });
    }

    #[test]
    fn each_viewer_sees_all() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.say(id, b"one");
            turns(8).await;
            let (mut early, mut other) = (manager.view(id).unwrap(), manager.view(id).unwrap());
            assert_eq!(manager.look(&mut early).await.unwrap(), b"one");
            world.say(id, b"two");
            assert_eq!(manager.look(&mut early).await.unwrap(), b"two");
            assert_eq!(manager.look(&mut other).await.unwrap(), b"onetwo");
            manager.destroy(id).await.unwrap();
            assert_eq!(manager.look(&mut early).await, None);
            assert!(manager.view(id).is_err());
        });
    }

    #[test]
    fn the_last_words_are_read_before_the_end() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.guest(id, |guest| guest.ring.borrow_mut().out.extend(b"panic"));
            manager.destroy(id).await.unwrap();
            assert_eq!(manager.console_output(id).await.unwrap(), b"panic");
            assert_eq!(manager.console_output(id).await, None);
        });
    }

    #[test]
    fn the_console_of_a_preserved_domain_can_be_read() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let wanted = DomainConfig { on_crash: Action::Preserve, ..config("a") };
            let id = manager.create(wanted, false).await.unwrap();
            world.say(id, b"Oops");
            world.stop(id, 3);
            assert!(manager.stopped(id).await.is_some());
            turns(8).await;
            assert_eq!(manager.console_output(id).await.unwrap(), b"Oops");
        });
    }

    #[test]
    fn a_flood_costs_only_a_limited_part_of_it() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let flood = manager.create(config("flood"), false).await.unwrap();
            let calm = manager.create(config("calm"), false).await.unwrap();
            world.guest(flood, |guest| guest.ring.borrow_mut().out.extend(vec![b'x'; 1 << 20]));
            for _ in 0..500 {
                world.ring_event(flood);
            }
            world.say(calm, b"calm");
            let start = world.now_ms.get();
            assert_eq!(manager.console_output(calm).await.unwrap(), b"calm");
            assert_eq!(world.now_ms.get(), start, "the other one did not wait");
            let taken = |world: &World| (1 << 20) - world.guest(flood, |guest| guest.ring.borrow().out.len());
            assert_eq!(taken(&world), TURNS as usize * 2048);
            // What is left is looked at in the next period.
            turns(200).await;
            assert!(taken(&world) > TURNS as usize * 2048);
            assert!(world.now_ms.get() >= start + PERIOD_NS / 1_000_000);
            let kept = manager.console_output(flood).await.unwrap();
            assert!(kept.len() < SCROLL_BACK + 64);
        });
    }

    #[test]
    fn events_that_are_rare_never_wait() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            for count in 1..=40 {
                let now = world.now_ms.get() + 1000;
                world.now_ms.set(now);
                world.say(id, b"x");
                turns(200).await;
                assert_eq!(world.now_ms.get(), now, "event {count} waited for time to pass");
                assert_eq!(manager.console_output(id).await.unwrap(), b"x");
            }
        });
    }

    /// An event and the clock, both at the end of a period, do not each begin another one.
    #[test]
    fn a_period_that_is_over_is_renewed_once() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("flood"), false).await.unwrap();
            world.guest(id, |guest| guest.ring.borrow_mut().out.extend(vec![b'x'; 1 << 20]));
            let start = world.now_ms.get();
            for count in 0..100 {
                // Half of them in the last ms of a period, half in the first of the next.
                world.now_ms.set(start + 199 + count / 50);
                world.ring_event(id);
                turns(8).await;
            }
            let taken = (1 << 20) - world.guest(id, |guest| guest.ring.borrow().out.len());
            assert_eq!(world.now_ms.get(), start + 200);
            assert_eq!(taken, 2 * TURNS as usize * 2048);
        });
    }

    #[test]
    fn what_is_lost_is_counted() {
        let mut output = Output::default();
        output.push(&vec![b'a'; SCROLL_BACK]);
        output.push(b"bc");
        let mut cursor = 0;
        let text = text(&output.read(&mut cursor));
        assert!(text.starts_with("\r\n[2 bytes are lost]\r\naaa") && text.ends_with("abc"));
        assert_eq!(cursor, SCROLL_BACK as u64 + 2);
        assert!(output.read(&mut cursor).is_empty());
    }

    #[test]
    fn indices_that_make_no_sense_are_reported_once() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.guest(id, |guest| guest.ring.borrow_mut().broken = true);
            for _ in 0..3 {
                world.say(id, b"x");
                turns(8).await;
            }
            let reports = world.log.borrow().iter().filter(|line| line.contains("indices")).count();
            assert_eq!(reports, 1);
            world.guest(id, |guest| guest.ring.borrow_mut().broken = false);
            world.say(id, b"y");
            assert_eq!(text(&manager.console_output(id).await.unwrap()), "xxxy");
        });
    }

    #[test]
    fn input_waits_for_room_and_is_bounded() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        run(&manager, async {
            let id = manager.create(config("a"), false).await.unwrap();
            world.guest(id, |guest| guest.ring.borrow_mut().room = 4);
            manager.console_input(id, b"command");
            let typed = || world.guest(id, |guest| guest.ring.borrow().typed.clone());
            assert_eq!(typed(), b"comm");
            world.guest(id, |guest| guest.ring.borrow_mut().room = 1024);
            world.ring_event(id);
            turns(8).await;
            assert_eq!(typed(), b"command");
            world.guest(id, |guest| guest.ring.borrow_mut().room = 0);
            for _ in 0..3 {
                manager.console_input(id, &[b'z'; 3000]);
            }
            world.guest(id, |guest| guest.ring.borrow_mut().room = usize::MAX);
            world.ring_event(id);
            turns(8).await;
            assert_eq!(typed().len(), 7 + INPUT);
            manager.console_input(99, b"nobody");
        });
    }

    #[test]
    fn consoles_that_were_closed_do_not_pile_up() {
        let world = World::new();
        let manager = Manager::new(&world).unwrap();
        for _ in 0..10 {
            let id = block_on(manager.create(config("a"), false)).unwrap();
            block_on(manager.destroy(id)).unwrap();
        }
        assert!(manager.consoles.closed.borrow().len() <= CLOSED);
    }
}
