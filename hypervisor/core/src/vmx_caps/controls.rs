//! The control fields' bits, and what the hypervisor demands of each.
//!
//! Bits: SDM "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry
//! Control Fields" and "VMX Capability Reporting Facility". Only those that the
//! hypervisor sets, tests or must be able to clear have names.

use bitflags::bitflags;

bitflags! {
    /// Pin-based VM-execution controls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PinControls: u32 {
        /// An external interrupt causes a VM exit.
        const EXTERNAL_INTERRUPT_EXITING = 1 << 0;
        /// An NMI causes a VM exit.
        const NMI_EXITING = 1 << 3;
        /// NMI blocking is tracked for the guest.
        const VIRTUAL_NMIS = 1 << 5;
        /// The preemption timer counts down.
        const ACTIVATE_PREEMPTION_TIMER = 1 << 6;
        /// The notification vector delivers posted interrupts.
        const PROCESS_POSTED_INTERRUPTS = 1 << 7;
        const _ = !0;
    }

    /// Primary processor-based VM-execution controls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct PrimaryControls: u32 {
        /// VM exit as soon as the guest can take an interrupt.
        const INTERRUPT_WINDOW_EXITING = 1 << 2;
        /// The guest's TSC is offset.
        const USE_TSC_OFFSETTING = 1 << 3;
        /// HLT causes a VM exit.
        const HLT_EXITING = 1 << 7;
        /// MWAIT causes a VM exit.
        const MWAIT_EXITING = 1 << 10;
        /// RDPMC causes a VM exit.
        const RDPMC_EXITING = 1 << 11;
        /// RDTSC and RDTSCP cause VM exits.
        const RDTSC_EXITING = 1 << 12;
        /// MOV to CR3 causes a VM exit.
        const CR3_LOAD_EXITING = 1 << 15;
        /// MOV from CR3 causes a VM exit.
        const CR3_STORE_EXITING = 1 << 16;
        /// MOV to CR8 causes a VM exit.
        const CR8_LOAD_EXITING = 1 << 19;
        /// MOV from CR8 causes a VM exit.
        const CR8_STORE_EXITING = 1 << 20;
        /// CR8 is the TPR of the virtual-APIC page.
        const USE_TPR_SHADOW = 1 << 21;
        /// VM exit as soon as the guest can take an NMI.
        const NMI_WINDOW_EXITING = 1 << 22;
        /// MOV to and from debug registers causes a VM exit.
        const MOV_DR_EXITING = 1 << 23;
        /// The I/O bitmaps say which ports cause VM exits.
        const USE_IO_BITMAPS = 1 << 25;
        /// VM exit after each instruction.
        const MONITOR_TRAP_FLAG = 1 << 27;
        /// The MSR bitmaps say which MSRs cause VM exits.
        const USE_MSR_BITMAPS = 1 << 28;
        /// MONITOR causes a VM exit.
        const MONITOR_EXITING = 1 << 29;
        /// PAUSE causes a VM exit.
        const PAUSE_EXITING = 1 << 30;
        /// The secondary controls count.
        const ACTIVATE_SECONDARY_CONTROLS = 1 << 31;
        const _ = !0;
    }

    /// Secondary processor-based VM-execution controls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SecondaryControls: u32 {
        /// Accesses to the APIC page are recognised. Not with `VIRTUALIZE_X2APIC_MODE`.
        const VIRTUALIZE_APIC_ACCESSES = 1 << 0;
        /// Guest-physical addresses are translated by EPT.
        const ENABLE_EPT = 1 << 1;
        /// LGDT, SGDT and their kin cause VM exits.
        const DESCRIPTOR_TABLE_EXITING = 1 << 2;
        /// RDTSCP does not fault.
        const ENABLE_RDTSCP = 1 << 3;
        /// Accesses to x2APIC MSRs are virtualized.
        const VIRTUALIZE_X2APIC_MODE = 1 << 4;
        /// Cached translations are tagged with a VPID.
        const ENABLE_VPID = 1 << 5;
        /// WBINVD and WBNOINVD cause VM exits.
        const WBINVD_EXITING = 1 << 6;
        /// The guest may run unpaged and in real mode.
        const UNRESTRICTED_GUEST = 1 << 7;
        /// Reads of APIC registers come from the virtual-APIC page.
        const APIC_REGISTER_VIRTUALIZATION = 1 << 8;
        /// The CPU evaluates and delivers virtual interrupts.
        const VIRTUAL_INTERRUPT_DELIVERY = 1 << 9;
        /// A long loop of PAUSE causes a VM exit.
        const PAUSE_LOOP_EXITING = 1 << 10;
        /// INVPCID does not fault.
        const ENABLE_INVPCID = 1 << 12;
        /// ENCLS causes VM exits as its bitmap says.
        const ENABLE_ENCLS_EXITING = 1 << 15;
        /// Writes are logged by page.
        const ENABLE_PML = 1 << 17;
        /// XSAVES and XRSTORS do not fault.
        const ENABLE_XSAVES = 1 << 20;
        /// The guest's TSC is scaled.
        const USE_TSC_SCALING = 1 << 25;
        /// ENCLV causes VM exits as its bitmap says.
        const ENABLE_ENCLV_EXITING = 1 << 28;

        /// Those that the CPU refuses without the TPR shadow.
        const NEEDING_TPR_SHADOW = Self::VIRTUALIZE_X2APIC_MODE.bits()
            | Self::APIC_REGISTER_VIRTUALIZATION.bits()
            | Self::VIRTUAL_INTERRUPT_DELIVERY.bits();
        /// Those that together make up APICv for a guest in x2APIC mode.
        const APICV = Self::NEEDING_TPR_SHADOW.bits();
        const _ = !0;
    }

    /// Primary VM-exit controls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ExitControls: u32 {
        /// DR7 and `IA32_DEBUGCTL` are saved.
        const SAVE_DEBUG_CONTROLS = 1 << 2;
        /// The host runs in 64-bit mode.
        const HOST_ADDRESS_SPACE_SIZE = 1 << 9;
        /// The vector of an external interrupt is acknowledged and reported.
        const ACKNOWLEDGE_INTERRUPT_ON_EXIT = 1 << 15;
        /// `IA32_PAT` is saved.
        const SAVE_IA32_PAT = 1 << 18;
        /// `IA32_PAT` is loaded.
        const LOAD_IA32_PAT = 1 << 19;
        /// `IA32_EFER` is saved.
        const SAVE_IA32_EFER = 1 << 20;
        /// `IA32_EFER` is loaded.
        const LOAD_IA32_EFER = 1 << 21;
        /// The preemption timer's value is saved.
        const SAVE_PREEMPTION_TIMER = 1 << 22;
        const _ = !0;
    }

    /// VM-entry controls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EntryControls: u32 {
        /// DR7 and `IA32_DEBUGCTL` are loaded.
        const LOAD_DEBUG_CONTROLS = 1 << 2;
        /// The guest is in IA-32e mode.
        const IA32E_MODE_GUEST = 1 << 9;
        /// `IA32_PAT` is loaded.
        const LOAD_IA32_PAT = 1 << 14;
        /// `IA32_EFER` is loaded.
        const LOAD_IA32_EFER = 1 << 15;
        const _ = !0;
    }

    /// Capabilities of EPT and VPID: `IA32_VMX_EPT_VPID_CAP`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EptVpidCaps: u64 {
        /// Pages may be execute-only.
        const EXECUTE_ONLY = 1 << 0;
        /// Page walks of 4 levels.
        const PAGE_WALK_4 = 1 << 6;
        /// Page walks of 5 levels.
        const PAGE_WALK_5 = 1 << 7;
        /// EPT paging structures may be write-back.
        const MEMORY_TYPE_WB = 1 << 14;
        /// 2-MByte pages.
        const EPT_2M = 1 << 16;
        /// 1-GByte pages.
        const EPT_1G = 1 << 17;
        /// INVEPT exists.
        const INVEPT = 1 << 20;
        /// Accessed and dirty flags in EPT entries.
        const ACCESSED_DIRTY = 1 << 21;
        /// EPT violations tell more about the access.
        const ADVANCED_EXIT_INFORMATION = 1 << 22;
        /// INVEPT of one EPTP.
        const INVEPT_SINGLE_CONTEXT = 1 << 25;
        /// INVEPT of all EPTPs.
        const INVEPT_ALL_CONTEXT = 1 << 26;
        /// INVVPID exists.
        const INVVPID = 1 << 32;
        /// INVVPID of one linear address.
        const INVVPID_INDIVIDUAL_ADDRESS = 1 << 40;
        /// INVVPID of one VPID.
        const INVVPID_SINGLE_CONTEXT = 1 << 41;
        /// INVVPID of all VPIDs.
        const INVVPID_ALL_CONTEXT = 1 << 42;
        /// INVVPID of one VPID but for global pages.
        const INVVPID_SINGLE_CONTEXT_RETAINING_GLOBALS = 1 << 43;
    }

    /// Miscellaneous data: the flags in `IA32_VMX_MISC`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MiscCaps: u64 {
        /// VM exits store EFER.LMA into "IA-32e mode guest".
        const EXIT_STORES_LMA = 1 << 5;
        /// VM entry to the activity state HLT.
        const ACTIVITY_HLT = 1 << 6;
        /// VM entry to the activity state shutdown.
        const ACTIVITY_SHUTDOWN = 1 << 7;
        /// VM entry to the activity state wait-for-SIPI.
        const ACTIVITY_WAIT_FOR_SIPI = 1 << 8;
        /// VMWRITE may write VM-exit information fields.
        const VMWRITE_ANY_FIELD = 1 << 29;
        /// Software interrupts may be injected with instruction length 0.
        const INJECT_LENGTH_0 = 1 << 30;
    }
}

/// How much the hypervisor cares about a control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Required, and set in every VMCS.
    Set,
    /// Required; set in some VMCSs, some of the time.
    Able,
    /// Set in every VMCS where the CPU can.
    SetIfAble,
    /// Used where the CPU can and a vcpu asks for it.
    UseIfAble,
    /// Required to be off: it must be possible to clear it.
    Clear,
}

/// A control with its SDM name.
pub(super) struct Demand<F> {
    pub(super) flags: F,
    pub(super) name: &'static str,
    pub(super) need: Need,
}

// A mask of unmet demands has 32 bits.
const _: () = assert!(PIN.len() <= 32 && PRIMARY.len() <= 32 && SECONDARY.len() <= 32);
const _: () = assert!(EXIT.len() <= 32 && ENTRY.len() <= 32 && EPT_VPID.len() <= 32);

const fn demand<F: Copy>(need: Need, flags: F, name: &'static str) -> Demand<F> {
    Demand { flags, name, need }
}

/// External interrupts and NMIs belong to the hypervisor.
pub(super) const PIN: &[Demand<PinControls>] = &[
    demand(Need::Set, PinControls::EXTERNAL_INTERRUPT_EXITING, "external-interrupt exiting"),
    demand(Need::Set, PinControls::NMI_EXITING, "NMI exiting"),
    demand(Need::Set, PinControls::VIRTUAL_NMIS, "virtual NMIs"),
    demand(Need::UseIfAble, PinControls::ACTIVATE_PREEMPTION_TIMER, "VMX-preemption timer"),
    demand(Need::UseIfAble, PinControls::PROCESS_POSTED_INTERRUPTS, "posted interrupts"),
];

/// What stops or observes the CPU is intercepted; ports and MSRs go by bitmaps;
/// CR3 is the guest's own business, as EPT translates what it points to. The
/// debug registers are not switched on VM entry, so they are not left open.
pub(super) const PRIMARY: &[Demand<PrimaryControls>] = &[
    demand(Need::Able, PrimaryControls::INTERRUPT_WINDOW_EXITING, "interrupt-window exiting"),
    demand(Need::Set, PrimaryControls::USE_TSC_OFFSETTING, "TSC offsetting"),
    demand(Need::Set, PrimaryControls::HLT_EXITING, "HLT exiting"),
    demand(Need::Set, PrimaryControls::MWAIT_EXITING, "MWAIT exiting"),
    demand(Need::Set, PrimaryControls::RDPMC_EXITING, "RDPMC exiting"),
    demand(Need::UseIfAble, PrimaryControls::RDTSC_EXITING, "RDTSC exiting"),
    demand(Need::Clear, PrimaryControls::CR3_LOAD_EXITING, "no CR3-load exiting"),
    demand(Need::Clear, PrimaryControls::CR3_STORE_EXITING, "no CR3-store exiting"),
    demand(Need::Able, PrimaryControls::CR8_LOAD_EXITING, "CR8-load exiting"),
    demand(Need::Able, PrimaryControls::CR8_STORE_EXITING, "CR8-store exiting"),
    demand(Need::UseIfAble, PrimaryControls::USE_TPR_SHADOW, "TPR shadow"),
    demand(Need::Able, PrimaryControls::NMI_WINDOW_EXITING, "NMI-window exiting"),
    demand(Need::Set, PrimaryControls::MOV_DR_EXITING, "MOV-DR exiting"),
    demand(Need::Set, PrimaryControls::USE_IO_BITMAPS, "I/O bitmaps"),
    demand(Need::UseIfAble, PrimaryControls::MONITOR_TRAP_FLAG, "monitor trap flag"),
    demand(Need::Set, PrimaryControls::USE_MSR_BITMAPS, "MSR bitmaps"),
    demand(Need::Set, PrimaryControls::MONITOR_EXITING, "MONITOR exiting"),
    demand(Need::UseIfAble, PrimaryControls::PAUSE_EXITING, "PAUSE exiting"),
    demand(Need::Set, PrimaryControls::ACTIVATE_SECONDARY_CONTROLS, "secondary controls"),
];

/// ENCLS and ENCLV heed no CR4 bit: where the CPU has SGX, only interception
/// keeps them from a guest whose CPUID does not show it. Their bitmaps are to be
/// all ones then.
pub(super) const SECONDARY: &[Demand<SecondaryControls>] = &[
    demand(Need::UseIfAble, SecondaryControls::VIRTUALIZE_APIC_ACCESSES, "virtualize APIC accesses"),
    demand(Need::Set, SecondaryControls::ENABLE_EPT, "EPT"),
    demand(Need::UseIfAble, SecondaryControls::DESCRIPTOR_TABLE_EXITING, "descriptor-table exiting"),
    demand(Need::SetIfAble, SecondaryControls::ENABLE_RDTSCP, "RDTSCP"),
    demand(Need::UseIfAble, SecondaryControls::VIRTUALIZE_X2APIC_MODE, "virtualize x2APIC mode"),
    demand(Need::Set, SecondaryControls::ENABLE_VPID, "VPID"),
    demand(Need::SetIfAble, SecondaryControls::WBINVD_EXITING, "WBINVD exiting"),
    demand(Need::Set, SecondaryControls::UNRESTRICTED_GUEST, "unrestricted guest"),
    demand(Need::UseIfAble, SecondaryControls::APIC_REGISTER_VIRTUALIZATION, "APIC-register virtualization"),
    demand(Need::UseIfAble, SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY, "virtual-interrupt delivery"),
    demand(Need::UseIfAble, SecondaryControls::PAUSE_LOOP_EXITING, "PAUSE-loop exiting"),
    demand(Need::SetIfAble, SecondaryControls::ENABLE_INVPCID, "INVPCID"),
    demand(Need::SetIfAble, SecondaryControls::ENABLE_ENCLS_EXITING, "ENCLS exiting"),
    demand(Need::UseIfAble, SecondaryControls::ENABLE_PML, "PML"),
    demand(Need::SetIfAble, SecondaryControls::ENABLE_XSAVES, "XSAVES/XRSTORS"),
    demand(Need::UseIfAble, SecondaryControls::USE_TSC_SCALING, "TSC scaling"),
    demand(Need::SetIfAble, SecondaryControls::ENABLE_ENCLV_EXITING, "ENCLV exiting"),
];

/// State that both sides use is switched by the CPU.
pub(super) const EXIT: &[Demand<ExitControls>] = &[
    demand(Need::Set, ExitControls::SAVE_DEBUG_CONTROLS, "save debug controls"),
    demand(Need::Set, ExitControls::HOST_ADDRESS_SPACE_SIZE, "host address-space size"),
    demand(Need::Set, ExitControls::ACKNOWLEDGE_INTERRUPT_ON_EXIT, "acknowledge interrupt on exit"),
    demand(Need::Set, ExitControls::SAVE_IA32_PAT, "save IA32_PAT"),
    demand(Need::Set, ExitControls::LOAD_IA32_PAT, "load IA32_PAT on exit"),
    demand(Need::Set, ExitControls::SAVE_IA32_EFER, "save IA32_EFER"),
    demand(Need::Set, ExitControls::LOAD_IA32_EFER, "load IA32_EFER on exit"),
    demand(Need::UseIfAble, ExitControls::SAVE_PREEMPTION_TIMER, "save VMX-preemption timer value"),
];

pub(super) const ENTRY: &[Demand<EntryControls>] = &[
    demand(Need::Set, EntryControls::LOAD_DEBUG_CONTROLS, "load debug controls"),
    demand(Need::Able, EntryControls::IA32E_MODE_GUEST, "IA-32e mode guest"),
    demand(Need::Set, EntryControls::LOAD_IA32_PAT, "load IA32_PAT on entry"),
    demand(Need::Set, EntryControls::LOAD_IA32_EFER, "load IA32_EFER on entry"),
];

/// Required capabilities of EPT and VPID: one of the flags in each line.
pub(super) const EPT_VPID: &[(EptVpidCaps, &str)] = &[
    (EptVpidCaps::PAGE_WALK_4, "EPT page-walk length 4"),
    (EptVpidCaps::MEMORY_TYPE_WB, "write-back EPT paging structures"),
    (EptVpidCaps::INVEPT, "INVEPT"),
    (EptVpidCaps::INVEPT_SINGLE_CONTEXT, "single-context INVEPT"),
    (EptVpidCaps::INVEPT_ALL_CONTEXT, "all-context INVEPT"),
    (EptVpidCaps::INVVPID, "INVVPID"),
    (EptVpidCaps::INVVPID_SINGLE_CONTEXT, "single-context INVVPID"),
    (EptVpidCaps::INVVPID_ALL_CONTEXT, "all-context INVVPID"),
    (EptVpidCaps::EPT_2M.union(EptVpidCaps::EPT_1G), "2-MByte or 1-GByte EPT pages"),
];
