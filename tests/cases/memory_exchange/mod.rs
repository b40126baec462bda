//! exchange gives fresh frames for old ones, and refuses lists that do not fit.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryDomain, MemoryExchange, MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::expect;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-exchange",
    description: "exchange gives fresh frames for old ones, and refuses lists that do not fit.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const MEMORY_OP: u64 = 12;
/// Above all RAM.
const FAR: u64 = 0x80_0000;

fn run(_: &Guest) -> Check {
    for pointer in expect::BAD_POINTERS {
        expect::errno(hypercall::raw(MEMORY_OP, [11, pointer, 0, 0, 0]), Errno::EFAULT, "bad pointer")?;
    }
    let mut page = Page::new();
    page.bytes_mut().fill(0xa5);
    let (frame, before) = (page.frame(), current()?);
    ensure_eq!(exchange(&mut [frame], &mut [frame]), (Ok(0), 1), "one frame");
    ensure!((0..4096).all(|offset| page.read(offset) == Ok(0)), "the page is not zero");
    page.write(9, 7)?;
    let twice = exchange(&mut [frame, frame], &mut [FAR, FAR + 1]);
    ensure_eq!(twice, (Err(Errno::EINVAL), 1), "a frame given twice");
    ensure_eq!(page.read(9), Ok(0xff), "what was given");
    ensure_eq!(exchange(&mut [FAR], &mut [frame]), (Ok(0), 1), "back");
    ensure_eq!(page.read(9), Ok(0), "what came back");
    ensure_eq!(current()?, before, "pages after exchanges");
    refusals(frame)?;
    ensure_eq!(current()?, before, "pages after refusals");
    let other = Page::new();
    let (taken, done) = exchange(&mut [frame], &mut [other.frame()]);
    ensure!(taken.is_err() && done == 0, "a place that is taken: {taken:?}, {done}");
    ensure_eq!(current()?, before - 1, "pages after a place that is taken");
    let mut list = [frame];
    let mut argument = extents(&mut list);
    ensure_eq!(hypercall::memory_op(MemoryOp::PopulatePhysmap, &mut argument), Ok(1), "populate");
    Ok(())
}

fn refusals(frame: u64) -> Check {
    let (mut given, mut wanted) = ([frame, frame + 1], [FAR, FAR + 1]);
    let good = MemoryExchange { input: extents(&mut given), output: extents(&mut wanted), nr_exchanged: 0 };
    let list = |change: fn(&mut MemoryReservation)| {
        let mut exchange = good;
        change(&mut exchange.input);
        exchange
    };
    let both = |change: fn(&mut MemoryReservation)| {
        let mut exchange = list(change);
        change(&mut exchange.output);
        exchange
    };
    let other: fn(&mut MemoryReservation) = |list| list.domid = DOM0;
    for (what, mut exchange, errno) in [
        ("an order without sense", list(|list| list.extent_order = 63), Errno::EPERM),
        ("an order for Dom0 only", both(|list| list.extent_order = 10), Errno::EPERM),
        ("lists of different sizes", list(|list| list.nr_extents = 1), Errno::EINVAL),
        ("a list without end", list(|list| list.nr_extents = u64::MAX), Errno::EINVAL),
        ("two domains", list(other), Errno::EINVAL),
        ("Dom0's frames", both(other), Errno::EPERM),
        ("more done than asked for", MemoryExchange { nr_exchanged: 3, ..good }, Errno::EINVAL),
        ("a list beyond memory", both(|list| list.extent_start = GuestHandle::new(1 << 40)), Errno::EFAULT),
        ("a list at the end", both(|list| list.extent_start = GuestHandle::new(u64::MAX - 7)), Errno::EFAULT),
    ] {
        let answer = hypercall::memory_op(MemoryOp::Exchange, &mut exchange);
        ensure_eq!(answer, Err(errno), "{what}");
    }
    Ok(())
}

const DOM0: RawDomid = 0;

fn current() -> Result<u64, Errno> {
    hypercall::memory_op(MemoryOp::CurrentReservation, &mut MemoryDomain { domid: DOMID_SELF })
}

fn extents(frames: &mut [u64]) -> MemoryReservation {
    MemoryReservation {
        extent_start: GuestHandle::new(frames.as_mut_ptr() as u64),
        nr_extents: frames.len() as u64,
        domid: DOMID_SELF,
        ..MemoryReservation::new_zeroed()
    }
}

/// The answer, and how many were exchanged.
fn exchange(given: &mut [u64], wanted: &mut [u64]) -> (Result<u64, Errno>, u64) {
    let mut argument = MemoryExchange { input: extents(given), output: extents(wanted), nr_exchanged: 0 };
    (hypercall::memory_op(MemoryOp::Exchange, &mut argument), argument.nr_exchanged)
}
