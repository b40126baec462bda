//! A reset closes all ports of a domain; another domain's, if it is paused, by Dom0.

use guest_rt::{clock, println};
use xen_abi::errno::Errno;
use xen_abi::xen::{DOMID_SELF, Virq};

use crate::controller::{Controller, LIMIT_MS};
use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-reset",
    description: "A reset closes all ports of a domain; another domain's, if it is paused, by Dom0.",
    covers: &[],
    needs: &[],
    kind: Kind::Control(control, run),
};

/// More than one slice closes.
const MANY: usize = 300;

fn control(controller: &Controller) -> Check {
    evtchn::prepare()?;
    let mut domain = controller.spawn("evtchn-reset", "", Shape::SMALL)?;
    let id = domain.id();
    let waiting = evtchn::alloc_unbound(id, 0)?;
    let local = evtchn::bind_interdomain(id, waiting)?;
    evtchn::reset(id)?;
    ensure_eq!(evtchn::status(id, waiting)?.0, Status::Closed, "a port of the domain");
    ensure_eq!(evtchn::own(local)?, Status::Unbound(id), "its peer in Dom0");
    ensure_eq!(evtchn::reset(0x7e57), Err(Errno::ESRCH), "a domain that is not there");
    domain.start()?;
    domain.wait_for("ready", LIMIT_MS)?;
    ensure_eq!(evtchn::reset(id), Err(Errno::EINVAL), "a domain that runs");
    evtchn::close(local)?;
    // It waits for this.
    domain.wait(LIMIT_MS)?;
    domain.verdict()
}

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    ensure_eq!(evtchn::reset(0), Err(Errno::EPERM), "Dom0's ports");
    let mut ports = alloc::vec::Vec::new();
    for _ in 0..MANY {
        let (one, other) = evtchn::loopback()?;
        ports.extend([one, other]);
    }
    ports.extend([evtchn::bind_virq(Virq::Timer as u32, 0)?, evtchn::bind_ipi(0)?]);
    evtchn::send(ports[0])?;
    evtchn::reset(DOMID_SELF)?;
    for &port in &ports {
        ensure_eq!(evtchn::own(port), Ok(Status::Closed), "port {port}");
        ensure!(!evtchn::is_pending(port), "the event of port {port} is left");
    }
    ensure_eq!(evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF), Ok(1), "the first port");
    ensure!(evtchn::bind_virq(Virq::Timer as u32, 0).is_ok(), "the timer anew");
    println!("ready");
    // Long enough for Dom0 to find it running.
    clock::delay_us(200_000);
    Ok(())
}
