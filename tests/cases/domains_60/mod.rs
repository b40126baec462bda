//! Sixty domains exist at once.

use alloc::vec::Vec;

use xen_control::calls;

use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::{Check, Problem};

/// See above.
pub const TEST: Test = Test {
    name: "domains-60",
    description: "Sixty domains exist at once.",
    covers: &["LIM-01", "LIM-02"],
    needs: &[],
    kind: Kind::Dom0(control),
};

fn control(controller: &Controller) -> Check {
    let mut domains = Vec::new();
    let before = controller.free_pages();
    for number in 1..=60 {
        match controller.spawn_bare(2) {
            Ok(domain) => domains.push(domain),
            Err(Problem::Failure(reason)) => fail!("domain {number}: {reason}"),
            Err(other) => return Err(other),
        }
    }
    let host = controller.host()?;
    ensure_eq!(calls::list(host, 1, 100)?.len(), 60, "domains");
    drop(domains);
    ensure_eq!(calls::list(host, 1, 100)?.len(), 0, "domains afterwards");
    controller.all_back(before)
}
