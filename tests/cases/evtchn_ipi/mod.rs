//! An event to a vcpu marks its own structures, whether it runs or not; there may be several ports.

use guest_rt::events;
use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-ipi",
    description: "An event to a vcpu marks its own structures, whether it runs or not; there may be several ports.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    for vcpu in [2, 31, u32::MAX] {
        ensure_eq!(evtchn::bind_ipi(vcpu), Err(Errno::ENOENT), "vcpu {vcpu}");
    }
    let (here, there, also_there) = (evtchn::bind_ipi(0)?, evtchn::bind_ipi(1)?, evtchn::bind_ipi(1)?);
    for (port, vcpu) in [(here, 0), (there, 1), (also_there, 1)] {
        ensure_eq!(evtchn::status(DOMID_SELF, port)?, (Status::Ipi, vcpu), "port {port}");
    }
    [here, there].into_iter().for_each(events::unmask);
    evtchn::send(there)?;
    ensure_eq!(evtchn::upcall(1)?, (true, 1), "upcall of vcpu 1");
    ensure_eq!(evtchn::upcall(0)?, (false, 0), "upcall of vcpu 0");
    evtchn::send(also_there)?;
    ensure!(events::take(there) && events::take(also_there), "events");
    evtchn::send(here)?;
    ensure_eq!(evtchn::upcall(0)?, (true, 1), "upcall of vcpu 0 for its own event");
    ensure!(events::take(here) && !events::take(here), "one event, taken once");
    Ok(())
}
