//! Inter-processor interrupts with acknowledgement.
//!
//! A sender raises the target's request number and sends one vector; the target
//! leaves whatever it was doing (`hlt`, in the idle loop) and raises its
//! acknowledgement to the request number it saw.
//!
//! ```text
//!   sender: wish = true ; n = ++asked ; send IPI ; wait done >= n
//!   target: n = asked   ; if wish: act ; done = n
//! ```
//!
//! A pcpu that waits for another one has interrupts off like any other, so it
//! looks into its own inbox meanwhile: two pcpus may wait for each other.

use core::hint;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hv_core::id::{MAX_PCPUS, PcpuId};

use crate::trap::TrapFrame;
use crate::{apic, cpu, percpu, smp, trap, vmx};

struct Inbox {
    asked: AtomicU64,
    done: AtomicU64,
    /// The pcpu shall forget all translations of guests.
    flush: AtomicBool,
}

impl Inbox {
    const fn new() -> Self {
        Self { asked: AtomicU64::new(0), done: AtomicU64::new(0), flush: AtomicBool::new(false) }
    }
}

static INBOXES: [Inbox; MAX_PCPUS] = [const { Inbox::new() }; MAX_PCPUS];

/// Number of the pcpu that stops all others, which stop at the next NMI.
static STOPPER: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;

/// A request that a pcpu has not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    target: PcpuId,
    number: u64,
}

impl Receipt {
    /// Whether the target has acted.
    #[must_use]
    pub fn is_done(self) -> bool {
        INBOXES[self.target.index()].done.load(Ordering::Acquire) >= self.number
    }

    /// Waits for the target, at most `ticks` of the time stamp counter, and answers
    /// what other pcpus ask of this one.
    ///
    /// # Errors
    ///
    /// The target, if it has not acted by then.
    pub fn wait(self, ticks: u64) -> Result<(), PcpuId> {
        let start = cpu::rdtsc();
        while !self.is_done() {
            if cpu::rdtsc().wrapping_sub(start) > ticks {
                return Err(self.target);
            }
            receive();
            hint::spin_loop();
        }
        Ok(())
    }
}

/// Interrupts `target`, a pcpu that is online: it leaves `hlt` and looks for work.
pub fn send(target: PcpuId) -> Receipt {
    let number = INBOXES[target.index()].asked.fetch_add(1, Ordering::AcqRel) + 1;
    if let Some(apic_id) = smp::apic_id(target) {
        apic::send_ipi(apic_id, apic::IPI_VECTOR);
    }
    Receipt { target, number }
}

/// Asks `target` to forget what it remembers of any guest's EPT. Until it has, it
/// enters no guest.
pub(crate) fn send_flush(target: PcpuId) -> Receipt {
    INBOXES[target.index()].flush.store(true, Ordering::Release);
    send(target)
}

/// What was asked of `target` last.
pub(crate) fn latest(target: PcpuId) -> Receipt {
    Receipt { target, number: INBOXES[target.index()].asked.load(Ordering::Acquire) }
}

/// Answers what was asked of this pcpu: for the IPI vector, and for whoever waits.
pub(crate) fn receive() {
    let inbox = &INBOXES[percpu::this().id().index()];
    let asked = inbox.asked.load(Ordering::Acquire);
    if asked == inbox.done.load(Ordering::Relaxed) {
        return;
    }
    // A wish that came after `asked` was read is fulfilled early: no harm.
    if inbox.flush.swap(false, Ordering::AcqRel) {
        vmx::forget_guest_translations();
    }
    inbox.done.fetch_max(asked, Ordering::Release);
}

/// Stops every other pcpu by NMI, wherever it is. They stay stopped. Of several
/// pcpus that try, the first goes on.
pub fn stop_others() {
    let me = percpu::this().id();
    let first = STOPPER.compare_exchange(NOBODY, me.index(), Ordering::AcqRel, Ordering::Acquire);
    if first.is_err_and(|stopper| stopper != me.index()) {
        stop();
    }
    // Only pcpus that are ours: one that waits in the firmware may have no handler
    // for an NMI and would reset the machine. Alone, the local APIC may be off yet.
    for apic_id in smp::online().filter(|&pcpu| pcpu != me).filter_map(smp::apic_id) {
        apic::send_nmi(apic_id);
    }
}

/// Handles an NMI.
pub(crate) fn nmi(frame: &TrapFrame) {
    let me = percpu::this().id().index();
    match STOPPER.load(Ordering::Acquire) {
        NOBODY => trap::exception(frame),
        // From a pcpu that wanted to stop this one, but was later.
        stopper if stopper == me => {}
        _ => stop(),
    }
}

fn stop() -> ! {
    vmx::leave_root();
    cpu::halt_forever();
}
