//! What a pcpu does: run vcpus, and what it is asked to run; on the boot CPU, tend
//! the console.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use hv_arch::frames;
use hv_arch::sync::{Lock, Rank};
use hv_arch::{apic, cpu, ipi, percpu, time};
use hv_core::id::{MAX_PCPUS, PcpuId};

use crate::sched::Picked;
use crate::{clock, console, exit, init, input, sched, timers};

type Call = Lock<Option<fn()>>;

/// Functions that other pcpus want run.
static CALLS: [Call; MAX_PCPUS] = [const { Lock::new(Rank::Pcpus, None) }; MAX_PCPUS];

/// Ticks of the time stamp counter for which each pcpu waited for work.
static IDLE: [AtomicU64; MAX_PCPUS] = [const { AtomicU64::new(0) }; MAX_PCPUS];

/// Time that `pcpu` had nothing to do, up to its last interrupt, in ns.
pub fn idle_time(pcpu: PcpuId) -> u64 {
    time::ns_from_ticks(IDLE[pcpu.index()].load(Ordering::Relaxed))
}

/// The loop that no pcpu leaves.
pub fn idle() -> ! {
    let me = percpu::this().id();
    'idle: loop {
        while let Some(call) = take_call(me) {
            call();
        }
        let polled = me == PcpuId::BOOT && tend_console();
        input::tell_of_log();
        while let Some(vcpu) = timers::take_due(me, cpu::rdtsc()) {
            if let Some(picked) = sched::wake_here(vcpu) {
                run(picked);
                // Calls and the console come first, however soon a guest's next timer is due.
                continue 'idle;
            }
        }
        if let Some(picked) = sched::pick() {
            run(picked);
        } else if polled || frames::scrub_some() {
            hv_arch::take_interrupts();
        } else if let Some(picked) = sched::pick_or_idle() {
            run(picked);
        } else {
            wait(me);
        }
    }
}

/// Vcpus that run one after the other without a look at what else the pcpu is to do.
const IN_A_ROW: u32 = 16;

/// Runs a vcpu as long as it is its turn, and then those that come after it when it sleeps.
fn run(mut picked: Picked) {
    let mut look = exit::next_look();
    for left in (0..IN_A_ROW).rev() {
        let vcpu = picked.vcpu();
        let stop = exit::run(vcpu, picked.until, &mut look);
        let next = sched::put_back(&picked, stop, left > 0);
        if let Some(code) = vcpu.domain().shutdown_code() {
            vcpu.domain().tell_stopped();
            init::domain_ended(vcpu.domain(), code);
        }
        // Interrupts that are pending now end the stay of the next one at once.
        let Some(next) = next.and_then(sched::follow) else { break };
        picked = next;
    }
    // A guest that gives its turn back again and again with interrupts off has none of
    // the exits that take them in on Bochs (docs/testing.md).
    hv_arch::take_interrupts();
}

/// Passes on what was typed; says whether a serial port has no interrupt by which to ask for it.
fn tend_console() -> bool {
    input::serve();
    console::poll()
}

/// Waits for an interrupt: of another pcpu, a device, or the timer.
fn wait(me: PcpuId) {
    let deadline = [timers::earliest(me), clock::tsc_until(sched::wakes_at())].into_iter().flatten().min();
    if let Some(deadline) = deadline {
        apic::set_timer(deadline);
    }
    let start = cpu::rdtsc();
    hv_arch::idle(|| has_work(me) || deadline.is_some_and(|at| at <= cpu::rdtsc()));
    IDLE[me.index()].fetch_add(cpu::rdtsc().saturating_sub(start), Ordering::Relaxed);
    if deadline.is_some() {
        apic::stop_timer();
    }
}

fn has_work(me: PcpuId) -> bool {
    // Who took the mark away may have been this pcpu itself: nobody would wake it.
    is_called(me) || console::ring_grew() || sched::has_work(me) || !sched::is_marked_idle(me)
}

/// Whether something else than a vcpu waits for `pcpu`.
pub fn is_called(pcpu: PcpuId) -> bool {
    CALLS[pcpu.index()].lock().is_some() || pcpu == PcpuId::BOOT && console::has_notices()
}

fn take_call(pcpu: PcpuId) -> Option<fn()> {
    CALLS[pcpu.index()].lock().take()
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
