//! An extent that cannot be populated is counted right, whoever takes frames of it out meanwhile.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_rt::hypercall;
use guest_rt::paging::Page;
use guest_rt::smp::{self, Start};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryDomain, MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::guest::Guest;
use crate::test::{Kind, Need, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "memory-populate-races",
    description: "An extent that cannot be populated is counted right, whoever takes frames of it out.",
    covers: &["MEM-01", "LIF-30"],
    needs: &[Need::Pcpus(2)],
    kind: Kind::DomU(Shape::vcpus(2), run),
};

/// No memory stands there.
const HOLE: u64 = 0x80_0000;
const ORDER: u32 = 8;
const FRAMES: u64 = 1 << ORDER;
const ROUNDS: u32 = 100;

static STOP: AtomicBool = AtomicBool::new(false);

fn run(_: &Guest) -> Check {
    let empty = make_room()?;
    ensure_eq!(change(MemoryOp::PopulatePhysmap, HOLE + FRAMES - 1, 0), Ok(1), "populate of the last frame");
    smp::start(1, Start::Hypercall).map_err(|error| Problem::Failure(format!("vcpu 1: {error:?}")))?;
    smp::run(1, take_the_first);
    let refused = (0..ROUNDS).try_for_each(|_| {
        ensure_eq!(change(MemoryOp::PopulatePhysmap, HOLE, ORDER), Ok(0), "populate where a frame stands");
        Ok(())
    });
    STOP.store(true, Ordering::Release);
    smp::wait(1);
    refused?;
    let mut left = 0;
    for frame in HOLE..HOLE + FRAMES {
        left += change(MemoryOp::DecreaseReservation, frame, 0)?;
    }
    ensure_eq!(left, 1, "frames that are left");
    ensure_eq!(current()?, empty, "pages when none is left");
    Ok(())
}

/// Gives as many pages back as the extent has, for ever; how many the domain has then.
fn make_room() -> Check<u64> {
    let pages: Vec<Page> = (0..FRAMES).map(|_| Page::new()).collect();
    for page in pages {
        let given = change(MemoryOp::DecreaseReservation, page.frame(), 0);
        core::mem::forget(page);
        ensure_eq!(given, Ok(1), "decrease");
    }
    Ok(current()?)
}

fn take_the_first() {
    while !STOP.load(Ordering::Acquire) {
        // Mostly there is nothing: the extent stands for the moment only until it is undone.
        let _taken = change(MemoryOp::DecreaseReservation, HOLE, 0);
    }
}

fn current() -> Result<u64, Errno> {
    hypercall::memory_op(MemoryOp::CurrentReservation, &mut MemoryDomain { domid: DOMID_SELF })
}

fn change(op: MemoryOp, mut frame: u64, extent_order: u32) -> Result<u64, Errno> {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new((&raw mut frame) as u64),
        nr_extents: 1,
        extent_order,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    hypercall::memory_op(op, &mut argument)
}
