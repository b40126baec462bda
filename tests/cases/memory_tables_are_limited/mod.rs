//! A domain that moves a page all over its address space runs out of tables, not the host.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use xen_abi::errno::Errno;
use xen_abi::memory::{AddToPhysmap, MapSpace, MemoryOp};
use xen_abi::xen::DOMID_SELF;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-tables-are-limited",
    description: "A domain that moves a page all over its address space runs out of tables, not the host.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

/// Above all RAM; a table maps this many frames.
const FAR: u64 = 0x80_0000;
const STEP: u64 = 512;
/// What nobody needs with 8 MiB.
const MOST: u64 = 8192;

fn run(_: &Guest) -> Check {
    let mut page = Page::new();
    page.bytes_mut().fill(0xa5);
    let mut at = page.frame();
    let mut moved = 0;
    let refused = loop {
        let to = FAR + moved * STEP;
        match put(at, to) {
            Ok(()) if moved < MOST => (at, moved) = (to, moved + 1),
            Ok(()) => fail!("{MOST} tables"),
            Err(errno) => break errno,
        }
    };
    ensure_eq!(refused, Errno::ENOMEM, "after {moved} moves");
    ensure!(moved > 16, "{moved} moves only");
    put(at, page.frame())?;
    ensure!((0..4096).all(|offset| page.read(offset) == Ok(0xa5)), "the page has changed");
    Ok(())
}

fn put(from: u64, to: u64) -> Result<(), Errno> {
    let mut argument =
        AddToPhysmap { domid: DOMID_SELF, size: 0, space: MapSpace::Gmfn.get(), idx: from, gpfn: to };
    hypercall::memory_op(MemoryOp::AddToPhysmap, &mut argument).map(|_| ())
}
