//! Status says what each port is; of other domains, to Dom0 only.

use xen_abi::errno::Errno;
use xen_abi::xen::{DOMID_SELF, Virq};

use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-status",
    description: "Status says what each port is; of other domains, to Dom0 only.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(guest: &Guest) -> Check {
    evtchn::prepare()?;
    let unbound = evtchn::alloc_unbound(DOMID_SELF, 0x123)?;
    let (one, other) = evtchn::loopback()?;
    let (virq, ipi) = (evtchn::bind_virq(Virq::Debug as u32, 0)?, evtchn::bind_ipi(0)?);
    let Status::Interdomain(id, _) = evtchn::own(one)? else { fail!("port {one} is not connected") };
    for (port, expected) in [
        (0, Status::Closed),
        (unbound, Status::Unbound(0x123)),
        (one, Status::Interdomain(id, other)),
        (other, Status::Interdomain(id, one)),
        (virq, Status::Virq(Virq::Debug as u32)),
        (ipi, Status::Ipi),
    ] {
        ensure_eq!(evtchn::status(DOMID_SELF, port), Ok((expected, 0)), "port {port}");
        ensure_eq!(evtchn::status(id, port), Ok((expected, 0)), "port {port} of d{id}");
    }
    for port in [60_000, u32::MAX] {
        ensure_eq!(evtchn::own(port), Err(Errno::EINVAL), "port {port}");
    }
    ensure_eq!(evtchn::status(0x7e57, 1), Err(Errno::ESRCH), "a domain that is not there");
    if !guest.is_dom0() {
        ensure_eq!(evtchn::status(0, 1), Err(Errno::EPERM), "Dom0's");
    }
    for port in [unbound, one, other, virq, ipi] {
        evtchn::close(port)?;
        ensure_eq!(evtchn::own(port), Ok(Status::Closed), "port {port} when it is closed");
    }
    Ok(())
}
