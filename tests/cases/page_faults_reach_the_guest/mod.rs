//! Page faults come with error code and CR2, and pages that are given back work again.

use guest_rt::paging::{Page, Rights};
use guest_rt::trap::Fault;

use crate::guest::Guest;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "page-faults-reach-the-guest",
    description: "Page faults come with error code and CR2, and pages that are given back work again.",
    covers: &[],
    needs: &[],
    kind: Kind::Both(run),
};

fn run(_: &Guest) -> Check {
    let page = Page::new();
    page.write(5, 1)?;
    page.protect(Rights::None);
    let at =
        |offset: u64, error| Fault { vector: Fault::PAGE_FAULT, error, address: page.address() + offset };
    ensure_eq!(page.read(5), Err(at(5, 0)), "read of a page that is not present");
    ensure_eq!(page.write(6, 2), Err(at(6, 2)), "write of a page that is not present");
    page.protect(Rights::Read);
    ensure_eq!(page.read(5), Ok(1), "read of a read-only page");
    ensure_eq!(page.write(4095, 2), Err(at(4095, 3)), "write of a read-only page");
    page.protect(Rights::Write);
    page.write(5, 3)?;
    ensure_eq!(page.read(5), Ok(3), "page given back");
    Ok(())
}
