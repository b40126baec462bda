//! What is mapped stays when its granter ends; what an ended domain has mapped is undone.

use guest_rt::println;
use xen_abi::grant_table::GrantResult;

use crate::controller::{Controller, LIMIT_MS};
use crate::grants::{Entries, HOST, HOST_READ, PERMIT, READING, WRITING, map, map_ok, status, unmap_ok};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-outlives",
    description: "What is mapped stays when its granter ends; what an ended domain has mapped is undone.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Control(control, run),
};

/// Entries of the granter's that are for the mapper.
const FIRST: u32 = 8;
const COUNT: u32 = 100;
const FRAME: u32 = 0x400;
/// Where the mapper has nothing.
const HOLE: u64 = 0x80_0000;
const TEXT: &[u8] = b"what the granter had";
const READY: &str = "all mapped";

fn control(controller: &Controller) -> Check {
    granter_ends(controller)?;
    mapper_ends(controller)?;
    both_end(controller)
}

fn granter_ends(controller: &Controller) -> Check {
    let window = controller.window()?;
    let granter = controller.spawn("gnttab-outlives", "", Shape::SMALL)?;
    let entries = Entries::of(window, granter.id(), 1)?;
    let place = window.place(2)?;
    let at: alloc::vec::Vec<u64> = place.frames().collect();
    entries.set(FIRST, PERMIT, 0, FRAME)?;
    let handles = [map_ok(granter.id(), FIRST, HOST, at[0])?, map_ok(granter.id(), FIRST, HOST_READ, at[1])?];
    place.write(0, TEXT)?;
    let id = granter.id();
    granter.destroy()?;
    // Others take what is free, and perhaps its number.
    let next = controller.spawn("gnttab-outlives", "", Shape::SMALL)?;
    let mut text = [0; TEXT.len()];
    place.read(4096, &mut text)?;
    ensure_eq!(text, TEXT, "what is mapped after the granter's end");
    ensure_eq!(status(map(id, FIRST, HOST, at[0])?.status), GrantResult::BadDomain, "a domain that is gone");
    entries.expect_status(FIRST, WRITING, "after the granter's end")?;
    unmap_ok(handles[0], at[0])?;
    entries.expect_status(FIRST, READING, "after the granter's end, one unmapped")?;
    unmap_ok(handles[1], at[1])?;
    entries.expect_status(FIRST, 0, "after the granter's end, all unmapped")?;
    drop((entries, place));
    next.destroy()
}

fn mapper_ends(controller: &Controller) -> Check {
    let window = controller.window()?;
    let granter = controller.spawn("gnttab-outlives", "", Shape::SMALL)?;
    let entries = Entries::of(window, granter.id(), 1)?;
    let mapper = start_mapper(controller, &entries, granter.id())?;
    for gref in FIRST..FIRST + COUNT {
        entries.expect_status(gref, if gref % 2 == 0 { WRITING } else { READING }, "mapped")?;
    }
    mapper.destroy()?;
    for gref in FIRST..FIRST + COUNT {
        entries.expect_status(gref, 0, "after the mapper's end")?;
    }
    // They are free for others.
    let place = window.place(1)?;
    let at = place.frames().next().unwrap_or(0);
    entries.set(FIRST, PERMIT, 0, FRAME)?;
    unmap_ok(map_ok(granter.id(), FIRST, HOST, at)?, at)?;
    drop((entries, place));
    granter.destroy()
}

fn both_end(controller: &Controller) -> Check {
    let granter = controller.spawn("gnttab-outlives", "", Shape::SMALL)?;
    let entries = Entries::of(controller.window()?, granter.id(), 1)?;
    let mapper = start_mapper(controller, &entries, granter.id())?;
    drop(entries);
    granter.destroy()?;
    mapper.destroy()
}

/// A domain that has mapped all entries for it.
fn start_mapper<'a>(
    controller: &'a Controller,
    entries: &Entries<'_>,
    granter: u16,
) -> Check<crate::controller::Domain<'a>> {
    let role = alloc::format!("{granter}");
    let mut mapper = controller.spawn("gnttab-outlives", &role, Shape::SMALL)?;
    for gref in FIRST..FIRST + COUNT {
        entries.set(gref, PERMIT, mapper.id(), FRAME + gref)?;
    }
    mapper.start()?;
    mapper.wait_for(READY, LIMIT_MS)?;
    Ok(mapper)
}

/// Maps what the domain that the role names has granted, and goes on.
fn run(guest: &Guest) -> Check {
    let granter = guest.role().parse().unwrap_or(u16::MAX);
    for gref in FIRST..FIRST + COUNT {
        let flags = if gref % 2 == 0 { HOST } else { HOST_READ };
        map_ok(granter, gref, flags, HOLE + u64::from(gref))?;
    }
    println!("{READY}");
    guest_rt::cpu::halt()
}
