//! A page that is given back is gone, and comes back zero.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryDomain, MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-ballooning",
    description: "A page that is given back is gone, and comes back zero.",
    covers: &["MEM-01"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    let mut page = Page::new();
    page.bytes_mut().fill(0xa5);
    let before = current()?;
    ensure_eq!(change(MemoryOp::DecreaseReservation, page.frame()), Ok(1), "decrease");
    ensure_eq!(current()?, before - 1, "pages after decrease");
    // As on a bus: nobody answers.
    ensure_eq!(page.read(0), Ok(0xff), "what is gone");
    page.write(0, 1)?;
    ensure_eq!(page.read(0), Ok(0xff), "what is gone after a write");
    ensure_eq!(change(MemoryOp::PopulatePhysmap, page.frame()), Ok(1), "populate");
    ensure_eq!(current()?, before, "pages after populate");
    let zero = (0..4096).all(|offset| page.read(offset) == Ok(0));
    ensure!(zero, "the page is not zero");
    page.write(9, 7)?;
    ensure_eq!(page.read(9), Ok(7), "the page afterwards");
    Ok(())
}

fn current() -> Result<u64, Errno> {
    hypercall::memory_op(MemoryOp::CurrentReservation, &mut MemoryDomain { domid: DOMID_SELF })
}

fn change(op: MemoryOp, mut frame: u64) -> Result<u64, Errno> {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new((&raw mut frame) as u64),
        nr_extents: 1,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    hypercall::memory_op(op, &mut argument)
}
