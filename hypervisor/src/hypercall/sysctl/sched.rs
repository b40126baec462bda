//! The scheduler, and the one CPU pool.

use hv_arch::smp;
use hv_core::pcpu_set::PcpuSet;
use xen_abi::domctl::Scheduler;
use xen_abi::errno::Errno;
use xen_abi::sysctl::{
    CSCHED_MGR_DLY_MAX_US, CSCHED_TSLICE_MAX, CSCHED_TSLICE_MIN, CpupoolCmd, CpupoolOp, CreditSchedule,
    SCHED_RATELIMIT_MAX, SCHED_RATELIMIT_MIN, SchedId, SchedulerArgs, SchedulerCmd, SchedulerOp,
};

use super::{Request, bitmap};
use crate::hypercall::{Answer, Reply};
use crate::{domains, init};

/// The pool of all pcpus and domains.
const POOL: u32 = 0;

/// `sched_id`
///
/// | | |
/// |---|---|
/// | Out | the credit scheduler |
pub fn id(request: &Request<'_, '_, '_>) -> Reply {
    request.answer(&SchedId { sched_id: Scheduler::Credit.get() })
}

/// `scheduler_op`: time slice, rate limit, migration delay.
///
/// | | |
/// |---|---|
/// | In | pool, scheduler; whether to set the parameters, and the parameters |
/// | Out | the parameters |
/// | Errors | `ESRCH` for another pool than 0; `EINVAL` for another scheduler, or parameters out of range |
pub fn parameters(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<SchedulerOp>();
    let command = SchedulerCmd::new(argument.cmd).ok_or(Errno::EINVAL)?;
    if argument.cpupool_id != POOL {
        return Err(Errno::ESRCH);
    }
    if argument.sched_id != Scheduler::Credit.get() {
        return Err(Errno::EINVAL);
    }
    if command == SchedulerCmd::PutInfo {
        let wanted = argument.u.view::<CreditSchedule>();
        check(&wanted)?;
        init::set_slices(wanted);
    }
    argument.u = SchedulerArgs::of(&init::slices());
    request.answer(&argument)
}

fn check(wanted: &CreditSchedule) -> Result<(), Errno> {
    let limit = wanted.ratelimit_us;
    let valid = (CSCHED_TSLICE_MIN..=CSCHED_TSLICE_MAX).contains(&wanted.tslice_ms)
        && (limit == 0 || (SCHED_RATELIMIT_MIN..=SCHED_RATELIMIT_MAX).contains(&limit))
        && u64::from(limit) <= u64::from(wanted.tslice_ms) * 1_000
        && wanted.vcpu_migr_delay_us <= CSCHED_MGR_DLY_MAX_US;
    if valid { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `cpupool_op`: there is one pool, which has all pcpus.
///
/// | command | In | Out |
/// |---|---|---|
/// | info | lowest pool | scheduler, domains, pcpus |
/// | freeinfo | | the pcpus in no pool: none |
/// | movedomain | domain, pool | |
///
/// Errors: `ENOENT` for another pool than 0, `ESRCH` for no such domain, `EBUSY` for
/// what would take something from the pool, `EOPNOTSUPP` for a new pool, `EINVAL`.
pub fn pool(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<CpupoolOp>();
    let command = CpupoolCmd::new(argument.op);
    let in_pool = argument.cpupool_id == POOL;
    match command.ok_or(Errno::ENOSYS)? {
        CpupoolCmd::Info if in_pool => {
            let pcpus = smp::online().collect::<PcpuSet>();
            argument.sched_id = Scheduler::Credit.get();
            argument.n_dom = u32::try_from(domains::count()).unwrap_or(u32::MAX);
            bitmap::write(request.call, &argument.cpumap, &pcpus.to_bytes())?;
            request.answer(&argument)
        }
        CpupoolCmd::FreeInfo => {
            bitmap::write(request.call, &argument.cpumap, &PcpuSet::NONE.to_bytes())?;
            request.answer(&argument)
        }
        CpupoolCmd::MoveDomain => {
            let domid = u16::try_from(argument.domid).map_err(|_| Errno::ESRCH)?;
            domains::find_any(domid, request.call.vcpu.domain())?;
            if in_pool { Ok(Answer::Value(0)) } else { Err(Errno::ENOENT) }
        }
        CpupoolCmd::Create => Err(Errno::EOPNOTSUPP),
        CpupoolCmd::Destroy | CpupoolCmd::AddCpu | CpupoolCmd::RmCpu if in_pool => Err(Errno::EBUSY),
        CpupoolCmd::Info | CpupoolCmd::Destroy | CpupoolCmd::AddCpu | CpupoolCmd::RmCpu => Err(Errno::ENOENT),
    }
}
