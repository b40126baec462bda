//! `vcpu_op`: what a domain does with its own vcpus.

use alloc::sync::Arc;

use hv_core::addr::Gfn;
use hv_core::vcpu_state::{Limits, VcpuState};
use hv_core::vlapic::{Delivery, Destination, Message, Trigger};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::hvm_vcpu::VcpuHvmContext;
use xen_abi::vcpu::{
    VcpuOp, VcpuRegisterRunstateMemoryArea, VcpuRegisterTimeMemoryArea, VcpuRegisterVcpuInfo,
    VcpuRunstateInfo, VcpuSetPeriodicTimer, VcpuSetSingleshotTimer,
};

use super::{Answer, Call, Reply};
use crate::vcpu::{self, Activity, Vcpu};
use crate::work::Work;
use crate::{clock, guest_copy, init, interrupts, sched};

/// `HYPERVISOR_vcpu_op(cmd, vcpu, arg)`.
///
/// | operation | argument | effect |
/// |---|---|---|
/// | initialise | `struct vcpu_hvm_context` | registers with which the vcpu will start |
/// | up, down | | lets it run, stops it |
/// | is_up | | returns 1 if it is up, 0 if not |
/// | get_runstate_info | to `struct vcpu_runstate_info` | where its time went |
/// | register_runstate_memory_area | address | keeps a copy of that up to date |
/// | set_periodic_timer | `struct vcpu_set_periodic_timer` | `VIRQ_TIMER` every period, 1 ms at least |
/// | stop_periodic_timer | | |
/// | set_singleshot_timer | `struct vcpu_set_singleshot_timer` | `VIRQ_TIMER` once |
/// | stop_singleshot_timer | | |
/// | register_vcpu_info | frame and offset | moves its `struct vcpu_info`, once |
/// | register_vcpu_time_memory_area | address | keeps a copy of the PV clock's record |
/// | send_nmi | | sends it an NMI |
///
/// Errors: `ENOENT` for a vcpu that there is not, `EFAULT`, `EINVAL` (registers no CPU
/// could start with, a vcpu without any, bad places; timers of another vcpu),
/// `EEXIST` (initialised before), `ETIME`, `ENOSYS`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [op, id, argument, ..] = call.arguments;
    let op = u32::try_from(op).ok().and_then(VcpuOp::new).ok_or(Errno::ENOSYS)?;
    let id = u32::try_from(id).map_err(|_| Errno::ENOENT)?;
    let own = id == call.vcpu.id();
    let vcpu = if own { Arc::clone(call.vcpu) } else { call.vcpu.domain().vcpu(id).ok_or(Errno::ENOENT)? };
    match op {
        VcpuOp::Initialise => initialise(call, &vcpu, GuestHandle::new(argument)),
        VcpuOp::Up => up(call, &vcpu),
        VcpuOp::Down => down(&vcpu),
        VcpuOp::IsUp => Ok(Answer::Value(vcpu.is_up().into())),
        VcpuOp::GetRunstateInfo => {
            let info = vcpu.schedule().lock().runstate(clock::now());
            guest_copy::write_obj(call.cpu, call.vcpu, GuestHandle::new(argument), &info)?;
            DONE
        }
        VcpuOp::RegisterRunstateMemoryArea => register_runstate(call, &vcpu, argument),
        VcpuOp::SetPeriodicTimer if own => set_periodic(call, argument),
        VcpuOp::StopPeriodicTimer if own => change_timers(call.vcpu, |timers| timers.stop_periodic()),
        VcpuOp::SetSingleshotTimer if own => set_singleshot(call, argument),
        VcpuOp::StopSingleshotTimer if own => change_timers(call.vcpu, |timers| timers.stop_singleshot()),
        VcpuOp::SetPeriodicTimer
        | VcpuOp::StopPeriodicTimer
        | VcpuOp::SetSingleshotTimer
        | VcpuOp::StopSingleshotTimer => Err(Errno::EINVAL),
        VcpuOp::RegisterVcpuInfo => register_info(call, &vcpu, argument),
        VcpuOp::RegisterVcpuTimeMemoryArea => register_time(call, &vcpu, argument),
        VcpuOp::SendNmi => {
            interrupts::deliver_to(&vcpu, NMI);
            DONE
        }
        // Of PV guests that drive the machine's own CPUs.
        VcpuOp::GetPhysid => Err(Errno::EINVAL),
    }
}

const DONE: Reply = Ok(Answer::Value(0));
const NMI: Message =
    Message { destination: Destination::All, delivery: Delivery::Nmi, vector: 0, trigger: Trigger::Edge };

fn initialise(call: &Call<'_, '_>, vcpu: &Arc<Vcpu>, context: GuestHandle<VcpuHvmContext>) -> Reply {
    if vcpu.is_initialised() {
        return Err(Errno::EEXIST);
    }
    let context = guest_copy::read_obj(call.cpu, call.vcpu, context)?;
    let config = init::vmx_config();
    let cpuid = vcpu.domain().cpuid();
    let limits = Limits {
        cr0: config.guest_cr0(),
        cr4: config.cr4(),
        guest_cr4: cpuid.cr4(),
        guest_efer: cpuid.efer(),
        phys_bits: cpuid.phys_bits(),
    };
    let registers = VcpuState::from_context(&context, &limits).map_err(|_| Errno::EINVAL)?;
    // Held by a pcpu on which it handles INIT or the like, for a moment.
    let Some(mut state) = vcpu.state().try_lock() else { return Ok(Answer::Again(call.arguments)) };
    vcpu::prepare(vcpu, &mut state, config, &registers);
    DONE
}

fn up(call: &Call<'_, '_>, vcpu: &Arc<Vcpu>) -> Reply {
    if !vcpu.is_initialised() {
        return Err(Errno::EINVAL);
    }
    if vcpu.is_up() {
        return DONE;
    }
    let Some(mut state) = vcpu.state().try_lock() else { return Ok(Answer::Again(call.arguments)) };
    vcpu.owed().cancel(Work::DOWN);
    state.activity = Activity::Active;
    drop(state);
    // It takes NMIs from now on.
    vcpu.lapic().lock().start();
    vcpu.set_up(true);
    sched::wake(vcpu);
    DONE
}

fn down(vcpu: &Arc<Vcpu>) -> Reply {
    vcpu.set_up(false);
    vcpu.notify(Work::DOWN);
    DONE
}

fn change_timers<R>(vcpu: &Vcpu, change: impl FnOnce(&mut hv_core::vtimer::VcpuTimers) -> R) -> Reply {
    change(&mut vcpu.timers().lock());
    vcpu.owe(Work::TIMERS);
    DONE
}

fn set_periodic(call: &Call<'_, '_>, argument: u64) -> Reply {
    let set: VcpuSetPeriodicTimer = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    call.vcpu.timers().lock().set_periodic(set.period_ns, clock::now())?;
    call.vcpu.owe(Work::TIMERS);
    DONE
}

fn set_singleshot(call: &Call<'_, '_>, argument: u64) -> Reply {
    let set: VcpuSetSingleshotTimer = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    call.vcpu.timers().lock().set_singleshot(set.timeout_abs_ns, set.flags, clock::now())?;
    call.vcpu.owe(Work::TIMERS);
    DONE
}

fn register_info(call: &Call<'_, '_>, vcpu: &Arc<Vcpu>, argument: u64) -> Reply {
    let place: VcpuRegisterVcpuInfo = guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let gfn = Gfn::new(place.mfn).ok_or(Errno::EINVAL)?;
    vcpu.shared().move_info(vcpu, gfn, place.offset)?;
    DONE
}

fn register_runstate(call: &Call<'_, '_>, vcpu: &Arc<Vcpu>, argument: u64) -> Reply {
    let area: VcpuRegisterRunstateMemoryArea =
        guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let len = size_of::<VcpuRunstateInfo>();
    let pieces = guest_copy::pin(call.cpu, call.vcpu, area.addr.address(), len)?;
    vcpu.shared().keep_runstate(vcpu, pieces);
    DONE
}

fn register_time(call: &Call<'_, '_>, vcpu: &Arc<Vcpu>, argument: u64) -> Reply {
    let area: VcpuRegisterTimeMemoryArea =
        guest_copy::read_obj(call.cpu, call.vcpu, GuestHandle::new(argument))?;
    let place = guest_copy::pin(call.cpu, call.vcpu, area.addr.address(), size_of_val(&area.addr))?;
    vcpu.shared().keep_time(vcpu, place)?;
    DONE
}
