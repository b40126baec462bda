//! Single vcpus: what is known of one, where it runs, signals, extended state.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hv_arch::smp;
use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;
use hv_core::vlapic::{Delivery, Destination, Message, Trigger as Edge};
use xen_abi::domctl::{
    AffinityFlags, GetVcpuInfo, NodeAffinity, SendTrigger, Trigger, VcpuAffinity, VcpuExtState, VcpuMsrs,
};
use xen_abi::errno::Errno;

use super::{DONE, Request};
use crate::clock;
use crate::hypercall::{Reply, bitmap};
use crate::vcpu::Vcpu;
use crate::{interrupts, sched};

impl Request<'_, '_, '_> {
    /// The domain's vcpu `id`: `EINVAL` if it can have none of this number, `ESRCH` if it
    /// has not got its vcpus.
    fn vcpu(&self, id: u32) -> Result<Arc<Vcpu>, Errno> {
        if id >= self.domain.config().max_vcpus {
            return Err(Errno::EINVAL);
        }
        self.domain.vcpu(id).ok_or(Errno::ESRCH)
    }
}

/// `getvcpuinfo`
///
/// | | |
/// |---|---|
/// | In | the vcpu |
/// | Out | `xen_domctl_getvcpuinfo` |
/// | Errors | `EINVAL`, `ESRCH` |
pub fn info(request: &Request<'_, '_, '_>) -> Reply {
    let mut info = request.view::<GetVcpuInfo>();
    let vcpu = request.vcpu(info.vcpu)?;
    let schedule = vcpu.schedule().lock();
    let [running, ..] = schedule.runstate(clock::now()).time;
    info.online = vcpu.is_up().into();
    info.blocked = schedule.is_asleep().into();
    info.running = schedule.is_running().into();
    info.cpu_time = running;
    info.cpu = u32::try_from(schedule.pcpu().index()).unwrap_or(u32::MAX);
    drop(schedule);
    request.answer(&info)
}

/// `setvcpuaffinity`: where a vcpu may run (hard) and runs best (soft).
///
/// | | |
/// |---|---|
/// | In | the vcpu; for each kind, the pcpus |
/// | Out | for each kind, what of it can take effect |
/// | Errors | `EINVAL` for no such vcpu, no kind, no map, or no pcpu that is online; `ESRCH`; `EFAULT` |
pub fn set_affinity(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<VcpuAffinity>();
    let (vcpu, flags) = affinity(request, &argument)?;
    let online = smp::online().collect::<PcpuSet>();
    // Both are read before either is set: after an error nothing has changed.
    let read = |flag, map| flags.contains(flag).then(|| bitmap::read(request.call, map)).transpose();
    let hard = read(AffinityFlags::HARD, &argument.cpumap_hard)?;
    let soft = read(AffinityFlags::SOFT, &argument.cpumap_soft)?;
    if let Some(hard) = hard {
        if hard.intersection(&online).is_empty() {
            return Err(Errno::EINVAL);
        }
        sched::set_affinity(&vcpu, hard);
        bitmap::write(request.call, &argument.cpumap_hard, &hard.intersection(&online).to_bytes())?;
    }
    if let Some(soft) = soft {
        sched::set_preferred(&vcpu, soft);
        let effective = soft.intersection(&online).intersection(&vcpu.schedule().lock().affinity());
        bitmap::write(request.call, &argument.cpumap_soft, &effective.to_bytes())?;
    }
    DONE
}

/// `getvcpuaffinity`
///
/// | | |
/// |---|---|
/// | In | the vcpu; which kinds |
/// | Out | for each kind, the pcpus |
/// | Errors | `EINVAL`, `ESRCH`, `EFAULT` |
pub fn get_affinity(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<VcpuAffinity>();
    let (vcpu, flags) = affinity(request, &argument)?;
    let (hard, soft) = {
        let schedule = vcpu.schedule().lock();
        (schedule.affinity(), schedule.preferred())
    };
    if flags.contains(AffinityFlags::HARD) {
        bitmap::write(request.call, &argument.cpumap_hard, &hard.to_bytes())?;
    }
    if flags.contains(AffinityFlags::SOFT) {
        bitmap::write(request.call, &argument.cpumap_soft, &soft.to_bytes())?;
    }
    DONE
}

fn affinity(
    request: &Request<'_, '_, '_>,
    argument: &VcpuAffinity,
) -> Result<(Arc<Vcpu>, AffinityFlags), Errno> {
    let vcpu = request.vcpu(argument.vcpu)?;
    let flags = AffinityFlags::from_bits_truncate(argument.flags);
    let lacks = |flag, map: &xen_abi::xen::XenctlBitmap| flags.contains(flag) && map.bitmap.is_null();
    let invalid = flags.is_empty()
        || lacks(AffinityFlags::HARD, &argument.cpumap_hard)
        || lacks(AffinityFlags::SOFT, &argument.cpumap_soft);
    if invalid { Err(Errno::EINVAL) } else { Ok((vcpu, flags)) }
}

/// `setnodeaffinity`: there is one node.
///
/// | | |
/// |---|---|
/// | In | the nodes |
/// | Errors | `EINVAL` without node 0; `EFAULT` |
pub fn set_nodes(request: &Request<'_, '_, '_>) -> Reply {
    let nodes = bitmap::read(request.call, &request.view::<NodeAffinity>().nodemap)?;
    // Bit 0 of the map.
    if nodes.contains(PcpuId::BOOT) { DONE } else { Err(Errno::EINVAL) }
}

/// `getnodeaffinity`
///
/// | | |
/// |---|---|
/// | Out | node 0 |
/// | Errors | `EFAULT` |
pub fn get_nodes(request: &Request<'_, '_, '_>) -> Reply {
    const NODE_0: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
    bitmap::write(request.call, &request.view::<NodeAffinity>().nodemap, &NODE_0)?;
    DONE
}

/// `sendtrigger`: NMI or INIT to a vcpu. Power and sleep button are pressed where there
/// is none: PVH domains learn of such wishes by XenStore.
///
/// | | |
/// |---|---|
/// | In | what, to which vcpu |
/// | Errors | `ESRCH` for no such vcpu; `ENOSYS` for reset and unknown triggers |
pub fn trigger(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<SendTrigger>();
    let vcpu = request.domain.vcpu(argument.vcpu).ok_or(Errno::ESRCH)?;
    let message =
        |delivery| Message { destination: Destination::All, delivery, vector: 0, trigger: Edge::Edge };
    match Trigger::new(argument.trigger) {
        Some(Trigger::Nmi) => interrupts::deliver_to(&vcpu, message(Delivery::Nmi)),
        Some(Trigger::Init) => interrupts::deliver_to(&vcpu, message(Delivery::Init)),
        Some(Trigger::Power | Trigger::Sleep) => {}
        Some(Trigger::Reset) | None => return Err(Errno::ENOSYS),
    }
    DONE
}

/// `get_vcpu_msrs`, `set_vcpu_msrs`: of PV guests. The `CPU_MSR` records of others are
/// empty, as no MSR beyond those of the CPU record is kept.
///
/// | | |
/// |---|---|
/// | In | the vcpu |
/// | Errors | `ESRCH` for no such vcpu; `EINVAL` |
pub fn msrs(request: &Request<'_, '_, '_>) -> Reply {
    request.domain.vcpu(request.view::<VcpuMsrs>().vcpu).ok_or(Errno::ESRCH)?;
    Err(Errno::EINVAL)
}

/// XCR0, and all that it ever was, before the XSAVE area.
const XCR0_PAIR: usize = 16;

/// `getvcpuextstate`
///
/// | | |
/// |---|---|
/// | In | the vcpu; components and a buffer, or nothing |
/// | Out | XCR0, all that it can be, and the XSAVE area; or components and size |
/// | Errors | `ESRCH` for no such vcpu; `EINVAL` for the caller's own domain, other components, or too little room; `EFAULT` |
pub fn get_extended(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<VcpuExtState>();
    let vcpu = request.domain.vcpu(argument.vcpu).ok_or(Errno::ESRCH)?;
    let policy = request.domain.policy();
    let components = policy.xcr0();
    let len = usize::try_from(policy.leaf(0xd, 0).ecx).unwrap_or(0);
    let size = (XCR0_PAIR + len) as u64;
    if argument.size == 0 && argument.xfeature_mask == 0 || argument.buffer.is_null() {
        (argument.xfeature_mask, argument.size) = (components, size);
        return request.answer(&argument);
    }
    if argument.size < size || argument.xfeature_mask != components {
        return Err(Errno::EINVAL);
    }
    request.while_stopped(|| {
        let Some(mut state) = vcpu.state().try_lock() else { return request.again() };
        let mut bytes = Vec::with_capacity(XCR0_PAIR + len);
        state.cpu.inspect(|cpu| {
            bytes.extend_from_slice(&cpu.xcr0().to_le_bytes());
            bytes.extend_from_slice(&components.to_le_bytes());
            bytes.extend_from_slice(cpu.extended_state().get(..len).unwrap_or_default());
        });
        drop(state);
        request.write_bytes(argument.buffer.cast(), &bytes)?;
        argument.size = bytes.len() as u64;
        request.answer(&argument)
    })
}

/// `setvcpuextstate`
///
/// | | |
/// |---|---|
/// | In | the vcpu; what `getvcpuextstate` gave |
/// | Errors | `ESRCH` for no such vcpu; `EINVAL` for the caller's own domain, or a state that XSETBV or XRSTOR refuses; `EFAULT` |
pub fn set_extended(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<VcpuExtState>();
    let vcpu = request.domain.vcpu(argument.vcpu).ok_or(Errno::ESRCH)?;
    let policy = request.domain.policy();
    let most = XCR0_PAIR + usize::try_from(policy.leaf(0xd, 0).ecx).unwrap_or(0);
    let size = usize::try_from(argument.size).ok().filter(|size| (XCR0_PAIR..=most).contains(size));
    let mut bytes = alloc::vec![0; size.ok_or(Errno::EINVAL)?];
    request.read_bytes(argument.buffer.cast(), &mut bytes)?;
    let (head, area) = bytes.split_at_checked(XCR0_PAIR).ok_or(Errno::EINVAL)?;
    let xcr0 = head.first_chunk().map_or(0, |&xcr0| u64::from_le_bytes(xcr0));
    if area.is_empty() {
        return DONE;
    }
    if xcr0 & !policy.xcr0() != 0 {
        return Err(Errno::EINVAL);
    }
    request.while_stopped(|| {
        let Some(mut state) = vcpu.state().try_lock() else { return request.again() };
        let taken = state.cpu.inspect(|cpu| cpu.set_extended_state(xcr0, area));
        if taken { DONE } else { Err(Errno::EINVAL) }
    })
}
