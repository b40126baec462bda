//! A domain gets no port above the limit that it was created with, by any operation.

use xen_abi::errno::Errno;
use xen_abi::xen::{DOMID_SELF, Virq};

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-port-limit",
    description: "A domain gets no port above the limit that it was created with, by any operation.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

/// Highest port of the domains that the controller makes.
const LIMIT: u32 = 1023;

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let mut last = 0;
    let end = loop {
        match evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF) {
            Ok(port) => last = port,
            Err(errno) => break errno,
        }
        ensure!(last <= LIMIT, "port {last}");
    };
    ensure_eq!((end, last), (Errno::ENOSPC, LIMIT), "the last port");
    ensure_eq!(evtchn::bind_ipi(0), Err(Errno::ENOSPC), "bind_ipi");
    ensure_eq!(evtchn::bind_virq(Virq::Timer as u32, 0), Err(Errno::ENOSPC), "bind_virq");
    ensure_eq!(evtchn::bind_interdomain(DOMID_SELF, last), Err(Errno::ENOSPC), "bind_interdomain");
    evtchn::close(500)?;
    ensure_eq!(evtchn::bind_ipi(0), Ok(500), "the only free port");
    ensure_eq!(evtchn::bind_virq(Virq::Timer as u32, 0), Err(Errno::ENOSPC), "bind_virq again");
    // What was refused left nothing behind.
    evtchn::close(500)?;
    ensure_eq!(evtchn::bind_virq(Virq::Timer as u32, 0), Ok(500), "bind_virq with a free port");
    Ok(())
}
