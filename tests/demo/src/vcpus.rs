//! The vcpus beside the first. Each waits at an event channel of its own until there is work, or is down where the
//! toolstack wants that (`cpu/N/availability` in XenStore).

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_rt::smp::{self, MAX_VCPUS, Start};
use guest_rt::{cpu, events, hypercall, timer};
use xen_abi::event_channel::{EventChannelOp, EvtchnBindIpi, EvtchnSend};
use xen_abi::vcpu::{Runstate, VcpuOp, VcpuRunstateInfo};
use zerocopy::FromZeros;

/// When the work ends that all vcpus do, system time in ns.
static BUSY_UNTIL: AtomicU64 = AtomicU64::new(0);

struct Worker {
    /// It was started.
    started: AtomicBool,
    /// It is to be online.
    wanted: AtomicBool,
    /// Port at which it waits; 0 before there is one.
    port: AtomicU32,
}

static WORKERS: [Worker; MAX_VCPUS] = [const {
    Worker { started: AtomicBool::new(false), wanted: AtomicBool::new(true), port: AtomicU32::new(0) }
}; MAX_VCPUS];

/// The domain's vcpus, whether online or not.
pub(crate) fn count() -> u32 {
    (1..).find(|vcpu| hypercall::vcpu_op(VcpuOp::IsUp, *vcpu, &mut ()).is_err()).unwrap_or(1)
}

/// Whether a vcpu is online.
pub(crate) fn is_online(vcpu: u32) -> bool {
    hypercall::vcpu_op(VcpuOp::IsUp, vcpu, &mut ()) == Ok(1)
}

/// How long a vcpu has run, ns.
pub(crate) fn run_ns(vcpu: u32) -> Option<u64> {
    let mut info = VcpuRunstateInfo::new_zeroed();
    hypercall::vcpu_op(VcpuOp::GetRunstateInfo, vcpu, &mut info).ok()?;
    info.time.get(Runstate::Running as usize).copied()
}

/// Brings a vcpu that is not the first up or down; whether it is on its way.
pub(crate) fn set_online(vcpu: u32, online: bool) -> bool {
    let Some(worker) = WORKERS.get(vcpu as usize).filter(|_| vcpu > 0) else { return vcpu == 0 && online };
    worker.wanted.store(online, Ordering::Release);
    if !worker.started.load(Ordering::Acquire) {
        return !online || start(vcpu, worker);
    }
    if online {
        return is_online(vcpu) || hypercall::vcpu_op(VcpuOp::Up, vcpu, &mut ()).is_ok();
    }
    wake(worker)
}

fn start(vcpu: u32, worker: &'static Worker) -> bool {
    let mut bind = EvtchnBindIpi { vcpu, port: 0 };
    let port = hypercall::event_channel_op(EventChannelOp::BindIpi, &mut bind).map(|_| bind.port);
    let Ok(port) = port else { return false };
    worker.port.store(port, Ordering::Release);
    let started = smp::start(vcpu, Start::Hypercall).is_ok();
    worker.started.store(started, Ordering::Release);
    if started {
        smp::run(vcpu, move || work(vcpu, worker, port));
    }
    started
}

fn wake(worker: &Worker) -> bool {
    let port = worker.port.load(Ordering::Acquire);
    hypercall::event_channel_op(EventChannelOp::Send, &mut EvtchnSend { port }).is_ok()
}

/// Lets all vcpus beside the first work for `ns`.
pub(crate) fn make_busy(ns: u64) {
    BUSY_UNTIL.store(timer::now_ns().saturating_add(ns), Ordering::Release);
    for worker in WORKERS.iter().filter(|worker| worker.started.load(Ordering::Acquire)) {
        // One that is down needs no work.
        wake(worker);
    }
}

/// Ends the work at once.
pub(crate) fn rest() {
    BUSY_UNTIL.store(0, Ordering::Release);
}

/// What a further vcpu does for ever, with interrupts off.
fn work(vcpu: u32, worker: &Worker, port: u32) -> ! {
    loop {
        while timer::now_ns() < BUSY_UNTIL.load(Ordering::Acquire) {
            cpu::relax();
        }
        if !worker.wanted.load(Ordering::Acquire) {
            // It goes on behind the call when it comes up again.
            let _ = hypercall::vcpu_op(VcpuOp::Down, vcpu, &mut ());
        }
        events::take(port);
        // Work that came meanwhile has raised another event: only then is a look at it certain to see it.
        if timer::now_ns() >= BUSY_UNTIL.load(Ordering::Acquire) && worker.wanted.load(Ordering::Acquire) {
            // Without it the vcpu spins, and works all the same.
            let _ = hypercall::poll(&[port]);
        }
    }
}
