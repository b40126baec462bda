//! There is no physical interrupt that could have a port.

use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn;
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-pirq",
    description: "There is no physical interrupt that could have a port.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let before = evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF)?;
    evtchn::close(before)?;
    for pirq in [0, 1, 9, 16, 255, u32::MAX] {
        ensure_eq!(evtchn::bind_pirq(pirq), Err(Errno::EINVAL), "interrupt {pirq}");
    }
    ensure_eq!(evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF), Ok(before), "the lowest free port");
    Ok(evtchn::close(before)?)
}
