//! Bytes are copied between granted frames and the caller's own, within their pages, and nothing else is.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use xen_abi::grant_table::{CopyFlags, GnttabCopy, GrantFlags, GrantResult, GrantTableOp};

use crate::controller::Controller;
use crate::grants::{Entries, PERMIT, PERMIT_READ, copy, entry, frame, map_ok, status, unmap_ok};
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-copy",
    description: "Bytes are copied between granted frames and the caller's own, within their pages.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::Dom0(run),
};

const FRAME: u32 = 0x400;
const HOLE: u32 = 0x80_0000;
const GREF: u32 = 20;
const FROM: u16 = CopyFlags::SOURCE_GREF.bits();
const TO: u16 = CopyFlags::DEST_GREF.bits();

fn run(controller: &Controller) -> Check {
    let window = controller.window()?;
    let domain = controller.spawn("gnttab-copy", "", Shape::SMALL)?;
    let id = domain.id();
    let entries = Entries::of(window, id, 1)?;
    let foreign = window.map(id, &[FRAME.into(), u64::from(FRAME) + 1])?;
    let (mut own, other) = (Page::new(), Page::new());
    let bytes: alloc::vec::Vec<u8> = (0..251_u8).cycle().take(4096).collect();
    own.bytes_mut().copy_from_slice(&bytes);
    entries.set(GREF, PERMIT, 0, FRAME)?;
    entries.set(GREF + 1, PERMIT_READ, 0, FRAME + 1)?;

    let own_frame = own.frame();
    ensure_eq!(copy(frame(own_frame, 0), entry(id, GREF, 0), 4096, TO)?, GrantResult::Okay, "a page out");
    let mut seen = alloc::vec![0; 4096];
    foreign.read(0, &mut seen)?;
    ensure!(seen == bytes, "a page that was copied out");
    entries.expect_status(GREF, 0, "after a copy")?;
    foreign.write(4096, b"other")?;
    ensure_eq!(
        copy(entry(id, GREF + 1, 1), frame(other.frame(), 7), 3, FROM)?,
        GrantResult::Okay,
        "bytes in"
    );
    ensure_eq!(&other.bytes()[6..11], b"\0the\0", "bytes that were copied in");
    // Lengths and places that are no multiples of a word.
    let both = copy(entry(id, GREF + 1, 0), entry(id, GREF, 4091), 5, FROM | TO)?;
    ensure_eq!(both, GrantResult::Okay, "from grant to grant");
    foreign.read(4090, &mut seen[..6])?;
    ensure_eq!(&seen[..6], &[bytes[4090], b'o', b't', b'h', b'e', b'r'], "bytes at the end of a page");
    ensure_eq!(copy(frame(own_frame, 0), frame(other.frame(), 0), 64, 0)?, GrantResult::Okay, "own to own");
    ensure_eq!(&other.bytes()[..64], &bytes[..64], "bytes of the caller's own");

    let sub_page = PERMIT | GrantFlags::SUB_PAGE.bits();
    entries.set(GREF + 2, PERMIT, 1, FRAME)?;
    entries.set(GREF + 3, PERMIT, 0, HOLE)?;
    entries.set(GREF + 4, sub_page, 0, FRAME)?;
    let here = || frame(own_frame, 0);
    let mut of_another = frame(FRAME.into(), 0);
    of_another.domid = id;
    for (what, source, dest, len, flags, result) in [
        ("nothing", entry(9, 9, 9), entry(9, 9, 9), 0, FROM, GrantResult::Okay),
        ("to a grant to read", here(), entry(id, GREF + 1, 0), 8, TO, GrantResult::GeneralError),
        ("from another's", entry(id, GREF + 2, 0), here(), 8, FROM, GrantResult::GeneralError),
        ("from a hole", entry(id, GREF + 3, 0), here(), 8, FROM, GrantResult::BadPage),
        ("part of a page, unknown to v1", entry(id, GREF + 4, 0), here(), 8, FROM, GrantResult::Okay),
        ("past the table", entry(id, 512, 0), here(), 8, FROM, GrantResult::BadGntref),
        ("past the source", entry(id, GREF, 4089), here(), 8, FROM, GrantResult::BadCopyArg),
        ("past the target", here(), entry(id, GREF, 4096), 1, TO, GrantResult::BadCopyArg),
        ("around", here(), entry(id, GREF, u16::MAX), u16::MAX, TO, GrantResult::BadCopyArg),
        ("another's frame", of_another, here(), 8, 0, GrantResult::PermissionDenied),
        ("no domain", entry(0x7fef, GREF, 0), here(), 8, FROM, GrantResult::BadDomain),
        ("no frame", frame(u64::MAX, 0), here(), 8, 0, GrantResult::BadPage),
        ("to a hole of the caller's", here(), frame(HOLE.into(), 0), 8, 0, GrantResult::BadPage),
    ] {
        ensure_eq!(copy(source, dest, len, flags)?, result, "{what}");
    }
    for gref in GREF..GREF + 5 {
        entries.expect_status(gref, 0, "after copies that were refused")?;
    }

    // While it is mapped, and from what is mapped: only the owner's frames are copied.
    let place = window.place(1)?;
    let at = place.frames().next().unwrap_or(0);
    let handle = map_ok(id, GREF, crate::grants::HOST, at)?;
    ensure_eq!(copy(here(), entry(id, GREF, 0), 8, TO)?, GrantResult::Okay, "to what is mapped");
    ensure_eq!(copy(frame(at, 0), here(), 8, 0)?, GrantResult::BadPage, "from a mapping of a grant");
    unmap_ok(handle, at)?;
    entries.expect_status(GREF, 0, "unmapped after a copy")?;

    // Long arrays are done in slices.
    let one = GnttabCopy {
        source: here(),
        dest: entry(id, GREF, 0),
        len: 4096,
        flags: TO,
        status: i16::MAX,
        _pad: 0,
    };
    let mut many = alloc::vec![one; 300];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::Copy, &mut many), Ok(0), "300 copies");
    for (index, one) in many.iter().enumerate() {
        ensure_eq!(status(one.status), GrantResult::Okay, "copy {index}");
    }
    drop((entries, foreign, place));
    domain.destroy()
}
