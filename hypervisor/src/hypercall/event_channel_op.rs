//! `event_channel_op`: event channels of the calling domain, and for Dom0 some of others.

use core::mem::offset_of;

use alloc::sync::Arc;
use hv_arch::confines::page::PinnedPage;
use hv_core::addr::Gfn;
use hv_core::evtchn::{ControlBlockAt, Port};
use xen_abi::RawPfn;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EventChannelOp, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset, EvtchnSend,
    EvtchnSetPriority, EvtchnStatus, EvtchnUnmask, FIFO_LINK_BITS,
};
use xen_abi::handle::GuestHandle;
use xen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Answer, Call, Reply};
use crate::domain::Domain;
use crate::{domains, event, guest_copy};

/// `EVTCHNOP_reset_cont` of Xen: the reset goes on. It never reaches the guest's sources.
const RESET_CONTINUED: u64 = 14;

/// `HYPERVISOR_event_channel_op(cmd, arg)`.
///
/// | operation | In | Out |
/// |---|---|---|
/// | `send` | port | |
/// | `alloc_unbound` | domain that gets the port, domain that may connect | port |
/// | `bind_interdomain` | remote domain and port | port |
/// | `bind_virq` | interrupt, vcpu | port |
/// | `bind_ipi` | vcpu | port |
/// | `bind_pirq` | interrupt | port |
/// | `close` | port | |
/// | `status` | domain, port | what it is, its vcpu |
/// | `bind_vcpu` | port, vcpu | |
/// | `unmask` | port | |
/// | `reset` | domain | |
/// | `init_control` | frame, offset, vcpu | bits of a link |
/// | `expand_array` | frame | |
/// | `set_priority` | port, priority | |
///
/// Errors: `EFAULT`; `EINVAL` for ports that are not what the operation needs, for bad frames and numbers;
/// `ENOENT` no such vcpu; `ESRCH` no such domain; `EPERM` another domain than the caller; `ENOSPC` no port
/// left; `EEXIST`, `EBUSY` an interrupt that has a port or is another domain's; `EOPNOTSUPP`, `ENOSYS`, `EACCES` as
/// in Xen for the FIFO interface.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let request = Request { call };
    let [op, ..] = call.arguments;
    if op == EventChannelOp::Send as u64 {
        let EvtchnSend { port } = request.read()?;
        return done(event::send(call.vcpu, port));
    }
    if op == RESET_CONTINUED {
        return reset(&request, true);
    }
    match u32::try_from(op).ok().and_then(EventChannelOp::new).ok_or(Errno::ENOSYS)? {
        EventChannelOp::AllocUnbound => alloc_unbound(&request),
        EventChannelOp::BindInterdomain => bind_interdomain(&request),
        EventChannelOp::BindVirq => bind_virq(&request),
        EventChannelOp::BindIpi => bind_ipi(&request),
        EventChannelOp::BindPirq => bind_pirq(&request),
        EventChannelOp::Close => {
            let EvtchnClose { port } = request.read()?;
            done(event::close(request.domain(), port))
        }
        EventChannelOp::Send => Err(Errno::ENOSYS),
        EventChannelOp::Status => status(&request),
        EventChannelOp::BindVcpu => {
            let EvtchnBindVcpu { port, vcpu } = request.read()?;
            done(event::locked(request.domain(), |channels| channels.bind_vcpu(port, vcpu)))
        }
        EventChannelOp::Unmask => {
            let EvtchnUnmask { port } = request.read()?;
            done(event::unmask(request.domain(), port))
        }
        EventChannelOp::Reset => reset(&request, false),
        EventChannelOp::InitControl => init_control(&request),
        EventChannelOp::ExpandArray => expand_array(&request),
        EventChannelOp::SetPriority => {
            let EvtchnSetPriority { port, priority } = request.read()?;
            done(event::locked(request.domain(), |channels| channels.set_priority(port, priority)))
        }
    }
}

/// One hypercall.
struct Request<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
}

impl Request<'_, '_, '_> {
    fn domain(&self) -> &Arc<Domain> {
        self.call.vcpu.domain()
    }

    fn argument<T>(&self) -> GuestHandle<T> {
        let [_, argument, ..] = self.call.arguments;
        GuestHandle::new(argument)
    }

    fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, Errno> {
        guest_copy::read_obj(self.call.cpu, self.call.vcpu, self.argument())
    }

    fn write_field<F: IntoBytes + Immutable>(&self, offset: usize, field: &F) -> Reply {
        let guest = guest_copy::Guest::new(self.call.cpu, self.call.vcpu);
        guest.write_field(self.argument::<u8>(), offset, field)?;
        Ok(Answer::Value(0))
    }

    /// Writes a port where the operation's structure has it. If that fails the port stays bound,
    /// as in Xen: the guest gave an address that it cannot read either.
    fn write_port(&self, offset: usize, port: Port) -> Reply {
        self.write_field(offset, &port.get())
    }

    /// Pins the page of the caller at `gfn`.
    fn pin(&self, gfn: RawPfn) -> Result<PinnedPage, Errno> {
        let gfn = Gfn::new(gfn).ok_or(Errno::EINVAL)?;
        PinnedPage::new(self.domain().confines(), gfn).map_err(|_| Errno::EINVAL)
    }
}

fn done(result: Result<(), Errno>) -> Reply {
    result.map(|()| Answer::Value(0))
}

fn alloc_unbound(request: &Request<'_, '_, '_>) -> Reply {
    let asked: EvtchnAllocUnbound = request.read()?;
    let domain = domains::target(asked.dom, request.domain())?;
    let own = request.domain().id().get();
    let remote = if asked.remote_dom == DOMID_SELF { own } else { asked.remote_dom };
    let port = event::locked(&domain, |channels| channels.alloc_unbound(remote))?;
    request.write_port(offset_of!(EvtchnAllocUnbound, port), port)
}

fn bind_interdomain(request: &Request<'_, '_, '_>) -> Reply {
    let asked: EvtchnBindInterdomain = request.read()?;
    let remote = domains::find_any(asked.remote_dom, request.domain())?;
    let port = event::connect(request.domain(), &remote, asked.remote_port)?;
    request.write_port(offset_of!(EvtchnBindInterdomain, local_port), port)
}

fn bind_virq(request: &Request<'_, '_, '_>) -> Reply {
    let EvtchnBindVirq { virq, vcpu, .. } = request.read()?;
    let handler = domains::virq_handler(virq) == request.domain().id();
    let port = event::locked(request.domain(), |channels| channels.bind_virq(virq, vcpu, handler))?;
    request.write_port(offset_of!(EvtchnBindVirq, port), port)
}

fn bind_ipi(request: &Request<'_, '_, '_>) -> Reply {
    let EvtchnBindIpi { vcpu, .. } = request.read()?;
    let port = event::locked(request.domain(), |channels| channels.bind_ipi(vcpu))?;
    request.write_port(offset_of!(EvtchnBindIpi, port), port)
}

fn bind_pirq(request: &Request<'_, '_, '_>) -> Reply {
    let EvtchnBindPirq { pirq, .. } = request.read()?;
    let port = event::locked(request.domain(), |channels| channels.bind_pirq(pirq))?;
    request.write_port(offset_of!(EvtchnBindPirq, port), port)
}

fn status(request: &Request<'_, '_, '_>) -> Reply {
    let mut answer: EvtchnStatus = request.read()?;
    let domain = domains::target(answer.dom, request.domain())?;
    let channel = domain.events().table().channel(answer.port)?;
    let (status, detail) = channel.status();
    answer.status = status.get();
    answer.vcpu = channel.vcpu.into();
    answer.u = detail.unwrap_or(answer.u);
    guest_copy::write_obj(request.call.cpu, request.call.vcpu, request.argument(), &answer)?;
    Ok(Answer::Value(0))
}

/// Others than the caller must be paused: they could bind ports as fast as these are closed.
fn reset(request: &Request<'_, '_, '_>, resuming: bool) -> Reply {
    let EvtchnReset { dom } = request.read()?;
    let domain = domains::target(dom, request.domain())?;
    if domain.may_run() && !Arc::ptr_eq(&domain, request.domain()) {
        return Err(Errno::EINVAL);
    }
    if event::reset(&domain, resuming)? {
        return Ok(Answer::Value(0));
    }
    let [_, rest @ ..] = request.call.arguments;
    let [a, b, c, d] = rest;
    Ok(Answer::Again([RESET_CONTINUED, a, b, c, d]))
}

fn init_control(request: &Request<'_, '_, '_>) -> Reply {
    let asked: EvtchnInitControl = request.read()?;
    request.domain().vcpu(asked.vcpu).ok_or(Errno::ENOENT)?;
    let at = ControlBlockAt::new(asked.offset)?;
    let page = request.pin(asked.control_gfn)?;
    event::locked(request.domain(), |channels| channels.init_control(asked.vcpu, page, at))?;
    #[expect(clippy::cast_possible_truncation, reason = "17")]
    request.write_field(offset_of!(EvtchnInitControl, link_bits), &(FIFO_LINK_BITS as u8))
}

fn expand_array(request: &Request<'_, '_, '_>) -> Reply {
    let EvtchnExpandArray { array_gfn } = request.read()?;
    if !request.domain().events().table().uses_fifo() {
        return Err(Errno::EOPNOTSUPP);
    }
    let page = request.pin(array_gfn)?;
    done(event::expand_array(request.domain(), page))
}
