//! `sched_op`: what a vcpu says about its own running, and a domain about its end.

use hv_core::id::DomId;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedRemoteShutdown, SchedShutdown, SchedWatchdog, ShutdownReason};

use super::{Answer, Call, Reply};
use crate::{clock, domains, guest_copy};

/// `HYPERVISOR_sched_op(cmd, arg)`.
///
/// | operation | argument | effect |
/// |---|---|---|
/// | yield | | others run first |
/// | block | | waits for an event |
/// | shutdown | `struct sched_shutdown` | ends the domain |
/// | shutdown_code | `struct sched_shutdown` | says why, before it ends |
/// | remote_shutdown | `struct sched_remote_shutdown` | Dom0: ends another domain |
/// | watchdog | `struct sched_watchdog` | sets, pokes or stops one of two watchdogs; returns its number |
///
/// Errors: `EFAULT`, `EINVAL` (no such reason or watchdog), `ENOSPC` (all watchdogs in
/// use), `EPERM`, `ESRCH` (no such domain), `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(SchedOp::new).ok_or(Errno::ENOSYS)? {
        SchedOp::Yield => Ok(Answer::Yield),
        SchedOp::Block => Ok(Answer::Block),
        SchedOp::Shutdown => {
            let reason = read_reason(call, argument)?;
            call.vcpu.domain().shut_down(reason);
            Ok(Answer::Value(0))
        }
        SchedOp::ShutdownCode => {
            let reason = read_reason(call, argument)?;
            call.vcpu.domain().announce_shutdown(reason);
            Ok(Answer::Value(0))
        }
        SchedOp::RemoteShutdown => remote_shutdown(call, argument),
        SchedOp::Watchdog => watchdog(call, argument),
        SchedOp::Poll | SchedOp::PinOverride => Err(Errno::ENOSYS),
    }
}

/// The reason is recorded whatever it is: the toolstack makes sense of it.
fn read_reason(call: &Call<'_, '_>, argument: u64) -> Result<u32, Errno> {
    let shutdown: SchedShutdown = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    // `shut_down` keeps one value for itself.
    if shutdown.reason == u32::MAX { Err(Errno::EINVAL) } else { Ok(shutdown.reason) }
}

fn remote_shutdown(call: &Call<'_, '_>, argument: u64) -> Reply {
    let order: SchedRemoteShutdown = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let id = DomId::new(order.domain_id).ok_or(Errno::ESRCH)?;
    if !call.vcpu.domain().is_privileged() {
        return Err(Errno::EPERM);
    }
    let domain = domains::find(id).ok_or(Errno::ESRCH)?;
    let reason = ShutdownReason::new(order.reason).ok_or(Errno::EINVAL)?;
    domain.shut_down(reason as u32);
    Ok(Answer::Value(0))
}

fn watchdog(call: &Call<'_, '_>, argument: u64) -> Reply {
    const NS_PER_SECOND: u64 = 1_000_000_000;
    let order: SchedWatchdog = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let at = u64::from(order.timeout) * NS_PER_SECOND + clock::now();
    let number = call.vcpu.domain().watchdogs().set(order.id, (order.timeout != 0).then_some(at))?;
    call.vcpu.domain().watchdogs_changed();
    Ok(Answer::Value(number.into()))
}
