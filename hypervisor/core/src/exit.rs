//! VM exits: from the CPU's words to an [`Exit`] that another vendor's CPU could
//! give as well.
//!
//! [`Exit::decode`] reads through [`ExitInformation`] only what the reason at hand
//! makes necessary: CPUID costs no read beyond that of the reason, a port access
//! one. What only some handlers want is read by methods of the payload.

mod interruption;
mod qualification;
mod reason;
#[cfg(test)]
mod tests;

pub use interruption::{Activity, Event, EventKind, Interruptibility, InterruptionInfo, PendingDebug};
pub use qualification::{
    ApicAccess, ApicAccessKind, ControlRegister, CrAccess, DebugConditions, Direction, DrAccess, EptAccess,
    EptViolation, IoAccess, Size, StringIo, TaskSwitch, TaskSwitchSource,
};
pub use reason::{BasicReason, ExitReason, VmInstructionError};

/// The VM-exit information of the exit at hand: VMREAD on the CPU, a table in tests.
pub trait ExitInformation {
    /// Exit qualification.
    fn qualification(&self) -> u64;
    /// Guest-linear address.
    fn guest_linear_address(&self) -> u64;
    /// Guest-physical address.
    fn guest_physical_address(&self) -> u64;
    /// VM-exit interruption information.
    fn interruption_information(&self) -> u32;
    /// VM-exit interruption error code.
    fn interruption_error_code(&self) -> u32;
    /// VM-exit instruction information.
    fn instruction_information(&self) -> u32;
}

/// Why a guest stopped. Named for the instruction or the event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// An exception that the hypervisor asked to see.
    Exception(ExceptionExit),
    /// A non-maskable interrupt of the pcpu.
    Nmi,
    /// An interrupt of the pcpu, acknowledged, with this vector.
    ExternalInterrupt(u8),
    /// The guest could not deliver a double fault.
    TripleFault,
    /// INIT of the pcpu.
    Init,
    /// A start-up IPI of the pcpu.
    StartUpIpi,
    /// The guest can take an interrupt now.
    InterruptWindow,
    /// The guest can take an NMI now.
    NmiWindow,
    /// Task switch.
    TaskSwitch(TaskSwitch),
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
    /// INVD.
    Invd,
    /// WBINVD or WBNOINVD.
    Wbinvd,
    /// RDPMC.
    Rdpmc,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// A hypercall: VMCALL; VMMCALL on AMD.
    Vmcall,
    /// XSETBV.
    Xsetbv,
    /// Control-register access.
    CrAccess(CrAccess),
    /// MOV DR.
    DrAccess(DrAccess),
    /// I/O instruction.
    Io(IoAccess),
    /// RDMSR of the register in ECX.
    Rdmsr,
    /// WRMSR of the register in ECX.
    Wrmsr,
    /// LGDT, SIDT, LTR and their kin.
    DescriptorTable,
    /// An instruction of a feature that no guest's CPUID shows, which the CPU
    /// nevertheless hands to the hypervisor rather than raise #UD.
    HiddenInstruction(BasicReason),
    /// PAUSE, or a long loop of them.
    Pause,
    /// An instruction has been executed under the monitor trap flag.
    MonitorTrap,
    /// The VMX-preemption timer has run down.
    PreemptionTimer,
    /// The guest has lowered its task priority below the threshold.
    TprBelowThreshold,
    /// The guest has ended the interrupt with this vector, of which the EOI-exit
    /// bitmap names.
    VirtualizedEoi(u8),
    /// Access to the APIC-access page.
    ApicAccess(ApicAccess),
    /// The guest has written the virtual-APIC page at this offset.
    ApicWrite(u16),
    /// Guest-physical access that EPT does not allow.
    EptViolation(EptViolation),
    /// An EPT entry that the CPU cannot use, met at this guest-physical address.
    EptMisconfiguration(u64),
    /// The page-modification log is full.
    PageModificationLogFull,
    /// VM entry failed; the guest has not run.
    EntryFailed(EntryFailure),
    /// Anything else: it takes a control that the hypervisor does not set, or a CPU
    /// that it does not know.
    Unexpected(ExitReason),
}

/// An exception that has caused a VM exit and was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExceptionExit {
    /// Vector.
    pub vector: u8,
    /// Hardware exception, or which sort of software exception.
    pub kind: EventKind,
    /// Error code.
    pub error_code: Option<u32>,
    /// An IRET had lifted the blocking by NMI. It is to be set again, unless the exit
    /// was during event delivery or for a double fault (SDM "Information About NMI
    /// Unblocking Due to IRET").
    pub nmi_unblocked: bool,
}

impl ExceptionExit {
    /// For #DB: what led to it.
    #[must_use]
    pub fn debug_conditions(exit: &impl ExitInformation) -> DebugConditions {
        DebugConditions::from_bits_truncate(exit.qualification())
    }

    /// For #PF: the address.
    #[must_use]
    pub fn page_fault_address(exit: &impl ExitInformation) -> u64 {
        exit.qualification()
    }
}

/// Why VM entry failed (SDM "VM-Entry Failures During or After Loading Guest State").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryFailure {
    /// A check of the guest state failed; the number says which group of checks, 0 for most.
    InvalidGuestState(u64),
    /// An entry of the MSR-load area could not be loaded; the number counts from 1.
    MsrLoading(u64),
    /// Machine-check event.
    MachineCheck,
    /// None of the defined reasons.
    Unknown(ExitReason),
}

impl Exit {
    /// Decodes an exit.
    #[must_use]
    #[inline]
    pub fn decode(reason: ExitReason, exit: &impl ExitInformation) -> Self {
        if reason.is_entry_failure() {
            return Self::EntryFailed(entry_failure(reason, exit));
        }
        let Some(basic) = reason.basic() else {
            return Self::Unexpected(reason);
        };
        Self::without_payload(basic)
            .or_else(|| Self::with_payload(basic, exit))
            .unwrap_or(Self::Unexpected(reason))
    }

    #[inline]
    fn without_payload(basic: BasicReason) -> Option<Self> {
        use BasicReason as R;
        Some(match basic {
            R::Cpuid => Self::Cpuid,
            R::Vmcall => Self::Vmcall,
            R::Rdmsr => Self::Rdmsr,
            R::Wrmsr => Self::Wrmsr,
            R::Hlt => Self::Hlt,
            R::InterruptWindow => Self::InterruptWindow,
            R::NmiWindow => Self::NmiWindow,
            R::PreemptionTimer => Self::PreemptionTimer,
            R::Pause => Self::Pause,
            R::TprBelowThreshold => Self::TprBelowThreshold,
            R::TripleFault => Self::TripleFault,
            R::InitSignal => Self::Init,
            R::StartUpIpi => Self::StartUpIpi,
            R::Invd => Self::Invd,
            R::Wbinvd => Self::Wbinvd,
            R::Rdpmc => Self::Rdpmc,
            R::Rdtsc => Self::Rdtsc,
            R::Rdtscp => Self::Rdtscp,
            R::Xsetbv => Self::Xsetbv,
            R::GdtrIdtr | R::LdtrTr => Self::DescriptorTable,
            R::MonitorTrapFlag => Self::MonitorTrap,
            R::PageModificationLogFull => Self::PageModificationLogFull,
            hidden if is_hidden_instruction(hidden) => Self::HiddenInstruction(hidden),
            _ => return None,
        })
    }

    /// `None` where the CPU says what the SDM does not define.
    #[inline]
    fn with_payload(basic: BasicReason, exit: &impl ExitInformation) -> Option<Self> {
        use BasicReason as R;
        match basic {
            R::Io => IoAccess::decode(exit.qualification()).map(Self::Io),
            R::ExternalInterrupt => {
                Some(Self::ExternalInterrupt(InterruptionInfo::new(exit.interruption_information()).vector()))
            }
            R::EptViolation => Some(Self::EptViolation(EptViolation {
                access: EptAccess::from_bits_truncate(exit.qualification()),
                address: exit.guest_physical_address(),
            })),
            R::ApicWrite => Some(Self::ApicWrite((exit.qualification() & 0xfff) as u16)),
            R::ApicAccess => ApicAccess::decode(exit.qualification()).map(Self::ApicAccess),
            R::VirtualizedEoi => Some(Self::VirtualizedEoi((exit.qualification() & 0xff) as u8)),
            R::ControlRegister => CrAccess::decode(exit.qualification()).map(Self::CrAccess),
            R::MovDr => Some(Self::DrAccess(DrAccess::decode(exit.qualification()))),
            R::ExceptionOrNmi => exception_or_nmi(exit),
            R::TaskSwitch => Some(Self::TaskSwitch(TaskSwitch::decode(exit.qualification()))),
            R::EptMisconfiguration => Some(Self::EptMisconfiguration(exit.guest_physical_address())),
            _ => None,
        }
    }
}

fn entry_failure(reason: ExitReason, exit: &impl ExitInformation) -> EntryFailure {
    match reason.basic() {
        Some(BasicReason::InvalidGuestState) => EntryFailure::InvalidGuestState(exit.qualification()),
        Some(BasicReason::MsrLoading) => EntryFailure::MsrLoading(exit.qualification()),
        Some(BasicReason::MachineCheck) => EntryFailure::MachineCheck,
        _ => EntryFailure::Unknown(reason),
    }
}

fn exception_or_nmi(exit: &impl ExitInformation) -> Option<Exit> {
    let info = InterruptionInfo::new(exit.interruption_information());
    match info.kind()? {
        EventKind::Nmi => Some(Exit::Nmi),
        kind => Some(Exit::Exception(ExceptionExit {
            vector: info.vector(),
            kind,
            error_code: info.has_error_code().then(|| exit.interruption_error_code()),
            nmi_unblocked: info.nmi_unblocked(),
        })),
    }
}

/// Instructions that exit without being asked to, or because the hypervisor asks in
/// order to hide them (SDM "Instructions That Cause VM Exits").
const fn is_hidden_instruction(reason: BasicReason) -> bool {
    use BasicReason as R;
    matches!(
        reason,
        R::Getsec
            | R::Vmclear
            | R::Vmlaunch
            | R::Vmptrld
            | R::Vmptrst
            | R::Vmread
            | R::Vmresume
            | R::Vmwrite
            | R::Vmxoff
            | R::Vmxon
            | R::Invept
            | R::Invvpid
            | R::Vmfunc
            | R::Monitor
            | R::Mwait
            | R::Umwait
            | R::Tpause
            | R::Encls
            | R::Enclv
            | R::Pconfig
            | R::Loadiwkey
            | R::Seamcall
            | R::Tdcall
            | R::Rdmsrlist
            | R::Wrmsrlist
    )
}
