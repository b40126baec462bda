//! Where a DomU has no memory, reads give ones and writes go nowhere.

use guest_rt::paging::Page;

use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "memory-holes",
    description: "Where a DomU has no memory, reads give ones and writes go nowhere.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

fn run(guest: &Guest) -> Check {
    let window = Page::new();
    let end = guest.boot().ram().map(|ram| ram.end).max().unwrap_or(0);
    for physical in [end, end + (1 << 20), 0xe000_0000, 0xfec0_0000, 1 << 32, 1 << 36] {
        window.show(physical);
        ensure_eq!(window.read_u32(0), Ok(u32::MAX), "read at {physical:#x}");
        window.write(0, 0x55)?;
        ensure_eq!(window.read(0), Ok(0xff), "read after a write at {physical:#x}");
    }
    Ok(())
}
