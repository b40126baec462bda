//! Shares, memory for page tables, devices, and settings of all kinds.

use alloc::sync::Arc;

use hv_core::addr::PAGE_SIZE;
use hv_core::id::DomId;
use xen_abi::domctl::{
    HypercallInit, IomemPermission, IoportMapping, IoportPermission, IrqPermission, MappingChange,
    MemoryMapping, PagingMempool, SchedCredit, Scheduler, SchedulerArgs, SchedulerCmd, SchedulerOp,
    SetDebugging, SetTarget, SetTimeOffset, SetVirqHandler, ShadowCmd, ShadowOp,
};
use xen_abi::errno::Errno;
use xen_abi::xen::Virq;

use super::{DONE, Request};
use crate::hypercall::{Reply, page};
use crate::{clock, domains, sched};

/// I/O ports that there are.
const PORTS: u32 = 1 << 16;
const MIB: u64 = 1 << 20;

/// `scheduler_op`: the domain's share in the pcpus. Weight 0 and cap 65535 keep what was.
/// Credit has no parameters of single vcpus.
///
/// | | |
/// |---|---|
/// | In | scheduler; whether to set weight and cap; weight and cap |
/// | Out | weight and cap |
/// | Errors | `EINVAL` for another scheduler or command, or a cap of more than 100 for each vcpu |
pub fn share(request: &Request<'_, '_, '_>) -> Reply {
    const KEEP_WEIGHT: u16 = 0;
    const KEEP_CAP: u16 = u16::MAX;
    let mut argument = request.view::<SchedulerOp>();
    if argument.sched_id != Scheduler::Credit.get() {
        return Err(Errno::EINVAL);
    }
    let share = request.domain.share();
    match SchedulerCmd::new(argument.cmd) {
        Some(SchedulerCmd::GetInfo) => {}
        Some(SchedulerCmd::PutInfo) => {
            let wanted = argument.u.view::<SchedCredit>();
            let most = request.domain.config().max_vcpus.saturating_mul(100);
            if wanted.cap != KEEP_CAP && u32::from(wanted.cap) > most {
                return Err(Errno::EINVAL);
            }
            if wanted.weight != KEEP_WEIGHT {
                share.set_weight(wanted.weight);
            }
            if wanted.cap != KEEP_CAP {
                share.set_cap(wanted.cap);
                request.domain.vcpus().iter().for_each(sched::reconsider);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    let share = SchedCredit { weight: share.weight(), cap: share.cap() };
    argument.u = SchedulerArgs::of(&share);
    request.answer(&argument)
}

/// `shadow_op`: most memory for page tables, which is taken as it is needed, beside what
/// goes with the domain's own memory. There is no dirty log.
///
/// | | |
/// |---|---|
/// | In | operation; MiB |
/// | Out | MiB |
/// | Errors | `EINVAL` for the caller's own domain, one without vcpus, and unknown operations; `EOPNOTSUPP` for the dirty log |
pub fn shadow(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<ShadowOp>();
    request.check_other_domain()?;
    if request.domain.is_dying() {
        return DONE;
    }
    if request.domain.vcpus().is_empty() {
        return Err(Errno::EINVAL);
    }
    match ShadowCmd::new(argument.op).ok_or(Errno::EINVAL)? {
        ShadowCmd::Off => return DONE,
        ShadowCmd::SetAllocation => {
            request.domain.settings().lock().paging_pool = u64::from(argument.mb) * MIB;
            request.domain.allow_tables();
        }
        ShadowCmd::GetAllocation => {
            let pool = request.domain.settings().lock().paging_pool;
            argument.mb = u32::try_from(pool.div_ceil(MIB)).unwrap_or(u32::MAX);
        }
        ShadowCmd::Enable | ShadowCmd::EnableLogdirty | ShadowCmd::Clean | ShadowCmd::Peek => {
            return Err(Errno::EOPNOTSUPP);
        }
        ShadowCmd::EnableTest => return Err(Errno::EINVAL),
    }
    request.answer(&argument)
}

/// `set_paging_mempool_size`: as `shadow_op` does, in bytes.
///
/// | | |
/// |---|---|
/// | In | bytes |
/// | Errors | `EINVAL` if they are not whole pages |
pub fn set_mempool(request: &Request<'_, '_, '_>) -> Reply {
    let PagingMempool { size } = request.view();
    if size % PAGE_SIZE != 0 {
        return Err(Errno::EINVAL);
    }
    request.domain.settings().lock().paging_pool = size;
    request.domain.allow_tables();
    DONE
}

/// `get_paging_mempool_size`
///
/// | | |
/// |---|---|
/// | Out | bytes |
pub fn get_mempool(request: &Request<'_, '_, '_>) -> Reply {
    let size = request.domain.settings().lock().paging_pool;
    request.answer(&PagingMempool { size })
}

/// `hypercall_init`: writes a hypercall page.
///
/// | | |
/// |---|---|
/// | In | the guest frame |
/// | Errors | `EINVAL` if the domain has no RAM there |
pub fn hypercall_page(request: &Request<'_, '_, '_>) -> Reply {
    let HypercallInit { gmfn } = request.view();
    let address = gmfn.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    if page::write(request.domain.confines(), address) { DONE } else { Err(Errno::EINVAL) }
}

/// `settimeoffset`: how far the domain's wall clock is ahead of the host's.
///
/// | | |
/// |---|---|
/// | In | seconds |
pub fn time_offset(request: &Request<'_, '_, '_>) -> Reply {
    let SetTimeOffset { time_offset_seconds } = request.view();
    request.domain.settings().lock().time_offset = time_offset_seconds;
    clock::write_wall(request.domain.memory().shared_info(), time_offset_seconds);
    DONE
}

/// `setdebugging`: there is no debugger that could attach.
///
/// | | |
/// |---|---|
/// | In | whether to stop at breakpoints |
/// | Errors | `EINVAL` for the caller's own domain; `EOPNOTSUPP` if so |
pub fn debugging(request: &Request<'_, '_, '_>) -> Reply {
    request.check_other_domain()?;
    let SetDebugging { enable } = request.view();
    if enable == 0 { DONE } else { Err(Errno::EOPNOTSUPP) }
}

/// `set_virq_handler`: gives the domain a virtual interrupt that Dom0 has otherwise.
///
/// | | |
/// |---|---|
/// | In | which |
/// | Errors | `EINVAL` for one that each vcpu has, or that there is not |
pub fn virq_handler(request: &Request<'_, '_, '_>) -> Reply {
    let SetVirqHandler { virq } = request.view();
    let of_vcpus = matches!(Virq::new(virq), Some(Virq::Timer | Virq::Debug | Virq::Xenoprof | Virq::Xenpmu));
    if of_vcpus || !domains::set_virq_handler(virq, request.domain.id()) {
        return Err(Errno::EINVAL);
    }
    DONE
}

/// `set_target`: makes it the device model of another domain, once.
///
/// | | |
/// |---|---|
/// | In | the other one |
/// | Errors | `ESRCH`; `EINVAL` for itself, or the second time |
pub fn target(request: &Request<'_, '_, '_>) -> Reply {
    let SetTarget { target } = request.view();
    let target = DomId::new(target).and_then(domains::find).ok_or(Errno::ESRCH)?;
    let mut settings = request.domain.settings().lock();
    if target.id() == request.domain.id() || settings.target.is_some() {
        return Err(Errno::EINVAL);
    }
    settings.target = Some(Arc::downgrade(&target));
    DONE
}

/// `irq_permission`, `iomem_permission`, `ioport_permission`: without an IOMMU only Dom0
/// has devices. It may be said that others have none.
///
/// | | |
/// |---|---|
/// | In | a range; whether the domain may have it |
/// | Errors | `EINVAL` for a range that wraps around or ends past the last port; `EPERM` if so |
pub fn iomem_permission(request: &Request<'_, '_, '_>) -> Reply {
    let IomemPermission { first_mfn, nr_mfns, allow_access, .. } = request.view();
    check_range(first_mfn, nr_mfns, u64::MAX)?;
    deny(allow_access)
}

/// See [`iomem_permission`].
pub fn ioport_permission(request: &Request<'_, '_, '_>) -> Reply {
    let IoportPermission { first_port, nr_ports, allow_access, .. } = request.view();
    check_range(first_port.into(), nr_ports.into(), PORTS.into())?;
    deny(allow_access)
}

/// See [`iomem_permission`].
pub fn irq_permission(request: &Request<'_, '_, '_>) -> Reply {
    let IrqPermission { allow_access, .. } = request.view();
    deny(allow_access)
}

fn deny(allow: u8) -> Reply {
    if allow == 0 { DONE } else { Err(Errno::EPERM) }
}

/// `EINVAL` unless there are `count` things from `first` on, below `end`.
fn check_range(first: u64, count: u64, end: u64) -> Result<(), Errno> {
    first.checked_add(count).filter(|&after| count != 0 && after <= end).map(|_| ()).ok_or(Errno::EINVAL)
}

/// `memory_mapping`: maps a device's registers, of which only Dom0 has any.
///
/// | | |
/// |---|---|
/// | In | frames of the guest and of the machine; whether to map |
/// | Errors | `EINVAL` for ranges that wrap around; `EPERM` |
pub fn memory_mapping(request: &Request<'_, '_, '_>) -> Reply {
    let MemoryMapping { first_gfn, first_mfn, nr_mfns, add_mapping, .. } = request.view();
    check_range(first_mfn, nr_mfns, u64::MAX)?;
    check_range(first_gfn, nr_mfns, u64::MAX)?;
    // Nothing is mapped that could be taken away.
    if add_mapping == MappingChange::Remove.get() { DONE } else { Err(Errno::EPERM) }
}

/// `ioport_mapping`: as [`memory_mapping`], for ports.
///
/// | | |
/// |---|---|
/// | In | ports of the guest and of the machine; whether to map |
/// | Errors | `EINVAL` for ports that there are not; `ENOENT` for a mapping that there is not; `EPERM` |
pub fn ioport_mapping(request: &Request<'_, '_, '_>) -> Reply {
    let IoportMapping { first_gport, first_mport, nr_ports, add_mapping } = request.view();
    check_range(first_gport.into(), nr_ports.into(), PORTS.into())?;
    check_range(first_mport.into(), nr_ports.into(), PORTS.into())?;
    Err(if add_mapping == MappingChange::Remove.get() { Errno::ENOENT } else { Errno::EPERM })
}
