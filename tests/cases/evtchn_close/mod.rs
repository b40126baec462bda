//! A closed port is free, its event is forgotten, and its peer waits again.

use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-close",
    description: "A closed port is free, its event is forgotten, and its peer waits again.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    for (what, port) in [("port 0", 0), ("one that never was", 60_000), ("no port", u32::MAX)] {
        ensure_eq!(evtchn::close(port), Err(Errno::EINVAL), "{what}");
    }
    let (waiting, bound) = evtchn::loopback()?;
    let Status::Interdomain(id, _) = evtchn::own(waiting)? else { fail!("port {waiting} is not connected") };
    evtchn::send(waiting)?;
    ensure!(evtchn::is_pending(bound), "no event");
    evtchn::close(bound)?;
    ensure_eq!(evtchn::own(bound)?, Status::Closed, "the closed port");
    ensure_eq!(evtchn::own(waiting)?, Status::Unbound(id), "its peer");
    ensure_eq!(evtchn::close(bound), Err(Errno::EINVAL), "the closed port again");
    ensure!(!evtchn::is_pending(bound), "the event of a closed port is left");
    ensure_eq!(evtchn::bind_interdomain(DOMID_SELF, waiting), Ok(bound), "the peer connected anew");
    evtchn::close(waiting)?;
    ensure_eq!(evtchn::own(bound)?, Status::Unbound(id), "the other end");
    Ok(evtchn::close(bound)?)
}
