//! An event sets the bit of the other end; an upcall follows if that is not masked.

use guest_rt::events;
use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-send",
    description: "An event sets the bit of the other end; an upcall follows if that is not masked.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    for (what, port) in [("port 0", 0), ("one that never was", 60_000), ("no port", u32::MAX)] {
        ensure_eq!(evtchn::send(port), Err(Errno::EINVAL), "{what}");
    }
    let unbound = evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF)?;
    ensure_eq!(evtchn::send(unbound), Ok(()), "a port that waits");
    ensure!(!evtchn::is_pending(unbound), "an event that nobody gets");
    evtchn::close(unbound)?;
    ensure_eq!(evtchn::send(unbound), Err(Errno::EINVAL), "a closed port");

    let (one, other) = evtchn::loopback()?;
    events::forget_all(1);
    evtchn::send(one)?;
    ensure!(evtchn::is_pending(other) && !evtchn::is_pending(one), "the other end has the event");
    ensure_eq!(evtchn::upcall(0)?, (false, 0), "upcall for a masked port");
    ensure!(events::take(other), "the event");
    events::unmask(other);
    evtchn::send(one)?;
    evtchn::send(one)?;
    ensure_eq!(evtchn::upcall(0)?, (true, 1 << (other / 64)), "upcall");
    ensure!(events::take(other) && !events::take(other), "two events at one port are one");
    evtchn::prepare()?;
    // The other way round.
    evtchn::send(other)?;
    ensure!(events::take(one) && !evtchn::is_pending(other), "the event of the other direction");
    evtchn::close(one)?;
    Ok(evtchn::close(other)?)
}
