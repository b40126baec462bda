//! `hvm_op`: parameters of a domain, and what concerns HVM guests only.

use alloc::sync::Arc;

use hv_core::addr::Gfn;
use hv_core::ept::{PageType, Rights};
use hv_core::vlapic::Vector;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::hvm_op::{
    HvmEvtchnUpcallVector, HvmGetMemType, HvmGetTime, HvmMemType, HvmOp, HvmPagetableDying, HvmParamArg,
};
use xen_abi::hvm_params::{CALLBACK_IRQ_TYPE_MASK, CallbackType, HvmParam, NR_PARAMS, TimerMode};
use xen_abi::sched::ShutdownReason;
use zerocopy::{FromBytes, IntoBytes};

use super::{Answer, Call, Reply};
use crate::domain::Domain;
use crate::{clock, domains, guest_copy, interrupts};

/// Vectors below are exceptions'.
const FIRST_VECTOR: u8 = 0x10;
/// Device models find their pages by a mask of so many bits.
const MOST_IOREQ_PAGES: u64 = 64;
const DONE: Reply = Ok(Answer::Value(0));

/// `HYPERVISOR_hvm_op(op, arg)`.
///
/// | operation | In | Out |
/// |---|---|---|
/// | `set_param` | domid, index, value | |
/// | `get_param` | domid, index | value |
/// | `set_evtchn_upcall_vector` | vcpu, vector | |
/// | `flush_tlbs` | | |
/// | `get_time` | | system time, ns |
/// | `get_mem_type` | domid, frame | type |
/// | `xentrace` | a record | |
/// | `guest_request_vm_event` | | |
///
/// Errors: `EFAULT`, `ENOSYS` (also for `pagetable_dying`: a hint that shadow paging
/// takes), `EOPNOTSUPP` for `altp2m`; `ESRCH` for no such domain, `EPERM` for one that
/// the caller does not manage; those of each operation.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, argument, ..] = call.arguments;
    match u32::try_from(op).ok().and_then(HvmOp::new).ok_or(Errno::ENOSYS)? {
        HvmOp::SetParam => set_param(call, read(call, argument)?),
        HvmOp::GetParam => get_param(call, GuestHandle::new(argument)),
        HvmOp::SetEvtchnUpcallVector => set_upcall_vector(call, read(call, argument)?),
        HvmOp::FlushTlbs => flush_tlbs(call, argument),
        HvmOp::PagetableDying => read::<HvmPagetableDying>(call, argument).and(Err(Errno::ENOSYS)),
        HvmOp::GetTime => {
            let time = HvmGetTime { now: clock::now() };
            guest_copy::write_obj(call.cpu, call.vcpu, GuestHandle::new(argument), &time)?;
            DONE
        }
        HvmOp::GetMemType => mem_type(call, GuestHandle::new(argument)),
        HvmOp::Xentrace => trace(read(call, argument)?),
        // Nobody listens.
        HvmOp::GuestRequestVmEvent if argument == 0 => DONE,
        HvmOp::GuestRequestVmEvent => Err(Errno::EINVAL),
        HvmOp::Altp2m => Err(Errno::EOPNOTSUPP),
        HvmOp::SetMemAccess | HvmOp::GetMemAccess => Err(Errno::ENOSYS),
    }
}

fn read<T: FromBytes + IntoBytes>(call: &Call<'_, '_>, argument: u64) -> Result<T, Errno> {
    guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))
}

/// The domain that `domid` names, if the caller manages it.
fn target(call: &Call<'_, '_>, domid: RawDomid) -> Result<Arc<Domain>, Errno> {
    let domain = domains::find_any(domid, call.vcpu.domain())?;
    if call.vcpu.domain().may_manage(&domain) { Ok(domain) } else { Err(Errno::EPERM) }
}

/// Who may do what with a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// The domain itself as well as the toolstack.
    Anyone,
    /// The toolstack, once.
    Once,
    /// The toolstack.
    Toolstack,
    /// Nobody: it means nothing any more.
    Withdrawn,
}

/// Who may set `param`.
fn setter(param: HvmParam) -> Access {
    match param {
        HvmParam::CallbackIrq
        | HvmParam::Vm86Tss
        | HvmParam::Vm86TssSized
        | HvmParam::AcpiIoportsLocation
        | HvmParam::VmGenerationIdAddr
        | HvmParam::StoreEvtchn
        | HvmParam::ConsoleEvtchn
        | HvmParam::X87FipWidth => Access::Anyone,
        HvmParam::Viridian
        | HvmParam::IoreqPfn
        | HvmParam::BufioreqPfn
        | HvmParam::IoreqServerPfn
        | HvmParam::NrIoreqServerPages
        | HvmParam::Altp2m
        | HvmParam::McaCap => Access::Once,
        param if is_withdrawn(param) => Access::Withdrawn,
        _ => Access::Toolstack,
    }
}

/// Who may read `param`.
fn getter(param: HvmParam) -> Access {
    match param {
        HvmParam::StorePfn | HvmParam::ConsolePfn | HvmParam::Altp2m => Access::Anyone,
        param if setter(param) == Access::Once => Access::Toolstack,
        param => setter(param),
    }
}

fn is_withdrawn(param: HvmParam) -> bool {
    matches!(
        param,
        HvmParam::PaeEnabled
            | HvmParam::DmDomain
            | HvmParam::MemoryEventCr0
            | HvmParam::MemoryEventCr3
            | HvmParam::MemoryEventCr4
            | HvmParam::MemoryEventInt3
            | HvmParam::Nestedhvm
            | HvmParam::MemoryEventSingleStep
            | HvmParam::BufioreqEvtchn
            | HvmParam::MemoryEventMsr
    )
}

/// Refuses what the caller may not do with `domain`'s parameter.
fn check(call: &Call<'_, '_>, domain: &Arc<Domain>, access: Access) -> Result<(), Errno> {
    match access {
        Access::Withdrawn => Err(Errno::EINVAL),
        Access::Toolstack | Access::Once if Arc::ptr_eq(domain, call.vcpu.domain()) => Err(Errno::EPERM),
        Access::Anyone | Access::Toolstack | Access::Once => Ok(()),
    }
}

fn param(index: u32) -> Result<HvmParam, Errno> {
    Some(index).filter(|&index| index < NR_PARAMS).and_then(HvmParam::new).ok_or(Errno::EINVAL)
}

/// `set_param`: `EINVAL` for no such parameter, one that is withdrawn, or a value that
/// it cannot have; `EPERM` for a domain's own parameter that the toolstack sets;
/// `EEXIST` for a second value where the first one counts; `ENODEV` for a device that
/// PVH domains do not have, and for the Hyper-V interface.
fn set_param(call: &Call<'_, '_>, argument: HvmParamArg) -> Reply {
    let param = param(argument.index)?;
    let domain = target(call, argument.domid)?;
    let access = setter(param);
    check(call, &domain, access)?;
    let old = domain.param(param);
    if access == Access::Once && old != 0 && old != argument.value {
        return Err(Errno::EEXIST);
    }
    check_value(param, argument.value)?;
    domain.set_param(param, argument.value);
    if param == HvmParam::CallbackIrq {
        domain.set_callback(callback_vector(argument.value));
    }
    DONE
}

fn check_value(param: HvmParam, value: u64) -> Result<(), Errno> {
    const TSS_LEN: u64 = 104;
    let valid = match param {
        HvmParam::Viridian | HvmParam::AcpiIoportsLocation => return Err(Errno::ENODEV),
        HvmParam::TimerMode => TimerMode::new(value).is_some(),
        // There is no sleep to leave.
        HvmParam::AcpiSState | HvmParam::Altp2m | HvmParam::McaCap => value == 0,
        HvmParam::TripleFaultReason => u32::try_from(value).ok().and_then(ShutdownReason::new).is_some(),
        HvmParam::NrIoreqServerPages => (1..=MOST_IOREQ_PAGES).contains(&value),
        HvmParam::X87FipWidth => matches!(value, 0 | 4 | 8),
        HvmParam::Vm86Tss => value >> 32 == 0,
        HvmParam::Vm86TssSized => value >> 32 >= TSS_LEN,
        _ => true,
    };
    if valid { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The vector of a callback of the type "vector"; 0 for others, by which no events
/// arrive: PVH domains have no interrupt lines.
fn callback_vector(value: u64) -> u8 {
    let [vector, .., kind] = (value & (CALLBACK_IRQ_TYPE_MASK | 0xff)).to_le_bytes();
    match CallbackType::new(kind) {
        Some(CallbackType::Vector) if vector >= FIRST_VECTOR => vector,
        _ => 0,
    }
}

/// `get_param`: errors as of `set_param`.
fn get_param(call: &Call<'_, '_>, handle: GuestHandle<HvmParamArg>) -> Reply {
    let mut argument = guest_copy::read_obj(call.cpu, call.vcpu, handle)?;
    let param = param(argument.index)?;
    let domain = target(call, argument.domid)?;
    check(call, &domain, getter(param))?;
    argument.value = domain.param(param);
    guest_copy::write_obj(call.cpu, call.vcpu, handle, &argument)?;
    DONE
}

/// `set_evtchn_upcall_vector`: `EINVAL` for a vector below 16, `ENOENT` for no such vcpu.
fn set_upcall_vector(call: &Call<'_, '_>, argument: HvmEvtchnUpcallVector) -> Reply {
    let vector = Vector::new(argument.vector).ok_or(Errno::EINVAL)?;
    let vcpu = call.vcpu.domain().vcpu(argument.vcpu).ok_or(Errno::ENOENT)?;
    vcpu.set_upcall_vector(vector);
    // An event may wait to be heard of, and the next one raises no vector while it does.
    interrupts::raise(&vcpu, vector);
    DONE
}

/// `flush_tlbs`: no vcpu of the domain remembers a translation when this returns.
/// `EINVAL` with an argument.
fn flush_tlbs(call: &Call<'_, '_>, argument: u64) -> Reply {
    if argument != 0 {
        return Err(Errno::EINVAL);
    }
    call.vcpu.domain().confines().forget_translations();
    DONE
}

/// `get_mem_type`
fn mem_type(call: &Call<'_, '_>, handle: GuestHandle<HvmGetMemType>) -> Reply {
    let mut argument = guest_copy::read_obj(call.cpu, call.vcpu, handle)?;
    let domain = target(call, argument.domid)?;
    let page = Gfn::new(argument.pfn).and_then(|gfn| domain.confines().lookup(gfn).page());
    let kind = match page {
        Some(page) if page.kind == PageType::Mmio => HvmMemType::MmioDm,
        Some(page) if !page.rights.contains(Rights::ReadWrite) => HvmMemType::RamRo,
        Some(_) => HvmMemType::RamRw,
        None => HvmMemType::MmioDm,
    };
    argument.mem_type = kind as u16;
    guest_copy::write_obj(call.cpu, call.vcpu, handle, &argument)?;
    DONE
}

/// `xentrace`: a `struct xen_hvm_xentrace` for the trace buffer, which there is not.
/// `EINVAL` for a record that would not fit.
fn trace(record: [u16; 16]) -> Reply {
    const SUBCLASS_SHIFT: u32 = 12;
    const EXTRA: u16 = 28;
    let [event, extra_bytes, ..] = record;
    if extra_bytes % 4 != 0 || extra_bytes > EXTRA || event >> SUBCLASS_SHIFT != 0 {
        return Err(Errno::EINVAL);
    }
    DONE
}
