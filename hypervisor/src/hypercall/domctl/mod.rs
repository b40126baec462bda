//! `domctl`: what the toolstack does to one domain.
//!
//! | file | operations |
//! |---|---|
//! | [`life`] | creation, pauses, end, limits, information |
//! | [`vcpu`] | single vcpus: information, affinity, signals, extended state |
//! | [`context`] | registers as save records |
//! | [`cpu`] | what vcpus are: CPU policy, time stamp counter |
//! | [`misc`] | shares, memory for page tables, devices, settings |
//!
//! Of two vcpus that make such a call at the same time one makes it again, as in Xen:
//! nothing here changes under an operation but by the guest itself.

mod context;
mod cpu;
mod life;
mod misc;
mod vcpu;

use alloc::sync::Arc;

use hv_arch::sync::{Lock, Rank};
use hv_core::id::DomId;
use xen_abi::domctl::{DomctlArgs, DomctlOp, INTERFACE_VERSION, XenDomctl};
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::union::MemberOf;

use super::{Answer, Call, Reply};
use crate::domain::Domain;
use crate::{domains, guest_copy};

/// Held during an operation. Nobody waits for it.
static BUSY: Lock<()> = Lock::new(Rank::Domain, ());

/// `HYPERVISOR_domctl(arg)`, for Dom0. `arg` is a `struct xen_domctl`.
///
/// Errors of all operations: `EFAULT`, `EACCES` for another version of the interface,
/// `ESRCH` for no such domain, `ENOSYS` for an unknown operation; the others stand at
/// each operation.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let argument = GuestHandle::<XenDomctl>::new(call.arguments[0]);
    let op = guest_copy::read_obj(call.cpu, call.vcpu, argument)?;
    if op.interface_version != INTERFACE_VERSION {
        return Err(Errno::EACCES);
    }
    let which = DomctlOp::new(op.cmd);
    if which == Some(DomctlOp::CreateDomain) {
        return exclusively(call, || life::create(call, argument, op));
    }
    let domain = DomId::new(op.domain).and_then(domains::find).ok_or(Errno::ESRCH)?;
    let request = Request { call, argument, op, domain };
    match which.ok_or(Errno::ENOSYS)? {
        DomctlOp::GetDomainInfo => life::info(&request),
        which => exclusively(call, || dispatch(which, &request)),
    }
}

/// Does `act` if no other pcpu is in such an operation; otherwise the call is made again.
fn exclusively(call: &Call<'_, '_>, act: impl FnOnce() -> Reply) -> Reply {
    match BUSY.try_lock() {
        Some(_alone) => act(),
        None => Ok(Answer::Again(call.arguments)),
    }
}

fn dispatch(which: DomctlOp, request: &Request<'_, '_, '_>) -> Reply {
    match which {
        DomctlOp::DestroyDomain => life::destroy(request),
        DomctlOp::PauseDomain => life::pause(request),
        DomctlOp::UnpauseDomain => life::unpause(request),
        DomctlOp::ResumeDomain => life::resume(request),
        DomctlOp::MaxVcpus => life::max_vcpus(request),
        DomctlOp::MaxMem => life::max_mem(request),
        DomctlOp::SetDomainHandle => life::set_handle(request),
        DomctlOp::GetHvmContext => context::get(request),
        DomctlOp::SetHvmContext => context::set(request),
        DomctlOp::GetHvmContextPartial => context::get_one(request),
        DomctlOp::GetVcpuInfo => vcpu::info(request),
        DomctlOp::SetVcpuAffinity => vcpu::set_affinity(request),
        DomctlOp::GetVcpuAffinity => vcpu::get_affinity(request),
        DomctlOp::SetNodeAffinity => vcpu::set_nodes(request),
        DomctlOp::GetNodeAffinity => vcpu::get_nodes(request),
        DomctlOp::SendTrigger => vcpu::trigger(request),
        DomctlOp::GetVcpuMsrs | DomctlOp::SetVcpuMsrs => vcpu::msrs(request),
        DomctlOp::GetVcpuExtState => vcpu::get_extended(request),
        DomctlOp::SetVcpuExtState => vcpu::set_extended(request),
        DomctlOp::GetCpuPolicy => cpu::get_policy(request),
        DomctlOp::SetCpuPolicy => cpu::set_policy(request),
        DomctlOp::GetTscInfo => cpu::get_tsc(request),
        DomctlOp::SetTscInfo => cpu::set_tsc(request),
        DomctlOp::SchedulerOp => misc::share(request),
        DomctlOp::ShadowOp => misc::shadow(request),
        DomctlOp::SetPagingMempoolSize => misc::set_mempool(request),
        DomctlOp::GetPagingMempoolSize => misc::get_mempool(request),
        DomctlOp::HypercallInit => misc::hypercall_page(request),
        DomctlOp::SetTimeOffset => misc::time_offset(request),
        DomctlOp::SetDebugging => misc::debugging(request),
        DomctlOp::SetVirqHandler => misc::virq_handler(request),
        DomctlOp::SetTarget => misc::target(request),
        DomctlOp::IrqPermission => misc::irq_permission(request),
        DomctlOp::IomemPermission => misc::iomem_permission(request),
        DomctlOp::IoportPermission => misc::ioport_permission(request),
        DomctlOp::MemoryMapping => misc::memory_mapping(request),
        DomctlOp::IoportMapping => misc::ioport_mapping(request),
        // No physical interrupt is anyone's but Dom0's.
        DomctlOp::BindPtIrq | DomctlOp::UnbindPtIrq => Err(Errno::EPERM),
        // There is no IOMMU, no event on suspend, no soft reset, no virtual NUMA, no
        // register state in the form of PV guests, and no PV guest whose width could change.
        DomctlOp::AssignDevice
        | DomctlOp::DeassignDevice
        | DomctlOp::TestAssignDevice
        | DomctlOp::GetDeviceGroup
        | DomctlOp::Subscribe
        | DomctlOp::SoftReset
        | DomctlOp::SetVnumaInfo
        | DomctlOp::SetVcpuContext
        | DomctlOp::GetVcpuContext
        | DomctlOp::SetAddressSize
        | DomctlOp::GetAddressSize
        | DomctlOp::GetPageFrameInfo3
        | DomctlOp::SetBrokenPageP2m
        | DomctlOp::VmtraceOp => Err(Errno::EOPNOTSUPP),
        DomctlOp::PsrCmtOp | DomctlOp::PsrAlloc => Err(Errno::ENODEV),
        _ => Err(Errno::ENOSYS),
    }
}

/// One operation on a domain that exists.
struct Request<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
    argument: GuestHandle<XenDomctl>,
    op: XenDomctl,
    domain: Arc<Domain>,
}

impl Request<'_, '_, '_> {
    /// The operation's argument.
    fn view<T: MemberOf<DomctlArgs>>(&self) -> T {
        self.op.u.view()
    }

    /// Copies the argument back, as an answer.
    fn answer<T: MemberOf<DomctlArgs>>(&self, argument: &T) -> Reply {
        let answer = XenDomctl { u: DomctlArgs::of(argument), ..self.op };
        guest_copy::write_obj(self.call.cpu, self.call.vcpu, self.argument, &answer)?;
        Ok(Answer::Value(0))
    }

    fn again(&self) -> Reply {
        Ok(Answer::Again(self.call.arguments))
    }

    fn is_own_domain(&self) -> bool {
        Arc::ptr_eq(&self.domain, self.call.vcpu.domain())
    }

    /// Does `act` while no vcpu of the domain runs.
    fn while_stopped(&self, act: impl FnOnce() -> Reply) -> Reply {
        self.check_other_domain()?;
        if !self.domain.hold() {
            return self.again();
        }
        let reply = act();
        self.domain.release();
        reply
    }

    /// Refuses what would stop the caller.
    fn check_other_domain(&self) -> Result<(), Errno> {
        if self.is_own_domain() { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn read_bytes(&self, from: GuestHandle<u8>, to: &mut [u8]) -> Result<(), Errno> {
        guest_copy::read(self.call.cpu, self.call.vcpu, from.address(), to)
    }

    fn write_bytes(&self, to: GuestHandle<u8>, from: &[u8]) -> Result<(), Errno> {
        guest_copy::write(self.call.cpu, self.call.vcpu, to.address(), from)
    }
}

/// An operation that is done and has nothing to say.
const DONE: Reply = Ok(Answer::Value(0));
