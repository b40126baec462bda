//! Frames by extents: each extent that could not be done ends the operation, which
//! returns how many were.

use alloc::sync::Arc;
use hv_arch::confines::Shootdown;
use hv_core::addr::Gfn;
use hv_core::frame::{Order, Reach};
use xen_abi::memory::{MEMF_ADDRESS_BITS_MASK, MemFlags, MemoryOp, MemoryReservation};

use super::{Answer, MOST_EXTENTS, Request, Slice};
use crate::domain::Domain;

/// Largest extents, as Xen's `memop-max-order`: of Dom0, which builds domains, and of
/// the others.
const LARGEST_FOR_DOM0: Order = Order::ONE_GIB;
const LARGEST: Order = Order::TWO_MIB;

/// `increase_reservation`, `decrease_reservation`, `populate_physmap`. Whatever is
/// wrong, they return the number of extents that are done.
pub fn handle(request: &Request<'_, '_, '_>) -> Answer {
    let nothing = Answer::Value(request.start);
    let Some(work) = Work::new(request) else { return nothing };
    match request.op {
        MemoryOp::PopulatePhysmap => work.populate(),
        MemoryOp::DecreaseReservation => work.decrease(),
        // Frames without a place in the guest's memory would be of no use to it.
        _ => nothing,
    }
}

/// The largest extent that `domain` may ask for.
pub fn largest(domain: &Domain) -> Order {
    if domain.is_privileged() { LARGEST_FOR_DOM0 } else { LARGEST }
}

/// Where frames may lie, by the address bits in `mem_flags`; `None` if no frame does.
pub fn reach(flags: u32) -> Option<Reach> {
    match flags & MEMF_ADDRESS_BITS_MASK {
        0 | 44.. => Some(Reach::Anywhere),
        // The zones end at 4 GiB; below that nothing finer can be said.
        32..44 => Some(Reach::Below4Gib),
        1..32 => None,
    }
}

struct Work<'a, 'b, 'c, 'd> {
    request: &'a Request<'b, 'c, 'd>,
    domain: Arc<Domain>,
    reservation: MemoryReservation,
    order: Order,
    reach: Reach,
}

impl<'a, 'b, 'c, 'd> Work<'a, 'b, 'c, 'd> {
    fn new(request: &'a Request<'b, 'c, 'd>) -> Option<Self> {
        let reservation = request.read::<MemoryReservation>().ok()?;
        if reservation.nr_extents > MOST_EXTENTS || request.start >= reservation.nr_extents {
            return None;
        }
        let domain = request.target(reservation.domid).ok()?;
        let order = Order::new(reservation.extent_order)?;
        let reach = reach(reservation.mem_flags)?;
        (order <= largest(request.caller())).then_some(Self { request, domain, reservation, order, reach })
    }

    fn gfn(&self, extent: u64) -> Option<Gfn> {
        Gfn::new(self.request.item(self.reservation.extent_start, extent).ok()?)
    }

    fn populate(&self) -> Answer {
        if self.reservation.mem_flags & MemFlags::POPULATE_ON_DEMAND.bits() != 0 {
            return Answer::Value(self.request.start);
        }
        self.each_extent(|gfn| {
            self.domain.memory().populate(self.domain.confines(), gfn, self.order, self.reach).is_ok()
        })
    }

    fn decrease(&self) -> Answer {
        let mut shootdown = Shootdown::new(self.domain.confines());
        let answer = self.each_extent(|gfn| {
            let memory = self.domain.memory();
            memory.decrease(self.domain.confines(), gfn, self.order, &mut shootdown).is_ok()
        });
        shootdown.complete();
        answer
    }

    fn each_extent(&self, mut done: impl FnMut(Gfn) -> bool) -> Answer {
        let slice = Slice::new();
        let mut extent = self.request.start;
        while extent < self.reservation.nr_extents {
            if extent != self.request.start && slice.is_over() {
                return self.request.again(extent);
            }
            if !self.gfn(extent).is_some_and(&mut done) {
                break;
            }
            extent += 1;
        }
        Answer::Value(extent)
    }
}
