//! `sched_op`: what a vcpu says about its own running, and a domain about its end.

use hv_core::id::DomId;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedPoll, SchedRemoteShutdown, SchedShutdown, SchedWatchdog, ShutdownReason};

use super::{Answer, Call, Reply};
use crate::work::Work;
use crate::{clock, domains, event, guest_copy};

/// Most ports that a vcpu can poll (Xen, `do_poll`).
const MOST_POLLED: u32 = 128;

/// `HYPERVISOR_sched_op(cmd, arg)`.
///
/// | operation | argument | effect |
/// |---|---|---|
/// | yield | | others run first |
/// | block | | waits for an event |
/// | poll | `struct sched_poll` | waits until one of up to 128 ports has an event, or for a time |
/// | shutdown | `struct sched_shutdown` | ends the domain |
/// | shutdown_code | `struct sched_shutdown` | says why, before it ends |
/// | remote_shutdown | `struct sched_remote_shutdown` | Dom0: ends another domain |
/// | watchdog | `struct sched_watchdog` | sets, pokes or stops one of two watchdogs; returns its number |
///
/// Errors: `EFAULT`, `EINVAL` (no such reason or watchdog, too many ports, one that is not
/// bound), `ENOSPC` (all watchdogs in use), `EPERM`, `ESRCH` (no such domain), `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(SchedOp::new).ok_or(Errno::ENOSYS)? {
        SchedOp::Yield => Ok(Answer::Yield),
        SchedOp::Block => Ok(Answer::Block),
        SchedOp::Poll => poll(call, GuestHandle::new(argument)),
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
        SchedOp::PinOverride => Err(Errno::ENOSYS),
    }
}

/// Polling begins before the ports are looked at, so that no event falls in between.
fn poll(call: &Call<'_, '_>, argument: GuestHandle<SchedPoll>) -> Reply {
    let poll = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
    if poll.nr_ports > MOST_POLLED {
        return Err(Errno::EINVAL);
    }
    let events = call.vcpu.domain().events();
    events.poll(call.vcpu.id(), None);
    let mut port = 0;
    for index in 0..poll.nr_ports {
        let pending = guest_copy::read_item(call.cpu, call.vcpu, poll.ports, index.into()).and_then(|read| {
            port = read;
            event::is_pending(call.vcpu.domain(), port)
        });
        if pending != Ok(false) {
            events.end_poll(call.vcpu.id());
            return pending.map(|_| Answer::Value(0));
        }
    }
    if poll.nr_ports == 1 {
        events.poll(call.vcpu.id(), Some(port));
    }
    if poll.timeout != 0 {
        call.vcpu.timers().lock().set_poll(poll.timeout);
        call.vcpu.owe(Work::TIMERS);
    }
    Ok(Answer::Block)
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
