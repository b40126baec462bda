//! Weight, cap and affinity of a domain: what a new one has, what is kept, what is refused.

use xen_abi::domctl::SchedCredit;
use xen_abi::sysctl::CreditSchedule;
use xen_control::calls;

use crate::controller::Controller;
use crate::test::{Kind, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "sched-share-settings",
    description: "Weight, cap and affinity of a domain: what a new one has, what is kept, what is refused.",
    covers: &["T-10", "T-11", "T-15", "T-19", "T-21", "T-26", "CPU-07", "CPU-13"],
    needs: &[],
    kind: Kind::Dom0(control),
};

/// Weight and cap that leave what is set.
const KEEP: (u16, u16) = (0, u16::MAX);

fn control(controller: &Controller) -> Check {
    let host = controller.host()?;
    let domain = controller.spawn_bare(2)?;
    fresh(controller, domain.id())?;
    for (asked, set) in [
        ((1, KEEP.1), (1, 0)),
        ((u16::MAX, KEEP.1), (u16::MAX, 0)),
        ((KEEP.0, 150), (u16::MAX, 150)),
        (KEEP, (u16::MAX, 150)),
        ((512, 0), (512, 0)),
    ] {
        let (weight, cap) = asked;
        calls::set_share(host, domain.id(), SchedCredit { weight, cap })?;
        let share = calls::share(host, domain.id())?;
        ensure_eq!((share.weight, share.cap), set, "weight and cap after {asked:?}");
    }
    let pcpus = u64::MAX >> (u64::BITS - controller.pcpus());
    ensure!(calls::set_affinity(host, domain.id(), 0, 0).is_err(), "no pcpu at all");
    ensure!(calls::set_affinity(host, domain.id(), 0, !pcpus).is_err(), "no pcpu that there is");
    ensure!(calls::set_affinity(host, domain.id(), 2, 1).is_err(), "a vcpu that there is not");
    ensure_eq!(calls::get_affinity(host, domain.id(), 0)?.0 & pcpus, pcpus, "pcpus after what was refused");
    domain.destroy()?;
    // Nothing of it is left to one of the same kind.
    fresh(controller, controller.spawn_bare(2)?.id())?;
    slices(controller)
}

fn fresh(controller: &Controller, domain: u16) -> Check {
    let host = controller.host()?;
    let share = calls::share(host, domain)?;
    ensure_eq!((share.weight, share.cap), (256, 0), "weight and cap of a new domain");
    let pcpus = u64::MAX >> (u64::BITS - controller.pcpus());
    for vcpu in 0..2 {
        let (hard, soft) = calls::get_affinity(host, domain, vcpu)?;
        ensure_eq!((hard & pcpus, soft & pcpus), (pcpus, pcpus), "pcpus of vcpu {vcpu}, hard and soft");
    }
    Ok(())
}

/// The whole scheduler's parameters.
fn slices(controller: &Controller) -> Check {
    let host = controller.host()?;
    let before = calls::slices(host)?;
    for (tslice_ms, ratelimit_us) in [(0, 0), (1_001, 0), (5, 99), (5, 5_001), (1_000, 500_001)] {
        let refused = calls::set_slices(host, CreditSchedule { tslice_ms, ratelimit_us, ..before }).is_err();
        ensure!(refused, "a slice of {tslice_ms} ms, a rate limit of {ratelimit_us} us");
        ensure_eq!(calls::slices(host)?.tslice_ms, before.tslice_ms, "time slice after what was refused");
    }
    for (tslice_ms, ratelimit_us) in [(1, 0), (1_000, 100), (1_000, 500_000)] {
        calls::set_slices(host, CreditSchedule { tslice_ms, ratelimit_us, ..before })?;
        let now = calls::slices(host)?;
        ensure_eq!((now.tslice_ms, now.ratelimit_us), (tslice_ms, ratelimit_us), "slice and rate limit");
    }
    Ok(calls::set_slices(host, before)?)
}
