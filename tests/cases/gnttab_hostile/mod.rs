//! Domains whose vcpus make grant operations at random, with fixed seeds, do no harm, and all memory comes back.

use alloc::format;
use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_rt::hypercall;
use guest_rt::paging::Page;
use guest_rt::smp::{self, Start};
use xen_abi::grant_table::{CopyFlags, GnttabCopy, GnttabMapGrantRef, GnttabUnmapGrantRef, GrantTableOp};
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{MemoryOp, MemoryReservation};
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::controller::{Controller, until};
use crate::grants::{self, OwnEntries};
use crate::guest::Guest;
use crate::random::Random;
use crate::test::{Kind, Shape, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-hostile",
    description: "Domains that make grant operations at random, with fixed seeds, do no harm.",
    covers: &["LIF-30", "LIF-31"],
    needs: &[],
    kind: Kind::Control(control, run),
};

/// Of each vcpu.
const ROUNDS: u32 = 400;
/// Domains at the same time; they name each other's numbers.
const DOMAINS: usize = 3;
const GREFS: u16 = 12;
/// No memory stands there.
const HOLE: u64 = 0x80_0000;
const HOLES: u16 = 32;
/// Handles that are unmapped: the first ones.
const HANDLES: u16 = 64;

/// Where what a handle means was put last.
static PLACES: [AtomicU64; HANDLES as usize] = [const { AtomicU64::new(0) }; HANDLES as usize];
/// What worked.
static MAPS: AtomicU32 = AtomicU32::new(0);
static UNMAPS: AtomicU32 = AtomicU32::new(0);
static COPIES: AtomicU32 = AtomicU32::new(0);
static POPULATES: AtomicU32 = AtomicU32::new(0);
static OTHER_DONE: AtomicBool = AtomicBool::new(false);

fn control(controller: &Controller) -> Check {
    // The first time fills the hypervisor's heap.
    churn(controller, 0)?;
    controller.rebase();
    for round in 1..3 {
        churn(controller, round)?;
    }
    Ok(())
}

fn churn(controller: &Controller, round: u64) -> Check {
    let mut domains = alloc::vec::Vec::new();
    for number in 0..DOMAINS as u64 {
        let role = alloc::format!("{}", 1 + number + round * 10);
        domains.push(controller.spawn("gnttab-hostile", &role, Shape::vcpus(2))?);
    }
    domains.iter().try_for_each(|domain| domain.start())?;
    // One ends while the others use what it has granted.
    if let Some(mut first) = domains.pop() {
        let _running = first.wait(300);
        first.destroy()?;
    }
    for mut domain in domains {
        // It may stop itself in any way.
        let ended = until(16_000, || !matches!(domain.ended(), Ok(None)));
        ensure!(ended, "d{} does not end", domain.id());
        domain.verdict()?;
        domain.destroy()?;
    }
    Ok(())
}

fn run(guest: &Guest) -> Check {
    let seed = guest.role().parse().unwrap_or(1);
    let entries = Arc::new(OwnEntries::new()?);
    // They may be gone at the end: nobody else gets them.
    let pages = [ManuallyDrop::new(Page::new()), ManuallyDrop::new(Page::new())].map(|page| page.frame());
    smp::start(1, Start::Hypercall).map_err(|error| Problem::Failure(format!("vcpu 1: {error:?}")))?;
    let shared = Arc::clone(&entries);
    smp::run(1, move || {
        let result = Churn { random: Random(seed + 1), entries: &shared, pages }.run();
        OTHER_DONE.store(result.is_ok(), Ordering::Release);
    });
    let result = Churn { random: Random(seed), entries: &entries, pages }.run();
    smp::wait(1);
    result?;
    ensure!(OTHER_DONE.load(Ordering::Acquire), "vcpu 1 did not do its part");
    for (what, count) in
        [("maps", &MAPS), ("unmaps", &UNMAPS), ("copies", &COPIES), ("populates", &POPULATES)]
    {
        ensure!(count.load(Ordering::Acquire) > 0, "no {what} worked");
    }
    Ok(())
}

/// What one vcpu does, with handles, entries and pages that both of them use.
struct Churn<'a> {
    random: Random,
    entries: &'a OwnEntries,
    /// Frames that are granted.
    pages: [u64; 2],
}

impl Churn<'_> {
    fn run(&mut self) -> Check {
        for _ in 0..ROUNDS {
            let gref = 8 + u32::from(self.below(GREFS));
            match self.random.below(10) {
                0 | 1 => self.grant(gref)?,
                2..=4 => self.map(gref)?,
                5..=7 => self.unmap()?,
                8 => self.copy(gref)?,
                _ => self.change()?,
            }
        }
        Ok(())
    }

    fn grant(&mut self, gref: u32) -> Check {
        let flags = if self.random.below(4) == 0 { self.below(u16::MAX) } else { grants::PERMIT };
        let own = u32::try_from(self.page()).unwrap_or(0);
        let frame = if self.random.below(8) == 0 { self.random.next() } else { own };
        let to = self.domain();
        self.entries.set(gref, flags, to, frame)
    }

    fn map(&mut self, gref: u32) -> Check {
        let flags = if self.random.below(8) == 0 { self.random.next() } else { 1 + u32::from(self.below(6)) };
        let host_addr = self.hole();
        let dom = self.domain();
        let mut ops = [GnttabMapGrantRef { host_addr, flags, gref, dom, ..GnttabMapGrantRef::new_zeroed() }];
        hypercall::grant_table_op(GrantTableOp::MapGrantRef, &mut ops)?;
        let [op] = ops;
        if op.status == 0 {
            MAPS.fetch_add(1, Ordering::AcqRel);
            if let Some(place) = PLACES.get(op.handle as usize) {
                place.store(host_addr, Ordering::Release);
            }
        }
        Ok(())
    }

    fn unmap(&mut self) -> Check {
        let handle = self.below(HANDLES);
        let known = PLACES[usize::from(handle)].load(Ordering::Acquire);
        let host_addr = if self.random.below(4) == 0 { self.hole() } else { known };
        let mut ops = [GnttabUnmapGrantRef {
            host_addr,
            dev_bus_addr: u64::from(self.below(2)) << 12,
            handle: handle.into(),
            ..GnttabUnmapGrantRef::new_zeroed()
        }];
        hypercall::grant_table_op(GrantTableOp::UnmapGrantRef, &mut ops)?;
        UNMAPS.fetch_add(u32::from(ops[0].status == 0 && host_addr != 0), Ordering::AcqRel);
        Ok(())
    }

    fn copy(&mut self, gref: u32) -> Check {
        let (from, to, len) = (self.bytes(), self.bytes(), self.bytes());
        let flags = if self.random.below(2) == 0 { CopyFlags::SOURCE_GREF.bits() } else { self.below(4) };
        let source = grants::entry(self.domain(), gref, from);
        let dest = grants::frame(self.page(), to);
        let mut ops = [GnttabCopy { source, dest, len, flags, status: i16::MAX, _pad: 0 }];
        hypercall::grant_table_op(GrantTableOp::Copy, &mut ops)?;
        COPIES.fetch_add(u32::from(ops[0].status == 0), Ordering::AcqRel);
        Ok(())
    }

    /// Gives a page back that may be granted and mapped, or takes a new one in its place.
    fn change(&mut self) -> Check {
        let mut frame = self.page();
        let mut argument = MemoryReservation {
            extent_start: GuestHandle::new((&raw mut frame) as u64),
            nr_extents: 1,
            domid: DOMID_SELF,
            ..MemoryReservation::new_zeroed()
        };
        if self.random.below(4) == 0 {
            hypercall::memory_op(MemoryOp::DecreaseReservation, &mut argument)?;
        } else {
            let done = hypercall::memory_op(MemoryOp::PopulatePhysmap, &mut argument)?;
            POPULATES.fetch_add(u32::from(done == 1), Ordering::AcqRel);
        }
        Ok(())
    }

    /// Itself, or a neighbour.
    fn domain(&mut self) -> u16 {
        let leaf = guest_rt::cpu::cpuid(xen_abi::cpuid::FIRST_LEAF + 4, 0);
        let own = u16::try_from(leaf.ecx).unwrap_or(u16::MAX);
        if self.random.below(2) == 0 { own } else { (own + 4).wrapping_sub(self.below(7)) }
    }

    fn page(&mut self) -> u64 {
        self.pages[self.random.below(self.pages.len())]
    }

    /// An offset or a length, mostly one that fits.
    fn bytes(&mut self) -> u16 {
        let end = if self.random.below(4) == 0 { 5000 } else { 2000 };
        self.below(end)
    }

    /// The address of one of the holes.
    fn hole(&mut self) -> u64 {
        (HOLE + u64::from(self.below(HOLES))) << 12
    }

    /// A number below `end`.
    fn below(&mut self, end: u16) -> u16 {
        u16::try_from(self.random.below(end.into())).unwrap_or(0)
    }
}
