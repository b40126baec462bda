//! A DomU knows how much memory it has and may have, and nothing of others.

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::memory::{MemoryDomain, MemoryOp};
use xen_abi::xen::DOMID_SELF;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-of-the-domain",
    description: "A DomU knows how much memory it has and may have, and nothing of others.",
    covers: &["MEM-01", "MEM-22"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(guest: &Guest) -> Check {
    let pages: u64 = guest.boot().ram().map(|ram| (ram.end - ram.start) >> 12).sum();
    let current = ask(MemoryOp::CurrentReservation, DOMID_SELF)?;
    // The console's and the XenStore's pages come on top.
    ensure!((pages..pages + 16).contains(&current), "{current} pages, {pages} in the memory map");
    let most = ask(MemoryOp::MaximumReservation, DOMID_SELF)?;
    ensure!(most >= current, "at most {most}, but has {current}");
    let last = ask(MemoryOp::MaximumGpfn, DOMID_SELF)?;
    ensure!(last >= pages - 1, "last frame {last:#x}");
    for other in [0, 1, 2, 0x7fef] {
        let answer = ask(MemoryOp::CurrentReservation, other);
        let refused = matches!(answer, Err(Errno::EPERM | Errno::ESRCH));
        ensure!(refused || answer == Ok(current), "domain {other}: {answer:?}");
    }
    ensure!(ask(MemoryOp::CurrentReservation, 0).is_err(), "Dom0's memory is told");
    Ok(())
}

fn ask(op: MemoryOp, domid: u16) -> Result<u64, Errno> {
    hypercall::memory_op(op, &mut MemoryDomain { domid })
}
