//! `exchange`: frames for frames, by chunks in which both sides are whole extents.

use core::mem::offset_of;

use alloc::vec::Vec;
use hv_arch::confines::Shootdown;
use hv_arch::frames::{DomainFrames, Scrubbing};
use hv_core::addr::Gfn;
use hv_core::ept::PageType;
use hv_core::frame::Order;
use xen_abi::errno::Errno;
use xen_abi::memory::{MemoryExchange, MemoryReservation};

use super::{Answer, Request, Slice, reservation};
use crate::domain::Domain;
use crate::domain_memory::{errno, take_out};
use crate::hypercall::Reply;

/// Largest chunk: what is prepared at once.
const LARGEST: Order = Order::TWO_MIB;

/// Gives what `input` names for fresh frames at what `output` names. What is done is
/// written to `nr_exchanged`, also on an error. Errors: `EPERM` for large extents,
/// `EINVAL` for lists that do not fit together, `ENOMEM`, `EOPNOTSUPP` for Dom0, whose
/// frames are where they are.
pub fn handle(request: &Request<'_, '_, '_>) -> Reply {
    let mut exchange = request.read::<MemoryExchange>()?;
    let result = check(request, &exchange).and_then(|chunks| {
        let domain = request.target(exchange.input.domid)?;
        if domain.confines().is_identity() {
            return Err(Errno::EOPNOTSUPP);
        }
        all_chunks(request, &domain, &mut exchange, chunks)
    });
    let offset = offset_of!(MemoryExchange, nr_exchanged);
    request.write_field(offset, &exchange.nr_exchanged)?;
    result
}

/// Extents of a chunk.
#[derive(Clone, Copy)]
struct Chunks {
    inputs: u64,
    outputs: u64,
}

fn check(request: &Request<'_, '_, '_>, exchange: &MemoryExchange) -> Result<Chunks, Errno> {
    let (input, output) = (&exchange.input, &exchange.output);
    let largest = reservation::largest(request.caller()).min(LARGEST);
    let order = Order::new(input.extent_order.max(output.extent_order)).filter(|&order| order <= largest);
    let order = order.ok_or(Errno::EPERM)?;
    let frames = |list: &MemoryReservation| {
        let each = Order::new(list.extent_order)?.frames();
        list.nr_extents.checked_mul(each)
    };
    let same = frames(input).is_some() && frames(input) == frames(output);
    if !same || exchange.nr_exchanged > input.nr_extents || input.domid != output.domid {
        return Err(Errno::EINVAL);
    }
    let extents = |list: &MemoryReservation| 1 << order.get().saturating_sub(list.extent_order);
    Ok(Chunks { inputs: extents(input), outputs: extents(output) })
}

fn all_chunks(
    request: &Request<'_, '_, '_>,
    domain: &Domain,
    exchange: &mut MemoryExchange,
    chunks: Chunks,
) -> Reply {
    let slice = Slice::new();
    let first = exchange.nr_exchanged / chunks.inputs;
    for chunk in first..exchange.input.nr_extents / chunks.inputs {
        if chunk != first && slice.is_over() {
            return Ok(request.again(0));
        }
        one_chunk(request, domain, exchange, chunks, chunk)?;
        exchange.nr_exchanged = (chunk + 1) * chunks.inputs;
    }
    exchange.nr_exchanged = exchange.input.nr_extents;
    Ok(Answer::Value(0))
}

fn one_chunk(
    request: &Request<'_, '_, '_>,
    domain: &Domain,
    exchange: &MemoryExchange,
    chunks: Chunks,
    chunk: u64,
) -> Result<(), Errno> {
    let (input, output) = (&exchange.input, &exchange.output);
    let place = |list: &MemoryReservation, extent: u64| {
        Gfn::new(request.item(list.extent_start, extent)?).ok_or(Errno::EINVAL)
    };
    let mut given = with_room(chunks.inputs)?;
    for extent in 0..chunks.inputs {
        given.push(place(input, chunk * chunks.inputs + extent)?);
    }
    let size = Order::new(input.extent_order).ok_or(Errno::EINVAL)?;
    if !given.iter().all(|&gfn| is_ram(domain, gfn, size)) {
        return Err(Errno::EINVAL);
    }
    let reach = reservation::reach(output.mem_flags).ok_or(Errno::EINVAL)?;
    let order = Order::new(output.extent_order).ok_or(Errno::EINVAL)?;
    let mut fresh = with_room(chunks.outputs)?;
    for _ in 0..chunks.outputs {
        let frames = DomainFrames::allocate(domain.id(), order, reach, Scrubbing::AtOnce);
        fresh.push(frames.map_err(|_| Errno::ENOMEM)?);
    }
    give(domain, &given, size)?;
    // The frames were counted when they were given: no limit is in the way.
    let mut lost = (Ok(()), 0);
    for (extent, frames) in (chunk * chunks.outputs..).zip(fresh) {
        let count = frames.order().frames();
        let gfn = place(output, extent);
        let put = gfn.and_then(|gfn| domain.confines().populate(gfn, frames).map_err(errno));
        if put.is_err() {
            lost = (put, lost.1 + count);
        }
    }
    domain.memory().lose(lost.1);
    lost.0
}

/// An empty list for `count` items. What a guest asks for must not end the hypervisor when its heap is full.
fn with_room<T>(count: u64) -> Result<Vec<T>, Errno> {
    let mut list = Vec::new();
    let count = usize::try_from(count).map_err(|_| Errno::ENOMEM)?;
    list.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    Ok(list)
}

/// Whether all of the extent is RAM.
fn is_ram(domain: &Domain, gfn: Gfn, order: Order) -> bool {
    let ram = |at: Gfn| domain.confines().lookup(at).page().is_some_and(|page| page.kind == PageType::Ram);
    (0..order.frames()).all(|frame| gfn.checked_add(frame).is_some_and(ram))
}

/// Takes the frames out, which stay counted: others come in their place. What is out
/// when it fails, because another vcpu took something out as well, is gone.
fn give(domain: &Domain, given: &[Gfn], size: Order) -> Result<(), Errno> {
    let mut shootdown = Shootdown::new(domain.confines());
    let mut removed = 0;
    let result = given.iter().try_for_each(|&gfn| {
        let (frames, result) = take_out(domain.confines(), gfn, size.frames(), &mut shootdown);
        removed += frames;
        result
    });
    shootdown.complete();
    result.map_err(|error| {
        domain.memory().lose(removed);
        errno(error)
    })
}
