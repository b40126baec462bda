//! Basic exit reasons.

use core::fmt;

macro_rules! reasons {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        /// Why the guest stopped (SDM appendix "VMX Basic Exit Reasons").
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum BasicReason {
            $( #[doc = $doc] $name = $number, )*
        }

        impl BasicReason {
            /// The reason numbered `number`, or `None` where the SDM has none.
            #[must_use]
            #[inline]
            pub const fn new(number: u16) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$name), )*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    ExceptionOrNmi = 0, "An exception that the exception bitmap names, or an NMI.";
    ExternalInterrupt = 1, "External interrupt.";
    TripleFault = 2, "Triple fault.";
    InitSignal = 3, "INIT signal.";
    StartUpIpi = 4, "Start-up IPI (SIPI).";
    IoSmi = 5, "I/O system-management interrupt.";
    OtherSmi = 6, "Other SMI.";
    InterruptWindow = 7, "Interrupt window.";
    NmiWindow = 8, "NMI window.";
    TaskSwitch = 9, "Task switch.";
    Cpuid = 10, "CPUID.";
    Getsec = 11, "GETSEC.";
    Hlt = 12, "HLT.";
    Invd = 13, "INVD.";
    Invlpg = 14, "INVLPG.";
    Rdpmc = 15, "RDPMC.";
    Rdtsc = 16, "RDTSC.";
    Rsm = 17, "RSM in SMM.";
    Vmcall = 18, "VMCALL.";
    Vmclear = 19, "VMCLEAR.";
    Vmlaunch = 20, "VMLAUNCH.";
    Vmptrld = 21, "VMPTRLD.";
    Vmptrst = 22, "VMPTRST.";
    Vmread = 23, "VMREAD.";
    Vmresume = 24, "VMRESUME.";
    Vmwrite = 25, "VMWRITE.";
    Vmxoff = 26, "VMXOFF.";
    Vmxon = 27, "VMXON.";
    ControlRegister = 28, "Control-register access.";
    MovDr = 29, "MOV DR.";
    Io = 30, "I/O instruction.";
    Rdmsr = 31, "RDMSR.";
    Wrmsr = 32, "WRMSR.";
    InvalidGuestState = 33, "VM-entry failure: invalid guest state.";
    MsrLoading = 34, "VM-entry failure: MSR loading.";
    Mwait = 36, "MWAIT.";
    MonitorTrapFlag = 37, "Monitor trap flag.";
    Monitor = 39, "MONITOR.";
    Pause = 40, "PAUSE, or PAUSE-loop exiting.";
    MachineCheck = 41, "VM-entry failure: machine-check event.";
    TprBelowThreshold = 43, "TPR below threshold.";
    ApicAccess = 44, "APIC access.";
    VirtualizedEoi = 45, "Virtualized EOI.";
    GdtrIdtr = 46, "Access to GDTR or IDTR.";
    LdtrTr = 47, "Access to LDTR or TR.";
    EptViolation = 48, "EPT violation.";
    EptMisconfiguration = 49, "EPT misconfiguration.";
    Invept = 50, "INVEPT.";
    Rdtscp = 51, "RDTSCP.";
    PreemptionTimer = 52, "VMX-preemption timer expired.";
    Invvpid = 53, "INVVPID.";
    Wbinvd = 54, "WBINVD or WBNOINVD.";
    Xsetbv = 55, "XSETBV.";
    ApicWrite = 56, "APIC write.";
    Rdrand = 57, "RDRAND.";
    Invpcid = 58, "INVPCID.";
    Vmfunc = 59, "VMFUNC.";
    Encls = 60, "ENCLS.";
    Rdseed = 61, "RDSEED.";
    PageModificationLogFull = 62, "Page-modification log full.";
    Xsaves = 63, "XSAVES.";
    Xrstors = 64, "XRSTORS.";
    Pconfig = 65, "PCONFIG.";
    SppRelated = 66, "SPP-related event.";
    Umwait = 67, "UMWAIT.";
    Tpause = 68, "TPAUSE.";
    Loadiwkey = 69, "LOADIWKEY.";
    Enclv = 70, "ENCLV.";
    EnqcmdPasid = 72, "ENQCMD PASID translation failure.";
    EnqcmdsPasid = 73, "ENQCMDS PASID translation failure.";
    BusLock = 74, "Bus lock.";
    InstructionTimeout = 75, "Instruction timeout.";
    Seamcall = 76, "SEAMCALL.";
    Tdcall = 77, "TDCALL.";
    Rdmsrlist = 78, "RDMSRLIST.";
    Wrmsrlist = 79, "WRMSRLIST.";
}

/// The 32-bit exit reason as the CPU gives it (SDM "Basic VM-Exit Information").
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct ExitReason(u32);

impl ExitReason {
    /// The field's value.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Bits 15:0, if the SDM names them.
    #[must_use]
    #[inline]
    pub const fn basic(self) -> Option<BasicReason> {
        BasicReason::new((self.0 & 0xffff) as u16)
    }

    /// Bit 31: VM entry failed, the guest has not run.
    #[must_use]
    #[inline]
    pub const fn is_entry_failure(self) -> bool {
        self.0 >> 31 != 0
    }
}

impl fmt::Debug for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basic() {
            Some(basic) => write!(f, "{basic:?}({:#x})", self.0),
            None => write!(f, "ExitReason({:#x})", self.0),
        }
    }
}

/// Why a VMX instruction failed: the VM-instruction error field (SDM
/// "VM-Instruction Error Numbers").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct VmInstructionError(u32);

impl VmInstructionError {
    /// The field's value.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// What it means, for those that VMLAUNCH, VMRESUME and the handling of VMCSs can meet.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.0 {
            1 => "VMCALL in VMX root operation",
            2 => "VMCLEAR with invalid physical address",
            3 => "VMCLEAR with VMXON pointer",
            4 => "VMLAUNCH with non-clear VMCS",
            5 => "VMRESUME with non-launched VMCS",
            6 => "VMRESUME after VMXOFF",
            7 => "VM entry with invalid control fields",
            8 => "VM entry with invalid host-state fields",
            9 => "VMPTRLD with invalid physical address",
            10 => "VMPTRLD with VMXON pointer",
            11 => "VMPTRLD with incorrect VMCS revision identifier",
            12 => "VMREAD or VMWRITE of an unsupported VMCS component",
            13 => "VMWRITE to a read-only VMCS component",
            15 => "VMXON in VMX root operation",
            26 => "VM entry with events blocked by MOV SS",
            28 => "invalid operand to INVEPT or INVVPID",
            _ => "unknown VM-instruction error",
        }
    }
}

impl fmt::Display for VmInstructionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.0)
    }
}
