//! A port that waits for a domain: the lowest free one, of the caller itself unless it is privileged.

use guest_rt::hypercall;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::evtchn::{self, Status};
use crate::expect::{self, BAD_POINTERS};
use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

const EVENT_CHANNEL_OP: u64 = 32;
const ALLOC_UNBOUND: u64 = 6;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-alloc-unbound",
    description: "A port that waits for a domain: the lowest free one, of the caller itself unless it is privileged.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

/// Domains that are not there.
const NOBODY: RawDomid = 0x7e57;

fn run(guest: &Guest) -> Check {
    evtchn::prepare()?;
    let first = evtchn::alloc_unbound(DOMID_SELF, DOMID_SELF)?;
    let Status::Unbound(id) = evtchn::own(first)? else { fail!("port {first} does not wait") };
    // Who may connect need not be there yet.
    let second = evtchn::alloc_unbound(id, NOBODY)?;
    ensure_eq!(evtchn::own(second)?, Status::Unbound(NOBODY), "port {second}");
    ensure!(first != 0 && second > first, "ports {first} and {second}");
    evtchn::close(first)?;
    ensure_eq!(evtchn::alloc_unbound(id, DOMID_SELF), Ok(first), "the lowest free port");
    let refused = |dom| evtchn::alloc_unbound(dom, DOMID_SELF);
    for dom in [NOBODY, 0x7ff1, 0x7ff2, 0xffff] {
        ensure_eq!(refused(dom), Err(Errno::ESRCH), "port of domain {dom:#x}");
    }
    if !guest.is_dom0() {
        ensure_eq!(refused(0), Err(Errno::EPERM), "port of Dom0");
    }
    for pointer in BAD_POINTERS {
        let answer = hypercall::raw(EVENT_CHANNEL_OP, [ALLOC_UNBOUND, pointer, 0, 0, 0]);
        expect::errno(answer, Errno::EFAULT, "argument at nowhere")?;
    }
    for op in [15, 100, u64::from(u32::MAX), 1 << 32] {
        let answer = hypercall::raw(EVENT_CHANNEL_OP, [op, 0, 0, 0, 0]);
        expect::errno(answer, Errno::ENOSYS, "unknown operation")?;
    }
    evtchn::close(first)?;
    Ok(evtchn::close(second)?)
}
