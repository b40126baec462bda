//! `vm_assist`: services that a domain turns on for itself.

use core::sync::atomic::Ordering;

use xen_abi::errno::Errno;
use xen_abi::xen::{VmAssistCmd, VmAssistType};

use super::{Answer, Call, Reply};

/// What domains that are no PV guests may turn on.
const KNOWN: u32 = 1 << VmAssistType::RunstateUpdateFlag as u32;

/// `HYPERVISOR_vm_assist(cmd, type)`.
///
/// | | |
/// |---|---|
/// | In | `VMASST_CMD_enable` or `_disable`; `VMASST_TYPE_runstate_update_flag` |
/// | Errors | `EINVAL` for another type, `ENOSYS` for another command |
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [command, kind, ..] = call.arguments;
    let bit = u32::try_from(kind).ok().and_then(|kind| 1_u32.checked_shl(kind));
    let bit = bit.filter(|bit| bit & KNOWN != 0).ok_or(Errno::EINVAL)?;
    let assists = call.vcpu.domain().assists();
    match u32::try_from(command).ok().and_then(VmAssistCmd::new).ok_or(Errno::ENOSYS)? {
        VmAssistCmd::Enable => assists.fetch_or(bit, Ordering::Relaxed),
        VmAssistCmd::Disable => assists.fetch_and(!bit, Ordering::Relaxed),
    };
    Ok(Answer::Value(0))
}
