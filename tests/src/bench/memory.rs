//! A page that goes to the hypervisor and comes back.

use guest_rt::paging::Page;
use guest_rt::{hypercall, measure};
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryOp, MemoryReservation};
use xen_abi::xen::{DOMID_SELF, Hypercall};
use zerocopy::FromZeros;

use super::{FEW, Samples, expect};
use crate::controller::Controller;
use crate::verdict::Check;

pub(super) fn decrease(_: &Controller) -> Check<Samples> {
    measure(|change| {
        let ticks = change(MemoryOp::DecreaseReservation);
        change(MemoryOp::PopulatePhysmap);
        ticks
    })
}

pub(super) fn populate(_: &Controller) -> Check<Samples> {
    measure(|change| {
        change(MemoryOp::DecreaseReservation);
        change(MemoryOp::PopulatePhysmap)
    })
}

/// Rounds of `round`, which gives a page away and takes one in its place.
fn measure(round: impl Fn(&dyn Fn(MemoryOp) -> u32) -> u32) -> Check<Samples> {
    let page = Page::new();
    let mut frame = page.frame();
    let mut reservation = MemoryReservation {
        extent_start: GuestHandle::new((&raw mut frame) as u64),
        nr_extents: 1,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    };
    let argument = (&raw mut reservation) as u64;
    let number = Hypercall::MemoryOp as u64;
    // The first one splits a large page.
    for op in [MemoryOp::DecreaseReservation, MemoryOp::PopulatePhysmap] {
        expect(hypercall::raw(number, [op as u64, argument, 0, 0, 0]), 1, "memory_op")?;
    }
    Ok(Samples::of(FEW, || round(&|op| measure::hypercall(number, [op as u64, argument, 0]))))
}
