//! What the exit qualification says, by reason (SDM "Basic VM-Exit Information").
//!
//! The CPU makes these words, so a combination that the SDM does not define means
//! an unknown CPU: decoding answers `None`, and the exit counts as unexpected.

use bitflags::bitflags;

use super::ExitInformation;
use crate::gpr::Gpr;

/// A control register that a guest can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlRegister {
    /// CR0.
    Cr0,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// CR8: task priority.
    Cr8,
}

/// An instruction that touches a control register (table "Exit Qualification for
/// Control-Register Accesses").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrAccess {
    /// MOV to CR.
    Write(ControlRegister, Gpr),
    /// MOV from CR.
    Read(ControlRegister, Gpr),
    /// CLTS.
    Clts,
    /// LMSW with this operand.
    Lmsw(u16),
}

impl CrAccess {
    /// Decodes the exit qualification.
    #[must_use]
    #[inline]
    pub const fn decode(qualification: u64) -> Option<Self> {
        let register = match qualification & 0xf {
            0 => ControlRegister::Cr0,
            3 => ControlRegister::Cr3,
            4 => ControlRegister::Cr4,
            8 => ControlRegister::Cr8,
            _ => return None,
        };
        let gpr = Gpr::from_field(qualification >> 8);
        match qualification >> 4 & 3 {
            0 => Some(Self::Write(register, gpr)),
            1 => Some(Self::Read(register, gpr)),
            2 => Some(Self::Clts),
            _ => Some(Self::Lmsw((qualification >> 16 & 0xffff) as u16)),
        }
    }
}

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the guest: a write or an OUT.
    Out,
    /// To the guest: a read or an IN.
    In,
}

/// MOV DR (table "Exit Qualification for MOV DR").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrAccess {
    /// Number of the debug register, 0 to 7.
    pub register: u8,
    /// Out: MOV to DR.
    pub direction: Direction,
    /// The other operand.
    pub gpr: Gpr,
}

impl DrAccess {
    /// Decodes the exit qualification.
    #[must_use]
    #[inline]
    pub const fn decode(qualification: u64) -> Self {
        let direction = if qualification & 1 << 4 != 0 { Direction::In } else { Direction::Out };
        Self { register: (qualification & 7) as u8, direction, gpr: Gpr::from_field(qualification >> 8) }
    }
}

/// Bytes of one port or memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Size {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Word = 2,
    /// Four bytes.
    Dword = 4,
}

impl Size {
    /// Number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// The low bits of a value that such an access carries.
    #[must_use]
    pub const fn mask(self) -> u32 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Dword => 0xffff_ffff,
        }
    }
}

/// An I/O instruction (table "Exit Qualification for I/O Instructions").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoAccess {
    /// First port.
    pub port: u16,
    /// Width.
    pub size: Size,
    /// IN and INS, or OUT and OUTS.
    pub direction: Direction,
    /// INS or OUTS: memory is the other operand; see [`StringIo`].
    pub string: bool,
    /// With a REP prefix: RCX counts.
    pub rep: bool,
}

impl IoAccess {
    /// Decodes the exit qualification.
    #[must_use]
    #[inline]
    pub const fn decode(qualification: u64) -> Option<Self> {
        let size = match qualification & 7 {
            0 => Size::Byte,
            1 => Size::Word,
            3 => Size::Dword,
            _ => return None,
        };
        Some(Self {
            port: (qualification >> 16 & 0xffff) as u16,
            size,
            direction: if qualification & 1 << 3 != 0 { Direction::In } else { Direction::Out },
            string: qualification & 1 << 4 != 0,
            rep: qualification & 1 << 5 != 0,
        })
    }

    /// Whether this is a plain IN or OUT, whose other operand is AL, AX or EAX.
    #[must_use]
    #[inline]
    pub const fn is_simple(&self) -> bool {
        !self.string && !self.rep
    }
}

/// The memory operand of INS and OUTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringIo {
    /// Linear address of the first element; segment and wrap-around are accounted for.
    pub linear_address: u64,
    /// Mask of RCX, RSI and RDI that follows from the address size of the instruction.
    pub address_mask: u64,
}

impl StringIo {
    /// Reads the exit's linear address and instruction information (table "Format of
    /// the VM-Exit Instruction-Information Field as Used for INS and OUTS").
    #[must_use]
    pub fn read(exit: &impl ExitInformation) -> Option<Self> {
        let address_mask = match exit.instruction_information() >> 7 & 7 {
            0 => 0xffff,
            1 => 0xffff_ffff,
            2 => u64::MAX,
            _ => return None,
        };
        Some(Self { linear_address: exit.guest_linear_address(), address_mask })
    }
}

bitflags! {
    /// An access that EPT does not allow (table "Exit Qualification for EPT Violations").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EptAccess: u64 {
        /// The access was a data read.
        const READ = 1 << 0;
        /// The access was a data write.
        const WRITE = 1 << 1;
        /// The access was an instruction fetch.
        const FETCH = 1 << 2;
        /// The page is readable.
        const READABLE = 1 << 3;
        /// The page is writable.
        const WRITABLE = 1 << 4;
        /// The page is executable.
        const EXECUTABLE = 1 << 5;
        /// The guest-linear address is valid.
        const LINEAR_ADDRESS_VALID = 1 << 7;
        /// The access was to the translation of the linear address; otherwise to a
        /// paging-structure entry on the way there.
        const TRANSLATED = 1 << 8;
        /// An IRET had lifted the blocking by NMI.
        const NMI_UNBLOCKED = 1 << 12;
        /// Asynchronous to the instruction.
        const ASYNCHRONOUS = 1 << 16;
    }
}

/// An access to guest-physical memory that EPT does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EptViolation {
    /// What was tried, and what the entry would have allowed.
    pub access: EptAccess,
    /// Guest-physical address of the access.
    pub address: u64,
}

impl EptViolation {
    /// The linear address that led there, if one did and the access was to its
    /// translation rather than to a paging structure.
    #[must_use]
    pub fn linear_address(&self, exit: &impl ExitInformation) -> Option<u64> {
        let needed = EptAccess::LINEAR_ADDRESS_VALID | EptAccess::TRANSLATED;
        self.access.contains(needed).then(|| exit.guest_linear_address())
    }

    /// Whether EPT has no page there at all.
    #[must_use]
    pub const fn is_not_present(&self) -> bool {
        let any = EptAccess::READABLE.union(EptAccess::WRITABLE).union(EptAccess::EXECUTABLE);
        !self.access.intersects(any)
    }
}

/// What starts a task switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskSwitchSource {
    /// CALL.
    Call,
    /// IRET.
    Iret,
    /// JMP.
    Jmp,
    /// A task gate in the IDT.
    TaskGate,
}

/// Task switch (table "Exit Qualification for Task Switches").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskSwitch {
    /// Selector of the new task's TSS.
    pub selector: u16,
    /// What starts it.
    pub source: TaskSwitchSource,
}

impl TaskSwitch {
    /// Decodes the exit qualification.
    #[must_use]
    pub const fn decode(qualification: u64) -> Self {
        let source = match qualification >> 30 & 3 {
            0 => TaskSwitchSource::Call,
            1 => TaskSwitchSource::Iret,
            2 => TaskSwitchSource::Jmp,
            _ => TaskSwitchSource::TaskGate,
        };
        Self { selector: (qualification & 0xffff) as u16, source }
    }
}

/// How the APIC-access page was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicAccessKind {
    /// A data read by an instruction.
    Read,
    /// A data write by an instruction.
    Write,
    /// An instruction fetch.
    Fetch,
    /// An access during event delivery.
    EventDelivery,
    /// By a guest-physical address: a page walk or a monitoring feature. The offset
    /// is not defined then.
    GuestPhysical,
}

/// Access to the APIC-access page (table "Exit Qualification for APIC-Access VM Exits
/// from Linear Accesses and Guest-Physical Accesses").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApicAccess {
    /// Offset in the page.
    pub offset: u16,
    /// How.
    pub kind: ApicAccessKind,
}

impl ApicAccess {
    /// Decodes the exit qualification.
    #[must_use]
    #[inline]
    pub const fn decode(qualification: u64) -> Option<Self> {
        let kind = match qualification >> 12 & 0xf {
            0 => ApicAccessKind::Read,
            1 => ApicAccessKind::Write,
            2 => ApicAccessKind::Fetch,
            3 => ApicAccessKind::EventDelivery,
            10 | 15 => ApicAccessKind::GuestPhysical,
            _ => return None,
        };
        Some(Self { offset: (qualification & 0xfff) as u16, kind })
    }
}

bitflags! {
    /// Conditions of a debug exception, at the places that they have in DR6 (table
    /// "Exit Qualification for Debug Exceptions").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DebugConditions: u64 {
        /// Conditions of breakpoints 0 to 3 were met.
        const BREAKPOINTS = 0xf;
        /// An access to a debug register under DR7.GD.
        const DEBUG_REGISTER = 1 << 13;
        /// Single-stepping.
        const SINGLE_STEP = 1 << 14;
    }
}
