//! Unmasking brings the upcall for an event that came meanwhile, and none without one.

use guest_rt::events;
use xen_abi::errno::Errno;

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-unmask",
    description: "Unmasking brings the upcall for an event that came meanwhile, and none without one.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let port = evtchn::bind_ipi(0)?;
    evtchn::unmask(port)?;
    ensure_eq!((evtchn::is_masked(port), evtchn::upcall(0)?), (false, (false, 0)), "without an event");
    events::mask(port);
    evtchn::send(port)?;
    ensure_eq!((evtchn::is_pending(port), evtchn::upcall(0)?), (true, (false, 0)), "an event while masked");
    evtchn::unmask(port)?;
    ensure_eq!((evtchn::is_masked(port), evtchn::upcall(0)?), (false, (true, 1 << (port / 64))), "upcall");
    ensure!(events::take(port), "the event");
    for port in [60_000, u32::MAX] {
        ensure_eq!(evtchn::unmask(port), Err(Errno::EINVAL), "port {port}");
    }
    evtchn::prepare()?;
    Ok(evtchn::close(port)?)
}
