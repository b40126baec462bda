//! `sched_op`: what a vcpu says about its own running.

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedPoll, SchedShutdown};

use super::{Answer, Call, Reply};
use crate::work::Work;
use crate::{event, guest_copy};

/// Most ports that a vcpu can poll (Xen, `do_poll`).
const MOST_POLLED: u32 = 128;

/// `HYPERVISOR_sched_op(cmd, arg)`.
///
/// | operation | effect |
/// |---|---|
/// | yield | others run first |
/// | block | waits for an event |
/// | poll | waits until one of up to 128 ports has an event, or for a time (`struct sched_poll`) |
/// | shutdown | ends the domain with a reason (`struct sched_shutdown`) |
///
/// Errors: `EFAULT`, `EINVAL` (too many ports, or one that is not bound), `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(SchedOp::new).ok_or(Errno::ENOSYS)? {
        SchedOp::Yield => Ok(Answer::Yield),
        SchedOp::Block => Ok(Answer::Block),
        SchedOp::Poll => poll(call, GuestHandle::new(argument)),
        SchedOp::Shutdown => {
            let argument = GuestHandle::<SchedShutdown>::new(argument);
            let shutdown = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
            call.vcpu.domain().shut_down(shutdown.reason);
            Ok(Answer::Value(0))
        }
        _ => Err(Errno::ENOSYS),
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
    call.vcpu.timers().lock().set_poll(poll.timeout);
    call.vcpu.owe(Work::TIMERS);
    Ok(Answer::Block)
}
