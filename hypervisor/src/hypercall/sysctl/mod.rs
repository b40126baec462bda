//! `sysctl`: what the toolstack asks about the whole host, and sets there.
//!
//! | file | operations |
//! |---|---|
//! | [`host`] | CPUs, memory, topology |
//! | [`policy`] | what CPUs can do |
//! | [`sched`] | scheduler, CPU pools |
//! | here | domains, log, keys |

mod host;
mod policy;
mod sched;

use hv_core::id::DomId;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::sysctl::{
    CpuHotplug, CpuHotplugCmd, DebugKeys, GetDomainInfoList, INTERFACE_VERSION, ReadConsole, SysctlArgs,
    SysctlOp, XenSysctl,
};
use xen_abi::union::MemberOf;
use zerocopy::{Immutable, IntoBytes};

use super::{Answer, Call, Reply, bitmap};
use crate::{console, domains, guest_copy, keys};

/// Most bytes of the log in one call, and at once.
const MOST_LOG: usize = 16 << 10;
const CHUNK: usize = 256;
/// Most keys in one call.
const MOST_KEYS: u32 = 256;

/// `HYPERVISOR_sysctl(arg)`, for Dom0. `arg` is a `struct xen_sysctl`.
///
/// Errors of all operations: `EFAULT`, `EACCES` for another version of the interface,
/// `ENOSYS` for an unknown operation and for performance counters, lock profiles, power
/// management and trace buffers; `EOPNOTSUPP` for coverage, live patches and broken
/// memory; `ENODEV` for cache monitoring and allocation; the others stand at each
/// operation.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let argument = GuestHandle::<XenSysctl>::new(call.arguments[0]);
    let op = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
    if op.interface_version != INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let request = Request { call, argument, op };
    match SysctlOp::new(op.cmd).ok_or(Errno::ENOSYS)? {
        SysctlOp::ReadConsole => read_console(&request),
        SysctlOp::PhysInfo => host::physinfo(&request),
        SysctlOp::SchedId => sched::id(&request),
        SysctlOp::GetDomainInfoList => domain_list(&request),
        SysctlOp::DebugKeys => debug_keys(&request),
        SysctlOp::GetCpuInfo => host::cpu_info(&request),
        SysctlOp::AvailHeap => host::available(&request),
        SysctlOp::CpuTopoInfo => host::cpu_topology(&request),
        SysctlOp::NumaInfo => host::numa(&request),
        SysctlOp::CpupoolOp => sched::pool(&request),
        SysctlOp::SchedulerOp => sched::parameters(&request),
        SysctlOp::GetCpuLevellingCaps => policy::levelling(&request),
        SysctlOp::GetCpuFeatureset => policy::featureset(&request),
        SysctlOp::GetCpuPolicy => policy::get(&request),
        SysctlOp::CpuHotplug => hotplug(&request),
        SysctlOp::CoverageOp | SysctlOp::LivepatchOp | SysctlOp::PageOfflineOp | SysctlOp::PciTopoInfo => {
            Err(Errno::EOPNOTSUPP)
        }
        SysctlOp::PsrCmtOp | SysctlOp::PsrAlloc => Err(Errno::ENODEV),
        SysctlOp::TbufOp
        | SysctlOp::PerfcOp
        | SysctlOp::LockprofOp
        | SysctlOp::GetPmstat
        | SysctlOp::PmOp => Err(Errno::ENOSYS),
    }
}

/// One operation.
struct Request<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
    argument: GuestHandle<XenSysctl>,
    op: XenSysctl,
}

impl Request<'_, '_, '_> {
    /// The operation's argument.
    fn view<T: MemberOf<SysctlArgs>>(&self) -> T {
        self.op.u.view()
    }

    /// Copies the argument back, as an answer.
    fn answer<T: MemberOf<SysctlArgs>>(&self, argument: &T) -> Reply {
        self.write_back(argument)?;
        Ok(Answer::Value(0))
    }

    fn write_back<T: MemberOf<SysctlArgs>>(&self, argument: &T) -> Result<(), Errno> {
        let answer = XenSysctl { u: SysctlArgs::of(argument), ..self.op };
        guest_copy::write_obj(self.call.cpu, self.call.vcpu, self.argument, &answer)
    }

    fn set_item<T: IntoBytes + Immutable>(
        &self,
        list: GuestHandle<T>,
        index: u32,
        item: &T,
    ) -> Result<(), Errno> {
        guest_copy::write_item(self.call.cpu, self.call.vcpu, list, index.into(), item)
    }
}

/// `getdomaininfolist`
///
/// | | |
/// |---|---|
/// | In | lowest number wanted, room |
/// | Out | the domains from that number on, in rising order; how many |
fn domain_list(request: &Request<'_, '_, '_>) -> Reply {
    let mut list = request.view::<GetDomainInfoList>();
    let mut next = DomId::new(list.first_domain);
    list.num_domains = 0;
    while let Some(domain) = next.filter(|_| list.num_domains < list.max_domains).and_then(domains::find_from)
    {
        request.set_item(list.buffer, list.num_domains, &domain.info())?;
        list.num_domains += 1;
        next = domain.id().get().checked_add(1).and_then(DomId::new);
    }
    request.answer(&list)
}

/// `readconsole`: the hypervisor's log.
///
/// | | |
/// |---|---|
/// | In | room; where to start, if incremental; whether to forget what was read |
/// | Out | the text, its length (at most 16 KiB), where it ended |
fn read_console(request: &Request<'_, '_, '_>) -> Reply {
    let mut argument = request.view::<ReadConsole>();
    let room = usize::try_from(argument.count).unwrap_or(usize::MAX).min(MOST_LOG);
    let mut chunk = [0; CHUNK];
    let mut index = Some(argument.index).filter(|_| argument.incremental != 0);
    let mut done = 0;
    loop {
        let piece = chunk.get_mut(..CHUNK.min(room - done)).unwrap_or_default();
        let (copied, end) = console::read_log(index, piece);
        index = Some(end);
        let text = piece.get(..copied).filter(|text| !text.is_empty());
        let Some(text) = text else { break };
        let to = argument.buffer.address().checked_add(done as u64).ok_or(Errno::EFAULT)?;
        guest_copy::write(request.call.cpu, request.call.vcpu, to, text)?;
        done += copied;
    }
    argument.index = index.unwrap_or(argument.index);
    argument.count = u32::try_from(done).unwrap_or(u32::MAX);
    if argument.clear != 0 {
        console::clear_log(argument.index);
    }
    request.answer(&argument)
}

/// `debug_keys`: acts as if the keys were typed at the hypervisor's console.
///
/// | | |
/// |---|---|
/// | In | the keys |
/// | Errors | `EINVAL` for more than 256 |
fn debug_keys(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<DebugKeys>();
    if argument.nr_keys > MOST_KEYS {
        return Err(Errno::EINVAL);
    }
    for index in 0..argument.nr_keys {
        let key = guest_copy::read_item(request.call.cpu, request.call.vcpu, argument.keys, index.into())?;
        keys::handle(key);
    }
    Ok(Answer::Value(0))
}

/// `cpu_hotplug`: pcpus stay as they were started.
///
/// | | |
/// |---|---|
/// | Errors | `EINVAL` for a pcpu that cannot be started; `EBUSY` for one that cannot be stopped; `EOPNOTSUPP` |
fn hotplug(request: &Request<'_, '_, '_>) -> Reply {
    let argument = request.view::<CpuHotplug>();
    match CpuHotplugCmd::new(argument.op) {
        Some(CpuHotplugCmd::Online) => Err(Errno::EINVAL),
        Some(CpuHotplugCmd::Offline) => Err(Errno::EBUSY),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
