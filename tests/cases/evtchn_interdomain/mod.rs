//! Two domains connect, send to each other, and wait again when one end closes or its domain ends.

use guest_rt::{events, println};
use xen_abi::RawDomid;
use xen_abi::errno::Errno;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-interdomain",
    description: "Two domains connect, send to each other, and wait again when one end closes or its domain ends.",
    covers: &[],
    needs: &[],
    kind: Kind::Control(control, run),
};

const NAME: &str = "evtchn-interdomain";
const NOBODY: RawDomid = 0x7e57;
const ROUNDS: usize = 100;
/// Time for an event to cross.
const EVENT_MS: u64 = 2_000;

fn control(controller: &Controller) -> Check {
    evtchn::prepare()?;
    let mut domain = controller.spawn(NAME, "", Shape::SMALL)?;
    let id = domain.id();
    let waiting = evtchn::alloc_unbound(id, 0)?;
    let elsewhere = evtchn::alloc_unbound(id, NOBODY)?;
    let lasting = evtchn::alloc_unbound(id, 0)?;
    for (what, dom, port, errno) in [
        ("a port that waits for somebody else", id, elsewhere, Errno::EINVAL),
        ("port 0", id, 0, Errno::EINVAL),
        ("a port that never was", id, 1000, Errno::EINVAL),
        ("no port of any interface", id, u32::MAX, Errno::EINVAL),
        ("a domain that is not there", NOBODY, waiting, Errno::ESRCH),
    ] {
        ensure_eq!(evtchn::bind_interdomain(dom, port), Err(errno), "{what}");
    }
    let local = evtchn::bind_interdomain(id, waiting)?;
    ensure!(events::take(local), "who connects is not told");
    ensure_eq!(evtchn::bind_interdomain(id, waiting), Err(Errno::EINVAL), "a port that is connected");
    ensure_eq!(evtchn::status(id, waiting)?.0, Status::Interdomain(0, local), "its end");
    ensure_eq!(evtchn::own(local)?, Status::Interdomain(id, waiting), "this end");
    let second = evtchn::bind_interdomain(id, lasting)?;
    events::take(second);

    domain.start()?;
    domain.wait_for("ready", LIMIT_MS)?;
    for round in 0..ROUNDS {
        evtchn::send(local)?;
        ensure!(until(EVENT_MS, || events::take(local)), "no answer in round {round}");
    }
    ensure!(!events::take(second), "an event at the other channel");
    domain.wait(LIMIT_MS)?;
    domain.verdict()?;
    // The guest has closed its end; what is sent now goes nowhere.
    ensure_eq!(evtchn::own(local)?, Status::Unbound(id), "this end when the other one is closed");
    evtchn::send(local)?;
    ensure_eq!(evtchn::own(second)?, Status::Interdomain(id, lasting), "the channel that is left");
    domain.destroy()?;
    ensure_eq!(evtchn::own(second)?, Status::Unbound(id), "this end when the other domain is gone");
    evtchn::send(second)?;
    ensure_eq!(evtchn::bind_interdomain(id, lasting), Err(Errno::ESRCH), "a port of a domain that is gone");
    evtchn::close(second)?;
    Ok(evtchn::close(local)?)
}

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let to_dom0 = |port: &u32| matches!(evtchn::own(*port), Ok(Status::Interdomain(0, _)));
    let Some(port) = (1..64).find(to_dom0) else { fail!("no channel to Dom0") };
    println!("ready");
    for _ in 0..ROUNDS {
        while !events::take(port) {
            evtchn::poll(&[port], 0)?;
        }
        evtchn::send(port)?;
    }
    evtchn::close(port)?;
    ensure_eq!(evtchn::own(port)?, Status::Closed, "the port that was closed");
    Ok(())
}
