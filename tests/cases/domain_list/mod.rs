//! Domains are listed in the order of their numbers, with what they are.

use alloc::vec::Vec;

use xen_abi::domctl::DomainFlags;
use xen_control::calls;

use crate::controller::Controller;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-list",
    description: "Domains are listed in the order of their numbers, with what they are.",
    covers: &["LIF-19", "LIF-24", "MEM-17"],
    needs: &[],
    kind: Kind::Control(control, run),
};

fn control(controller: &Controller) -> Check {
    let host = controller.host()?;
    let first = controller.spawn("domain-list", "", Shape::SMALL)?;
    let second = controller.spawn("domain-list", "", Shape::vcpus(3))?;
    let all = calls::list(host, 0, 16)?;
    let ids: Vec<_> = all.iter().map(|info| info.domain).collect();
    ensure_eq!(ids, [0, first.id(), second.id()], "numbers");
    let info = second.info()?;
    ensure_eq!(info.max_vcpu_id, 2, "highest vcpu");
    ensure_eq!(info.tot_pages, (12 << 8) + 9, "pages");
    ensure!(info.max_pages >= info.tot_pages, "limit {}", info.max_pages);
    let flags = DomainFlags::from_bits_truncate(info.flags);
    ensure!(flags.contains(DomainFlags::HVM_GUEST | DomainFlags::PAUSED), "flags {flags:?}");
    let from = calls::list(host, second.id(), 16)?;
    ensure_eq!(from.len(), 1, "domains from the last one on");
    ensure_eq!(calls::list(host, 0, 1)?.len(), 1, "room for one");
    ensure_eq!(calls::list(host, second.id() + 1, 16)?.len(), 0, "domains beyond");
    // The next one with a higher number, as in Xen.
    ensure!(calls::info(host, second.id() + 1).is_err(), "a domain beyond the last");
    Ok(())
}

/// Never started.
fn run(_: &Guest) -> Check {
    Ok(())
}
