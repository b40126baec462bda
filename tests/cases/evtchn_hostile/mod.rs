//! A guest that scribbles over its event words while others send harms neither them nor the hypervisor.

use alloc::vec::Vec;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use guest_rt::{events, println};
use xen_abi::xen::SharedInfo;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::evtchn::{self, Status};
use crate::fifo::Fifo;
use crate::guest::Guest;
use crate::random::Random;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-hostile",
    description: "A guest that scribbles over its event words while others send harms neither them nor the hypervisor.",
    covers: &[],
    needs: &[],
    kind: Kind::Control(control, run),
};

const NAME: &str = "evtchn-hostile";
/// Channels from Dom0 to the hostile domain.
const CHANNELS: usize = 40;
const ROUNDS: usize = 3_000;
/// Each so many rounds the other domain has to answer.
const BETWEEN: usize = 100;
const EVENT_MS: u64 = 2_000;
const RANDOM: u32 = 0xbad;

fn control(controller: &Controller) -> Check {
    attack(controller, "two-level")?;
    attack(controller, "fifo")
}

fn attack(controller: &Controller, how: &str) -> Check {
    evtchn::prepare()?;
    let mut hostile = controller.spawn(NAME, how, Shape::SMALL)?;
    let mut other = controller.spawn(NAME, "other", Shape::SMALL)?;
    let mut ports = Vec::new();
    for _ in 0..CHANNELS {
        ports.push(evtchn::bind_interdomain(hostile.id(), evtchn::alloc_unbound(hostile.id(), 0)?)?);
    }
    let to_other = evtchn::bind_interdomain(other.id(), evtchn::alloc_unbound(other.id(), 0)?)?;
    events::take(to_other);
    hostile.start()?;
    other.start()?;
    hostile.wait_for("ready", LIMIT_MS)?;
    other.wait_for("ready", LIMIT_MS)?;
    let mut random = Random(RANDOM);
    for round in 0..ROUNDS {
        evtchn::send(ports[random.below(CHANNELS)])?;
        if round % BETWEEN == 0 {
            evtchn::send(to_other)?;
            let answered = until(EVENT_MS, || events::take(to_other));
            ensure!(answered, "{how}: the other domain does not answer in round {round}");
        }
    }
    ensure!(hostile.ended()?.is_none(), "{how}: the hostile domain has ended");
    // Its ports close whatever its words say.
    hostile.destroy()?;
    for port in ports {
        ensure!(matches!(evtchn::own(port)?, Status::Unbound(_)), "{how}: port {port} is left");
        evtchn::close(port)?;
    }
    evtchn::send(to_other)?;
    ensure!(until(EVENT_MS, || events::take(to_other)), "{how}: the other domain does not answer in the end");
    other.destroy()?;
    Ok(evtchn::close(to_other)?)
}

fn run(guest: &Guest) -> Check {
    evtchn::prepare()?;
    match guest.role() {
        "other" => answer(),
        "fifo" => scribble_fifo(),
        _ => scribble_two_level(),
    }
}

/// Answers each event, for ever.
fn answer() -> Check {
    let to_dom0 = |port: &u32| matches!(evtchn::own(*port), Ok(Status::Interdomain(0, _)));
    let Some(port) = (1..64).find(to_dom0) else { fail!("no channel to Dom0") };
    println!("ready");
    loop {
        while !events::take(port) {
            evtchn::poll(&[port], 0)?;
        }
        evtchn::send(port)?;
    }
}

/// Overwrites `evtchn_pending`, `evtchn_mask` and its own `vcpu_info`, for ever.
fn scribble_two_level() -> Check {
    println!("ready");
    let mut random = Random(RANDOM);
    let words = offset_of!(SharedInfo, wc_version) / 8;
    loop {
        let value = u64::from(random.next()) << 32 | u64::from(random.next());
        events::overwrite(random.below(words), value);
        if random.below(64) == 0 {
            // Whether it is refused or not.
            let _ = evtchn::unmask(random.next() % 128);
        }
    }
}

/// Overwrites control block and event words, with links that mean something and with any, for ever.
fn scribble_fifo() -> Check {
    let fifo = Fifo::new(0, 1)?;
    println!("ready");
    let mut random = Random(RANDOM);
    loop {
        let word = match random.below(8) {
            0 => random.next(),
            // Linked to one of the ports in use, pending or not, masked or not, in a loop or not.
            _ => (random.next() & 0xe000_0000) | (random.next() % 64),
        };
        if random.below(4) == 0 {
            fifo.control().words()[random.below(18)].store(word, Ordering::Release);
        } else {
            fifo.word(random.next() % 64).store(word, Ordering::Release);
        }
        if random.below(16) == 0 {
            let port = random.next() % 64;
            // Whether they are refused or not.
            let _ = evtchn::unmask(port);
            let _ = evtchn::set_priority(port, random.next() % 16);
        }
    }
}
