//! Events as VM entry injects them and VM exit reports them, and what blocks them.
//!
//! ```text
//! interruption information   31     30..13  12        11          10..8  7..0
//!                            valid  zero    NMI       error code  type   vector
//!                                           unblocked valid
//! ```
//!
//! SDM "Information for VM Exits Due to Vectored Events", "Information for VM Exits
//! That Occur During Event Delivery", "VM-Entry Controls for Event Injection". AMD's
//! EVENTINJ and EXITINTINFO have the same types at the same places.

use bitflags::bitflags;

use crate::event::Exception;

/// What kind of event: bits 10:8 of the interruption information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EventKind {
    /// External interrupt.
    ExternalInterrupt = 0,
    /// Non-maskable interrupt.
    Nmi = 2,
    /// Hardware exception.
    HardwareException = 3,
    /// INT n.
    SoftwareInterrupt = 4,
    /// INT1.
    PrivilegedSoftwareException = 5,
    /// INT3 and INTO.
    SoftwareException = 6,
}

impl EventKind {
    const fn from_type(bits: u32) -> Option<Self> {
        match bits {
            0 => Some(Self::ExternalInterrupt),
            2 => Some(Self::Nmi),
            3 => Some(Self::HardwareException),
            4 => Some(Self::SoftwareInterrupt),
            5 => Some(Self::PrivilegedSoftwareException),
            6 => Some(Self::SoftwareException),
            _ => None,
        }
    }

    /// Whether an instruction raises it, so that its delivery must know how long
    /// that instruction is: RIP is pushed as that of the next one.
    #[must_use]
    pub const fn has_instruction_length(self) -> bool {
        matches!(self, Self::SoftwareInterrupt | Self::PrivilegedSoftwareException | Self::SoftwareException)
    }
}

/// An interruption-information word that a VM exit has stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct InterruptionInfo(u32);

const VALID: u32 = 1 << 31;
const NMI_UNBLOCKED: u32 = 1 << 12;
const ERROR_CODE_VALID: u32 = 1 << 11;
const TYPE_SHIFT: u32 = 8;

impl InterruptionInfo {
    /// The field's value.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// Whether there was an event at all.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Vector of the interrupt or exception.
    #[must_use]
    pub const fn vector(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Kind of event, or `None` for a type that the SDM keeps reserved.
    #[must_use]
    pub const fn kind(self) -> Option<EventKind> {
        EventKind::from_type(self.0 >> TYPE_SHIFT & 7)
    }

    /// Whether the event pushes an error code.
    #[must_use]
    pub const fn has_error_code(self) -> bool {
        self.0 & ERROR_CODE_VALID != 0
    }

    /// Whether an IRET had already lifted the blocking by NMI when it faulted. Not
    /// defined in IDT-vectoring information.
    #[must_use]
    pub const fn nmi_unblocked(self) -> bool {
        self.0 & NMI_UNBLOCKED != 0
    }
}

/// An event on its way into a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    kind: EventKind,
    vector: u8,
    instruction_length: u8,
    error_code: Option<u32>,
}

impl Event {
    /// Vector of NMIs.
    const NMI_VECTOR: u8 = 2;
    /// #VE: the exceptions above belong to features that no guest has.
    const LAST_EXCEPTION: u8 = 20;

    /// A non-maskable interrupt.
    pub const NMI: Self = Self::new(EventKind::Nmi, Self::NMI_VECTOR);

    /// An external interrupt.
    #[must_use]
    pub const fn interrupt(vector: u8) -> Self {
        Self::new(EventKind::ExternalInterrupt, vector)
    }

    /// A hardware exception; see [`Exception`](crate::event::Exception) for its rules.
    pub(crate) const fn exception(vector: u8, error_code: Option<u32>) -> Self {
        Self { error_code, ..Self::new(EventKind::HardwareException, vector) }
    }

    const fn new(kind: EventKind, vector: u8) -> Self {
        Self { kind, vector, instruction_length: 0, error_code: None }
    }

    /// The event whose delivery a VM exit has broken off, to be injected again: from
    /// the IDT-vectoring information, and from the error code and the instruction
    /// length, which are read only if they count.
    ///
    /// `None` if no delivery was under way, and for what VM entry would refuse as an invalid
    /// control field (SDM "VM-Entry Control Fields"), which a CPU never reports: a record of
    /// a saved domain may. Without it a software event's instruction is executed again.
    #[must_use]
    #[inline]
    pub fn interrupted(
        info: InterruptionInfo,
        error_code: impl FnOnce() -> u32,
        instruction_length: impl FnOnce() -> u32,
    ) -> Option<Self> {
        if !info.is_valid() {
            return None;
        }
        let kind = info.kind()?;
        let is_exception = kind == EventKind::HardwareException;
        let error_code = (is_exception && info.has_error_code()).then(error_code);
        let length = if kind.has_instruction_length() { instruction_length() } else { 0 };
        let event = Self {
            kind,
            vector: info.vector(),
            // The SDM allows 1 to 15 bytes; four bits hold them.
            instruction_length: (length & 0xf) as u8,
            error_code: error_code.map(|code| code & 0xffff),
        };
        event.can_be_injected().then_some(event)
    }

    const fn can_be_injected(self) -> bool {
        match self.kind {
            EventKind::ExternalInterrupt => true,
            EventKind::Nmi => self.vector == Self::NMI_VECTOR,
            EventKind::HardwareException => self.vector <= Self::LAST_EXCEPTION,
            _ => self.instruction_length != 0,
        }
    }

    /// The event that a saved state says was being delivered. `None` if VM entry could
    /// refuse it (SDM "Checks on VM-Entry Control Fields"): unlike the guest's own state,
    /// these fields are the hypervisor's word.
    ///
    /// Software interrupts and exceptions are refused: how long the instruction was is not
    /// saved, and the guest comes to it again.
    #[must_use]
    pub const fn saved(info: InterruptionInfo, error_code: u32) -> Option<Self> {
        const DEFINED: u32 = VALID | ERROR_CODE_VALID | 7 << TYPE_SHIFT | 0xff;
        /// Only later CPUs know that it has an error code.
        const CONTROL_PROTECTION: u8 = 21;
        if info.0 & !DEFINED != 0 || !info.is_valid() {
            return None;
        }
        let vector = info.vector();
        let error_code = if info.has_error_code() { Some(error_code) } else { None };
        match (info.kind(), error_code) {
            (Some(EventKind::ExternalInterrupt), None) => Some(Self::interrupt(vector)),
            (Some(EventKind::Nmi), None) if vector == Self::NMI_VECTOR => Some(Self::NMI),
            // Bits 31:16 of an error code are reserved.
            (Some(EventKind::HardwareException), Some(0x1_0000..)) => None,
            (Some(EventKind::HardwareException), _)
                if vector != CONTROL_PROTECTION && Exception::new(vector, error_code).is_some() =>
            {
                Some(Self::exception(vector, error_code))
            }
            _ => None,
        }
    }

    /// Kind of event.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// Vector.
    #[must_use]
    pub const fn vector(&self) -> u8 {
        self.vector
    }

    /// Error code that its delivery pushes.
    #[must_use]
    pub const fn error_code(&self) -> Option<u32> {
        self.error_code
    }

    /// Length of the instruction that raised it, bytes. The VM-entry instruction
    /// length is to be written if there is one.
    #[must_use]
    pub const fn instruction_length(&self) -> Option<u32> {
        if self.kind.has_instruction_length() { Some(self.instruction_length as u32) } else { None }
    }

    /// The same with this error code, or none.
    #[must_use]
    pub(crate) const fn with_error_code(self, error_code: Option<u32>) -> Self {
        Self { error_code, ..self }
    }

    /// The VM-entry interruption-information field that injects it.
    #[must_use]
    pub const fn entry_information(&self) -> u32 {
        let error_code = if self.error_code.is_some() { ERROR_CODE_VALID } else { 0 };
        VALID | error_code | (self.kind as u32) << TYPE_SHIFT | self.vector as u32
    }
}

bitflags! {
    /// What keeps events from a guest for now: the guest interruptibility state (SDM
    /// "Guest Non-Register State").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Interruptibility: u32 {
        /// The instruction after STI has not run.
        const BLOCKING_BY_STI = 1 << 0;
        /// The instruction after MOV SS or POP SS has not run.
        const BLOCKING_BY_MOV_SS = 1 << 1;
        /// SMIs are blocked.
        const BLOCKING_BY_SMI = 1 << 2;
        /// NMIs are blocked until IRET.
        const BLOCKING_BY_NMI = 1 << 3;
        /// The exit was from enclave mode.
        const ENCLAVE_INTERRUPTION = 1 << 4;
    }

    /// Debug exceptions that are recognised but not yet delivered (SDM "Guest
    /// Non-Register State").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PendingDebug: u64 {
        /// Conditions of breakpoints 0 to 3 were met.
        const BREAKPOINTS = 0xf;
        /// At least one of them is enabled in DR7.
        const ENABLED_BREAKPOINT = 1 << 12;
        /// Single-stepping.
        const SINGLE_STEP = 1 << 14;
        /// In a transactional region.
        const RTM = 1 << 16;
    }
}

impl Interruptibility {
    /// State after an instruction has been emulated: the blocking that it was under
    /// has ended with it.
    #[must_use]
    pub const fn after_instruction(self) -> Self {
        self.difference(Self::BLOCKING_BY_STI.union(Self::BLOCKING_BY_MOV_SS))
    }
}

/// What the vcpu does between instructions (SDM "Guest Non-Register State").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Active = 0,
    /// Halted by HLT.
    Hlt = 1,
    /// After a triple fault.
    Shutdown = 2,
    /// After INIT, until a start-up IPI.
    WaitForSipi = 3,
}

impl Activity {
    /// The field's value as a state.
    #[must_use]
    pub const fn new(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Active),
            1 => Some(Self::Hlt),
            2 => Some(Self::Shutdown),
            3 => Some(Self::WaitForSipi),
            _ => None,
        }
    }
}
