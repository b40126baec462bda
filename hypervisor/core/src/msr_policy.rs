//! Which model-specific registers a domain has, and who answers for them.
//!
//! A register that no rule names does not exist: #GP. The rules follow from the
//! domain's CPUID, as in hardware.
//!
//! The MSR bitmap is what the CPU sees of the rules (SDM "MSR-Bitmap Address"): a set
//! bit is a VM exit.
//!
//! ```text
//!  000H  read,  MSRs 0 to 1FFFH           800H  write, MSRs 0 to 1FFFH
//!  400H  read,  MSRs C0000000H to +1FFFH  C00H  write, MSRs C0000000H to +1FFFH
//! ```

mod mtrr;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

pub use mtrr::{InvalidMtrr, MTRRCAP, Mtrrs};

use crate::addr::PAGE_LEN;
use crate::cpuid::{self, Feature};
use crate::msr::Msr;

/// What RDMSR does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// The CPU answers: the register holds the guest's value while it runs.
    Passthrough,
    /// Always this value.
    Value(u64),
    /// The hypervisor keeps the register.
    Emulate,
    /// #GP(0).
    Fault,
}

/// What WRMSR does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// The CPU takes it.
    Passthrough,
    /// Nothing.
    Ignore,
    /// The hypervisor keeps the register.
    Emulate,
    /// #GP(0).
    Fault,
}

/// Rule for the registers from `first` to `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rule {
    first: u32,
    last: u32,
    read: Read,
    write: Write,
}

/// What of the host shows in MSRs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostValues {
    /// `IA32_BIOS_SIGN_ID`: revision of the microcode.
    pub bios_sign_id: u64,
    /// `IA32_ARCH_CAPABILITIES`; 0 without.
    pub arch_capabilities: u64,
}

const CAPACITY: usize = 40;

/// The rules of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MsrPolicy {
    /// In rising order, without overlap.
    rules: ArrayVec<Rule, CAPACITY>,
}

const DOES_NOT_EXIST: (Read, Write) = (Read::Fault, Write::Fault);

impl MsrPolicy {
    /// The rules that belong to a CPUID policy.
    #[must_use]
    pub fn new(cpuid: &cpuid::Policy, host: &HostValues) -> Self {
        let mut rules: ArrayVec<Rule, CAPACITY> = ALWAYS.iter().chain(ON_EVERY_CPU).copied().collect();
        rules.push(value(Msr::IA32_BIOS_SIGN_ID, host.bios_sign_id, Write::Ignore));
        let by_feature = BY_FEATURE.iter().filter(|&&(feature, _)| cpuid.has(feature));
        rules.extend(by_feature.map(|&(_, rule)| rule));
        if cpuid.has(Feature::ARCH_CAPABILITIES) {
            let shown = host.arch_capabilities & ARCH_CAPABILITIES_SHOWN;
            rules.push(value(Msr::IA32_ARCH_CAPABILITIES, shown, Write::Fault));
        }
        if cpuid.has(Feature::RDTSCP) || cpuid.has(Feature::RDPID) {
            rules.push(passthrough(Msr::IA32_TSC_AUX));
        }
        rules.sort_unstable_by_key(|rule| rule.first);
        Self { rules }
    }

    /// What RDMSR and WRMSR of `msr` do.
    #[must_use]
    #[inline]
    pub fn lookup(&self, msr: Msr) -> (Read, Write) {
        // By far the most frequent.
        if msr.is_x2apic() {
            return (Read::Emulate, Write::Emulate);
        }
        let after = self.rules.partition_point(|rule| rule.first <= msr.get());
        let rule = after.checked_sub(1).and_then(|index| self.rules.get(index));
        rule.filter(|rule| msr.get() <= rule.last).map_or(DOES_NOT_EXIST, |rule| (rule.read, rule.write))
    }

    /// What RDMSR of `msr` does.
    #[must_use]
    #[inline]
    pub fn read(&self, msr: Msr) -> Read {
        self.lookup(msr).0
    }

    /// What WRMSR of `msr` does.
    #[must_use]
    #[inline]
    pub fn write(&self, msr: Msr) -> Write {
        self.lookup(msr).1
    }

    /// Writes the MSR bitmap of these rules, with the x2APIC's registers closed.
    pub fn fill_bitmap(&self, bitmap: &mut MsrBitmap) {
        bitmap.fill(0xff);
        for rule in &self.rules {
            for msr in (rule.first..=rule.last).map(Msr::new) {
                if rule.read == Read::Passthrough {
                    set_exit(bitmap, msr, Access::Read, false);
                }
                if rule.write == Write::Passthrough {
                    set_exit(bitmap, msr, Access::Write, false);
                }
            }
        }
    }
}

/// The page that the VMCS field "address of MSR bitmaps" names.
pub type MsrBitmap = [u8; PAGE_LEN];

/// Who answers for the x2APIC's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum X2apicAccess {
    /// Each access exits. So it must be unless the vcpu is in x2APIC mode and its VMCS
    /// has "virtualize x2APIC mode": the CPU would use the pcpu's own APIC.
    Exits,
    /// The CPU answers from the virtual-APIC page what APIC-register virtualization and
    /// virtual-interrupt delivery cover.
    Virtualized,
}

/// Opens or closes the x2APIC's registers in `bitmap` (SDM "Virtualizing MSR-Based APIC
/// Accesses").
///
/// Even when virtualized, reads of the timer's current count exit, as it is computed,
/// and reads of registers that do not exist, as they must fault. Writes are virtualized
/// for TPR, EOI and SELF IPI only.
pub fn set_x2apic_access(bitmap: &mut MsrBitmap, access: X2apicAccess) {
    let closed = access == X2apicAccess::Exits;
    for msr in X2APIC_READ.iter().flat_map(|&(first, last)| (first..=last).map(Msr::new)) {
        set_exit(bitmap, msr, Access::Read, closed);
    }
    for msr in [Msr::IA32_X2APIC_TPR, Msr::IA32_X2APIC_EOI, Msr::IA32_X2APIC_SELF_IPI] {
        set_exit(bitmap, msr, Access::Write, closed);
    }
}

/// Readable registers that the virtual-APIC page holds (SDM table "Local APIC Register
/// Address Map Supported by x2APIC"): id, version; TPR; PPR; LDR; spurious vector, ISR,
/// TMR, IRR, ESR; ICR; LVTs but CMCI's, and initial count; divider.
const X2APIC_READ: [(u32, u32); 8] = [
    (0x802, 0x803),
    (0x808, 0x808),
    (0x80a, 0x80a),
    (0x80d, 0x80d),
    (0x80f, 0x828),
    (0x830, 0x830),
    (0x832, 0x838),
    (0x83e, 0x83e),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Sets or clears the bit of `msr`; outside the two ranges every access exits anyway.
fn set_exit(bitmap: &mut MsrBitmap, msr: Msr, access: Access, exits: bool) {
    const RANGE: u32 = 0x2000;
    const HIGH: u32 = 0xc000_0000;
    let (half, index) = match msr.get() {
        low if low < RANGE => (0, low),
        high if (HIGH..HIGH + RANGE).contains(&high) => (0x400, high - HIGH),
        _ => return,
    };
    let quarter = half + if access == Access::Write { 0x800 } else { 0 };
    let mask = 1 << (index & 7);
    if let Some(byte) = bitmap.get_mut((quarter + (index >> 3)) as usize) {
        *byte = if exits { *byte | mask } else { *byte & !mask };
    }
}

const fn rule(msr: Msr, read: Read, write: Write) -> Rule {
    range(msr.get(), msr.get(), read, write)
}

const fn range(first: u32, last: u32, read: Read, write: Write) -> Rule {
    Rule { first, last, read, write }
}

/// For registers that VM entry and exit load and save, or that the hypervisor switches
/// and does not use itself.
const fn passthrough(msr: Msr) -> Rule {
    rule(msr, Read::Passthrough, Write::Passthrough)
}

const fn value(msr: Msr, value: u64, write: Write) -> Rule {
    rule(msr, Read::Value(value), write)
}

const fn emulate(msr: Msr) -> Rule {
    rule(msr, Read::Emulate, Write::Emulate)
}

/// `IA32_MISC_ENABLE`: fast strings on; no branch-trace storage, no PEBS.
const MISC_ENABLE: u64 = 1 << 0 | 1 << 11 | 1 << 12;
/// `IA32_FEATURE_CONTROL`: locked with VMX off.
const FEATURE_CONTROL_LOCKED: u64 = 1 << 0;
/// `IA32_PLATFORM_ID`: Linux reads it beside the microcode's revision.
const IA32_PLATFORM_ID: Msr = Msr::new(0x17);
/// Where the guest puts the hypercall page: leaf 40000002H names it.
const HYPERCALL_PAGE: Msr = Msr::new(0x4000_0000);

/// RDMSR of the TSC gives it with the offset (SDM "Time-Stamp Counter Offset and
/// Multiplier"); EFER and PAT are loaded and saved by VM entry and exit.
const ALWAYS: &[Rule] = &[
    rule(Msr::IA32_TIME_STAMP_COUNTER, Read::Passthrough, Write::Emulate),
    value(IA32_PLATFORM_ID, 0, Write::Fault),
    emulate(Msr::IA32_APIC_BASE),
    value(Msr::IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCKED, Write::Fault),
    value(Msr::IA32_MISC_ENABLE, MISC_ENABLE, Write::Ignore),
    value(Msr::IA32_DEBUGCTL, 0, Write::Ignore),
    rule(HYPERCALL_PAGE, Read::Value(0), Write::Emulate),
];

/// 64-bit CPUs have these, and Linux uses them without a look at CPUID.
const ON_EVERY_CPU: &[Rule] = &[
    passthrough(Msr::IA32_SYSENTER_CS),
    passthrough(Msr::IA32_SYSENTER_ESP),
    passthrough(Msr::IA32_SYSENTER_EIP),
    passthrough(Msr::IA32_PAT),
    passthrough(Msr::IA32_EFER),
    passthrough(Msr::IA32_STAR),
    passthrough(Msr::IA32_LSTAR),
    passthrough(Msr::IA32_CSTAR),
    passthrough(Msr::IA32_FMASK),
    passthrough(Msr::IA32_FS_BASE),
    passthrough(Msr::IA32_GS_BASE),
    passthrough(Msr::IA32_KERNEL_GS_BASE),
];

/// The machine-check architecture has no banks; MTRRs are storage (see [`Mtrrs`]).
const BY_FEATURE: &[(Feature, Rule)] = &[
    (Feature::MCE, value(Msr::IA32_MCG_CAP, 0, Write::Fault)),
    (Feature::MCE, value(Msr::IA32_MCG_STATUS, 0, Write::Ignore)),
    (Feature::MTRR, value(Msr::IA32_MTRRCAP, MTRRCAP, Write::Fault)),
    (Feature::MTRR, range(0x200, 0x20f, Read::Emulate, Write::Emulate)),
    (Feature::MTRR, range(0x250, 0x250, Read::Emulate, Write::Emulate)),
    (Feature::MTRR, range(0x258, 0x259, Read::Emulate, Write::Emulate)),
    (Feature::MTRR, range(0x268, 0x26f, Read::Emulate, Write::Emulate)),
    (Feature::MTRR, emulate(Msr::IA32_MTRR_DEF_TYPE)),
    (Feature::TSC_ADJUST, emulate(Msr::IA32_TSC_ADJUST)),
    (Feature::TSC_DEADLINE, emulate(Msr::IA32_TSC_DEADLINE)),
    (Feature::IBRS_IBPB, passthrough(Msr::IA32_SPEC_CTRL)),
    (Feature::IBRS_IBPB, rule(Msr::IA32_PRED_CMD, Read::Fault, Write::Passthrough)),
];

// With the three rules that `new` makes up.
const _: () = assert!(ALWAYS.len() + ON_EVERY_CPU.len() + BY_FEATURE.len() + 3 <= CAPACITY);

/// What a guest may know of `IA32_ARCH_CAPABILITIES`: to which attacks the CPU is immune
/// and how buffers are cleared, but no bit that stands for another MSR, nor
/// SKIP_L1DFL_VMENTRY, which is for hypervisors. From bit 0: RDCL_NO, IBRS_ALL, RSBA;
/// 4: SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO; 8: TAA_NO; 13: SBDR_SSDP_NO, FBSDP_NO, PSDP_NO;
/// 17: FB_CLEAR; 19: RRSBA, BHI_NO; 24: PBRSB_NO; 26: GDS_NO, RFDS_NO, RFDS_CLEAR.
const ARCH_CAPABILITIES_SHOWN: u64 =
    0b111 | 0b111 << 4 | 1 << 8 | 0b111 << 13 | 1 << 17 | 0b11 << 19 | 1 << 24 | 0b111 << 26;
