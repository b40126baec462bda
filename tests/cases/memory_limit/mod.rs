//! A domain gets no more memory than max_mem allows.

use alloc::vec::Vec;

use guest_rt::hypercall;
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
    name: "memory-limit",
    description: "A domain gets no more memory than max_mem allows.",
    covers: &["MEM-01", "MEM-05"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(_: &Guest) -> Check {
    // Frames far above all RAM.
    let mut frames: Vec<u64> = (0x80_0000..0x80_0040).collect();
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new(frames.as_mut_ptr() as u64),
        nr_extents: frames.len() as u64,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    let before = ask(MemoryOp::CurrentReservation)?;
    let room = ask(MemoryOp::MaximumReservation)? - before;
    let given = hypercall::memory_op(MemoryOp::PopulatePhysmap, &mut argument)?;
    ensure!(given <= room, "{given} pages, but there was room for {room} only");
    ensure_eq!(ask(MemoryOp::CurrentReservation)?, before + given, "pages");
    Ok(())
}

fn ask(op: MemoryOp) -> Result<u64, Errno> {
    hypercall::memory_op(op, &mut MemoryDomain { domid: DOMID_SELF })
}
