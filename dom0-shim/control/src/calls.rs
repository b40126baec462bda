//! One function for each operation of domctl, sysctl, memory_op and hvm_op that the
//! toolstack needs.

use alloc::vec;
use alloc::vec::Vec;
use core::ptr;

use xen_abi::domctl::{
    self, AffinityFlags, CreateDomain, DomctlArgs, DomctlOp, GetDomainInfo, GetVcpuInfo, HvmContext, MaxMem,
    MaxVcpus, SendTrigger, Trigger, VcpuAffinity, XenDomctl,
};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::hvm_op::{HvmOp, HvmParamArg};
use xen_abi::hvm_params::HvmParam;
use xen_abi::memory::{E820Entry, ForeignMemoryMap, MemoryDomain, MemoryMap, MemoryOp, MemoryReservation};
use xen_abi::sysctl::{self, GetDomainInfoList, PhysInfo, SysctlArgs, SysctlOp, XenSysctl};
use xen_abi::union::MemberOf;
use xen_abi::xen::{Hypercall, XenctlBitmap};
use xen_abi::{RawDomid, RawPfn};
use zerocopy::FromZeros;

use crate::{Error, Host};

/// The value of RAX after a hypercall. An error that the interface does not have is
/// `EBADMSG`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn result(value: i64) -> Result<u64, Errno> {
    u64::try_from(value)
        .map_err(|_| u32::try_from(value.unsigned_abs()).ok().and_then(Errno::new).unwrap_or(Errno::EBADMSG))
}

fn address<T: ?Sized>(of: &mut T) -> u64 {
    ptr::from_mut(of).cast::<u8>() as u64
}

/// `domctl` on `domain`: `argument` in, the same out. Returns the domain of the answer.
///
/// # Errors
///
/// What the hypervisor says.
pub fn domctl<T: MemberOf<DomctlArgs>>(
    host: &impl Host,
    op: DomctlOp,
    domain: RawDomid,
    argument: &mut T,
) -> Result<RawDomid, Errno> {
    let mut call = XenDomctl {
        cmd: op.get(),
        interface_version: domctl::INTERFACE_VERSION,
        domain,
        u: DomctlArgs::of(argument),
        ..XenDomctl::new_zeroed()
    };
    result(host.hypercall(Hypercall::Domctl, [address(&mut call), 0, 0, 0, 0]))?;
    *argument = call.u.view();
    Ok(call.domain)
}

/// A `domctl` without argument.
fn order(host: &impl Host, what: &'static str, op: DomctlOp, domain: RawDomid) -> Result<(), Error> {
    domctl(host, op, domain, &mut MaxVcpus::new_zeroed()).map_err(|errno| Error::Refused(what, errno))?;
    Ok(())
}

/// `sysctl`: `argument` in, the same out.
///
/// # Errors
///
/// What the hypervisor says.
pub fn sysctl<T: MemberOf<SysctlArgs>>(
    host: &impl Host,
    op: SysctlOp,
    argument: &mut T,
) -> Result<(), Errno> {
    let mut call = XenSysctl {
        cmd: op.get(),
        interface_version: sysctl::INTERFACE_VERSION,
        u: SysctlArgs::of(argument),
    };
    result(host.hypercall(Hypercall::Sysctl, [address(&mut call), 0, 0, 0, 0]))?;
    *argument = call.u.view();
    Ok(())
}

/// `memory_op`.
///
/// # Errors
///
/// What the hypervisor says.
pub fn memory_op<T>(host: &impl Host, op: MemoryOp, argument: &mut T) -> Result<u64, Errno> {
    result(host.hypercall(Hypercall::MemoryOp, [op.get().into(), address(argument), 0, 0, 0]))
}

/// Creates a domain with a number that the hypervisor chooses, paused and empty.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn create(host: &impl Host, config: &CreateDomain) -> Result<RawDomid, Error> {
    domctl(host, DomctlOp::CreateDomain, 0, &mut { *config })
        .map_err(|errno| Error::Refused("createdomain", errno))
}

/// Makes its vcpus.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn max_vcpus(host: &impl Host, domain: RawDomid, max: u32) -> Result<(), Error> {
    domctl(host, DomctlOp::MaxVcpus, domain, &mut MaxVcpus { max })
        .map_err(|errno| Error::Refused("max_vcpus", errno))?;
    Ok(())
}

/// Limits its memory.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn max_mem(host: &impl Host, domain: RawDomid, kib: u64) -> Result<(), Error> {
    domctl(host, DomctlOp::MaxMem, domain, &mut MaxMem { max_memkb: kib })
        .map_err(|errno| Error::Refused("max_mem", errno))?;
    Ok(())
}

/// Stops its vcpus; each pause needs an unpause.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn pause(host: &impl Host, domain: RawDomid) -> Result<(), Error> {
    order(host, "pausedomain", DomctlOp::PauseDomain, domain)
}

/// Undoes a pause, or the one of its creation.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn unpause(host: &impl Host, domain: RawDomid) -> Result<(), Error> {
    order(host, "unpausedomain", DomctlOp::UnpauseDomain, domain)
}

/// Ends it, whatever its state, and gives all that it has back.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn destroy(host: &impl Host, domain: RawDomid) -> Result<(), Error> {
    loop {
        match domctl(host, DomctlOp::DestroyDomain, domain, &mut MaxVcpus::new_zeroed()) {
            Ok(_) => return Ok(()),
            // A vcpu has still to leave its pcpu.
            Err(Errno::EAGAIN | Errno::EBUSY) => host.relax(),
            Err(errno) => return Err(Error::Refused("destroydomain", errno)),
        }
    }
}

/// What is known of `domain`, or of the next one with a higher number.
///
/// # Errors
///
/// [`Error::Refused`], with `ESRCH` where there is none.
pub fn info(host: &impl Host, domain: RawDomid) -> Result<GetDomainInfo, Error> {
    let mut info = GetDomainInfo::new_zeroed();
    domctl(host, DomctlOp::GetDomainInfo, domain, &mut info)
        .map_err(|errno| Error::Refused("getdomaininfo", errno))?;
    Ok(info)
}

/// Whether there is a domain of this number.
#[must_use]
pub fn exists(host: &impl Host, domain: RawDomid) -> bool {
    info(host, domain).is_ok_and(|info| info.domain == domain)
}

/// What is known of one vcpu.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn vcpu_info(host: &impl Host, domain: RawDomid, vcpu: u32) -> Result<GetVcpuInfo, Error> {
    let mut info = GetVcpuInfo { vcpu, ..GetVcpuInfo::new_zeroed() };
    domctl(host, DomctlOp::GetVcpuInfo, domain, &mut info)
        .map_err(|errno| Error::Refused("getvcpuinfo", errno))?;
    Ok(info)
}

/// Lets a vcpu run on the pcpus whose bits are set only.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_affinity(host: &impl Host, domain: RawDomid, vcpu: u32, pcpus: u64) -> Result<(), Error> {
    let mut map = pcpus.to_le_bytes();
    let bitmap = XenctlBitmap { bitmap: GuestHandle::new(address(&mut map)), nr_bits: 64, _pad: 0 };
    let mut affinity = VcpuAffinity {
        vcpu,
        flags: AffinityFlags::HARD.bits(),
        cpumap_hard: bitmap,
        cpumap_soft: XenctlBitmap::new_zeroed(),
    };
    domctl(host, DomctlOp::SetVcpuAffinity, domain, &mut affinity)
        .map_err(|errno| Error::Refused("setvcpuaffinity", errno))?;
    Ok(())
}

/// Presses a button of the domain.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn trigger(host: &impl Host, domain: RawDomid, trigger: Trigger, vcpu: u32) -> Result<(), Error> {
    domctl(host, DomctlOp::SendTrigger, domain, &mut SendTrigger { trigger: trigger.get(), vcpu })
        .map_err(|errno| Error::Refused("sendtrigger", errno))?;
    Ok(())
}

/// The domains from `first` on, at most `most`.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn list(host: &impl Host, first: RawDomid, most: u32) -> Result<Vec<GetDomainInfo>, Error> {
    let mut infos = vec![GetDomainInfo::new_zeroed(); most as usize];
    let mut argument = GetDomainInfoList {
        first_domain: first,
        max_domains: most,
        buffer: GuestHandle::new(infos.as_mut_ptr() as u64),
        ..GetDomainInfoList::new_zeroed()
    };
    sysctl(host, SysctlOp::GetDomainInfoList, &mut argument)
        .map_err(|errno| Error::Refused("getdomaininfolist", errno))?;
    infos.truncate(argument.num_domains as usize);
    Ok(infos)
}

/// What is known of the host.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn physinfo(host: &impl Host) -> Result<PhysInfo, Error> {
    let mut info = PhysInfo::new_zeroed();
    sysctl(host, SysctlOp::PhysInfo, &mut info).map_err(|errno| Error::Refused("physinfo", errno))?;
    Ok(info)
}

/// Gives a domain extents of 2^`order` pages, the first page of each at a frame of
/// `extents`. Returns how many were given.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn populate(
    host: &impl Host,
    domain: RawDomid,
    extents: &mut [RawPfn],
    order: u32,
) -> Result<usize, Error> {
    reserve(host, MemoryOp::PopulatePhysmap, domain, extents, order)
        .map_err(|errno| Error::Refused("populate_physmap", errno))
}

/// Takes such extents from it. Returns how many were taken.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn decrease(
    host: &impl Host,
    domain: RawDomid,
    extents: &mut [RawPfn],
    order: u32,
) -> Result<usize, Error> {
    reserve(host, MemoryOp::DecreaseReservation, domain, extents, order)
        .map_err(|errno| Error::Refused("decrease_reservation", errno))
}

fn reserve(
    host: &impl Host,
    op: MemoryOp,
    domain: RawDomid,
    extents: &mut [RawPfn],
    order: u32,
) -> Result<usize, Errno> {
    let mut argument = MemoryReservation {
        extent_start: GuestHandle::new(extents.as_mut_ptr() as u64),
        nr_extents: extents.len() as u64,
        extent_order: order,
        domid: domain,
        ..MemoryReservation::new_zeroed()
    };
    let done = memory_op(host, op, &mut argument)?;
    Ok(usize::try_from(done).unwrap_or(0).min(extents.len()))
}

/// Pages that a domain has.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn current_pages(host: &impl Host, domain: RawDomid) -> Result<u64, Error> {
    memory_op(host, MemoryOp::CurrentReservation, &mut MemoryDomain { domid: domain })
        .map_err(|errno| Error::Refused("current_reservation", errno))
}

/// Tells a domain's memory map.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_memory_map(host: &impl Host, domain: RawDomid, map: &mut [E820Entry]) -> Result<(), Error> {
    let map = MemoryMap {
        nr_entries: u32::try_from(map.len()).unwrap_or(u32::MAX),
        buffer: GuestHandle::new(map.as_mut_ptr() as u64),
        ..MemoryMap::new_zeroed()
    };
    let mut argument = ForeignMemoryMap { domid: domain, map, ..ForeignMemoryMap::new_zeroed() };
    memory_op(host, MemoryOp::SetMemoryMap, &mut argument)
        .map_err(|errno| Error::Refused("set_memory_map", errno))?;
    Ok(())
}

/// Sets a parameter of an HVM domain.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_param(host: &impl Host, domain: RawDomid, param: HvmParam, value: u64) -> Result<(), Error> {
    let mut argument = HvmParamArg { domid: domain, index: param.get(), value, ..HvmParamArg::new_zeroed() };
    let arguments = [HvmOp::SetParam.get().into(), address(&mut argument), 0, 0, 0];
    result(host.hypercall(Hypercall::HvmOp, arguments))
        .map_err(|errno| Error::Refused("set_param", errno))?;
    Ok(())
}

/// All records of a domain's state.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn get_context(host: &impl Host, domain: RawDomid) -> Result<Vec<u8>, Error> {
    let refused = |errno| Error::Refused("gethvmcontext", errno);
    let mut argument = HvmContext::new_zeroed();
    domctl(host, DomctlOp::GetHvmContext, domain, &mut argument).map_err(refused)?;
    let mut records = vec![0; argument.size as usize];
    argument.buffer = GuestHandle::new(records.as_mut_ptr() as u64);
    domctl(host, DomctlOp::GetHvmContext, domain, &mut argument).map_err(refused)?;
    records.truncate(argument.size as usize);
    Ok(records)
}

/// Sets a domain's state by records.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_context(host: &impl Host, domain: RawDomid, records: &mut [u8]) -> Result<(), Error> {
    let mut argument = HvmContext {
        size: u32::try_from(records.len()).unwrap_or(u32::MAX),
        buffer: GuestHandle::new(address(records)),
        ..HvmContext::new_zeroed()
    };
    domctl(host, DomctlOp::SetHvmContext, domain, &mut argument)
        .map_err(|errno| Error::Refused("sethvmcontext", errno))?;
    Ok(())
}
