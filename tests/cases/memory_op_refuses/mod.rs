//! memory_op refuses unknown operations, bad pointers, orders and frames.

use alloc::format;

use guest_rt::hypercall;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{AddToPhysmap, AddToPhysmapBatch, MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-op-refuses",
    description: "memory_op refuses unknown operations, bad pointers, orders and frames.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const MEMORY_OP: u64 = 12;

fn run(_: &Guest) -> Check {
    for op in [8, 29, 40, 63] {
        expect::errno(
            hypercall::raw(MEMORY_OP, [op, 0, 0, 0, 0]),
            Errno::ENOSYS,
            &format!("operation {op}"),
        )?;
    }
    for op in [1, 3, 4, 6, 7, 9, 14, 15, 23] {
        for pointer in expect::BAD_POINTERS {
            let what = format!("operation {op} with {pointer:#x}");
            expect::errno(hypercall::raw(MEMORY_OP, [op, pointer, 0, 0, 0]), Errno::EFAULT, &what)?;
        }
    }
    for op in [MemoryOp::PopulatePhysmap, MemoryOp::DecreaseReservation] {
        for (what, order, extents, list) in [
            ("an order without sense", 63, 1, LIST),
            ("an order that nobody may have", 32, 1, LIST),
            ("extents without end", 0, u64::MAX, LIST),
            ("a list beyond memory", 0, 1, 1 << 40),
            ("a list that is not canonical", 0, 1, 1 << 63),
        ] {
            let mut argument = MemoryReservation {
                extent_start: GuestHandle::new(list),
                nr_extents: extents,
                extent_order: order,
                domid: DOMID_SELF,
                ..MemoryReservation::new_zeroed()
            };
            let answer = hypercall::memory_op(op, &mut argument);
            ensure!(!matches!(answer, Ok(1..)), "{op:?} with {what}: {answer:?}");
        }
    }
    for (what, space, idx, gpfn) in [
        ("an unknown space", 9, 0, 0x800),
        ("a shared page that there is not", 0, 7, 0x800),
        ("a frame beyond the address width", 0, 0, u64::MAX),
    ] {
        let mut argument = AddToPhysmap { domid: DOMID_SELF, size: 0, space, idx, gpfn };
        let answer = hypercall::memory_op(MemoryOp::AddToPhysmap, &mut argument);
        ensure!(answer.is_err(), "add_to_physmap with {what}: {answer:?}");
    }
    foreign()
}

/// A list in the kernel's image, which is no frame that can be given away twice.
const LIST: u64 = 0x20_0000;

/// A DomU maps nobody's memory.
fn foreign() -> Check {
    let (mut from, mut to, mut error) = (0x200_u64, 0x80_0000_u64, 0_i32);
    let mut argument = AddToPhysmapBatch {
        domid: DOMID_SELF,
        space: 4,
        size: 1,
        foreign_domid: 0,
        idxs: GuestHandle::new((&raw mut from) as u64),
        gpfns: GuestHandle::new((&raw mut to) as u64),
        errs: GuestHandle::new((&raw mut error) as u64),
    };
    let answer = hypercall::memory_op(MemoryOp::AddToPhysmapBatch, &mut argument);
    ensure!(answer.is_err() || error < 0, "Dom0's frame was mapped");
    Ok(())
}
