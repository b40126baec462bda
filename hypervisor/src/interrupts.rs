//! Interrupts of guests: from a message to the vcpus that it is for, from a local
//! APIC into the guest.
//!
//! ```text
//!   ICR, I/O APIC, MSI ──send──> Posted ──fold──> local APIC ──deliver──> VM entry
//!                                   └─> Owed: EVENTS
//! ```
//!
//! A sender sets bits that the receiver's pcpu takes in when it enters the vcpu: it
//! waits for no lock that is held for long, and never touches registers that the
//! CPU may be working on.
//!
//! Where the CPU delivers interrupts ([`ApicVirtualization::Delivery`]), VM entry takes
//! nothing from the local APIC: the CPU learns what is requested and in service, and
//! does the rest without VM exits. What does not come from the local APIC is injected
//! all the same.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use alloc::sync::Arc;
use hv_arch::apic_page::VirtualApicPage;
use hv_arch::vcpu::Loaded;
use hv_arch::{cpu, time};
use hv_core::event::{Conditions, Decision, PendingEvents};
use hv_core::exit::Interruptibility;
use hv_core::rate::Rate;
use hv_core::vcpu_state::CR0_PE;
use hv_core::vlapic::{
    Delivery, Destination, Effect, Message, Signal, StatusChange, Trigger, Vector, Vlapic,
};
use hv_core::vmcs;
use hv_core::vmx_caps::ApicVirtualization;
use xen_abi::xen::Virq;

use xen_abi::sched::ShutdownReason;

use crate::clock;
use crate::domain::Domain;
use crate::event;
use crate::exit::Outcome;
use crate::shared;
use crate::vcpu::Vcpu;
use crate::work::Work;

/// Rate of the clock that local APIC timers count, Hz: that of Xen's guests
/// (`APIC_BUS_CYCLE_NS`, 10 ns).
const BUS_HZ: NonZeroU64 = NonZeroU64::new(100_000_000).unwrap();
const RFLAGS_TF: u64 = 1 << 8;
const RFLAGS_IF: u64 = 1 << 9;

/// The timers' clock beside the time stamp counter.
pub fn bus() -> Rate {
    Rate::new(BUS_HZ, NonZeroU64::new(time::tsc_hz()).unwrap_or(BUS_HZ))
}

/// Vectors that were sent and that the local APIC does not know of yet: a bit each,
/// edge-triggered ones first.
#[derive(Debug, Default)]
pub struct Posted {
    /// Bit n: `vectors[n]` has bits.
    words: AtomicU32,
    vectors: [AtomicU64; 8],
}

impl Posted {
    fn post(&self, vector: u8, trigger: Trigger) {
        let base = if trigger == Trigger::Level { 4 } else { 0 };
        let word = base + usize::from(vector / 64);
        if let Some(vectors) = self.vectors.get(word) {
            vectors.fetch_or(1 << (vector % 64), Ordering::SeqCst);
            self.words.fetch_or(1 << word, Ordering::SeqCst);
        }
    }

    /// Moves them into `lapic`.
    #[inline]
    fn fold(&self, lapic: &mut Vlapic<VirtualApicPage>) {
        if self.words.load(Ordering::Relaxed) != 0 {
            self.fold_some(lapic);
        }
    }

    fn fold_some(&self, lapic: &mut Vlapic<VirtualApicPage>) {
        let mut words = self.words.swap(0, Ordering::SeqCst);
        while words != 0 {
            let word = words.trailing_zeros();
            words &= words - 1;
            let Some(vectors) = self.vectors.get(word as usize) else { return };
            let mut bits = vectors.swap(0, Ordering::SeqCst);
            while bits != 0 {
                let vector = (word % 4) * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                let trigger = if word >= 4 { Trigger::Level } else { Trigger::Edge };
                lapic.receive(fixed(vector, trigger));
            }
        }
    }
}

fn fixed(vector: u32, trigger: Trigger) -> Message {
    Message {
        destination: Destination::All,
        delivery: Delivery::Fixed,
        vector: u8::try_from(vector).unwrap_or(0),
        trigger,
    }
}

/// Sends `message` to the local APICs of `domain` that it is for.
pub fn send(domain: &Domain, message: Message) {
    for vcpu in domain.vcpus().iter() {
        if !vcpu.lapic().lock().matches(message.destination) {
            continue;
        }
        deliver_to(vcpu, message);
        if message.delivery == Delivery::LowestPriority {
            return;
        }
    }
}

/// Sends `message` to `vcpu`, whatever its destination.
pub fn deliver_to(vcpu: &Arc<Vcpu>, message: Message) {
    match message.delivery {
        Delivery::Fixed | Delivery::LowestPriority => {
            vcpu.posted().post(message.vector, message.trigger);
            vcpu.notify(Work::EVENTS);
        }
        _ => {
            let signalled = vcpu.lapic().lock().receive(message);
            if signalled {
                vcpu.notify(Work::EVENTS | Work::SIGNAL);
            }
        }
    }
}

/// Raises an edge-triggered interrupt of `vcpu`.
pub fn raise(vcpu: &Arc<Vcpu>, vector: Vector) {
    vcpu.posted().post(vector.get(), Trigger::Edge);
    vcpu.notify(Work::EVENTS);
}

/// Does what a write to the local APIC of `vcpu`, which runs here, asks for.
pub fn apply(vcpu: &Vcpu, effect: Effect) {
    match effect {
        Effect::None => {}
        Effect::Send(message) => send(vcpu.domain(), message),
        Effect::EndOfInterrupt(vector) => vcpu.domain().devices().end_of_interrupt(vcpu.domain(), vector),
        Effect::TimerChanged => vcpu.owe(Work::TIMERS),
        Effect::Enabled => {
            if shared::upcall_pending(vcpu).is_some_and(|pending| pending.load(Ordering::SeqCst) != 0) {
                upcall_raised_here(vcpu);
            }
        }
    }
    // A priority may have fallen, a vector been added.
    vcpu.owe(Work::EVENTS);
}

/// Handles a write to the virtual-APIC page that the CPU has done, but which has an
/// effect beyond (SDM "APIC-Write Emulation"). The guest is behind the instruction.
pub fn written(vcpu: &Vcpu, offset: u16) -> Outcome {
    let effect = vcpu.lapic().lock().written(offset, vcpu.tsc());
    apply(vcpu, effect);
    Outcome::Resume
}

/// Handles the end of a level-triggered interrupt, which the CPU has taken out of
/// service. The guest is behind the instruction.
pub fn ended(vcpu: &Vcpu, vector: u8) -> Outcome {
    if let Some(vector) = Vector::new(vector) {
        let effect = vcpu.lapic().lock().ended(vector);
        apply(vcpu, effect);
    }
    Outcome::Resume
}

/// Lets the timers of `vcpu`, which runs here, fire as far as they are due, and notes
/// the next deadline. Returns [`Work::ROUSE`] if it has waited for that.
pub fn expire(vcpu: &Vcpu) -> Work {
    let now = cpu::rdtsc();
    let guest_now = now.wrapping_add(vcpu.tsc_offset());
    let apic = {
        let mut lapic = vcpu.lapic().lock();
        if lapic.expire(guest_now) {
            vcpu.owe(Work::EVENTS);
        }
        // By what is left: a far deadline of the guest's counter may be past the end of
        // the pcpus'.
        lapic.next_deadline().map(|at| now.saturating_add(at.saturating_sub(guest_now)))
    };
    let (expired, timers) = {
        let mut timers = vcpu.timers().lock();
        (timers.expire(clock::now()), timers.deadline().map(clock::tsc_at))
    };
    if expired.timer {
        event::raise_here(vcpu, Virq::Timer);
    }
    let watchdog = if vcpu.id() == 0 { check_watchdogs(vcpu.domain()) } else { None };
    vcpu.set_deadline(apic.into_iter().chain(timers).chain(watchdog).min());
    if expired.poll { Work::ROUSE } else { Work::empty() }
}

/// Ends the domain if a watchdog bites; returns when the next one will.
fn check_watchdogs(domain: &Domain) -> Option<u64> {
    let at = domain.watchdogs().deadline()?;
    if at <= clock::now() {
        log::error!("d{}: watchdog fired", domain.id());
        domain.shut_down(ShutdownReason::Watchdog as u32);
        return None;
    }
    Some(clock::tsc_at(at))
}

/// Takes the most urgent of INIT, start-up and NMI.
pub fn take_signal(vcpu: &Vcpu) -> Option<Signal> {
    vcpu.lapic().lock().take_signal()
}

fn conditions(cpu: &Loaded<'_>, pending: &PendingEvents) -> Conditions {
    let rflags = cpu.read(vmcs::GUEST_RFLAGS);
    Conditions {
        interruptibility: Interruptibility::from_bits_retain(cpu.read(vmcs::GUEST_INTERRUPTIBILITY_STATE)),
        interrupts_enabled: rflags & RFLAGS_IF != 0,
        // It matters to exceptions only.
        protected_mode: pending.is_empty() || cpu.read(vmcs::GUEST_CR0) & CR0_PE != 0,
        trap_pending: rflags & RFLAGS_TF != 0 && cpu.is_single_step_pending(),
    }
}

/// Whether the guest has interrupts enabled (RFLAGS.IF).
pub fn are_enabled(cpu: &Loaded<'_>) -> bool {
    cpu.read(vmcs::GUEST_RFLAGS) & RFLAGS_IF != 0
}

/// Whether a halted vcpu has an event that ends HLT.
pub fn ends_halt(cpu: &Loaded<'_>, vcpu: &Vcpu, pending: &PendingEvents) -> bool {
    !pending.is_empty() || are_enabled(cpu) && are_waiting(cpu, vcpu, pending)
}

/// Whether there is an event for the vcpu that it gets when it can take it.
pub fn are_waiting(cpu: &Loaded<'_>, vcpu: &Vcpu, pending: &PendingEvents) -> bool {
    if !pending.is_empty() || upcall(vcpu).is_some() {
        return true;
    }
    let mut lapic = vcpu.lapic().lock();
    vcpu.posted().fold(&mut lapic);
    // What was not requested past the CPU it knows: that saves to look through the registers.
    if cpu.apic().delivers() && !lapic.has_status_change() {
        is_requested(cpu, &lapic)
    } else {
        lapic.pending().is_some()
    }
}

/// The vector by which the vcpu is told of events, if there are any and it is told past
/// its local APIC.
#[inline]
fn upcall(vcpu: &Vcpu) -> Option<u8> {
    let vector = vcpu.domain().callback().filter(|_| vcpu.upcall_vector().is_none())?;
    let pending = shared::upcall_pending(vcpu)?;
    (pending.load(Ordering::SeqCst) != 0).then_some(vector)
}

/// Tells `vcpu` that events are pending in its `struct vcpu_info`.
pub fn upcall_raised(vcpu: &Arc<Vcpu>) {
    match vcpu.upcall_vector() {
        Some(vector) => raise(vcpu, vector),
        None => vcpu.notify(Work::EVENTS),
    }
}

/// As [`upcall_raised`], of the vcpu that runs on this pcpu.
#[inline]
pub fn upcall_raised_here(vcpu: &Vcpu) {
    if let Some(vector) = vcpu.upcall_vector() {
        vcpu.posted().post(vector.get(), Trigger::Edge);
    }
    vcpu.owe(Work::EVENTS);
}

/// Injects the most urgent event at the VM entry that follows, and has the vcpu exit
/// when it can take the next.
pub fn deliver(cpu: &mut Loaded<'_>, vcpu: &Vcpu, pending: &mut PendingEvents) {
    let conditions = conditions(cpu, pending);
    let upcall = upcall(vcpu);
    let decision = {
        let mut lapic = vcpu.lapic().lock();
        vcpu.posted().fold(&mut lapic);
        match cpu.apic() {
            ApicVirtualization::Delivery { masked, .. } => {
                leave_to_cpu(cpu, &mut lapic, pending, upcall, conditions, masked)
            }
            _ => take_from(cpu, &mut lapic, pending, upcall, conditions),
        }
    };
    if decision.unblock_nmi {
        let blocking = conditions.interruptibility - Interruptibility::BLOCKING_BY_NMI;
        cpu.write(vmcs::GUEST_INTERRUPTIBILITY_STATE, blocking.bits());
    }
    if let Some(event) = decision.inject {
        cpu.inject(event.entry_information(), event.error_code(), event.instruction_length());
    }
    cpu.set_windows(decision.interrupt_window, decision.nmi_window);
}

/// Chooses among all events, those of the local APIC included.
fn take_from(
    cpu: &mut Loaded<'_>,
    lapic: &mut Vlapic<VirtualApicPage>,
    pending: &mut PendingEvents,
    upcall: Option<u8>,
    conditions: Conditions,
) -> Decision {
    let mut decision = pending.next(upcall.or_else(|| lapic.pending().map(Vector::get)), conditions);
    // An upcall needs no end of interrupt.
    if decision.interrupt_taken && upcall.is_none() {
        lapic.accept();
    }
    // Behind an upcall, which raises no priority, the local APIC's vector can come at once.
    decision.interrupt_window |= lapic.pending().is_some();
    cpu.set_tpr_threshold(lapic.tpr_threshold());
    decision
}

/// Chooses among the events that do not come from the local APIC, and tells the CPU
/// which of that are to be delivered; unless it is `masked`, only when the guest can
/// take one.
fn leave_to_cpu(
    cpu: &mut Loaded<'_>,
    lapic: &mut Vlapic<VirtualApicPage>,
    pending: &mut PendingEvents,
    upcall: Option<u8>,
    conditions: Conditions,
    masked: bool,
) -> Decision {
    // Until an upcall can be injected there is an interrupt window, in which the CPU
    // delivers no other interrupt.
    let mut decision = pending.next(upcall, conditions);
    tell_status(cpu, lapic);
    if let Some(vectors) = lapic.take_eoi_exits() {
        cpu.set_eoi_exits(vectors);
    }
    let at_once = conditions.takes_interrupt() && decision.inject.is_none();
    decision.interrupt_window |= !masked && !at_once && is_requested(cpu, lapic);
    decision
}

/// Tells the CPU what has been requested past it.
fn tell_status(cpu: &mut Loaded<'_>, lapic: &mut Vlapic<VirtualApicPage>) {
    match lapic.take_status_change() {
        StatusChange::None => {}
        StatusChange::Requested(vector) => {
            let status = cpu.read(vmcs::GUEST_INTERRUPT_STATUS);
            let [requested, in_service] = status.to_le_bytes();
            if vector.get() > requested {
                let status = u16::from_le_bytes([vector.get(), in_service]);
                cpu.write(vmcs::GUEST_INTERRUPT_STATUS, status);
            }
        }
        StatusChange::Any => cpu.write(vmcs::GUEST_INTERRUPT_STATUS, lapic.interrupt_status()),
    }
}

/// Whether the CPU has an interrupt to deliver when the guest can take one (SDM
/// "Evaluation of Pending Virtual Interrupts").
fn is_requested(cpu: &Loaded<'_>, lapic: &Vlapic<VirtualApicPage>) -> bool {
    let [requested, in_service] = cpu.read(vmcs::GUEST_INTERRUPT_STATUS).to_le_bytes();
    requested & 0xf0 > in_service & 0xf0 && requested & 0xf0 > lapic.tpr() & 0xf0
}
