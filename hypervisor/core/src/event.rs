//! Which event a vcpu gets at its next VM entry, and which window to wait for.
//!
//! ```text
//!  exit during delivery --> interrupted --+
//!                                         +--> slot --+
//!  emulation finds a fault --> raise -----+           |
//!  NMI from LAPIC or hypercall --> raise_nmi ---------+--> next --> inject, windows
//!  highest vector of the virtual LAPIC ---------------+
//! ```
//!
//! The slot goes first, as its event has been recognised already; then an NMI, then
//! an external interrupt (SDM "Prioritization of Concurrent Events"). One event can be
//! injected with each VM entry; what has to wait opens a window.

use crate::exit::{Event, EventKind, Interruptibility};

/// A hardware exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    vector: u8,
    error_code: Option<u32>,
}

/// How two exceptions combine (SDM "Interrupt 8—Double Fault Exception (#DF)").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

const fn class(vector: u8) -> Class {
    match vector {
        8 => Class::DoubleFault,
        // #DE, #TS, #NP, #SS, #GP, #CP.
        0 | 10..=13 | 21 => Class::Contributory,
        // #PF, #VE.
        14 | 20 => Class::PageFault,
        _ => Class::Benign,
    }
}

impl Exception {
    /// #DE: divide error.
    pub const DIVIDE_ERROR: Self = Self::without_code(0);
    /// #DB: debug exception.
    pub const DEBUG: Self = Self::without_code(1);
    /// #BR: BOUND range exceeded.
    pub const BOUND_RANGE: Self = Self::without_code(5);
    /// #UD: invalid opcode.
    pub const INVALID_OPCODE: Self = Self::without_code(6);
    /// #NM: device not available.
    pub const DEVICE_NOT_AVAILABLE: Self = Self::without_code(7);
    /// #DF: double fault.
    pub const DOUBLE_FAULT: Self = Self::with_code(8, 0);
    /// #GP(0): general protection.
    pub const GENERAL_PROTECTION: Self = Self::with_code(13, 0);
    /// #MF: x87 floating-point error.
    pub const FLOATING_POINT: Self = Self::without_code(16);
    /// #AC: alignment check.
    pub const ALIGNMENT_CHECK: Self = Self::with_code(17, 0);
    /// #MC: machine check.
    pub const MACHINE_CHECK: Self = Self::without_code(18);
    /// #XM: SIMD floating-point exception.
    pub const SIMD_FLOATING_POINT: Self = Self::without_code(19);

    /// #TS with this error code.
    #[must_use]
    pub const fn invalid_tss(error_code: u16) -> Self {
        Self::with_code(10, error_code)
    }

    /// #NP with this error code.
    #[must_use]
    pub const fn segment_not_present(error_code: u16) -> Self {
        Self::with_code(11, error_code)
    }

    /// #SS with this error code.
    #[must_use]
    pub const fn stack_fault(error_code: u16) -> Self {
        Self::with_code(12, error_code)
    }

    /// #GP with this error code.
    #[must_use]
    pub const fn general_protection(error_code: u16) -> Self {
        Self::with_code(13, error_code)
    }

    /// #PF with this error code. The address is to be put into CR2 when it is injected.
    #[must_use]
    pub const fn page_fault(error_code: u16) -> Self {
        Self::with_code(14, error_code)
    }

    /// An exception that the hypervisor intercepts and hands on to the guest, or one
    /// that a toolstack asks for. `None` if there is no such hardware exception, or
    /// if it should have an error code and has not, or the reverse.
    #[must_use]
    pub const fn new(vector: u8, error_code: Option<u32>) -> Option<Self> {
        let known = matches!(vector, 0 | 1 | 5..=8 | 10..=14 | 16..=21);
        if known && pushes_error_code(vector) == error_code.is_some() {
            Some(Self { vector, error_code })
        } else {
            None
        }
    }

    const fn without_code(vector: u8) -> Self {
        Self { vector, error_code: None }
    }

    // The CPU refuses an error code with any of bits 31:16 (SDM "VM-Entry Controls for
    // Event Injection").
    const fn with_code(vector: u8, error_code: u16) -> Self {
        Self { vector, error_code: Some(error_code as u32) }
    }

    /// Vector.
    #[must_use]
    pub const fn vector(self) -> u8 {
        self.vector
    }

    /// Error code.
    #[must_use]
    pub const fn error_code(self) -> Option<u32> {
        self.error_code
    }

    const fn event(self) -> Event {
        Event::exception(self.vector, self.error_code)
    }
}

/// SDM table "Protected-Mode Exceptions and Interrupts".
const fn pushes_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

/// A fault while a double fault was being delivered: the vcpu shuts down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TripleFault;

/// The event that takes the place of `first` when its delivery raises `second`.
fn combine(first: Event, second: Exception) -> Result<Event, TripleFault> {
    // Interrupts, NMIs and INT n are benign, whatever their vector.
    let first_class = match first.kind() {
        EventKind::HardwareException => class(first.vector()),
        _ => Class::Benign,
    };
    match (first_class, class(second.vector)) {
        (Class::DoubleFault, Class::Contributory | Class::PageFault) => Err(TripleFault),
        (Class::Contributory, Class::Contributory)
        | (Class::PageFault, Class::Contributory | Class::PageFault) => Ok(Exception::DOUBLE_FAULT.event()),
        _ => Ok(second.event()),
    }
}

/// What of the guest's state decides whether it can take an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// What blocks events.
    pub interruptibility: Interruptibility,
    /// RFLAGS.IF.
    pub interrupts_enabled: bool,
    /// CR0.PE: without it exceptions push no error code.
    pub protected_mode: bool,
    /// A debug exception of the instruction before is pending, which comes first (SDM
    /// "Priority Among Concurrent Events"). An event injected now would take its place.
    pub trap_pending: bool,
}

impl Conditions {
    const fn instruction_shadow(self) -> bool {
        self.interruptibility
            .intersects(Interruptibility::BLOCKING_BY_STI.union(Interruptibility::BLOCKING_BY_MOV_SS))
    }

    /// Whether the guest takes an interrupt at its next instruction boundary.
    #[must_use]
    pub const fn takes_interrupt(self) -> bool {
        self.interrupts_enabled && !self.instruction_shadow() && !self.trap_pending
    }

    /// Some CPUs also refuse an NMI after STI (SDM "Checks on Guest Non-Register State").
    const fn takes_nmi(self) -> bool {
        let blocked = self.interruptibility.contains(Interruptibility::BLOCKING_BY_NMI);
        !self.instruction_shadow() && !self.trap_pending && !blocked
    }
}

/// What to do at VM entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// Inject this.
    pub inject: Option<Event>,
    /// The virtual LAPIC's interrupt is the one injected: it is in service now.
    pub interrupt_taken: bool,
    /// Clear "blocking by NMI" first: the delivery of this NMI has set it before it
    /// was broken off, and VM entry does not inject an NMI that is blocked.
    pub unblock_nmi: bool,
    /// Exit when the guest can take an interrupt.
    pub interrupt_window: bool,
    /// Exit when the guest can take an NMI.
    pub nmi_window: bool,
}

/// `event` with the error code that it must have in a guest in this mode: VM entry refuses
/// every other as an invalid control field, and the mode may have been set since.
fn for_mode(event: Event, protected_mode: bool) -> Event {
    let is_exception = event.kind() == EventKind::HardwareException;
    let has_code = protected_mode && is_exception && pushes_error_code(event.vector());
    event.with_error_code(has_code.then(|| event.error_code().unwrap_or(0)))
}

/// Events that wait for one vcpu, interrupts excepted: those wait in its LAPIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PendingEvents {
    slot: Option<Event>,
    nmi: bool,
}

impl PendingEvents {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { slot: None, nmi: false }
    }

    /// Whether nothing waits here.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.slot.is_none() && !self.nmi
    }

    /// A VM exit has broken off the delivery of `event`: it is to be delivered again.
    pub const fn interrupted(&mut self, event: Event) {
        self.slot = Some(event);
    }

    /// The vcpu gets `exception`. If another event was being delivered, the two combine;
    /// an interrupt or NMI that was is then lost, as on a CPU.
    ///
    /// # Errors
    /// [`TripleFault`]: the slot is unchanged and the vcpu is to be shut down.
    pub fn raise(&mut self, exception: Exception) -> Result<(), TripleFault> {
        let event = match self.slot {
            Some(first) => combine(first, exception)?,
            None => exception.event(),
        };
        self.slot = Some(event);
        Ok(())
    }

    /// The vcpu gets an NMI. At most one waits, as on a CPU.
    pub const fn raise_nmi(&mut self) {
        self.nmi = true;
    }

    /// Takes the event for the next VM entry. `interrupt` is the highest vector that
    /// the virtual LAPIC has for delivery; `None` if the CPU delivers by itself.
    pub fn next(&mut self, interrupt: Option<u8>, conditions: Conditions) -> Decision {
        let mut decision = Decision::default();
        if let Some(event) = self.slot.take() {
            decision.unblock_nmi = event.kind() == EventKind::Nmi;
            decision.inject = Some(for_mode(event, conditions.protected_mode));
        } else if self.nmi && conditions.takes_nmi() {
            self.nmi = false;
            decision.inject = Some(Event::NMI);
        } else if let Some(vector) = interrupt
            && conditions.takes_interrupt()
        {
            decision.interrupt_taken = true;
            decision.inject = Some(Event::interrupt(vector));
        }
        decision.interrupt_window = interrupt.is_some() && !decision.interrupt_taken;
        self.wait_for_nmi(conditions, &mut decision);
        decision
    }

    /// Where STI does not block NMIs, the NMI window would open at once and the guest
    /// would never get past the instruction; interrupts are enabled then, so their
    /// window opens right after it.
    fn wait_for_nmi(&self, conditions: Conditions, decision: &mut Decision) {
        let after_sti = conditions.interruptibility.contains(Interruptibility::BLOCKING_BY_STI);
        decision.nmi_window = self.nmi && !after_sti;
        decision.interrupt_window |= self.nmi && after_sti;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exit::InterruptionInfo;

    const OPEN: Conditions = Conditions {
        interruptibility: Interruptibility::empty(),
        interrupts_enabled: true,
        protected_mode: true,
        trap_pending: false,
    };

    fn blocked(by: Interruptibility) -> Conditions {
        Conditions { interruptibility: by, ..OPEN }
    }

    fn raised(first: Exception, second: Exception) -> Result<u8, TripleFault> {
        let mut pending = PendingEvents::new();
        pending.raise(first)?;
        pending.raise(second)?;
        Ok(pending.next(None, OPEN).inject.unwrap().vector())
    }

    #[test]
    fn nothing_pending_injects_nothing() {
        assert!(PendingEvents::new().is_empty());
        assert_eq!(PendingEvents::new().next(None, OPEN), Decision::default());
    }

    /// SDM table "Conditions for Generating a Double Fault", row by row.
    #[test]
    fn faults_combine_to_a_double_fault() {
        let (benign, contributory, page) =
            (Exception::INVALID_OPCODE, Exception::GENERAL_PROTECTION, Exception::page_fault(2));
        for second in [benign, contributory, page] {
            assert_eq!(raised(benign, second), Ok(second.vector()));
        }
        assert_eq!(raised(contributory, benign), Ok(6));
        assert_eq!(raised(contributory, contributory), Ok(8));
        assert_eq!(raised(contributory, page), Ok(14));
        assert_eq!(raised(page, benign), Ok(6));
        assert_eq!(raised(page, contributory), Ok(8));
        assert_eq!(raised(page, page), Ok(8));
        assert_eq!(raised(Exception::DOUBLE_FAULT, benign), Ok(6));
        assert_eq!(raised(Exception::DOUBLE_FAULT, contributory), Err(TripleFault));
        assert_eq!(raised(Exception::DOUBLE_FAULT, page), Err(TripleFault));
    }

    #[test]
    fn interrupts_are_benign_whatever_their_vector() {
        for first in [Event::interrupt(13), Event::interrupt(14), Event::NMI] {
            let mut pending = PendingEvents::new();
            pending.interrupted(first);
            pending.raise(Exception::page_fault(0)).unwrap();
            assert_eq!(pending.next(None, OPEN).inject.map(|e| e.vector()), Some(14));
        }
    }

    #[test]
    fn an_event_under_way_goes_before_nmi_and_interrupt() {
        let mut pending = PendingEvents::new();
        pending.raise(Exception::GENERAL_PROTECTION).unwrap();
        pending.raise_nmi();
        let first = pending.next(Some(0x30), OPEN);
        assert_eq!(first.inject, Some(Exception::GENERAL_PROTECTION.event()));
        assert!(first.nmi_window && first.interrupt_window && !first.interrupt_taken);
        let second = pending.next(Some(0x30), OPEN);
        assert_eq!(second.inject, Some(Event::NMI));
        assert!(!second.nmi_window && second.interrupt_window);
        let third = pending.next(Some(0x30), OPEN);
        assert_eq!((third.inject, third.interrupt_taken), (Some(Event::interrupt(0x30)), true));
        assert!(!third.interrupt_window);
    }

    #[test]
    fn a_closed_guest_opens_a_window() {
        let closed = Conditions { interrupts_enabled: false, ..OPEN };
        let decision = PendingEvents::new().next(Some(0x30), closed);
        assert_eq!(decision, Decision { interrupt_window: true, ..Decision::default() });

        let mut pending = PendingEvents::new();
        pending.raise_nmi();
        let in_handler = pending.next(None, blocked(Interruptibility::BLOCKING_BY_NMI));
        assert_eq!(in_handler, Decision { nmi_window: true, ..Decision::default() });
        let after_sti = pending.next(None, blocked(Interruptibility::BLOCKING_BY_STI));
        assert_eq!(after_sti, Decision { interrupt_window: true, ..Decision::default() });
        let after_mov_ss = pending.next(None, blocked(Interruptibility::BLOCKING_BY_MOV_SS));
        assert_eq!(after_mov_ss, Decision { nmi_window: true, ..Decision::default() });
    }

    #[test]
    fn a_pending_trap_comes_before_nmi_and_interrupt() {
        let mut pending = PendingEvents::new();
        pending.raise_nmi();
        let waiting = pending.next(Some(0x30), Conditions { trap_pending: true, ..OPEN });
        assert_eq!((waiting.inject, waiting.interrupt_taken), (None, false));
        assert!(waiting.nmi_window && waiting.interrupt_window);
    }

    #[test]
    fn an_interrupted_nmi_is_unblocked_and_injected_again() {
        let mut pending = PendingEvents::new();
        let event = Event::interrupted(InterruptionInfo::new(0x8000_0202), || 0, || 0).unwrap();
        pending.interrupted(event);
        let decision = pending.next(None, blocked(Interruptibility::BLOCKING_BY_NMI));
        assert_eq!((decision.inject, decision.unblock_nmi), (Some(Event::NMI), true));
    }

    #[test]
    fn real_mode_has_no_error_codes() {
        let mut pending = PendingEvents::new();
        pending.raise(Exception::GENERAL_PROTECTION).unwrap();
        let event = pending.next(None, Conditions { protected_mode: false, ..OPEN }).inject.unwrap();
        assert_eq!((event.error_code(), event.entry_information()), (None, 0x8000_030d));
    }

    /// A toolstack can set the mode of a vcpu that has stopped in between.
    #[test]
    fn an_interrupted_exception_has_the_error_code_of_the_mode_that_it_meets() {
        let inject = |raw, protected_mode| {
            let mut pending = PendingEvents::new();
            pending.interrupted(Event::interrupted(InterruptionInfo::new(raw), || 7, || 0).unwrap());
            pending.next(None, Conditions { protected_mode, ..OPEN }).inject.unwrap().error_code()
        };
        let (with_code, without_code) = (0x8000_0b0d, 0x8000_030d);
        assert_eq!((inject(with_code, true), inject(with_code, false)), (Some(7), None));
        assert_eq!((inject(without_code, true), inject(without_code, false)), (Some(0), None));
        assert_eq!(inject(0x8000_0b06, true), None, "#UD never has one");
    }

    #[test]
    fn exceptions_have_the_error_codes_of_the_sdm() {
        assert_eq!(Exception::new(14, Some(4)), Some(Exception::page_fault(4)));
        assert_eq!(Exception::new(6, None), Some(Exception::INVALID_OPCODE));
        for wrong in [Exception::new(14, None), Exception::new(6, Some(0)), Exception::new(2, None)] {
            assert_eq!(wrong, None);
        }
        assert_eq!([3, 4, 9, 15, 22, 255].map(|v| Exception::new(v, None)), [None; 6]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Raise(u8),
        Nmi,
        Enter { interrupt: Option<u8>, conditions: Conditions },
    }

    fn steps() -> impl Strategy<Value = std::vec::Vec<Step>> {
        let enter = (proptest::option::of(16u8..), 0u32..16, any::<[bool; 2]>()).prop_map(
            |(interrupt, bits, flags)| {
                let [interrupts_enabled, protected_mode] = flags;
                let interruptibility = Interruptibility::from_bits_truncate(bits);
                Step::Enter {
                    interrupt,
                    conditions: Conditions {
                        interruptibility,
                        interrupts_enabled,
                        protected_mode,
                        trap_pending: false,
                    },
                }
            },
        );
        proptest::collection::vec(prop_oneof![(0u8..32).prop_map(Step::Raise), Just(Step::Nmi), enter], 0..20)
    }

    /// Few cases under miri, and no files of past failures: it has no file system.
    fn config() -> ProptestConfig {
        let cases = if cfg!(miri) { 4 } else { 256 };
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(config())]

        /// VM entry accepts every decision, and what waits is waited for.
        #[test]
        fn decisions_are_enterable_and_complete(steps in steps()) {
            let mut pending = PendingEvents::new();
            for step in steps {
                match step {
                    Step::Raise(vector) => {
                        let code = pushes_error_code(vector).then_some(0);
                        if let Some(exception) = Exception::new(vector, code) {
                            let _ = pending.raise(exception);
                        }
                    }
                    Step::Nmi => pending.raise_nmi(),
                    Step::Enter { interrupt, conditions } => {
                        let decision = pending.next(interrupt, conditions);
                        match decision.inject.map(|event| event.kind()) {
                            Some(EventKind::ExternalInterrupt) => prop_assert!(conditions.takes_interrupt()),
                            Some(EventKind::Nmi) => prop_assert!(conditions.takes_nmi()),
                            Some(_) => prop_assert_eq!(
                                decision.inject.unwrap().error_code().is_some(),
                                conditions.protected_mode && pushes_error_code(decision.inject.unwrap().vector())
                            ),
                            None => {}
                        }
                        prop_assert_eq!(interrupt.is_some() && !decision.interrupt_taken,
                                        interrupt.is_some() && decision.interrupt_window);
                        prop_assert!(pending.is_empty() || decision.nmi_window || decision.interrupt_window);
                    }
                }
            }
        }
    }
}
