//! A virtual interrupt has one port, of a vcpu or of the domain; global ones are Dom0's.

use xen_abi::errno::Errno;
use xen_abi::xen::{NR_VIRQS, Virq};

use crate::evtchn::{self, Status};
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-virq",
    description: "A virtual interrupt has one port, of a vcpu or of the domain; global ones are Dom0's.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

const TIMER: u32 = Virq::Timer as u32;
const DOM_EXC: u32 = Virq::DomExc as u32;

fn run(guest: &Guest) -> Check {
    evtchn::prepare()?;
    for (what, virq, vcpu, errno) in [
        ("a vcpu that is not there", TIMER, 31, Errno::ENOENT),
        ("no vcpu at all", TIMER, u32::MAX, Errno::ENOENT),
        ("no interrupt", NR_VIRQS, 0, Errno::EINVAL),
        ("no interrupt at all", u32::MAX, 0, Errno::EINVAL),
        ("a global one of another vcpu", DOM_EXC, 1, Errno::EINVAL),
    ] {
        ensure_eq!(evtchn::bind_virq(virq, vcpu), Err(errno), "{what}");
    }
    let global = evtchn::bind_virq(DOM_EXC, 0);
    if guest.is_dom0() {
        ensure_eq!(evtchn::own(global?)?, Status::Virq(DOM_EXC), "a global one");
        ensure_eq!(evtchn::bind_virq(DOM_EXC, 0), Err(Errno::EEXIST), "a global one again");
        evtchn::close(global?)?;
    } else {
        ensure_eq!(global, Err(Errno::EBUSY), "a global one that Dom0 handles");
    }
    let timer = evtchn::bind_virq(TIMER, 0)?;
    let debug = evtchn::bind_virq(Virq::Debug as u32, 0)?;
    ensure_eq!(evtchn::own(timer)?, Status::Virq(TIMER), "the timer's port");
    ensure_eq!(evtchn::bind_virq(TIMER, 0), Err(Errno::EEXIST), "the timer again");
    ensure_eq!(evtchn::send(timer), Err(Errno::EINVAL), "send to an interrupt");
    evtchn::close(timer)?;
    ensure_eq!(evtchn::bind_virq(TIMER, 0), Ok(timer), "the timer when it was closed");
    evtchn::close(timer)?;
    Ok(evtchn::close(debug)?)
}
