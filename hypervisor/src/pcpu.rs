//! What a pcpu does: idle until it is asked to run a function or, on the boot
//! CPU, until someone types a key.

use core::fmt;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use hv_arch::ipi;
use hv_arch::percpu;
use hv_arch::sync::{Lock, Rank};
use hv_core::id::{MAX_PCPUS, PcpuId};

use crate::exit::{self, Stop};
use crate::vcpu::Vcpu;
use crate::{console, init, keys};

type Call = Lock<Option<fn()>>;

/// Functions that other pcpus want run.
static CALLS: [Call; MAX_PCPUS] = [const { Lock::new(Rank::Pcpus, None) }; MAX_PCPUS];

/// The idle loop.
pub fn idle() -> ! {
    let me = percpu::this().id();
    loop {
        while let Some(call) = take_call(me) {
            call();
        }
        if me == PcpuId::BOOT {
            while let Some(key) = console::key() {
                keys::handle(key);
            }
            if console::poll() {
                hv_arch::take_interrupts();
                continue;
            }
        }
        if let Some(vcpu) = next_vcpu(me) {
            match exit::run(&vcpu) {
                Stop::Runnable => enqueue_on(me, vcpu),
                // In no queue: guests have no events yet that could wake it.
                Stop::Blocked => {}
                Stop::Ended => init::domain_ended(vcpu.domain()),
            }
            continue;
        }
        hv_arch::idle(|| has_work(me));
    }
}

/// Vcpus that could run, by pcpu.
static QUEUES: [Queue; MAX_PCPUS] = [const { Lock::new(Rank::RunQueue, VecDeque::new()) }; MAX_PCPUS];

type Queue = Lock<VecDeque<Arc<Vcpu>>>;

/// Lets `vcpu` run on the boot CPU.
pub fn enqueue(vcpu: &Arc<Vcpu>) {
    enqueue_on(PcpuId::BOOT, Arc::clone(vcpu));
}

fn enqueue_on(pcpu: PcpuId, vcpu: Arc<Vcpu>) {
    QUEUES[pcpu.index()].lock().push_back(vcpu);
}

fn next_vcpu(pcpu: PcpuId) -> Option<Arc<Vcpu>> {
    QUEUES[pcpu.index()].lock().pop_front()
}

fn has_work(me: PcpuId) -> bool {
    has_call(me) || me == PcpuId::BOOT && console::has_key() || !QUEUES[me.index()].lock().is_empty()
}

fn take_call(pcpu: PcpuId) -> Option<fn()> {
    CALLS[pcpu.index()].lock().take()
}

fn has_call(pcpu: PcpuId) -> bool {
    CALLS[pcpu.index()].lock().is_some()
}

/// A pcpu has not begun with what it was asked to run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy(pub PcpuId);

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU{} is busy with an earlier call", self.0)
    }
}

/// Asks `pcpu`, another one, to run `function` when it is idle next.
///
/// # Errors
///
/// [`Busy`].
pub fn call(pcpu: PcpuId, function: fn()) -> Result<(), Busy> {
    {
        let mut slot = CALLS[pcpu.index()].lock();
        if slot.is_some() {
            return Err(Busy(pcpu));
        }
        *slot = Some(function);
    }
    ipi::send(pcpu);
    Ok(())
}
