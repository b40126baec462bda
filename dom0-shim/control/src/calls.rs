//! One function for each operation of domctl, sysctl, memory_op and hvm_op that the
//! toolstack needs.

use alloc::vec;
use alloc::vec::Vec;
use core::ptr;

use xen_abi::domctl::{
    self, AffinityFlags, CreateDomain, DomctlArgs, DomctlOp, GetDomainInfo, GetVcpuInfo, HvmContext, MaxMem,
    MaxVcpus, SchedCredit, Scheduler, SendTrigger, SetDomainHandle, SetTimeOffset, Trigger, VcpuAffinity,
    XenDomctl,
};
use xen_abi::errno::Errno;
use xen_abi::event_channel::{EventChannelOp, EvtchnAllocUnbound};
use xen_abi::handle::GuestHandle;
use xen_abi::hvm_op::{HvmOp, HvmParamArg};
use xen_abi::hvm_params::HvmParam;
use xen_abi::memory::{E820Entry, ForeignMemoryMap, MemoryDomain, MemoryMap, MemoryOp, MemoryReservation};
use xen_abi::sched::{SchedOp, SchedShutdown, ShutdownReason};
use xen_abi::sysctl::{
    self, CpuTopo, CpuTopoInfo, CpupoolCmd, CpupoolOp, CreditSchedule, DebugKeys, GetDomainInfoList, MemInfo,
    NumaInfo, PhysInfo, ReadConsole, SchedId, SysctlArgs, SysctlOp, XenSysctl,
};
use xen_abi::union::MemberOf;
use xen_abi::version::{BuildId, VersionOp};
use xen_abi::xen::{DomainHandle, Hypercall, XenctlBitmap};
use xen_abi::{RawDomid, RawPfn, RawPort};
use zerocopy::{FromZeros, IntoBytes};

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
    while !destroy_slice(host, domain)? {
        host.relax();
    }
    Ok(())
}

/// One slice of its end; whether it was the last one.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn destroy_slice(host: &impl Host, domain: RawDomid) -> Result<bool, Error> {
    match domctl(host, DomctlOp::DestroyDomain, domain, &mut MaxVcpus::new_zeroed()) {
        Ok(_) => Ok(true),
        // A vcpu has still to leave its pcpu.
        Err(Errno::EAGAIN | Errno::EBUSY) => Ok(false),
        Err(errno) => Err(Error::Refused("destroydomain", errno)),
    }
}

/// Gives the domain another name for the toolstack.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_handle(host: &impl Host, domain: RawDomid, handle: DomainHandle) -> Result<(), Error> {
    domctl(host, DomctlOp::SetDomainHandle, domain, &mut SetDomainHandle { handle })
        .map_err(|errno| Error::Refused("setdomainhandle", errno))?;
    Ok(())
}

/// Lets its wall clock be `seconds` ahead of the host's.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_time_offset(host: &impl Host, domain: RawDomid, seconds: i64) -> Result<(), Error> {
    domctl(host, DomctlOp::SetTimeOffset, domain, &mut SetTimeOffset { time_offset_seconds: seconds })
        .map_err(|errno| Error::Refused("settimeoffset", errno))?;
    Ok(())
}

/// Its share of the pcpus.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn share(host: &impl Host, domain: RawDomid) -> Result<SchedCredit, Error> {
    domain_scheduler(host, domain, domctl::SchedulerCmd::GetInfo, SchedCredit::new_zeroed())
}

/// Changes it: weight 0 and cap 65535 keep what is.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_share(host: &impl Host, domain: RawDomid, share: SchedCredit) -> Result<(), Error> {
    domain_scheduler(host, domain, domctl::SchedulerCmd::PutInfo, share)?;
    Ok(())
}

fn domain_scheduler(
    host: &impl Host,
    domain: RawDomid,
    command: domctl::SchedulerCmd,
    share: SchedCredit,
) -> Result<SchedCredit, Error> {
    let mut argument = domctl::SchedulerOp {
        sched_id: Scheduler::Credit.get(),
        cmd: command.get(),
        u: domctl::SchedulerArgs::of(&share),
    };
    domctl(host, DomctlOp::SchedulerOp, domain, &mut argument)
        .map_err(|errno| Error::Refused("scheduler_op of a domain", errno))?;
    Ok(argument.u.view())
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
    affinity(host, DomctlOp::SetVcpuAffinity, domain, vcpu, AffinityFlags::HARD, pcpus)?;
    Ok(())
}

/// Lets a vcpu prefer the pcpus whose bits are set.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_soft_affinity(host: &impl Host, domain: RawDomid, vcpu: u32, pcpus: u64) -> Result<(), Error> {
    affinity(host, DomctlOp::SetVcpuAffinity, domain, vcpu, AffinityFlags::SOFT, pcpus)?;
    Ok(())
}

/// The pcpus that a vcpu may run on, and those that it prefers, as bits.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn get_affinity(host: &impl Host, domain: RawDomid, vcpu: u32) -> Result<(u64, u64), Error> {
    let get = |which| affinity(host, DomctlOp::GetVcpuAffinity, domain, vcpu, which, 0);
    Ok((get(AffinityFlags::HARD)?, get(AffinityFlags::SOFT)?))
}

fn affinity(
    host: &impl Host,
    op: DomctlOp,
    domain: RawDomid,
    vcpu: u32,
    which: AffinityFlags,
    pcpus: u64,
) -> Result<u64, Error> {
    let what = if op == DomctlOp::SetVcpuAffinity { "setvcpuaffinity" } else { "getvcpuaffinity" };
    let mut map = pcpus.to_le_bytes();
    let bitmap = || XenctlBitmap { nr_bits: u64::BITS, ..XenctlBitmap::new_zeroed() };
    let mut argument =
        VcpuAffinity { vcpu, flags: which.bits(), cpumap_hard: bitmap(), cpumap_soft: bitmap() };
    let chosen =
        if which == AffinityFlags::HARD { &mut argument.cpumap_hard } else { &mut argument.cpumap_soft };
    chosen.bitmap = GuestHandle::new(address(&mut map));
    domctl(host, op, domain, &mut argument).map_err(|errno| Error::Refused(what, errno))?;
    Ok(u64::from_le_bytes(map))
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

/// Number of the scheduler (`XEN_SCHEDULER_*`).
///
/// # Errors
///
/// [`Error::Refused`].
pub fn scheduler(host: &impl Host) -> Result<u32, Error> {
    let mut argument = SchedId::new_zeroed();
    sysctl(host, SysctlOp::SchedId, &mut argument).map_err(|errno| Error::Refused("sched_id", errno))?;
    Ok(argument.sched_id)
}

/// Memory of each NUMA node, and its distances to all: one row after the other.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn nodes(host: &impl Host) -> Result<(Vec<MemInfo>, Vec<u32>), Error> {
    let refused = |errno| Error::Refused("numainfo", errno);
    let mut argument = NumaInfo::new_zeroed();
    sysctl(host, SysctlOp::NumaInfo, &mut argument).map_err(refused)?;
    let count = argument.num_nodes as usize;
    let mut memory = vec![MemInfo::new_zeroed(); count];
    let mut distances = vec![0_u32; count.saturating_mul(count)];
    argument.meminfo = GuestHandle::new(memory.as_mut_ptr() as u64);
    argument.distance = GuestHandle::new(distances.as_mut_ptr() as u64);
    sysctl(host, SysctlOp::NumaInfo, &mut argument).map_err(refused)?;
    Ok((memory, distances))
}

/// Where each pcpu is.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn pcpus(host: &impl Host) -> Result<Vec<CpuTopo>, Error> {
    let refused = |errno| Error::Refused("cputopoinfo", errno);
    let mut argument = CpuTopoInfo::new_zeroed();
    sysctl(host, SysctlOp::CpuTopoInfo, &mut argument).map_err(refused)?;
    let mut pcpus = vec![CpuTopo::new_zeroed(); argument.num_cpus as usize];
    argument.cputopo = GuestHandle::new(pcpus.as_mut_ptr() as u64);
    sysctl(host, SysctlOp::CpuTopoInfo, &mut argument).map_err(refused)?;
    pcpus.truncate(argument.num_cpus as usize);
    Ok(pcpus)
}

/// Parameters of the credit scheduler.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn slices(host: &impl Host) -> Result<CreditSchedule, Error> {
    scheduler_op(host, sysctl::SchedulerCmd::GetInfo, CreditSchedule::new_zeroed())
}

/// Changes them.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn set_slices(host: &impl Host, slices: CreditSchedule) -> Result<(), Error> {
    scheduler_op(host, sysctl::SchedulerCmd::PutInfo, slices)?;
    Ok(())
}

fn scheduler_op(
    host: &impl Host,
    command: sysctl::SchedulerCmd,
    slices: CreditSchedule,
) -> Result<CreditSchedule, Error> {
    let mut argument = sysctl::SchedulerOp {
        cpupool_id: 0,
        sched_id: Scheduler::Credit.get(),
        cmd: command.get(),
        _pad: 0,
        u: sysctl::SchedulerArgs::of(&slices),
    };
    sysctl(host, SysctlOp::SchedulerOp, &mut argument)
        .map_err(|errno| Error::Refused("scheduler_op", errno))?;
    Ok(argument.u.view())
}

/// A CPU pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpupool {
    /// Its number.
    pub id: u32,
    /// Number of its scheduler (`XEN_SCHEDULER_*`).
    pub scheduler: u32,
    /// How many domains are in it.
    pub domains: u32,
    /// Its pcpus, by number.
    pub pcpus: Vec<u32>,
}

/// The CPU pools, by number.
///
/// # Errors
///
/// [`Error::Refused`]; [`Error::BadAnswer`] for pools that are not in the order of their numbers.
pub fn cpupools(host: &impl Host) -> Result<Vec<Cpupool>, Error> {
    let mut pools = Vec::new();
    let mut next = Some(0);
    while let Some(lowest) = next {
        let Some(pool) = cpupool(host, lowest)? else { break };
        if pool.id < lowest {
            return Err(Error::BadAnswer("cpupool_op"));
        }
        next = pool.id.checked_add(1);
        pools.push(pool);
    }
    Ok(pools)
}

/// The pool of the lowest number from `lowest` on.
fn cpupool(host: &impl Host, lowest: u32) -> Result<Option<Cpupool>, Error> {
    /// Pcpus that a hypervisor can have (Xen's `NR_CPUS`).
    const MOST_PCPUS: u32 = 4096;
    let mut map = [0_u8; MOST_PCPUS as usize / 8];
    let cpumap = XenctlBitmap {
        bitmap: GuestHandle::new(address(&mut map)),
        nr_bits: MOST_PCPUS,
        ..XenctlBitmap::new_zeroed()
    };
    let mut argument =
        CpupoolOp { op: CpupoolCmd::Info.get(), cpupool_id: lowest, cpumap, ..CpupoolOp::new_zeroed() };
    match sysctl(host, SysctlOp::CpupoolOp, &mut argument) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(Error::Refused("cpupool_op", errno)),
    }
    let CpupoolOp { cpupool_id: id, sched_id: scheduler, n_dom: domains, .. } = argument;
    let bits = map.iter().flat_map(|byte| (0..u8::BITS).map(move |bit| byte >> bit & 1 != 0));
    let pcpus = (0..).zip(bits).filter(|&(_, set)| set).map(|(pcpu, _)| pcpu).collect();
    Ok(Some(Cpupool { id, scheduler, domains, pcpus }))
}

/// Reads the hypervisor's log into `to`: from byte `index` on, or from the oldest one.
/// Returns how many bytes there were, and the index behind them. `clear` empties the
/// log up to there.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn read_log(
    host: &impl Host,
    index: Option<u32>,
    clear: bool,
    to: &mut [u8],
) -> Result<(usize, u32), Error> {
    let mut argument = ReadConsole {
        clear: clear.into(),
        incremental: index.is_some().into(),
        index: index.unwrap_or(0),
        buffer: GuestHandle::new(address(to)),
        count: u32::try_from(to.len()).unwrap_or(u32::MAX),
        ..ReadConsole::new_zeroed()
    };
    sysctl(host, SysctlOp::ReadConsole, &mut argument)
        .map_err(|errno| Error::Refused("readconsole", errno))?;
    Ok(((argument.count as usize).min(to.len()), argument.index))
}

/// Gives keys to the hypervisor, as if they were typed at its console.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn debug_keys(host: &impl Host, keys: &str) -> Result<(), Error> {
    let mut bytes = Vec::from(keys);
    let mut argument = DebugKeys {
        keys: GuestHandle::new(bytes.as_mut_ptr() as u64),
        nr_keys: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        _pad: 0,
    };
    sysctl(host, SysctlOp::DebugKeys, &mut argument).map_err(|errno| Error::Refused("debug_keys", errno))
}

/// `xen_version`: what the operation answers beside its argument.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn version<T>(host: &impl Host, op: VersionOp, argument: &mut T) -> Result<u64, Error> {
    result(host.hypercall(Hypercall::XenVersion, [op.get().into(), address(argument), 0, 0, 0]))
        .map_err(|errno| Error::Refused("xen_version", errno))
}

/// The hypervisor's build id; empty where it has none.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn build_id(host: &impl Host) -> Result<Vec<u8>, Error> {
    const ROOM: usize = 64;
    let mut answer = [0_u8; size_of::<BuildId>() + ROOM];
    let room = BuildId { len: u32::try_from(ROOM).unwrap_or(0) };
    for (to, from) in answer.iter_mut().zip(room.as_bytes()) {
        *to = *from;
    }
    match version(host, VersionOp::BuildId, &mut answer) {
        Ok(length) => {
            let id = answer.iter().skip(size_of::<BuildId>());
            Ok(id.take(usize::try_from(length).unwrap_or(0)).copied().collect())
        }
        Err(Error::Refused(_, Errno::ENODATA)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes a port of `domain`'s that waits for `remote`.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn alloc_unbound(host: &impl Host, domain: RawDomid, remote: RawDomid) -> Result<RawPort, Error> {
    let mut argument =
        EvtchnAllocUnbound { dom: domain, remote_dom: remote, ..EvtchnAllocUnbound::new_zeroed() };
    let arguments = [EventChannelOp::AllocUnbound.get().into(), address(&mut argument), 0, 0, 0];
    result(host.hypercall(Hypercall::EventChannelOp, arguments))
        .map_err(|errno| Error::Refused("alloc_unbound", errno))?;
    Ok(argument.port)
}

/// Stops the calling domain.
///
/// # Errors
///
/// [`Error::Refused`]; otherwise it does not come back.
pub fn shutdown(host: &impl Host, reason: ShutdownReason) -> Result<(), Error> {
    let mut argument = SchedShutdown { reason: reason.get() };
    let arguments = [SchedOp::Shutdown.get().into(), address(&mut argument), 0, 0, 0];
    result(host.hypercall(Hypercall::SchedOp, arguments))
        .map_err(|errno| Error::Refused("shutdown", errno))?;
    Ok(())
}

/// Puts `pages` aside for a domain that is being built; 0 gives back what it did not take.
///
/// # Errors
///
/// [`Error::OutOfMemory`] where there are not so many, else [`Error::Refused`].
pub fn claim(host: &impl Host, domain: RawDomid, pages: u64) -> Result<(), Error> {
    let mut argument =
        MemoryReservation { nr_extents: pages, domid: domain, ..MemoryReservation::new_zeroed() };
    match memory_op(host, MemoryOp::ClaimPages, &mut argument) {
        Ok(_) => Ok(()),
        Err(Errno::ENOMEM) => Err(Error::OutOfMemory),
        Err(errno) => Err(Error::Refused("claim_pages", errno)),
    }
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
    hvm_param(host, "set_param", HvmOp::SetParam, domain, param, value)?;
    Ok(())
}

/// A parameter of an HVM domain.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn get_param(host: &impl Host, domain: RawDomid, param: HvmParam) -> Result<u64, Error> {
    hvm_param(host, "get_param", HvmOp::GetParam, domain, param, 0)
}

fn hvm_param(
    host: &impl Host,
    what: &'static str,
    op: HvmOp,
    domain: RawDomid,
    param: HvmParam,
    value: u64,
) -> Result<u64, Error> {
    let mut argument = HvmParamArg { domid: domain, index: param.get(), value, ..HvmParamArg::new_zeroed() };
    let arguments = [op.get().into(), address(&mut argument), 0, 0, 0];
    result(host.hypercall(Hypercall::HvmOp, arguments)).map_err(|errno| Error::Refused(what, errno))?;
    Ok(argument.value)
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
