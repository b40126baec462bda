//! A port moves to another vcpu, unless it belongs to one by its kind.

use guest_rt::events;
use xen_abi::errno::Errno;
use xen_abi::xen::{DOMID_SELF, Virq};

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-bind-vcpu",
    description: "A port moves to another vcpu, unless it belongs to one by its kind.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let unbound = evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF)?;
    let (one, other) = evtchn::loopback()?;
    let (virq, ipi) = (evtchn::bind_virq(Virq::Timer as u32, 0)?, evtchn::bind_ipi(0)?);
    for (what, port, vcpu, errno) in [
        ("an interrupt of a vcpu", virq, 1, Errno::EINVAL),
        ("an event from vcpu to vcpu", ipi, 1, Errno::EINVAL),
        ("port 0", 0, 1, Errno::EINVAL),
        ("a port that never was", 60_000, 1, Errno::EINVAL),
        ("a vcpu that is not there", one, 2, Errno::ENOENT),
        ("no vcpu", one, u32::MAX, Errno::ENOENT),
    ] {
        ensure_eq!(evtchn::bind_vcpu(port, vcpu), Err(errno), "{what}");
    }
    for port in [unbound, other] {
        evtchn::bind_vcpu(port, 1)?;
        ensure_eq!(evtchn::status(DOMID_SELF, port)?.1, 1, "vcpu of port {port}");
    }
    events::forget_all(2);
    events::unmask(other);
    evtchn::send(one)?;
    ensure_eq!((evtchn::upcall(0)?, evtchn::upcall(1)?), ((false, 0), (true, 1)), "upcalls");
    evtchn::prepare()?;
    events::forget_all(2);
    evtchn::bind_vcpu(other, 0)?;
    events::unmask(other);
    evtchn::send(one)?;
    ensure_eq!((evtchn::upcall(0)?, evtchn::upcall(1)?), ((true, 1), (false, 0)), "upcalls when it is back");
    // What it is bound to next begins at vcpu 0.
    evtchn::bind_vcpu(unbound, 1)?;
    evtchn::close(unbound)?;
    ensure_eq!(evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF), Ok(unbound), "the lowest free port");
    ensure_eq!(evtchn::status(DOMID_SELF, unbound)?.1, 0, "vcpu of a new port");
    Ok(())
}
