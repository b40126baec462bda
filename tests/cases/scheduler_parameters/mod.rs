//! The scheduler's parameters, shares of domains and the CPU pool are told and set as Xen has them.

use alloc::format;

use xen_abi::domctl::{self, DomctlOp, SchedCredit, Scheduler};
use xen_abi::errno::Errno;
use xen_abi::sysctl::{self, CpupoolCmd, CpupoolOp, CreditSchedule, SysctlOp};
use xen_control::{Error, calls};
use zerocopy::FromZeros;

use crate::controller::Controller;
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "scheduler-parameters",
    description: "The scheduler's parameters, shares of domains and the CPU pool are told and set as Xen has them.",
    covers: &["CPU-04", "CPU-07", "CPU-13", "CPU-19", "T-10", "T-11", "T-15", "T-27"],
    needs: &[],
    kind: Kind::Control(control, run),
};

const DOM0: u16 = 0;
/// Keeps a weight, a cap (`domctl.h`, `struct xen_domctl_sched_credit`).
const KEEP: SchedCredit = SchedCredit { weight: 0, cap: u16::MAX };

fn control(controller: &Controller) -> Check {
    parameters(controller)?;
    shares(controller)?;
    pool(controller)?;
    dom0_is_pinned(controller)
}

fn parameters(controller: &Controller) -> Check {
    let host = controller.host()?;
    ensure_eq!(calls::scheduler(host)?, Scheduler::Credit.get(), "scheduler");
    let before = calls::slices(host)?;
    let good = CreditSchedule { tslice_ms: 10, ratelimit_us: 500, vcpu_migr_delay_us: 100_000 };
    calls::set_slices(host, good)?;
    ensure_eq!(calls::slices(host)?, good, "parameters");
    for wrong in [
        CreditSchedule { tslice_ms: 0, ..good },
        CreditSchedule { tslice_ms: 1_001, ..good },
        CreditSchedule { ratelimit_us: 99, ..good },
        CreditSchedule { ratelimit_us: 10_001, ..good },
        CreditSchedule { tslice_ms: 1_000, ratelimit_us: 500_001, ..good },
        CreditSchedule { vcpu_migr_delay_us: 100_001, ..good },
    ] {
        refused(calls::set_slices(host, wrong), &format!("{wrong:?}"))?;
        ensure_eq!(calls::slices(host)?, good, "parameters after {wrong:?}");
    }
    let get = sysctl::SchedulerCmd::GetInfo.get();
    for (pool, scheduler, cmd, errno) in [
        (1, Scheduler::Credit, get, Errno::ESRCH),
        (0, Scheduler::Credit2, get, Errno::EINVAL),
        (0, Scheduler::Credit, 2, Errno::EINVAL),
    ] {
        let mut argument = sysctl::SchedulerOp {
            cpupool_id: pool,
            sched_id: scheduler.get(),
            cmd,
            ..sysctl::SchedulerOp::new_zeroed()
        };
        let answer = calls::sysctl(host, SysctlOp::SchedulerOp, &mut argument);
        ensure_eq!(answer, Err(errno), "pool {pool}, {scheduler:?}, command {cmd}");
    }
    Ok(calls::set_slices(host, before)?)
}

fn shares(controller: &Controller) -> Check {
    let host = controller.host()?;
    let domain = controller.spawn("scheduler-parameters", "", Shape::vcpus(2))?;
    let is = |weight, cap, when: &str| -> Check {
        ensure_eq!(calls::share(host, domain.id())?, SchedCredit { weight, cap }, "share {when}");
        Ok(())
    };
    is(256, 0, "of a new domain")?;
    for weight in [1, u16::MAX, 512] {
        calls::set_share(host, domain.id(), SchedCredit { weight, ..KEEP })?;
        is(weight, 0, "with another weight")?;
    }
    for cap in [200, 50] {
        calls::set_share(host, domain.id(), SchedCredit { cap, ..KEEP })?;
        is(512, cap, "with another cap")?;
    }
    refused(calls::set_share(host, domain.id(), SchedCredit { weight: 7, cap: 201 }), "201 % of two vcpus")?;
    is(512, 50, "after a cap too high")?;
    // Credit has nothing of single vcpus (`domctl.h`).
    for (scheduler, cmd) in [
        (Scheduler::Credit, domctl::SchedulerCmd::PutVcpuInfo.get()),
        (Scheduler::Credit, domctl::SchedulerCmd::GetVcpuInfo.get()),
        (Scheduler::Credit, 4),
        (Scheduler::Credit2, domctl::SchedulerCmd::GetInfo.get()),
    ] {
        let mut argument =
            domctl::SchedulerOp { sched_id: scheduler.get(), cmd, ..domctl::SchedulerOp::new_zeroed() };
        let answer = calls::domctl(host, DomctlOp::SchedulerOp, domain.id(), &mut argument);
        ensure!(answer == Err(Errno::EINVAL), "{scheduler:?}, command {cmd}: {answer:?}");
    }
    calls::set_share(host, domain.id(), SchedCredit { cap: 0, ..KEEP })?;
    is(512, 0, "without a cap")
}

fn pool(controller: &Controller) -> Check {
    let host = controller.host()?;
    let pools = calls::cpupools(host)?;
    let [pool] = pools.as_slice() else { fail!("{} pools", pools.len()) };
    ensure_eq!((pool.id, pool.scheduler), (0, Scheduler::Credit.get()), "pool and scheduler");
    ensure!(pool.pcpus.iter().copied().eq(0..controller.pcpus()), "pcpus {:?}", pool.pcpus);
    ensure_eq!(pool.domains as usize, calls::list(host, 0, 64)?.len(), "domains");
    for (op, id, errno) in [
        (CpupoolCmd::Create, u32::MAX, Errno::EOPNOTSUPP),
        (CpupoolCmd::Destroy, 0, Errno::EBUSY),
        (CpupoolCmd::Destroy, 1, Errno::ENOENT),
        (CpupoolCmd::RmCpu, 0, Errno::EBUSY),
        (CpupoolCmd::MoveDomain, 1, Errno::ENOENT),
    ] {
        let mut argument = CpupoolOp { op: op.get(), cpupool_id: id, ..CpupoolOp::new_zeroed() };
        let answer = calls::sysctl(host, SysctlOp::CpupoolOp, &mut argument);
        ensure_eq!(answer, Err(errno), "{op:?} of pool {id}");
    }
    Ok(())
}

fn dom0_is_pinned(controller: &Controller) -> Check {
    let host = controller.host()?;
    let (before, _) = calls::get_affinity(host, DOM0, 0)?;
    let last = controller.pcpus().saturating_sub(1);
    for pcpu in [last, 0] {
        calls::set_affinity(host, DOM0, 0, 1 << pcpu)?;
        ensure_eq!(calls::get_affinity(host, DOM0, 0)?.0, 1 << pcpu, "affinity");
        ensure_eq!(calls::vcpu_info(host, DOM0, 0)?.cpu, pcpu, "pcpu");
    }
    // No pcpu that is online, and no vcpu of this number.
    refused(calls::set_affinity(host, DOM0, 0, 0), "no pcpu")?;
    refused(calls::set_affinity(host, DOM0, 1 << 20, 1), "vcpu 2^20")?;
    ensure_eq!(calls::get_affinity(host, DOM0, 0)?.0, 1, "affinity after refusals");
    Ok(calls::set_affinity(host, DOM0, 0, before)?)
}

fn refused(answer: Result<(), Error>, what: &str) -> Check {
    match answer {
        Err(Error::Refused(_, Errno::EINVAL)) => Ok(()),
        answer => fail!("{what}: {answer:?}"),
    }
}

/// Never started.
fn run(_: &Guest) -> Check {
    Ok(())
}
