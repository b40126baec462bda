//! Event channels as tests use them: each operation as a function that returns what the hypervisor says, and
//! the words of the 2-level interface beyond what [`guest_rt::events`] does.

use core::mem::offset_of;

use guest_rt::cpu::{peek_u8, peek_u32};
use guest_rt::{clock, events, hypercall};
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EventChannelOp, EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset, EvtchnSend,
    EvtchnSetPriority, EvtchnStatus, EvtchnUnmask, PortStatus, StatusInterdomain, StatusUnbound,
};
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedPoll};
use xen_abi::xen::{DOMID_SELF, SharedInfo, VcpuInfo};
use xen_abi::{RawDomid, RawPort};
use zerocopy::FromZeros;

use crate::verdict::Check;

/// What an operation returns.
pub type Answer<T = ()> = Result<T, Errno>;

fn call<T>(op: EventChannelOp, argument: &mut T) -> Answer {
    hypercall::event_channel_op(op, argument).map(drop)
}

/// A port of `dom` that waits for `remote_dom`.
pub fn alloc_unbound(dom: RawDomid, remote_dom: RawDomid) -> Answer<RawPort> {
    let mut alloc = EvtchnAllocUnbound { dom, remote_dom, port: RawPort::MAX };
    call(EventChannelOp::AllocUnbound, &mut alloc)?;
    Ok(alloc.port)
}

/// A port that is connected to `remote_port`.
pub fn bind_interdomain(remote_dom: RawDomid, remote_port: RawPort) -> Answer<RawPort> {
    let mut bind = EvtchnBindInterdomain { remote_dom, _pad: 0, remote_port, local_port: RawPort::MAX };
    call(EventChannelOp::BindInterdomain, &mut bind)?;
    Ok(bind.local_port)
}

/// The two ends of a channel of the domain with itself.
pub fn loopback() -> Answer<(RawPort, RawPort)> {
    let waiting = alloc_unbound(DOMID_SELF, DOMID_SELF)?;
    let bound = bind_interdomain(DOMID_SELF, waiting)?;
    // Who connects is told at once.
    events::take(bound);
    Ok((waiting, bound))
}

/// A port for a virtual interrupt.
pub fn bind_virq(virq: u32, vcpu: u32) -> Answer<RawPort> {
    let mut bind = EvtchnBindVirq { virq, vcpu, port: RawPort::MAX };
    call(EventChannelOp::BindVirq, &mut bind)?;
    Ok(bind.port)
}

/// A port from vcpu to vcpu.
pub fn bind_ipi(vcpu: u32) -> Answer<RawPort> {
    let mut bind = EvtchnBindIpi { vcpu, port: RawPort::MAX };
    call(EventChannelOp::BindIpi, &mut bind)?;
    Ok(bind.port)
}

/// A port for a physical interrupt.
pub fn bind_pirq(pirq: u32) -> Answer<RawPort> {
    let mut bind = EvtchnBindPirq { pirq, flags: 0, port: RawPort::MAX };
    call(EventChannelOp::BindPirq, &mut bind)?;
    Ok(bind.port)
}

/// Frees a port.
pub fn close(port: RawPort) -> Answer {
    call(EventChannelOp::Close, &mut EvtchnClose { port })
}

/// Sends an event.
pub fn send(port: RawPort) -> Answer {
    call(EventChannelOp::Send, &mut EvtchnSend { port })
}

/// Unmasks a port.
pub fn unmask(port: RawPort) -> Answer {
    call(EventChannelOp::Unmask, &mut EvtchnUnmask { port })
}

/// Moves a port to another vcpu.
pub fn bind_vcpu(port: RawPort, vcpu: u32) -> Answer {
    call(EventChannelOp::BindVcpu, &mut EvtchnBindVcpu { port, vcpu })
}

/// Closes all ports of a domain.
pub fn reset(dom: RawDomid) -> Answer {
    call(EventChannelOp::Reset, &mut EvtchnReset { dom })
}

/// Chooses the queue of a port.
pub fn set_priority(port: RawPort, priority: u32) -> Answer {
    call(EventChannelOp::SetPriority, &mut EvtchnSetPriority { port, priority })
}

/// Gives a vcpu its control block; returns the bits of a link.
pub fn init_control(control_gfn: u64, offset: u32, vcpu: u32) -> Answer<u8> {
    let mut init = EvtchnInitControl { control_gfn, offset, vcpu, ..EvtchnInitControl::new_zeroed() };
    call(EventChannelOp::InitControl, &mut init)?;
    Ok(init.link_bits)
}

/// Adds a page of event words.
pub fn expand_array(array_gfn: u64) -> Answer {
    call(EventChannelOp::ExpandArray, &mut EvtchnExpandArray { array_gfn })
}

/// What a port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Free.
    Closed,
    /// Waits for this domain.
    Unbound(RawDomid),
    /// Connected to this port of this domain.
    Interdomain(RawDomid, RawPort),
    /// For this virtual interrupt.
    Virq(u32),
    /// From vcpu to vcpu.
    Ipi,
    /// Something that tests do not have.
    Other(u32),
}

/// What a port is, and the vcpu that hears of its events.
pub fn status(dom: RawDomid, port: RawPort) -> Answer<(Status, u32)> {
    let mut status = EvtchnStatus { dom, port, ..EvtchnStatus::new_zeroed() };
    call(EventChannelOp::Status, &mut status)?;
    let what = match PortStatus::new(status.status) {
        Some(PortStatus::Closed) => Status::Closed,
        Some(PortStatus::Unbound) => Status::Unbound(status.u.view::<StatusUnbound>().dom),
        Some(PortStatus::Interdomain) => {
            let end = status.u.view::<StatusInterdomain>();
            Status::Interdomain(end.dom, end.port)
        }
        Some(PortStatus::Virq) => Status::Virq(status.u.view::<u32>()),
        Some(PortStatus::Ipi) => Status::Ipi,
        Some(PortStatus::Pirq) | None => Status::Other(status.status),
    };
    Ok((what, status.vcpu))
}

/// What a port of this domain is.
pub fn own(port: RawPort) -> Answer<Status> {
    status(DOMID_SELF, port).map(|(status, _)| status)
}

/// Waits until one of `ports` has an event, or until `timeout`, PV time in ns; 0 is for ever.
pub fn poll(ports: &[RawPort], timeout: u64) -> Answer {
    let nr_ports = u32::try_from(ports.len()).map_err(|_| Errno::EINVAL)?;
    let ports = GuestHandle::new(ports.as_ptr() as u64);
    hypercall::sched_op(SchedOp::Poll, &mut SchedPoll { ports, nr_ports, _pad: 0, timeout }).map(drop)
}

/// The domain as a test needs it: the shared page is mapped, and all ports are masked.
pub fn prepare() -> Check {
    clock::map_shared_info()?;
    events::mask_all();
    events::forget_all(1);
    Ok(())
}

/// The 32-bit word of `evtchn_pending` or `evtchn_mask`, at `array`, that holds the bit of `port`.
fn word_of(array: usize, port: RawPort) -> u64 {
    clock::shared_info().unwrap_or(0) + array as u64 + u64::from(port / 32) * 4
}

/// Whether a port has an event, which stays.
pub fn is_pending(port: RawPort) -> bool {
    peek_u32(word_of(offset_of!(SharedInfo, evtchn_pending), port))
        .is_ok_and(|word| word >> (port % 32) & 1 != 0)
}

/// Whether a port is masked.
pub fn is_masked(port: RawPort) -> bool {
    peek_u32(word_of(offset_of!(SharedInfo, evtchn_mask), port))
        .is_ok_and(|word| word >> (port % 32) & 1 != 0)
}

/// Whether an upcall of `vcpu` is pending, and its selector.
pub fn upcall(vcpu: u32) -> Check<(bool, u64)> {
    let info = clock::shared_info().unwrap_or(0) + u64::from(vcpu) * size_of::<VcpuInfo>() as u64;
    let selector = info + offset_of!(VcpuInfo, evtchn_pending_sel) as u64;
    let (low, high) = (peek_u32(selector)?, peek_u32(selector + 4)?);
    let pending = peek_u8(info + offset_of!(VcpuInfo, evtchn_upcall_pending) as u64)? & 1 != 0;
    Ok((pending, u64::from(high) << 32 | u64::from(low)))
}
