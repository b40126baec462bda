//! Event channels, and the timer that raises one.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use alloc::sync::Arc;
use guest_rt::measure::Upcalls;
use guest_rt::smp::{self, Start};
use guest_rt::{clock, cpu, events, hypercall};
use xen_abi::RawPort;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{EventChannelOp, EvtchnBindIpi, EvtchnBindVirq, EvtchnClose, EvtchnSend};
use xen_abi::handle::GuestHandle;
use xen_abi::sched::{SchedOp, SchedPoll};
use xen_abi::vcpu::{VcpuOp, VcpuSetSingleshotTimer};
use xen_abi::xen::Virq;

use super::{FEW, ROUNDS, Samples, overhead};
use crate::controller::{Controller, until};
use crate::verdict::{Check, Problem};

/// Time that the other vcpu has to stop.
const PATIENCE_MS: u64 = 1_000;

/// From before the hypercall to the first instruction of the handler.
pub(super) fn to_handler(_: &Controller) -> Check<Samples> {
    let port = Port::ipi(0)?;
    let upcalls = Upcalls::new()?;
    events::unmask(port.0);
    let lost = Cell::new(0_usize);
    let samples = Samples::of(ROUNDS, || {
        upcalls.after_send(&port.0).unwrap_or_else(|| {
            lost.set(lost.get() + 1);
            0
        })
    });
    ensure!(lost.get() == 0, "{} of {ROUNDS} events came without an upcall", lost.get());
    Ok(samples)
}

/// From the time that the timer was set to, to the first instruction of the handler.
pub(super) fn timer_to_upcall(_: &Controller) -> Check<Samples> {
    /// Ticks until it fires; not always the same, as the hypervisor's own timers are periodic.
    const AHEAD: u64 = 100_000;
    const STEP: u64 = 37;
    let port = Port::timer()?;
    let upcalls = Upcalls::new()?;
    events::unmask(port.0);
    let mut samples = alloc::vec::Vec::new();
    for round in 0..FEW as u64 {
        let at = cpu::rdtsc() + AHEAD + round * STEP;
        let mut set = VcpuSetSingleshotTimer {
            timeout_abs_ns: clock::pv_ns_at(&clock::record(0), at),
            flags: 0,
            _pad: 0,
        };
        let mut armed = Err(Errno::EINVAL);
        let time = upcalls.after_halt(|| armed = hypercall::vcpu_op(VcpuOp::SetSingleshotTimer, 0, &mut set));
        armed?;
        let Some(time) = time else { fail!("another interrupt came before the timer's") };
        samples.push(time.saturating_sub(at));
    }
    Ok(Samples(samples))
}

/// Two vcpus: an event to the other one, and its answer; both wait by polling.
pub(super) fn ping_pong(_: &Controller) -> Check<Samples> {
    clock::map_shared_info()?;
    events::mask_all();
    let (here, there) = (Port::ipi(0)?, Port::ipi(1)?);
    smp::start(1, Start::Hypercall).map_err(|error| Problem::Failure(alloc::format!("vcpu 1: {error:?}")))?;
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, back, forth) = (stop.clone(), here.0, there.0);
    smp::run(1, move || answer(&seen, back, forth));
    let overhead = overhead();
    let mut samples = alloc::vec::Vec::new();
    let mut result = Ok(());
    for _ in 0..ROUNDS {
        let start = cpu::rdtsc();
        result = send(there.0).and_then(|()| wait(here.0));
        samples.push((cpu::rdtsc() - start).saturating_sub(overhead.into()));
        if result.is_err() {
            break;
        }
    }
    stop.store(true, Ordering::Release);
    send(there.0)?;
    // The vcpu would go on asking for work.
    ensure!(until(PATIENCE_MS, || is_down(1)), "vcpu 1 does not stop");
    result?;
    Ok(Samples(samples))
}

/// What the other vcpu does until `stop` or an error: then it is down.
fn answer(stop: &AtomicBool, back: RawPort, forth: RawPort) {
    while wait(forth).is_ok() && !stop.load(Ordering::Acquire) && send(back).is_ok() {}
    // If it is refused, the first vcpu finds out.
    let _ = hypercall::vcpu_op(VcpuOp::Down, 1, &mut ());
}

fn is_down(vcpu: u32) -> bool {
    hypercall::vcpu_op(VcpuOp::IsUp, vcpu, &mut ()) == Ok(0)
}

fn send(port: RawPort) -> Result<(), Errno> {
    hypercall::event_channel_op(EventChannelOp::Send, &mut EvtchnSend { port }).map(drop)
}

/// Waits for an event at `port`, and takes it.
fn wait(port: RawPort) -> Result<(), Errno> {
    let mut ports = [port];
    while !events::take(port) {
        let ports = GuestHandle::new(ports.as_mut_ptr() as u64);
        let mut poll = SchedPoll { ports, nr_ports: 1, _pad: 0, timeout: 0 };
        hypercall::sched_op(SchedOp::Poll, &mut poll)?;
    }
    Ok(())
}

/// A port of this domain, closed when it is dropped.
struct Port(RawPort);

impl Port {
    fn ipi(vcpu: u32) -> Result<Self, Errno> {
        let mut bind = EvtchnBindIpi { vcpu, port: 0 };
        hypercall::event_channel_op(EventChannelOp::BindIpi, &mut bind)?;
        Ok(Self(bind.port))
    }

    fn timer() -> Result<Self, Errno> {
        let mut bind = EvtchnBindVirq { virq: Virq::Timer as u32, vcpu: 0, port: 0 };
        hypercall::event_channel_op(EventChannelOp::BindVirq, &mut bind)?;
        Ok(Self(bind.port))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // What cannot be closed stays open; the machine is turned off soon.
        let _ = hypercall::event_channel_op(EventChannelOp::Close, &mut EvtchnClose { port: self.0 });
    }
}
