//! A paused domain stands still; it goes on when each pause is undone.

use guest_rt::{clock, println};
use xen_abi::domctl::DomainFlags;
use xen_control::calls;

use crate::controller::{Controller, LIMIT_MS, until};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "domain-pause",
    description: "A paused domain stands still; it goes on when each pause is undone.",
    covers: &["LIF-21", "LIF-22"],
    needs: &[],
    kind: Kind::Control(control, run),
};

fn control(controller: &Controller) -> Check {
    let host = controller.host()?;
    let mut domain = controller.spawn("domain-pause", "", Shape::SMALL)?;
    let flags = DomainFlags::from_bits_truncate(domain.info()?.flags);
    ensure!(flags.contains(DomainFlags::PAUSED), "a new domain is not paused: {flags:?}");
    domain.start()?;
    domain.wait_for("tick 3", LIMIT_MS)?;
    for _ in 0..2 {
        calls::pause(host, domain.id())?;
    }
    let before = domain.output().len();
    until(50, || false);
    ensure_eq!(domain.output().len(), before, "bytes of output while paused");
    calls::unpause(host, domain.id())?;
    until(50, || false);
    ensure_eq!(domain.output().len(), before, "bytes of output while paused once");
    calls::unpause(host, domain.id())?;
    domain.wait(LIMIT_MS)?;
    ensure!(calls::unpause(host, domain.id()).is_err(), "one unpause too many");
    domain.verdict()
}

fn run(_: &Guest) -> Check {
    for tick in 0..40 {
        println!("tick {tick}");
        clock::delay_us(2_000);
    }
    Ok(())
}
