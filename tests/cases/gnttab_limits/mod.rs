//! Handles and users of an entry have limits, which a domain meets without harm.

use alloc::vec::Vec;

use guest_rt::paging::Page;
use xen_abi::grant_table::GrantResult;

use crate::grants::{HOST_READ, OwnEntries, PERMIT, READING, map, map_ok, status, unmap_ok};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-limits",
    description: "Handles and users of an entry have limits, which a domain meets without harm.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

/// The toolstack allows 4 frames of handles, 256 in each.
const HANDLES: u32 = 1024;
/// Users of one kind that an entry may have.
const USERS: u32 = 128;
const ENTRIES: u32 = HANDLES / USERS;
/// No memory stands there.
const HOLE: u64 = 0x80_0000;
const FIRST: u32 = 8;

fn run(_: &Guest) -> Check {
    let entries = OwnEntries::new()?;
    let page = Page::new();
    let own = u16::try_from(guest_rt::cpu::cpuid(xen_abi::cpuid::FIRST_LEAF + 4, 0).ecx).unwrap_or(u16::MAX);
    let frame = u32::try_from(page.frame()).unwrap_or(0);
    for gref in FIRST..=FIRST + ENTRIES {
        entries.set(gref, PERMIT, own, frame)?;
    }
    let mut handles = Vec::new();
    for number in 0..HANDLES {
        let gref = FIRST + number / USERS;
        if number == USERS {
            let more = map(own, FIRST, HOST_READ, HOLE + u64::from(HANDLES))?;
            ensure_eq!(status(more.status), GrantResult::GeneralError, "one user too many");
        }
        handles.push(map_ok(own, gref, HOST_READ, HOLE + u64::from(number))?);
    }
    let gref = FIRST + ENTRIES;
    let more = map(own, gref, HOST_READ, HOLE + u64::from(HANDLES))?;
    ensure_eq!(status(more.status), GrantResult::NoSpace, "one handle too many");
    ensure_eq!(flags(&entries, gref)?, PERMIT, "its entry");
    ensure_eq!(flags(&entries, FIRST)?, PERMIT | READING, "an entry with many users");
    // The one that was free last is the next one.
    unmap_ok(handles[500], HOLE + 500)?;
    let again = map_ok(own, gref, HOST_READ, HOLE + u64::from(HANDLES))?;
    ensure_eq!(again, handles[500], "the handle that is free");
    unmap_ok(again, HOLE + u64::from(HANDLES))?;
    for (number, handle) in (0..HANDLES).zip(&handles).filter(|(number, _)| *number != 500) {
        unmap_ok(*handle, HOLE + u64::from(number))?;
    }
    for gref in FIRST..=FIRST + ENTRIES {
        ensure_eq!(flags(&entries, gref)?, PERMIT, "entry {gref} at the end");
    }
    Ok(())
}

fn flags(entries: &OwnEntries, gref: u32) -> Check<u16> {
    Ok(u16::try_from(entries.header(gref)? & 0xffff).unwrap_or(0))
}
