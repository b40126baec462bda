//! Fields of the VMCS (SDM appendix "Field Encoding in VMCS").
//!
//! ```text
//! encoding   31..15  14..13  12  11..10  9..1   0
//!            zero    width   0   group   index  0: all of the field
//! ```
//!
//! A [`Field`] knows its width and its group, so that a 16-bit field is not
//! written from a 64-bit value and a read-only one is not written at all.
//! Constants have the names of the SDM's tables; those of VM-exit information
//! begin with `EXIT_`, `IDT_` or `GUEST_` as they do there.

use core::fmt;
use core::marker::PhantomData;

/// How wide a field is.
pub trait Width: Copy + sealed::Sealed {
    /// A value of the field.
    type Value: Copy + fmt::LowerHex;
    /// Bits 14:13 of the encoding.
    const CODE: u16;
    /// The value in the register that VMREAD has filled; the bits above the field are 0.
    fn from_register(register: u64) -> Self::Value;
    /// What to put into the register that VMWRITE takes.
    fn to_register(value: Self::Value) -> u64;
}

/// Width of a field that is as wide as a register: 64 bits, as the CPU has 64-bit mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Natural {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! widths {
    ($($width:ty: $value:ty = $code:literal;)*) => { $(
        impl sealed::Sealed for $width {}
        impl Width for $width {
            type Value = $value;
            const CODE: u16 = $code;
            fn from_register(register: u64) -> $value {
                #[expect(clippy::allow_attributes, reason = "one of the widths cuts nothing off")]
                #[allow(clippy::cast_possible_truncation, reason = "the bits above the field are 0")]
                {
                    register as $value
                }
            }
            fn to_register(value: $value) -> u64 {
                u64::from(value)
            }
        }
    )* };
}

widths! {
    u16: u16 = 0;
    u64: u64 = 1;
    u32: u32 = 2;
    Natural: u64 = 3;
}

/// What a field is for.
pub trait Group: Copy + sealed::Sealed {
    /// Bits 11:10 of the encoding.
    const CODE: u16;
}

/// A group whose fields VMWRITE writes on every CPU.
pub trait Writable: Group {}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Group for $name {
            const CODE: u16 = $code;
        }
    )* };
}

groups! {
    /// Controls.
    Control = 0;
    /// VM-exit information: read-only data.
    Information = 1;
    /// Guest state.
    Guest = 2;
    /// Host state.
    Host = 3;
}

impl Writable for Control {}
impl Writable for Guest {}
impl Writable for Host {}

/// A field of the VMCS, `W` wide, in group `G`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<W, G> {
    encoding: u16,
    kind: PhantomData<(W, G)>,
}

impl<W: Width, G: Group> Field<W, G> {
    /// For constants only: an encoding that says another width or group does not compile.
    const fn new(encoding: u16) -> Self {
        assert!(encoding >> WIDTH_SHIFT == W::CODE, "width");
        assert!(encoding >> GROUP_SHIFT & 3 == G::CODE, "group");
        assert!(encoding & RESERVED == 0, "reserved bit, or the high half of a field");
        Self { encoding, kind: PhantomData }
    }

    /// The operand of VMREAD and VMWRITE.
    #[must_use]
    pub const fn encoding(self) -> u64 {
        self.encoding as u64
    }
}

impl<W, G> fmt::Debug for Field<W, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:#06x})", self.encoding)
    }
}

const WIDTH_SHIFT: u32 = 13;
const GROUP_SHIFT: u32 = 10;
/// Bit 12, and the one that selects the high 32 bits of a 64-bit field.
const RESERVED: u16 = 1 << 12 | 1;

/// Defines the constants: name, encoding, what the SDM calls it.
macro_rules! fields {
    ($($group:ident, $width:ident { $($name:ident = $encoding:literal, $doc:literal;)* })*) => {
        $($( #[doc = $doc] pub const $name: Field<$width, $group> = Field::new($encoding); )*)*

        /// Every field by name.
        #[cfg(test)]
        const ALL: &[(&str, u64)] = &[$($( (stringify!($name), $name.encoding()), )*)*];
    };
}

fields! {
    Control, u16 {
        VPID = 0x0000, "Virtual-processor identifier (VPID).";
        POSTED_INTERRUPT_NOTIFICATION_VECTOR = 0x0002, "Posted-interrupt notification vector.";
    }
    Control, u64 {
        IO_BITMAP_A = 0x2000, "Address of I/O bitmap A: ports 0000H to 7FFFH.";
        IO_BITMAP_B = 0x2002, "Address of I/O bitmap B: ports 8000H to FFFFH.";
        MSR_BITMAPS = 0x2004, "Address of MSR bitmaps.";
        VM_EXIT_MSR_STORE_ADDRESS = 0x2006, "VM-exit MSR-store address.";
        VM_EXIT_MSR_LOAD_ADDRESS = 0x2008, "VM-exit MSR-load address.";
        VM_ENTRY_MSR_LOAD_ADDRESS = 0x200a, "VM-entry MSR-load address.";
        PML_ADDRESS = 0x200e, "PML address.";
        TSC_OFFSET = 0x2010, "TSC offset.";
        VIRTUAL_APIC_ADDRESS = 0x2012, "Virtual-APIC address.";
        APIC_ACCESS_ADDRESS = 0x2014, "APIC-access address.";
        POSTED_INTERRUPT_DESCRIPTOR_ADDRESS = 0x2016, "Posted-interrupt descriptor address.";
        EPT_POINTER = 0x201a, "EPT pointer (EPTP).";
        EOI_EXIT_BITMAP_0 = 0x201c, "EOI-exit bitmap 0: vectors 00H to 3FH.";
        EOI_EXIT_BITMAP_1 = 0x201e, "EOI-exit bitmap 1: vectors 40H to 7FH.";
        EOI_EXIT_BITMAP_2 = 0x2020, "EOI-exit bitmap 2: vectors 80H to BFH.";
        EOI_EXIT_BITMAP_3 = 0x2022, "EOI-exit bitmap 3: vectors C0H to FFH.";
        XSS_EXITING_BITMAP = 0x202c, "XSS-exiting bitmap.";
        ENCLS_EXITING_BITMAP = 0x202e, "ENCLS-exiting bitmap.";
        TSC_MULTIPLIER = 0x2032, "TSC multiplier.";
        ENCLV_EXITING_BITMAP = 0x2036, "ENCLV-exiting bitmap.";
    }
    Control, u32 {
        PIN_BASED_CONTROLS = 0x4000, "Pin-based VM-execution controls.";
        PRIMARY_CONTROLS = 0x4002, "Primary processor-based VM-execution controls.";
        EXCEPTION_BITMAP = 0x4004, "Exception bitmap.";
        PAGE_FAULT_ERROR_CODE_MASK = 0x4006, "Page-fault error-code mask.";
        PAGE_FAULT_ERROR_CODE_MATCH = 0x4008, "Page-fault error-code match.";
        CR3_TARGET_COUNT = 0x400a, "CR3-target count.";
        EXIT_CONTROLS = 0x400c, "Primary VM-exit controls.";
        VM_EXIT_MSR_STORE_COUNT = 0x400e, "VM-exit MSR-store count.";
        VM_EXIT_MSR_LOAD_COUNT = 0x4010, "VM-exit MSR-load count.";
        ENTRY_CONTROLS = 0x4012, "VM-entry controls.";
        VM_ENTRY_MSR_LOAD_COUNT = 0x4014, "VM-entry MSR-load count.";
        ENTRY_INTERRUPTION_INFORMATION = 0x4016, "VM-entry interruption-information field.";
        ENTRY_EXCEPTION_ERROR_CODE = 0x4018, "VM-entry exception error code.";
        ENTRY_INSTRUCTION_LENGTH = 0x401a, "VM-entry instruction length.";
        TPR_THRESHOLD = 0x401c, "TPR threshold.";
        SECONDARY_CONTROLS = 0x401e, "Secondary processor-based VM-execution controls.";
        PLE_GAP = 0x4020, "PLE_Gap.";
        PLE_WINDOW = 0x4022, "PLE_Window.";
    }
    Control, Natural {
        CR0_GUEST_HOST_MASK = 0x6000, "CR0 guest/host mask.";
        CR4_GUEST_HOST_MASK = 0x6002, "CR4 guest/host mask.";
        CR0_READ_SHADOW = 0x6004, "CR0 read shadow.";
        CR4_READ_SHADOW = 0x6006, "CR4 read shadow.";
    }
    Information, u64 {
        GUEST_PHYSICAL_ADDRESS = 0x2400, "Guest-physical address.";
    }
    Information, u32 {
        VM_INSTRUCTION_ERROR = 0x4400, "VM-instruction error.";
        EXIT_REASON = 0x4402, "Exit reason.";
        EXIT_INTERRUPTION_INFORMATION = 0x4404, "VM-exit interruption information.";
        EXIT_INTERRUPTION_ERROR_CODE = 0x4406, "VM-exit interruption error code.";
        IDT_VECTORING_INFORMATION = 0x4408, "IDT-vectoring information field.";
        IDT_VECTORING_ERROR_CODE = 0x440a, "IDT-vectoring error code.";
        EXIT_INSTRUCTION_LENGTH = 0x440c, "VM-exit instruction length.";
        EXIT_INSTRUCTION_INFORMATION = 0x440e, "VM-exit instruction information.";
    }
    Information, Natural {
        EXIT_QUALIFICATION = 0x6400, "Exit qualification.";
        GUEST_LINEAR_ADDRESS = 0x640a, "Guest-linear address.";
    }
    Guest, u16 {
        GUEST_ES_SELECTOR = 0x0800, "Guest ES selector.";
        GUEST_CS_SELECTOR = 0x0802, "Guest CS selector.";
        GUEST_SS_SELECTOR = 0x0804, "Guest SS selector.";
        GUEST_DS_SELECTOR = 0x0806, "Guest DS selector.";
        GUEST_FS_SELECTOR = 0x0808, "Guest FS selector.";
        GUEST_GS_SELECTOR = 0x080a, "Guest GS selector.";
        GUEST_LDTR_SELECTOR = 0x080c, "Guest LDTR selector.";
        GUEST_TR_SELECTOR = 0x080e, "Guest TR selector.";
        GUEST_INTERRUPT_STATUS = 0x0810, "Guest interrupt status: RVI in bits 7:0, SVI in 15:8.";
        PML_INDEX = 0x0812, "PML index.";
    }
    Guest, u64 {
        VMCS_LINK_POINTER = 0x2800, "VMCS link pointer.";
        GUEST_IA32_DEBUGCTL = 0x2802, "Guest `IA32_DEBUGCTL`.";
        GUEST_IA32_PAT = 0x2804, "Guest `IA32_PAT`.";
        GUEST_IA32_EFER = 0x2806, "Guest `IA32_EFER`.";
        GUEST_PDPTE0 = 0x280a, "Guest PDPTE0.";
        GUEST_PDPTE1 = 0x280c, "Guest PDPTE1.";
        GUEST_PDPTE2 = 0x280e, "Guest PDPTE2.";
        GUEST_PDPTE3 = 0x2810, "Guest PDPTE3.";
    }
    Guest, u32 {
        GUEST_ES_LIMIT = 0x4800, "Guest ES limit.";
        GUEST_CS_LIMIT = 0x4802, "Guest CS limit.";
        GUEST_SS_LIMIT = 0x4804, "Guest SS limit.";
        GUEST_DS_LIMIT = 0x4806, "Guest DS limit.";
        GUEST_FS_LIMIT = 0x4808, "Guest FS limit.";
        GUEST_GS_LIMIT = 0x480a, "Guest GS limit.";
        GUEST_LDTR_LIMIT = 0x480c, "Guest LDTR limit.";
        GUEST_TR_LIMIT = 0x480e, "Guest TR limit.";
        GUEST_GDTR_LIMIT = 0x4810, "Guest GDTR limit.";
        GUEST_IDTR_LIMIT = 0x4812, "Guest IDTR limit.";
        GUEST_ES_ACCESS_RIGHTS = 0x4814, "Guest ES access rights.";
        GUEST_CS_ACCESS_RIGHTS = 0x4816, "Guest CS access rights.";
        GUEST_SS_ACCESS_RIGHTS = 0x4818, "Guest SS access rights.";
        GUEST_DS_ACCESS_RIGHTS = 0x481a, "Guest DS access rights.";
        GUEST_FS_ACCESS_RIGHTS = 0x481c, "Guest FS access rights.";
        GUEST_GS_ACCESS_RIGHTS = 0x481e, "Guest GS access rights.";
        GUEST_LDTR_ACCESS_RIGHTS = 0x4820, "Guest LDTR access rights.";
        GUEST_TR_ACCESS_RIGHTS = 0x4822, "Guest TR access rights.";
        GUEST_INTERRUPTIBILITY_STATE = 0x4824, "Guest interruptibility state.";
        GUEST_ACTIVITY_STATE = 0x4826, "Guest activity state.";
        GUEST_IA32_SYSENTER_CS = 0x482a, "Guest `IA32_SYSENTER_CS`.";
        PREEMPTION_TIMER_VALUE = 0x482e, "VMX-preemption timer value.";
    }
    Guest, Natural {
        GUEST_CR0 = 0x6800, "Guest CR0.";
        GUEST_CR3 = 0x6802, "Guest CR3.";
        GUEST_CR4 = 0x6804, "Guest CR4.";
        GUEST_ES_BASE = 0x6806, "Guest ES base.";
        GUEST_CS_BASE = 0x6808, "Guest CS base.";
        GUEST_SS_BASE = 0x680a, "Guest SS base.";
        GUEST_DS_BASE = 0x680c, "Guest DS base.";
        GUEST_FS_BASE = 0x680e, "Guest FS base.";
        GUEST_GS_BASE = 0x6810, "Guest GS base.";
        GUEST_LDTR_BASE = 0x6812, "Guest LDTR base.";
        GUEST_TR_BASE = 0x6814, "Guest TR base.";
        GUEST_GDTR_BASE = 0x6816, "Guest GDTR base.";
        GUEST_IDTR_BASE = 0x6818, "Guest IDTR base.";
        GUEST_DR7 = 0x681a, "Guest DR7.";
        GUEST_RSP = 0x681c, "Guest RSP.";
        GUEST_RIP = 0x681e, "Guest RIP.";
        GUEST_RFLAGS = 0x6820, "Guest RFLAGS.";
        GUEST_PENDING_DEBUG_EXCEPTIONS = 0x6822, "Guest pending debug exceptions.";
        GUEST_IA32_SYSENTER_ESP = 0x6824, "Guest `IA32_SYSENTER_ESP`.";
        GUEST_IA32_SYSENTER_EIP = 0x6826, "Guest `IA32_SYSENTER_EIP`.";
    }
    Host, u16 {
        HOST_ES_SELECTOR = 0x0c00, "Host ES selector.";
        HOST_CS_SELECTOR = 0x0c02, "Host CS selector.";
        HOST_SS_SELECTOR = 0x0c04, "Host SS selector.";
        HOST_DS_SELECTOR = 0x0c06, "Host DS selector.";
        HOST_FS_SELECTOR = 0x0c08, "Host FS selector.";
        HOST_GS_SELECTOR = 0x0c0a, "Host GS selector.";
        HOST_TR_SELECTOR = 0x0c0c, "Host TR selector.";
    }
    Host, u64 {
        HOST_IA32_PAT = 0x2c00, "Host `IA32_PAT`.";
        HOST_IA32_EFER = 0x2c02, "Host `IA32_EFER`.";
    }
    Host, u32 {
        HOST_IA32_SYSENTER_CS = 0x4c00, "Host `IA32_SYSENTER_CS`.";
    }
    Host, Natural {
        HOST_CR0 = 0x6c00, "Host CR0.";
        HOST_CR3 = 0x6c02, "Host CR3.";
        HOST_CR4 = 0x6c04, "Host CR4.";
        HOST_FS_BASE = 0x6c06, "Host FS base.";
        HOST_GS_BASE = 0x6c08, "Host GS base.";
        HOST_TR_BASE = 0x6c0a, "Host TR base.";
        HOST_GDTR_BASE = 0x6c0c, "Host GDTR base.";
        HOST_IDTR_BASE = 0x6c0e, "Host IDTR base.";
        HOST_IA32_SYSENTER_ESP = 0x6c10, "Host `IA32_SYSENTER_ESP`.";
        HOST_IA32_SYSENTER_EIP = 0x6c12, "Host `IA32_SYSENTER_EIP`.";
        HOST_RSP = 0x6c14, "Host RSP.";
        HOST_RIP = 0x6c16, "Host RIP.";
    }
}

/// The fields of one guest segment register, LDTR or TR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFields {
    /// Selector.
    pub selector: Field<u16, Guest>,
    /// Base address.
    pub base: Field<Natural, Guest>,
    /// Limit, in bytes.
    pub limit: Field<u32, Guest>,
    /// Access rights.
    pub access_rights: Field<u32, Guest>,
}

macro_rules! segments {
    ($($name:ident: $selector:ident, $base:ident, $limit:ident, $access_rights:ident;)*) => {
        impl SegmentFields { $(
            /// Of the register of that name.
            pub const $name: Self = Self {
                selector: $selector,
                base: $base,
                limit: $limit,
                access_rights: $access_rights,
            };
        )* }
    };
}

segments! {
    ES: GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_ACCESS_RIGHTS;
    CS: GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_ACCESS_RIGHTS;
    SS: GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_ACCESS_RIGHTS;
    DS: GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_ACCESS_RIGHTS;
    FS: GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_ACCESS_RIGHTS;
    GS: GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_ACCESS_RIGHTS;
    LDTR: GUEST_LDTR_SELECTOR, GUEST_LDTR_BASE, GUEST_LDTR_LIMIT, GUEST_LDTR_ACCESS_RIGHTS;
    TR: GUEST_TR_SELECTOR, GUEST_TR_BASE, GUEST_TR_LIMIT, GUEST_TR_ACCESS_RIGHTS;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_encoding_appears_twice() {
        let encodings: BTreeSet<u64> = ALL.iter().map(|&(_, encoding)| encoding).collect();
        assert_eq!(encodings.len(), ALL.len());
    }

    #[test]
    fn host_and_guest_names_agree_with_their_group() {
        for &(name, encoding) in ALL {
            match encoding >> GROUP_SHIFT & 3 {
                3 => assert!(name.starts_with("HOST_"), "{name}"),
                1 => assert!(!name.starts_with("HOST_"), "{name}"),
                2 => assert!(!name.starts_with("HOST_") && !name.starts_with("EXIT_"), "{name}"),
                _ => assert!(!name.starts_with("HOST_") && !name.starts_with("GUEST_"), "{name}"),
            }
        }
    }

    #[test]
    fn values_pass_through_the_register() {
        assert_eq!(u16::from_register(u16::to_register(0xfedc)), 0xfedc);
        assert_eq!(u32::from_register(0xffff_ffff), 0xffff_ffff);
        assert_eq!(Natural::from_register(Natural::to_register(u64::MAX)), u64::MAX);
    }

    #[test]
    fn segment_registers_follow_one_another_in_every_table() {
        use SegmentFields as S;
        for (n, s) in (0..).zip([S::ES, S::CS, S::SS, S::DS, S::FS, S::GS, S::LDTR, S::TR]) {
            assert_eq!(s.selector.encoding(), 0x800 + 2 * n);
            assert_eq!(s.base.encoding(), 0x6806 + 2 * n);
            assert_eq!(s.limit.encoding(), 0x4800 + 2 * n);
            assert_eq!(s.access_rights.encoding(), 0x4814 + 2 * n);
        }
    }

    /// Against an independent transcription of the SDM's tables.
    #[test]
    #[rustfmt::skip]
    fn encodings_agree_with_the_crate_x86() {
        use x86::vmx::vmcs::{control as c, guest as g, host as h, ro};
        macro_rules! same {
            ($($ours:ident $theirs:expr;)*) => {{
                let named = [$(stringify!($ours)),*];
                $( assert_eq!($ours.encoding(), u64::from($theirs), stringify!($ours)); )*
                named
            }};
        }
        let compared = same! {
            VPID c::VPID;
            POSTED_INTERRUPT_NOTIFICATION_VECTOR c::POSTED_INTERRUPT_NOTIFICATION_VECTOR;
            IO_BITMAP_A c::IO_BITMAP_A_ADDR_FULL; IO_BITMAP_B c::IO_BITMAP_B_ADDR_FULL;
            MSR_BITMAPS c::MSR_BITMAPS_ADDR_FULL;
            VM_EXIT_MSR_STORE_ADDRESS c::VMEXIT_MSR_STORE_ADDR_FULL;
            VM_EXIT_MSR_LOAD_ADDRESS c::VMEXIT_MSR_LOAD_ADDR_FULL;
            VM_ENTRY_MSR_LOAD_ADDRESS c::VMENTRY_MSR_LOAD_ADDR_FULL;
            PML_ADDRESS c::PML_ADDR_FULL; TSC_OFFSET c::TSC_OFFSET_FULL;
            VIRTUAL_APIC_ADDRESS c::VIRT_APIC_ADDR_FULL; APIC_ACCESS_ADDRESS c::APIC_ACCESS_ADDR_FULL;
            POSTED_INTERRUPT_DESCRIPTOR_ADDRESS c::POSTED_INTERRUPT_DESC_ADDR_FULL;
            EPT_POINTER c::EPTP_FULL;
            EOI_EXIT_BITMAP_0 c::EOI_EXIT0_FULL; EOI_EXIT_BITMAP_1 c::EOI_EXIT1_FULL;
            EOI_EXIT_BITMAP_2 c::EOI_EXIT2_FULL; EOI_EXIT_BITMAP_3 c::EOI_EXIT3_FULL;
            XSS_EXITING_BITMAP c::XSS_EXITING_BITMAP_FULL;
            ENCLS_EXITING_BITMAP c::ENCLS_EXITING_BITMAP_FULL; TSC_MULTIPLIER c::TSC_MULTIPLIER_FULL;
            PIN_BASED_CONTROLS c::PINBASED_EXEC_CONTROLS;
            PRIMARY_CONTROLS c::PRIMARY_PROCBASED_EXEC_CONTROLS; EXCEPTION_BITMAP c::EXCEPTION_BITMAP;
            PAGE_FAULT_ERROR_CODE_MASK c::PAGE_FAULT_ERR_CODE_MASK;
            PAGE_FAULT_ERROR_CODE_MATCH c::PAGE_FAULT_ERR_CODE_MATCH; CR3_TARGET_COUNT c::CR3_TARGET_COUNT;
            EXIT_CONTROLS c::VMEXIT_CONTROLS; VM_EXIT_MSR_STORE_COUNT c::VMEXIT_MSR_STORE_COUNT;
            VM_EXIT_MSR_LOAD_COUNT c::VMEXIT_MSR_LOAD_COUNT; ENTRY_CONTROLS c::VMENTRY_CONTROLS;
            VM_ENTRY_MSR_LOAD_COUNT c::VMENTRY_MSR_LOAD_COUNT;
            ENTRY_INTERRUPTION_INFORMATION c::VMENTRY_INTERRUPTION_INFO_FIELD;
            ENTRY_EXCEPTION_ERROR_CODE c::VMENTRY_EXCEPTION_ERR_CODE;
            ENTRY_INSTRUCTION_LENGTH c::VMENTRY_INSTRUCTION_LEN; TPR_THRESHOLD c::TPR_THRESHOLD;
            SECONDARY_CONTROLS c::SECONDARY_PROCBASED_EXEC_CONTROLS;
            PLE_GAP c::PLE_GAP; PLE_WINDOW c::PLE_WINDOW;
            CR0_GUEST_HOST_MASK c::CR0_GUEST_HOST_MASK; CR4_GUEST_HOST_MASK c::CR4_GUEST_HOST_MASK;
            CR0_READ_SHADOW c::CR0_READ_SHADOW; CR4_READ_SHADOW c::CR4_READ_SHADOW;
            GUEST_PHYSICAL_ADDRESS ro::GUEST_PHYSICAL_ADDR_FULL;
            VM_INSTRUCTION_ERROR ro::VM_INSTRUCTION_ERROR; EXIT_REASON ro::EXIT_REASON;
            EXIT_INTERRUPTION_INFORMATION ro::VMEXIT_INTERRUPTION_INFO;
            EXIT_INTERRUPTION_ERROR_CODE ro::VMEXIT_INTERRUPTION_ERR_CODE;
            IDT_VECTORING_INFORMATION ro::IDT_VECTORING_INFO;
            IDT_VECTORING_ERROR_CODE ro::IDT_VECTORING_ERR_CODE;
            EXIT_INSTRUCTION_LENGTH ro::VMEXIT_INSTRUCTION_LEN;
            EXIT_INSTRUCTION_INFORMATION ro::VMEXIT_INSTRUCTION_INFO;
            EXIT_QUALIFICATION ro::EXIT_QUALIFICATION; GUEST_LINEAR_ADDRESS ro::GUEST_LINEAR_ADDR;
            GUEST_ES_SELECTOR g::ES_SELECTOR; GUEST_CS_SELECTOR g::CS_SELECTOR;
            GUEST_SS_SELECTOR g::SS_SELECTOR; GUEST_DS_SELECTOR g::DS_SELECTOR;
            GUEST_FS_SELECTOR g::FS_SELECTOR; GUEST_GS_SELECTOR g::GS_SELECTOR;
            GUEST_LDTR_SELECTOR g::LDTR_SELECTOR; GUEST_TR_SELECTOR g::TR_SELECTOR;
            GUEST_INTERRUPT_STATUS g::INTERRUPT_STATUS; PML_INDEX g::PML_INDEX;
            VMCS_LINK_POINTER g::LINK_PTR_FULL; GUEST_IA32_DEBUGCTL g::IA32_DEBUGCTL_FULL;
            GUEST_IA32_PAT g::IA32_PAT_FULL; GUEST_IA32_EFER g::IA32_EFER_FULL;
            GUEST_PDPTE0 g::PDPTE0_FULL; GUEST_PDPTE1 g::PDPTE1_FULL;
            GUEST_PDPTE2 g::PDPTE2_FULL; GUEST_PDPTE3 g::PDPTE3_FULL;
            GUEST_ES_LIMIT g::ES_LIMIT; GUEST_CS_LIMIT g::CS_LIMIT; GUEST_SS_LIMIT g::SS_LIMIT;
            GUEST_DS_LIMIT g::DS_LIMIT; GUEST_FS_LIMIT g::FS_LIMIT; GUEST_GS_LIMIT g::GS_LIMIT;
            GUEST_LDTR_LIMIT g::LDTR_LIMIT; GUEST_TR_LIMIT g::TR_LIMIT;
            GUEST_GDTR_LIMIT g::GDTR_LIMIT; GUEST_IDTR_LIMIT g::IDTR_LIMIT;
            GUEST_ES_ACCESS_RIGHTS g::ES_ACCESS_RIGHTS; GUEST_CS_ACCESS_RIGHTS g::CS_ACCESS_RIGHTS;
            GUEST_SS_ACCESS_RIGHTS g::SS_ACCESS_RIGHTS; GUEST_DS_ACCESS_RIGHTS g::DS_ACCESS_RIGHTS;
            GUEST_FS_ACCESS_RIGHTS g::FS_ACCESS_RIGHTS; GUEST_GS_ACCESS_RIGHTS g::GS_ACCESS_RIGHTS;
            GUEST_LDTR_ACCESS_RIGHTS g::LDTR_ACCESS_RIGHTS; GUEST_TR_ACCESS_RIGHTS g::TR_ACCESS_RIGHTS;
            GUEST_INTERRUPTIBILITY_STATE g::INTERRUPTIBILITY_STATE;
            GUEST_ACTIVITY_STATE g::ACTIVITY_STATE; GUEST_IA32_SYSENTER_CS g::IA32_SYSENTER_CS;
            PREEMPTION_TIMER_VALUE g::VMX_PREEMPTION_TIMER_VALUE;
            GUEST_CR0 g::CR0; GUEST_CR3 g::CR3; GUEST_CR4 g::CR4;
            GUEST_ES_BASE g::ES_BASE; GUEST_CS_BASE g::CS_BASE; GUEST_SS_BASE g::SS_BASE;
            GUEST_DS_BASE g::DS_BASE; GUEST_FS_BASE g::FS_BASE; GUEST_GS_BASE g::GS_BASE;
            GUEST_LDTR_BASE g::LDTR_BASE; GUEST_TR_BASE g::TR_BASE;
            GUEST_GDTR_BASE g::GDTR_BASE; GUEST_IDTR_BASE g::IDTR_BASE;
            GUEST_DR7 g::DR7; GUEST_RSP g::RSP; GUEST_RIP g::RIP; GUEST_RFLAGS g::RFLAGS;
            GUEST_PENDING_DEBUG_EXCEPTIONS g::PENDING_DBG_EXCEPTIONS;
            GUEST_IA32_SYSENTER_ESP g::IA32_SYSENTER_ESP; GUEST_IA32_SYSENTER_EIP g::IA32_SYSENTER_EIP;
            HOST_ES_SELECTOR h::ES_SELECTOR; HOST_CS_SELECTOR h::CS_SELECTOR;
            HOST_SS_SELECTOR h::SS_SELECTOR; HOST_DS_SELECTOR h::DS_SELECTOR;
            HOST_FS_SELECTOR h::FS_SELECTOR; HOST_GS_SELECTOR h::GS_SELECTOR;
            HOST_TR_SELECTOR h::TR_SELECTOR;
            HOST_IA32_PAT h::IA32_PAT_FULL; HOST_IA32_EFER h::IA32_EFER_FULL;
            HOST_IA32_SYSENTER_CS h::IA32_SYSENTER_CS;
            HOST_CR0 h::CR0; HOST_CR3 h::CR3; HOST_CR4 h::CR4; HOST_FS_BASE h::FS_BASE;
            HOST_GS_BASE h::GS_BASE; HOST_TR_BASE h::TR_BASE; HOST_GDTR_BASE h::GDTR_BASE;
            HOST_IDTR_BASE h::IDTR_BASE; HOST_IA32_SYSENTER_ESP h::IA32_SYSENTER_ESP;
            HOST_IA32_SYSENTER_EIP h::IA32_SYSENTER_EIP; HOST_RSP h::RSP; HOST_RIP h::RIP;
        };
        // The one field that the crate lacks.
        let rest: BTreeSet<&str> =
            ALL.iter().map(|&(name, _)| name).filter(|name| !compared.contains(name)).collect();
        assert_eq!(rest, BTreeSet::from(["ENCLV_EXITING_BITMAP"]));
    }
}
