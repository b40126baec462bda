//! Numbers of the model-specific registers that the hypervisor touches or
//! answers for (SDM volume 4, "Architectural MSRs").

use core::fmt;

/// Number of a model-specific register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Msr(u32);

impl Msr {
    /// The register numbered `raw`. All 2^32 numbers can be asked for by RDMSR.
    #[must_use]
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The number, as in ECX of RDMSR and WRMSR.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is one of the numbers 800H to 8FFH kept for the x2APIC.
    #[must_use]
    pub const fn is_x2apic(self) -> bool {
        X2APIC_FIRST <= self.0 && self.0 <= X2APIC_LAST
    }

    /// The x2APIC register whose xAPIC register is at `offset` of the page.
    ///
    /// SDM "x2APIC Register Address Space": one MSR for each 16 bytes.
    #[must_use]
    pub const fn x2apic(offset: u16) -> Option<Self> {
        if offset < 0x1000 && offset.is_multiple_of(16) {
            Some(Self(X2APIC_FIRST + (offset >> 4) as u32))
        } else {
            None
        }
    }
}

const X2APIC_FIRST: u32 = 0x800;
const X2APIC_LAST: u32 = 0x8ff;

/// Defines the constants: name, number, what it is.
macro_rules! msrs {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        impl Msr {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
        }
    };
}

msrs! {
    IA32_TIME_STAMP_COUNTER = 0x10, "Time-stamp counter.";
    IA32_APIC_BASE = 0x1b, "Local APIC: address, enable bits, boot CPU.";
    IA32_FEATURE_CONTROL = 0x3a, "Lock and enable bits of VMX and SMX.";
    IA32_TSC_ADJUST = 0x3b, "Offset of the time-stamp counter.";
    IA32_SPEC_CTRL = 0x48, "Speculation controls.";
    IA32_PRED_CMD = 0x49, "Predictor barriers; write only.";
    IA32_BIOS_SIGN_ID = 0x8b, "Revision of the loaded microcode.";
    IA32_MTRRCAP = 0xfe, "Capabilities of the memory-type range registers.";
    IA32_ARCH_CAPABILITIES = 0x10a, "What the CPU is not vulnerable to.";
    IA32_FLUSH_CMD = 0x10b, "L1 data cache flush; write only.";
    IA32_SYSENTER_CS = 0x174, "Code segment of SYSENTER.";
    IA32_SYSENTER_ESP = 0x175, "Stack pointer of SYSENTER.";
    IA32_SYSENTER_EIP = 0x176, "Entry point of SYSENTER.";
    IA32_MCG_CAP = 0x179, "Machine-check banks and capabilities.";
    IA32_MCG_STATUS = 0x17a, "Machine-check state.";
    IA32_MISC_ENABLE = 0x1a0, "Assorted enable bits.";
    IA32_DEBUGCTL = 0x1d9, "Branch tracing and single-stepping.";
    IA32_PAT = 0x277, "Page attribute table.";
    IA32_MTRR_DEF_TYPE = 0x2ff, "Memory type where no range register applies.";
    IA32_VMX_BASIC = 0x480, "VMCS revision, size and memory type.";
    IA32_VMX_PINBASED_CTLS = 0x481, "Allowed pin-based controls.";
    IA32_VMX_PROCBASED_CTLS = 0x482, "Allowed primary processor-based controls.";
    IA32_VMX_EXIT_CTLS = 0x483, "Allowed primary VM-exit controls.";
    IA32_VMX_ENTRY_CTLS = 0x484, "Allowed VM-entry controls.";
    IA32_VMX_MISC = 0x485, "Miscellaneous VMX data.";
    IA32_VMX_CR0_FIXED0 = 0x486, "Bits that must be 1 in CR0.";
    IA32_VMX_CR0_FIXED1 = 0x487, "Bits that may be 1 in CR0.";
    IA32_VMX_CR4_FIXED0 = 0x488, "Bits that must be 1 in CR4.";
    IA32_VMX_CR4_FIXED1 = 0x489, "Bits that may be 1 in CR4.";
    IA32_VMX_VMCS_ENUM = 0x48a, "Highest index of a VMCS field.";
    IA32_VMX_PROCBASED_CTLS2 = 0x48b, "Allowed secondary processor-based controls.";
    IA32_VMX_EPT_VPID_CAP = 0x48c, "Capabilities of EPT and VPID.";
    IA32_VMX_TRUE_PINBASED_CTLS = 0x48d, "As 481H, without the historical must-be-1 bits.";
    IA32_VMX_TRUE_PROCBASED_CTLS = 0x48e, "As 482H, without the historical must-be-1 bits.";
    IA32_VMX_TRUE_EXIT_CTLS = 0x48f, "As 483H, without the historical must-be-1 bits.";
    IA32_VMX_TRUE_ENTRY_CTLS = 0x490, "As 484H, without the historical must-be-1 bits.";
    IA32_TSC_DEADLINE = 0x6e0, "When the local APIC timer fires, in TSC ticks.";
    IA32_X2APIC_APICID = 0x802, "x2APIC: identifier.";
    IA32_X2APIC_VERSION = 0x803, "x2APIC: version.";
    IA32_X2APIC_TPR = 0x808, "x2APIC: task priority.";
    IA32_X2APIC_PPR = 0x80a, "x2APIC: processor priority.";
    IA32_X2APIC_EOI = 0x80b, "x2APIC: end of interrupt; write only.";
    IA32_X2APIC_LDR = 0x80d, "x2APIC: logical destination.";
    IA32_X2APIC_SIVR = 0x80f, "x2APIC: spurious-interrupt vector.";
    IA32_X2APIC_ESR = 0x828, "x2APIC: error status.";
    IA32_X2APIC_ICR = 0x830, "x2APIC: interrupt command.";
    IA32_X2APIC_LVT_TIMER = 0x832, "x2APIC: timer interrupt.";
    IA32_X2APIC_LVT_LINT0 = 0x835, "x2APIC: pin LINT0.";
    IA32_X2APIC_LVT_LINT1 = 0x836, "x2APIC: pin LINT1.";
    IA32_X2APIC_LVT_ERROR = 0x837, "x2APIC: error interrupt.";
    IA32_X2APIC_INIT_COUNT = 0x838, "x2APIC: initial count of the timer.";
    IA32_X2APIC_CUR_COUNT = 0x839, "x2APIC: current count of the timer.";
    IA32_X2APIC_DIV_CONF = 0x83e, "x2APIC: divider of the timer.";
    IA32_X2APIC_SELF_IPI = 0x83f, "x2APIC: interrupt to this CPU; write only.";
    IA32_XSS = 0xda0, "Supervisor state that XSAVES saves.";
    IA32_EFER = 0xc000_0080, "Extended features: SYSCALL, long mode, NX.";
    IA32_STAR = 0xc000_0081, "Segments of SYSCALL and SYSRET.";
    IA32_LSTAR = 0xc000_0082, "Entry point of SYSCALL in 64-bit mode.";
    IA32_CSTAR = 0xc000_0083, "Entry point of SYSCALL in compatibility mode.";
    IA32_FMASK = 0xc000_0084, "RFLAGS bits that SYSCALL clears.";
    IA32_FS_BASE = 0xc000_0100, "Base of FS.";
    IA32_GS_BASE = 0xc000_0101, "Base of GS.";
    IA32_KERNEL_GS_BASE = 0xc000_0102, "What SWAPGS exchanges with the base of GS.";
    IA32_TSC_AUX = 0xc000_0103, "What RDTSCP and RDPID return beside the counter.";
}

impl fmt::Display for Msr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Msr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msr({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x2apic_registers_follow_the_xapic_page() {
        assert_eq!(Msr::x2apic(0x20), Some(Msr::IA32_X2APIC_APICID));
        assert_eq!(Msr::x2apic(0x3f0), Some(Msr::IA32_X2APIC_SELF_IPI));
        assert_eq!(Msr::x2apic(0xff0).map(Msr::get), Some(0x8ff));
        assert_eq!(Msr::x2apic(0x1000), None);
        assert_eq!(Msr::x2apic(0x21), None);
    }

    #[test]
    fn the_x2apic_range_is_256_registers() {
        assert!(Msr::new(0x800).is_x2apic() && Msr::new(0x8ff).is_x2apic());
        assert!(!Msr::new(0x7ff).is_x2apic() && !Msr::new(0x900).is_x2apic());
    }
}
