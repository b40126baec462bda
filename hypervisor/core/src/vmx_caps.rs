//! What this CPU's VMX can do, and the controls that follow from it.
//!
//! The capability MSRs (SDM appendix "VMX Capability Reporting Facility") say
//! which control bits may be 0 and which may be 1. One table for each control
//! field says what the hypervisor demands; [`VmxConfig::resolve`] brings the two
//! together once, before VMXON:
//!
//! ```text
//!   rdmsr --> VmxMsrs --+
//!                       +--> resolve --> VmxConfig   control words for each VMCS
//!   demands (tables) ---+           \--> Missing     one line, and a halt
//! ```
//!
//! Each further pcpu resolves for itself and compares: a vcpu can only move
//! between pcpus that offer the same ([`VmxConfig::check_same`]).

mod controls;
#[cfg(test)]
mod tests;

use core::fmt;

use bitflags::Flags;

pub use controls::{
    EntryControls, EptVpidCaps, ExitControls, MiscCaps, PinControls, PrimaryControls, SecondaryControls,
};

use crate::msr::Msr;
use controls::{Demand, ENTRY, EPT_VPID, EXIT, Need, PIN, PRIMARY, SECONDARY};

/// Raw values of the capability MSRs.
///
/// The four control MSRs hold the TRUE variants where the CPU has them. MSRs
/// that the CPU lacks read as 0, which allows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VmxMsrs {
    /// `IA32_VMX_BASIC`.
    pub basic: u64,
    /// `IA32_VMX_(TRUE_)PINBASED_CTLS`.
    pub pin: u64,
    /// `IA32_VMX_(TRUE_)PROCBASED_CTLS`.
    pub primary: u64,
    /// `IA32_VMX_PROCBASED_CTLS2`.
    pub secondary: u64,
    /// `IA32_VMX_(TRUE_)EXIT_CTLS`.
    pub exit: u64,
    /// `IA32_VMX_(TRUE_)ENTRY_CTLS`.
    pub entry: u64,
    /// `IA32_VMX_MISC`.
    pub misc: u64,
    /// `IA32_VMX_CR0_FIXED0`.
    pub cr0_fixed0: u64,
    /// `IA32_VMX_CR0_FIXED1`.
    pub cr0_fixed1: u64,
    /// `IA32_VMX_CR4_FIXED0`.
    pub cr4_fixed0: u64,
    /// `IA32_VMX_CR4_FIXED1`.
    pub cr4_fixed1: u64,
    /// `IA32_VMX_VMCS_ENUM`.
    pub vmcs_enum: u64,
    /// `IA32_VMX_EPT_VPID_CAP`.
    pub ept_vpid: u64,
}

impl VmxMsrs {
    /// Reads the MSRs, and of the optional ones only those that exist.
    ///
    /// CPUID.1:ECX.VMX must have been seen set.
    pub fn read(mut rdmsr: impl FnMut(Msr) -> u64) -> Self {
        let basic = rdmsr(Msr::IA32_VMX_BASIC);
        let [pin, primary, exit, entry] =
            if basic & BASIC_TRUE_CONTROLS != 0 { TRUE_CONTROL_MSRS } else { CONTROL_MSRS }.map(&mut rdmsr);
        let if_allowed = |control: u64, by: u64| (by >> 32 & control != 0).then_some(());
        let secondary = if_allowed(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS.bits().into(), primary)
            .map_or(0, |()| rdmsr(Msr::IA32_VMX_PROCBASED_CTLS2));
        let ept_or_vpid = SecondaryControls::ENABLE_EPT | SecondaryControls::ENABLE_VPID;
        let ept_vpid = if_allowed(ept_or_vpid.bits().into(), secondary)
            .map_or(0, |()| rdmsr(Msr::IA32_VMX_EPT_VPID_CAP));
        Self {
            basic,
            pin,
            primary,
            secondary,
            exit,
            entry,
            misc: rdmsr(Msr::IA32_VMX_MISC),
            cr0_fixed0: rdmsr(Msr::IA32_VMX_CR0_FIXED0),
            cr0_fixed1: rdmsr(Msr::IA32_VMX_CR0_FIXED1),
            cr4_fixed0: rdmsr(Msr::IA32_VMX_CR4_FIXED0),
            cr4_fixed1: rdmsr(Msr::IA32_VMX_CR4_FIXED1),
            vmcs_enum: rdmsr(Msr::IA32_VMX_VMCS_ENUM),
            ept_vpid,
        }
    }
}

const CONTROL_MSRS: [Msr; 4] = [
    Msr::IA32_VMX_PINBASED_CTLS,
    Msr::IA32_VMX_PROCBASED_CTLS,
    Msr::IA32_VMX_EXIT_CTLS,
    Msr::IA32_VMX_ENTRY_CTLS,
];
const TRUE_CONTROL_MSRS: [Msr; 4] = [
    Msr::IA32_VMX_TRUE_PINBASED_CTLS,
    Msr::IA32_VMX_TRUE_PROCBASED_CTLS,
    Msr::IA32_VMX_TRUE_EXIT_CTLS,
    Msr::IA32_VMX_TRUE_ENTRY_CTLS,
];

/// `IA32_VMX_BASIC[48]`: VMCSs must lie below 4 GiB (no CPU with 64-bit mode).
const BASIC_32_BIT_ADDRESSES: u64 = 1 << 48;
/// `IA32_VMX_BASIC[55]`: the TRUE MSRs exist.
const BASIC_TRUE_CONTROLS: u64 = 1 << 55;
/// Memory type write-back, as in `IA32_VMX_BASIC[53:50]` and in the MTRRs.
const MEMORY_TYPE_WB: u64 = 6;

/// One control field: what every VMCS starts with, and what may be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Controls<F> {
    base: F,
    available: F,
}

impl<F: Flags + Copy> Controls<F> {
    /// The field's value for a new VMCS, must-be-1 bits included.
    #[must_use]
    pub const fn base(&self) -> F {
        self.base
    }

    /// Whether a VMCS may have all of `flags` set. Always so for what is required.
    #[must_use]
    pub fn can(&self, flags: F) -> bool {
        self.available.contains(flags)
    }
}

/// Bits of a control register that VMX fixes (SDM "VMX-Fixed Bits in CR0" and CR4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedBits {
    must_be_1: u64,
    may_be_1: u64,
}

impl FixedBits {
    /// `value` with the fixed bits put right.
    #[must_use]
    pub const fn apply(self, value: u64) -> u64 {
        (value | self.must_be_1) & self.may_be_1
    }

    /// Whether `value` has the fixed bits right.
    #[must_use]
    pub const fn allow(self, value: u64) -> bool {
        self.apply(value) == value
    }
}

/// CR0.PE and CR0.PG, which an unrestricted guest may clear.
const CR0_PE_PG: u64 = 1 << 31 | 1;

/// How the hypervisor uses this CPU's VMX.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmxConfig {
    revision_id: u32,
    vmcs_size: u32,
    pin: Controls<PinControls>,
    primary: Controls<PrimaryControls>,
    secondary: Controls<SecondaryControls>,
    exit: Controls<ExitControls>,
    entry: Controls<EntryControls>,
    ept_vpid: EptVpidCaps,
    misc: MiscCaps,
    preemption_timer_shift: u8,
    apic: ApicVirtualization,
    cr0: FixedBits,
    cr4: FixedBits,
}

/// What the CPU does of guests' local APICs (SDM "APIC Virtualization and Virtual
/// Interrupts").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicVirtualization {
    /// Nothing.
    None,
    /// CR8 is the TPR of the virtual-APIC page; below a threshold it exits.
    TprShadow,
    /// It answers most accesses to registers and delivers interrupts by itself.
    Delivery {
        /// Also accesses by memory, in xAPIC mode. Those by MSRs always.
        memory: bool,
        /// An interrupt may be left to the CPU while the guest cannot take it. Bochs 2.7
        /// would deliver it all the same when the pcpu is interrupted (docs/testing.md).
        masked: bool,
    },
}

impl ApicVirtualization {
    /// What a CPU with these controls can do.
    fn new(pin: &Controls<PinControls>, primary: PrimaryControls, secondary: SecondaryControls) -> Self {
        if secondary.contains(SecondaryControls::APICV) {
            Self::Delivery {
                memory: secondary.contains(SecondaryControls::VIRTUALIZE_APIC_ACCESSES),
                // All CPUs that deliver have those as well; Bochs 2.7 has not.
                masked: pin.can(PinControls::PROCESS_POSTED_INTERRUPTS),
            }
        } else if primary.contains(PrimaryControls::USE_TPR_SHADOW) {
            Self::TprShadow
        } else {
            Self::None
        }
    }

    /// Whether the CPU delivers interrupts.
    #[must_use]
    pub const fn delivers(self) -> bool {
        matches!(self, Self::Delivery { .. })
    }

    /// Whether the CPU answers accesses by memory.
    #[must_use]
    pub const fn covers_memory(self) -> bool {
        matches!(self, Self::Delivery { memory: true, .. })
    }
}

/// For the boot log.
impl fmt::Display for ApicVirtualization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "software",
            Self::TprShadow => "software, TPR shadow",
            Self::Delivery { memory: false, .. } => "APICv, x2APIC mode only",
            Self::Delivery { memory: true, .. } => "APICv",
        })
    }
}

impl VmxConfig {
    /// Matches what the CPU offers with what the hypervisor demands.
    ///
    /// # Errors
    /// [`Missing`] names everything that the CPU lacks.
    pub fn resolve(msrs: &VmxMsrs) -> Result<Self, Missing> {
        let basic = resolve_basic(msrs.basic);
        let (pin, no_pin) = resolve_controls(msrs.pin, PIN);
        let (primary, no_primary) = resolve_controls(msrs.primary, PRIMARY);
        let (secondary, no_secondary) = resolve_controls(msrs.secondary, SECONDARY);
        let (exit, no_exit) = resolve_controls(msrs.exit, EXIT);
        let (entry, no_entry) = resolve_controls(msrs.entry, ENTRY);
        let (ept_vpid, no_ept_vpid) = resolve_ept_vpid(msrs.ept_vpid);
        let fields = [basic, no_pin, no_primary, no_secondary, no_exit, no_entry, no_ept_vpid];
        if fields != [0; 7] {
            return Err(Missing { fields });
        }
        let mut config = Self {
            revision_id: revision_id(msrs.basic),
            vmcs_size: vmcs_size(msrs.basic),
            pin,
            primary,
            secondary,
            exit,
            entry,
            ept_vpid,
            misc: MiscCaps::from_bits_truncate(msrs.misc),
            preemption_timer_shift: preemption_timer_shift(msrs.misc),
            apic: ApicVirtualization::None,
            cr0: FixedBits { must_be_1: msrs.cr0_fixed0, may_be_1: msrs.cr0_fixed1 },
            cr4: FixedBits { must_be_1: msrs.cr4_fixed0, may_be_1: msrs.cr4_fixed1 },
        };
        config.drop_dependents();
        Ok(config)
    }

    /// Takes back what the CPU offers but refuses without something it lacks
    /// (SDM "Checks on VMX Controls", VM-execution control fields).
    fn drop_dependents(&mut self) {
        if !self.primary.can(PrimaryControls::USE_TPR_SHADOW) {
            self.secondary.available -= SecondaryControls::NEEDING_TPR_SHADOW;
        }
        if !self.secondary.can(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY) {
            self.pin.available -= PinControls::PROCESS_POSTED_INTERRUPTS;
        }
        self.apic = ApicVirtualization::new(&self.pin, self.primary.available, self.secondary.available);
    }

    /// Leaves local APICs to software, but for the TPR shadow.
    pub const fn forgo_apicv(&mut self) {
        if self.apic.delivers() {
            self.apic = ApicVirtualization::TprShadow;
        }
    }

    /// VMCS revision identifier: first word of each VMCS and of the VMXON region.
    #[must_use]
    pub const fn revision_id(&self) -> u32 {
        self.revision_id
    }

    /// Bytes of a VMCS and of the VMXON region, at most 4096.
    #[must_use]
    pub const fn vmcs_size(&self) -> u32 {
        self.vmcs_size
    }

    /// Pin-based VM-execution controls.
    #[must_use]
    pub const fn pin(&self) -> &Controls<PinControls> {
        &self.pin
    }

    /// Primary processor-based VM-execution controls.
    #[must_use]
    pub const fn primary(&self) -> &Controls<PrimaryControls> {
        &self.primary
    }

    /// Secondary processor-based VM-execution controls.
    #[must_use]
    pub const fn secondary(&self) -> &Controls<SecondaryControls> {
        &self.secondary
    }

    /// Primary VM-exit controls.
    #[must_use]
    pub const fn exit(&self) -> &Controls<ExitControls> {
        &self.exit
    }

    /// VM-entry controls.
    #[must_use]
    pub const fn entry(&self) -> &Controls<EntryControls> {
        &self.entry
    }

    /// Page sizes, invalidation types and other capabilities of EPT and VPID.
    #[must_use]
    pub const fn ept_vpid(&self) -> EptVpidCaps {
        self.ept_vpid
    }

    /// Activity states and other miscellaneous data.
    #[must_use]
    pub const fn misc(&self) -> MiscCaps {
        self.misc
    }

    /// n, where the preemption timer counts down once in 2^n TSC ticks.
    #[must_use]
    pub fn preemption_timer(&self) -> Option<u8> {
        self.pin.can(PinControls::ACTIVATE_PREEMPTION_TIMER).then_some(self.preemption_timer_shift)
    }

    /// Whether the preemption timer can go on behind a VM exit where it was before.
    #[must_use]
    pub fn saves_preemption_timer(&self) -> bool {
        self.preemption_timer().is_some() && self.exit.can(ExitControls::SAVE_PREEMPTION_TIMER)
    }

    /// What the CPU is to do of guests' local APICs.
    #[must_use]
    pub const fn apic(&self) -> ApicVirtualization {
        self.apic
    }

    /// Fixed bits of CR0 in VMX root operation.
    #[must_use]
    pub const fn host_cr0(&self) -> FixedBits {
        self.cr0
    }

    /// Fixed bits of CR0 in a guest: PE and PG are free, as every guest is
    /// unrestricted.
    #[must_use]
    pub const fn guest_cr0(&self) -> FixedBits {
        FixedBits { must_be_1: self.cr0.must_be_1 & !CR0_PE_PG, ..self.cr0 }
    }

    /// Fixed bits of CR4, in root operation and in guests.
    #[must_use]
    pub const fn cr4(&self) -> FixedBits {
        self.cr4
    }

    /// Whether vcpus may move between this pcpu and the one of `other`.
    ///
    /// # Errors
    /// The first [`Difference`].
    pub fn check_same(&self, other: &Self) -> Result<(), Difference> {
        let theirs = other.comparable();
        self.comparable().into_iter().zip(theirs).try_for_each(|((what, here), (_, there))| {
            if here == there { Ok(()) } else { Err(Difference { what, here, there }) }
        })
    }

    fn comparable(&self) -> [(&'static str, u64); 18] {
        [
            ("VMCS revision", self.revision_id.into()),
            ("VMCS size", self.vmcs_size.into()),
            ("pin-based controls", self.pin.base.bits().into()),
            ("pin-based features", self.pin.available.bits().into()),
            ("primary controls", self.primary.base.bits().into()),
            ("primary features", self.primary.available.bits().into()),
            ("secondary controls", self.secondary.base.bits().into()),
            ("secondary features", self.secondary.available.bits().into()),
            ("VM-exit controls", self.exit.base.bits().into()),
            ("VM-exit features", self.exit.available.bits().into()),
            ("VM-entry controls", self.entry.base.bits().into()),
            ("EPT and VPID capabilities", self.ept_vpid.bits()),
            ("miscellaneous data", self.misc.bits()),
            ("preemption timer rate", self.preemption_timer_shift.into()),
            ("CR0 must-be-1 bits", self.cr0.must_be_1),
            ("CR0 may-be-1 bits", self.cr0.may_be_1),
            ("CR4 must-be-1 bits", self.cr4.must_be_1),
            ("CR4 may-be-1 bits", self.cr4.may_be_1),
        ]
    }
}

/// One line for the boot log.
impl fmt::Display for VmxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use SecondaryControls as S;
        let ept = |cap, text| if self.ept_vpid.contains(cap) { text } else { "" };
        let large = ept(EptVpidCaps::EPT_2M, "+2M");
        write!(f, "VMX: EPT 4K{large}{}", ept(EptVpidCaps::EPT_1G, "+1G"))?;
        f.write_str(ept(EptVpidCaps::ACCESSED_DIRTY, ", A/D"))?;
        f.write_str(", VPID, unrestricted guest")?;
        match self.apic {
            ApicVirtualization::None => {}
            ApicVirtualization::TprShadow => f.write_str(", TPR shadow")?,
            ApicVirtualization::Delivery { .. } => f.write_str(", APICv")?,
        }
        if self.pin.can(PinControls::PROCESS_POSTED_INTERRUPTS) {
            f.write_str(", posted interrupts")?;
        }
        if let Some(shift) = self.preemption_timer() {
            write!(f, ", preemption timer (2^{shift} TSC)")?;
        }
        let named = [
            (S::PAUSE_LOOP_EXITING, ", PLE"),
            (S::ENABLE_RDTSCP, ", RDTSCP"),
            (S::ENABLE_INVPCID, ", INVPCID"),
            (S::ENABLE_XSAVES, ", XSAVES"),
            (S::ENABLE_PML, ", PML"),
            (S::USE_TSC_SCALING, ", TSC scaling"),
        ];
        named
            .into_iter()
            .filter(|&(flag, _)| self.secondary.can(flag))
            .try_for_each(|(_, text)| f.write_str(text))
    }
}

/// Required features that the CPU lacks. Displayed as one line of SDM names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// For each table of demands, in the order of `names`: bit n is the n-th demand.
    fields: [u32; 7],
}

impl Missing {
    /// The names, in the order of the control fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let [basic, pin, primary, secondary, exit, entry, ept_vpid] = self.fields;
        picked(basic, BASIC_NAMES)
            .chain(picked(pin, PIN.iter().map(|demand| demand.name)))
            .chain(picked(primary, PRIMARY.iter().map(|demand| demand.name)))
            .chain(picked(secondary, SECONDARY.iter().map(|demand| demand.name)))
            .chain(picked(exit, EXIT.iter().map(|demand| demand.name)))
            .chain(picked(entry, ENTRY.iter().map(|demand| demand.name)))
            .chain(picked(ept_vpid, EPT_VPID.iter().map(|&(_, name)| name)))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.names().nth(1).is_some() { "s" } else { "" };
        write!(f, "VMX: required feature{plural} missing: ")?;
        self.names().enumerate().try_for_each(|(index, name)| {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")
        })
    }
}

/// The names whose place is a set bit of `mask`.
fn picked(mask: u32, names: impl IntoIterator<Item = &'static str>) -> impl Iterator<Item = &'static str> {
    (0..u32::BITS).zip(names).filter(move |&(index, _)| mask >> index & 1 != 0).map(|(_, name)| name)
}

/// Two pcpus offer different VMX features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What differs.
    pub what: &'static str,
    /// Its value on the pcpu that compares.
    pub here: u64,
    /// Its value on the other one.
    pub there: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VMX: {} differ between CPUs: {:#x}, {:#x}", self.what, self.here, self.there)
    }
}

/// What `IA32_FEATURE_CONTROL` says about VMXON outside SMX operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeatureControl {
    /// VMXON is allowed.
    LockedOn,
    /// The firmware has switched VMX off until the next reset.
    LockedOff,
    /// The firmware has left the choice to us.
    Unlocked {
        /// Value that allows VMXON and locks the register.
        write: u64,
    },
}

/// Reads a value of `IA32_FEATURE_CONTROL` (SDM "Enabling and Entering VMX Operation").
///
/// Only the bit for operation outside SMX counts, as nothing here is launched by
/// SENTER; the bit for inside SMX stays as it is, since a CPU without SMX faults
/// when it is set.
#[must_use]
pub const fn feature_control(value: u64) -> FeatureControl {
    const LOCK: u64 = 1 << 0;
    const VMX_OUTSIDE_SMX: u64 = 1 << 2;
    match (value & LOCK != 0, value & VMX_OUTSIDE_SMX != 0) {
        (true, true) => FeatureControl::LockedOn,
        (true, false) => FeatureControl::LockedOff,
        (false, _) => FeatureControl::Unlocked { write: value | LOCK | VMX_OUTSIDE_SMX },
    }
}

const BASIC_NAMES: [&str; 2] = ["write-back VMCS", "64-bit VMCS addresses"];

fn resolve_basic(msr: u64) -> u32 {
    let lacking = [msr >> 50 & 0xf != MEMORY_TYPE_WB, msr & BASIC_32_BIT_ADDRESSES != 0];
    mask_of(lacking.into_iter())
}

/// Applies a table of demands to a control MSR: bits 31:0 are 1 where the
/// control must be 1, bits 63:32 where it may be 1. Also tells which are not met.
fn resolve_controls<F>(msr: u64, demands: &[Demand<F>]) -> (Controls<F>, u32)
where
    F: Flags<Bits = u32> + Copy,
{
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the MSR")]
    let (must, may) = (F::from_bits_retain(msr as u32), F::from_bits_retain((msr >> 32) as u32));
    let union_of = |needs: &[Need]| {
        let wanted =
            demands.iter().filter(|demand| needs.contains(&demand.need) && may.contains(demand.flags));
        wanted.fold(F::empty(), |all, demand| all.union(demand.flags))
    };
    let controls = Controls {
        base: must.union(union_of(&[Need::Set, Need::SetIfAble])),
        available: union_of(&[Need::Set, Need::SetIfAble, Need::Able, Need::UseIfAble]),
    };
    let lacking = demands.iter().map(|demand| match demand.need {
        Need::Set | Need::Able => !may.contains(demand.flags),
        Need::Clear => must.intersects(demand.flags),
        Need::SetIfAble | Need::UseIfAble => false,
    });
    (controls, mask_of(lacking))
}

fn resolve_ept_vpid(msr: u64) -> (EptVpidCaps, u32) {
    let caps = EptVpidCaps::from_bits_truncate(msr);
    (caps, mask_of(EPT_VPID.iter().map(|&(any_of, _)| !caps.intersects(any_of))))
}

/// Bit n of the result: the n-th item.
fn mask_of(items: impl Iterator<Item = bool>) -> u32 {
    (0..u32::BITS).zip(items).fold(0, |mask, (index, item)| mask | u32::from(item) << index)
}

/// `IA32_VMX_BASIC[30:0]`; bit 31 is always 0.
const fn revision_id(basic: u64) -> u32 {
    (basic & 0x7fff_ffff) as u32
}

/// `IA32_VMX_BASIC[44:32]`.
const fn vmcs_size(basic: u64) -> u32 {
    (basic >> 32 & 0x1fff) as u32
}

/// `IA32_VMX_MISC[4:0]`.
const fn preemption_timer_shift(misc: u64) -> u8 {
    (misc & 0x1f) as u8
}
