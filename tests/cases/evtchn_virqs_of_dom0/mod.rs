//! Dom0 hears of the ends of domains by VIRQ_DOM_EXC, and of the q key by VIRQ_DEBUG.

use guest_rt::events;
use xen_abi::handle::GuestHandle;
use xen_abi::sysctl::{DebugKeys, SysctlOp};
use xen_abi::xen::Virq;
use xen_control::calls;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-virqs-of-dom0",
    description: "Dom0 hears of the ends of domains by VIRQ_DOM_EXC, and of the q key by VIRQ_DEBUG.",
    covers: &[],
    needs: &[],
    kind: Kind::Control(control, run),
};

const EVENT_MS: u64 = 2_000;

fn control(controller: &Controller) -> Check {
    evtchn::prepare()?;
    let (ends, debug) =
        (evtchn::bind_virq(Virq::DomExc as u32, 0)?, evtchn::bind_virq(Virq::Debug as u32, 0)?);
    let mut domain = controller.spawn("evtchn-virqs-of-dom0", "", Shape::SMALL)?;
    events::take(ends);
    domain.start()?;
    ensure!(until(LIMIT_MS, || events::take(ends)), "no VIRQ_DOM_EXC when a domain has shut down");
    ensure!(domain.ended()?.is_some(), "VIRQ_DOM_EXC of a domain that runs");
    domain.verdict()?;
    domain.destroy()?;
    ensure!(until(EVENT_MS, || events::take(ends)), "no VIRQ_DOM_EXC when a domain has been destroyed");
    ensure!(!events::take(debug), "VIRQ_DEBUG before anybody asked");
    let key = b'q';
    let mut keys = DebugKeys { keys: GuestHandle::new((&raw const key) as u64), nr_keys: 1, _pad: 0 };
    calls::sysctl(controller.host()?, SysctlOp::DebugKeys, &mut keys)?;
    ensure!(until(EVENT_MS, || events::take(debug)), "no VIRQ_DEBUG");
    evtchn::close(ends)?;
    Ok(evtchn::close(debug)?)
}

fn run(_: &Guest) -> Check {
    Ok(())
}
