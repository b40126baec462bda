//! Granted frames are mapped and unmapped as their granter says, and nothing else is.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use guest_rt::window::Window as Kernel;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GnttabMapGrantRef, GnttabUnmapAndReplace, GnttabUnmapGrantRef, GrantFlags, GrantResult, GrantTableOp,
    GrantType, MapFlags,
};
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{GrantTableFrames, MemAcquireResource, MemoryOp, RemoveFromPhysmap, Resource};
use xen_abi::xen::DOMID_SELF;
use xen_control::foreign::Mapping;
use zerocopy::FromZeros;

use crate::controller::Controller;
use crate::grants::{self, Entries, HOST, HOST_READ, PERMIT, PERMIT_READ, READING, WRITING, map, map_ok};
use crate::grants::{status, unmap, unmap_ok};
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-map",
    description: "Granted frames are mapped and unmapped as their granter says, and nothing else is.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Dom0(run),
};

/// A frame that the granter has.
const FRAME: u32 = 0x400;
/// One that it has not.
const HOLE: u32 = 0x80_0000;
const GREF: u32 = 9;
const TEXT: &[u8] = b"granted";
const DEVICE: u32 = MapFlags::DEVICE_MAP.bits();

struct Fixture<'a> {
    id: u16,
    entries: Entries<'a>,
    /// The granter's frame, past grants.
    foreign: Mapping<'a, Kernel>,
    /// Two frames to map at.
    place: Mapping<'a, Kernel>,
    at: [u64; 2],
}

fn run(controller: &Controller) -> Check {
    let window = controller.window()?;
    let domain = controller.spawn("gnttab-map", "", Shape::SMALL)?;
    let place = window.place(2)?;
    let mut at = place.frames();
    let at = [at.next().unwrap_or(0), at.next().unwrap_or(0)];
    let fixture = Fixture {
        id: domain.id(),
        entries: Entries::of(window, domain.id(), 1)?,
        foreign: window.map(domain.id(), &[FRAME.into()])?,
        place,
        at,
    };
    works(&fixture)?;
    refuses(&fixture)?;
    revoked(&fixture)?;
    devices(&fixture)?;
    replaced(&fixture)?;
    batches(&fixture)?;
    past_the_table(domain.id())?;
    drop(fixture);
    domain.destroy()
}

fn works(fixture: &Fixture<'_>) -> Check {
    let Fixture { id, entries, foreign, place, at: [first, second] } = fixture;
    entries.set(GREF, PERMIT, 0, FRAME)?;
    entries.set(GREF + 1, PERMIT_READ, 0, FRAME)?;
    let writes = map_ok(*id, GREF, HOST, *first)?;
    entries.expect_status(GREF, WRITING, "mapped to be written")?;
    let reads = map_ok(*id, GREF + 1, HOST_READ, *second)?;
    entries.expect_status(GREF + 1, READING, "mapped to be read")?;
    place.write(100, TEXT)?;
    let (mut seen, mut also) = ([0; TEXT.len()], [0; TEXT.len()]);
    foreign.read(100, &mut seen)?;
    place.read(4096 + 100, &mut also)?;
    ensure_eq!((&seen[..], &also[..]), (TEXT, TEXT), "what was written through the mapping");
    for (what, handle, frame, result) in [
        ("at another frame", writes, *second, GrantResult::GeneralError),
        ("nowhere", writes, 0, GrantResult::Okay),
        ("of no mapping", writes + 7, *first, GrantResult::BadHandle),
        ("of no handle", u32::MAX, *first, GrantResult::BadHandle),
    ] {
        ensure_eq!(unmap(handle, frame, 0)?, result, "unmap {what}");
    }
    entries.expect_status(GREF, WRITING, "after wrong unmaps")?;
    // Where a grant stands nothing else is put.
    ensure_eq!(status(map(*id, GREF, HOST, *first)?.status), GrantResult::GeneralError, "map over a grant");
    let mut remove = RemoveFromPhysmap { domid: DOMID_SELF, gpfn: *first, ..RemoveFromPhysmap::new_zeroed() };
    ensure!(hypercall::memory_op(MemoryOp::RemoveFromPhysmap, &mut remove).is_err(), "a grant was removed");
    unmap_ok(writes, *first)?;
    entries.expect_status(GREF, 0, "unmapped")?;
    unmap_ok(reads, *second)?;
    entries.expect_status(GREF + 1, 0, "unmapped")?;
    ensure_eq!(unmap(writes, *first, 0)?, GrantResult::BadHandle, "second unmap");
    Ok(())
}

fn refuses(fixture: &Fixture<'_>) -> Check {
    let Fixture { id, entries, at: [at, _], .. } = fixture;
    let sub_page = PERMIT | GrantFlags::SUB_PAGE.bits();
    let (transfer, transitive) = (GrantType::AcceptTransfer.get(), GrantType::Transitive.get());
    for (what, flags, to, frame, how, result) in [
        ("nothing", 0, 0, FRAME, HOST, GrantResult::GeneralError),
        ("another's", PERMIT, 1, FRAME, HOST, GrantResult::GeneralError),
        ("for reading, to write", PERMIT_READ, 0, FRAME, HOST, GrantResult::GeneralError),
        ("a transfer", transfer, 0, FRAME, HOST, GrantResult::GeneralError),
        ("a transitive grant", transitive, 0, FRAME, HOST, GrantResult::GeneralError),
        ("part of a page", sub_page, 0, FRAME, HOST, GrantResult::GeneralError),
        ("a hole", PERMIT, 0, HOLE, HOST, GrantResult::BadPage),
        ("a frame beyond all", PERMIT, 0, u32::MAX, HOST_READ, GrantResult::BadPage),
        ("for nobody", PERMIT, 0, FRAME, 0, GrantResult::BadGntref),
        ("flags of PV guests", PERMIT, 0, FRAME, HOST | 1 << 4, GrantResult::GeneralError),
        ("flags without a meaning", PERMIT, 0, FRAME, HOST | 1 << 7, GrantResult::GeneralError),
    ] {
        entries.set(GREF, flags, to, frame)?;
        ensure_eq!(status(map(*id, GREF, how, *at)?.status), result, "{what}");
        ensure_eq!(entries.flags(GREF)?, flags, "flags after {what}");
    }
    entries.set(GREF, PERMIT, 0, FRAME)?;
    for (what, domain, gref, frame, result) in [
        ("an entry past the table", *id, 512, *at, GrantResult::BadGntref),
        ("an entry past all", *id, u32::MAX, *at, GrantResult::BadGntref),
        ("no domain", 0x7fef, GREF, *at, GrantResult::BadDomain),
        ("the caller by DOMID_SELF", DOMID_SELF, GREF, *at, GrantResult::BadDomain),
        ("no number of a domain", 0xffff, GREF, *at, GrantResult::BadDomain),
        ("a place beyond all", *id, GREF, u64::MAX >> 12, GrantResult::GeneralError),
    ] {
        ensure_eq!(status(map(domain, gref, HOST, frame)?.status), result, "{what}");
    }
    entries.expect_status(GREF, 0, "after all that was refused")
}

/// What is mapped stays, whatever the granter writes meanwhile; and then it is gone.
fn revoked(fixture: &Fixture<'_>) -> Check {
    let Fixture { id, entries, place, at: [first, second], .. } = fixture;
    entries.set(GREF, PERMIT, 0, FRAME)?;
    let handle = map_ok(*id, GREF, HOST, *first)?;
    place.write(0, TEXT)?;
    entries.set(GREF, PERMIT, 3, HOLE)?;
    let again = map_ok(*id, GREF, HOST_READ, *second)?;
    let mut seen = [0; TEXT.len()];
    place.read(4096, &mut seen)?;
    ensure_eq!(&seen[..], TEXT, "the frame that was granted when it was mapped first");
    unmap_ok(handle, *first)?;
    unmap_ok(again, *second)?;
    ensure_eq!(entries.flags(GREF)?, PERMIT, "flags at the end");
    ensure_eq!(status(map(*id, GREF, HOST, *first)?.status), GrantResult::GeneralError, "another's grant");
    Ok(())
}

/// Mappings for devices have a machine address, and count as users.
fn devices(fixture: &Fixture<'_>) -> Check {
    let Fixture { id, entries, at: [at, _], .. } = fixture;
    entries.set(GREF, PERMIT, 0, FRAME)?;
    let both = map(*id, GREF, HOST | DEVICE, *at)?;
    ensure_eq!(status(both.status), GrantResult::Okay, "map for CPU and device");
    ensure!(both.dev_bus_addr != 0 && both.dev_bus_addr & 0xfff == 0, "address {:#x}", both.dev_bus_addr);
    let wrong = both.dev_bus_addr + 4096;
    ensure_eq!(unmap(both.handle, *at, wrong)?, GrantResult::BadDevAddr, "unmap with another address");
    unmap_ok(both.handle, *at)?;
    entries.expect_status(GREF, WRITING, "the device goes on")?;
    ensure_eq!(unmap(both.handle, 0, both.dev_bus_addr)?, GrantResult::Okay, "unmap for the device");
    entries.expect_status(GREF, 0, "unmapped for both")?;
    ensure_eq!(unmap(both.handle, 0, both.dev_bus_addr)?, GrantResult::BadHandle, "second unmap");
    Ok(())
}

/// No page comes in place of a mapping of an HVM guest, as in Xen.
fn replaced(fixture: &Fixture<'_>) -> Check {
    let Fixture { id, entries, at: [at, other], .. } = fixture;
    entries.set(GREF, PERMIT, 0, FRAME)?;
    let handle = map_ok(*id, GREF, HOST, *at)?;
    for (new_addr, result) in [(*other << 12, GrantResult::GeneralError), (0, GrantResult::Okay)] {
        let op = GnttabUnmapAndReplace {
            host_addr: *at << 12,
            new_addr,
            handle,
            ..GnttabUnmapAndReplace::new_zeroed()
        };
        let mut ops = [op];
        let answer = hypercall::grant_table_op(GrantTableOp::UnmapAndReplace, &mut ops);
        ensure_eq!(answer, Ok(0), "unmap_and_replace");
        ensure_eq!(status(ops[0].status), result, "unmap_and_replace by {new_addr:#x}");
    }
    entries.expect_status(GREF, 0, "unmapped")
}

/// Each element of an array has a result of its own; arrays longer than one shoot-down serves.
fn batches(fixture: &Fixture<'_>) -> Check {
    const COUNT: u32 = 100;
    let Fixture { id, entries, at: [at, _], .. } = fixture;
    for gref in 0..COUNT {
        entries.set(100 + gref, if gref % 3 == 0 { 0 } else { PERMIT }, 0, FRAME + gref)?;
    }
    let op = |gref: u32| GnttabMapGrantRef {
        host_addr: *at << 12,
        flags: DEVICE,
        gref: 100 + gref,
        dom: *id,
        ..GnttabMapGrantRef::new_zeroed()
    };
    let mut maps: alloc::vec::Vec<_> = (0..COUNT).map(op).collect();
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::MapGrantRef, &mut maps), Ok(0), "maps");
    let mut unmaps = alloc::vec::Vec::new();
    for (gref, map) in (0..COUNT).zip(&maps) {
        let expected = if gref % 3 == 0 { GrantResult::GeneralError } else { GrantResult::Okay };
        ensure_eq!(status(map.status), expected, "element {gref}");
        let (handle, dev_bus_addr) = (map.handle, map.dev_bus_addr);
        let one = GnttabUnmapGrantRef { handle, dev_bus_addr, ..GnttabUnmapGrantRef::new_zeroed() };
        if map.status == 0 {
            unmaps.push(one);
        }
    }
    // Each of them twice.
    unmaps.extend_from_within(..);
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::UnmapGrantRef, &mut unmaps), Ok(0), "unmaps");
    for (index, unmap) in unmaps.iter().enumerate() {
        let first = index < unmaps.len() / 2;
        let expected = if first { GrantResult::Okay } else { GrantResult::BadHandle };
        ensure_eq!(grants::status(unmap.status), expected, "unmap {index}");
    }
    Ok(())
}

/// Who asks for more of a table than there may be gets nothing of it.
fn past_the_table(domid: u16) -> Check {
    let page = Page::new();
    page.write_u32(0, 42)?;
    let mut argument = MemAcquireResource {
        domid,
        kind: Resource::GrantTable.get(),
        id: GrantTableFrames::Shared.get(),
        ..MemAcquireResource::new_zeroed()
    };
    ensure_eq!(hypercall::memory_op(MemoryOp::AcquireResource, &mut argument), Ok(0), "size of the table");
    let most = argument.nr_frames;
    let mut places = alloc::vec![page.frame(); most as usize + 1];
    for (frame, nr_frames) in [(0, most + 1), (1, most), (most.into(), 1), (u64::from(u32::MAX), 1)] {
        let frame_list = GuestHandle::new(places.as_mut_ptr() as u64);
        let mut argument = MemAcquireResource { nr_frames, frame, frame_list, ..argument };
        let answer = hypercall::memory_op(MemoryOp::AcquireResource, &mut argument);
        ensure_eq!(answer, Err(Errno::EINVAL), "{nr_frames} of {most} frames from {frame} on");
        ensure_eq!(page.read_u32(0), Ok(42), "the page where the first one was to be");
    }
    Ok(())
}
