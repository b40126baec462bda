//! SCHEDOP_poll returns at once, at the event, or at the time that was given, and leaves nothing behind.

use guest_rt::{clock, events, hypercall};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedPoll};
use xen_abi::vcpu::{VcpuOp, VcpuSetSingleshotTimer};
use xen_abi::xen::Virq;

use crate::evtchn;
use crate::expect::BAD_POINTERS;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "evtchn-poll",
    description: "SCHEDOP_poll returns at once, at the event, or at the time that was given, and leaves nothing behind.",
    covers: &[],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const MS: u64 = 1_000_000;

fn run(_: &Guest) -> Check {
    evtchn::prepare()?;
    let (ipi, timer) = (evtchn::bind_ipi(0)?, evtchn::bind_virq(Virq::Timer as u32, 0)?);
    let many = [ipi; 129];
    ensure_eq!(evtchn::poll(&many, 1), Err(Errno::EINVAL), "129 ports");
    for port in [0, timer + 1, 60_000, u32::MAX] {
        ensure_eq!(evtchn::poll(&[port], 1), Err(Errno::EINVAL), "port {port}");
    }
    for pointer in BAD_POINTERS {
        let mut poll = SchedPoll { ports: GuestHandle::new(pointer), nr_ports: 1, _pad: 0, timeout: 1 };
        let answer = hypercall::sched_op(SchedOp::Poll, &mut poll);
        ensure_eq!(answer, Err(Errno::EFAULT), "ports at {pointer:#x}");
    }
    evtchn::send(ipi)?;
    ensure!(took(|| evtchn::poll(&many[..128], 0))? < 100 * MS, "an event that is there ends the wait");
    ensure!(took(|| evtchn::poll(&[timer, ipi], 0))? < 100 * MS, "an event of another port does, too");
    ensure!(events::take(ipi), "the event stays");
    ensure!(took(|| evtchn::poll(&[ipi], clock::pv_ns(0) - 1))? < 100 * MS, "a time that is over");
    for ports in [&[ipi][..], &[ipi, timer], &[]] {
        let time = took(|| evtchn::poll(ports, clock::pv_ns(0) + 20 * MS))?;
        ensure!((20 * MS..500 * MS).contains(&time), "{} ports, a limit of 20 ms: {time} ns", ports.len());
    }
    // Masked as it is, the timer's event ends the wait, well before the limit.
    let limit = clock::pv_ns(0) + 60 * MS;
    arm(10 * MS)?;
    let time = took(|| evtchn::poll(&[timer], limit))?;
    ensure!((5 * MS..55 * MS).contains(&time) && events::take(timer), "the timer after 10 ms: {time} ns");
    // The limit of that wait is not one of the next wait.
    let time = took(|| evtchn::poll(&[ipi], clock::pv_ns(0) + 150 * MS))?;
    ensure!(time >= 150 * MS, "a limit of 150 ms behind one of 60 ms: {time} ns");
    Ok(())
}

/// Sets the timer.
fn arm(after: u64) -> Result<(), Errno> {
    let timeout_abs_ns = clock::pv_ns(0) + after;
    let mut set = VcpuSetSingleshotTimer { timeout_abs_ns, flags: 0, _pad: 0 };
    hypercall::vcpu_op(VcpuOp::SetSingleshotTimer, 0, &mut set).map(drop)
}

/// How long it took, ns.
fn took(wait: impl FnOnce() -> Result<(), Errno>) -> Result<u64, Errno> {
    let start = clock::pv_ns(0);
    wait()?;
    Ok(clock::pv_ns(0).saturating_sub(start))
}
