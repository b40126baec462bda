//! `sched_op`: what a vcpu says about its own running.

use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedShutdown};

use super::{Answer, Call, Reply};
use crate::guest_copy;

/// `HYPERVISOR_sched_op(cmd, arg)`.
///
/// | operation | effect |
/// |---|---|
/// | yield | others run first |
/// | block | waits for an event |
/// | shutdown | ends the domain with a reason (`struct sched_shutdown`) |
///
/// Errors: `EFAULT`, `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(SchedOp::new).ok_or(Errno::ENOSYS)? {
        SchedOp::Yield => Ok(Answer::Yield),
        SchedOp::Block => Ok(Answer::Block),
        SchedOp::Shutdown => {
            let argument = GuestHandle::<SchedShutdown>::new(argument);
            let shutdown = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
            call.vcpu.domain().shut_down(shutdown.reason);
            Ok(Answer::Value(0))
        }
        _ => Err(Errno::ENOSYS),
    }
}
