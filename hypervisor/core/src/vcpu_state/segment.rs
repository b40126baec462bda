//! Segment registers with their hidden parts.

use super::{Violation, require};

/// Access rights in the packed form of AMD's VMCB, of `vcpu_hvm_context` and of save
/// records (SDM "Segment Descriptors", second doubleword).
///
/// ```text
///  packed   11  10   9  8    7  6..5  4  3..0
///           G   D/B  L  AVL  P  DPL   S  type
///  VMX      16        15  14   13  12   11..8  7  6..5  4  3..0
///           unusable  G   D/B  L   AVL  zero   P  DPL   S  type
/// ```
///
/// A segment is unusable in VMX's terms if it is not present here: only a null
/// selector or a reset LDTR leaves one behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct AccessRights(u16);

const VMX_UNUSABLE: u32 = 1 << 16;

impl AccessRights {
    /// 32-bit code, execute and read, accessed, granularity 4 KBytes.
    pub const CODE_32: Self = Self(0xc9b);
    /// 64-bit code, the same otherwise.
    pub const CODE_64: Self = Self(0xa9b);
    /// 32-bit data, read and write, accessed, granularity 4 KBytes.
    pub const DATA_32: Self = Self(0xc93);
    /// Code of real-address mode: 16-bit, execute and read, accessed.
    pub const REAL_CODE: Self = Self(0x09b);
    /// Data of real-address mode: 16-bit, read and write, accessed.
    pub const REAL_DATA: Self = Self(0x093);
    /// Busy 32-bit or 64-bit TSS.
    pub const BUSY_TSS: Self = Self(0x08b);
    /// Local descriptor table.
    pub const LDT: Self = Self(0x082);
    /// In virtual-8086 mode all segments have these rights.
    pub(super) const VIRTUAL_8086: Self = Self(0x0f3);

    /// The packed form, or `None` if a bit above 11 is set.
    #[must_use]
    pub const fn new(packed: u16) -> Option<Self> {
        if packed < 1 << 12 { Some(Self(packed)) } else { None }
    }

    /// The packed form.
    #[must_use]
    pub const fn packed(self) -> u16 {
        self.0
    }

    /// From an access-rights field of the VMCS. Its reserved bits are dropped.
    #[must_use]
    pub const fn from_vmx(field: u32) -> Self {
        let packed = ((field & 0xff | field >> 4 & 0xf00) & 0xfff) as u16;
        if field & VMX_UNUSABLE != 0 { Self(packed & !Self::PRESENT) } else { Self(packed) }
    }

    /// For an access-rights field of the VMCS. An unusable segment keeps its other
    /// bits: the DPL of SS is the CPL even then.
    #[must_use]
    pub const fn to_vmx(self) -> u32 {
        let field = self.0 as u32 & 0xff | (self.0 as u32 & 0xf00) << 4;
        if self.is_present() { field } else { field | VMX_UNUSABLE }
    }

    const PRESENT: u16 = 1 << 7;

    /// P.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Bits 3:0.
    #[must_use]
    pub const fn segment_type(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    /// S: a code or data segment.
    #[must_use]
    pub const fn is_code_or_data(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// S, and bit 3 of the type.
    #[must_use]
    pub const fn is_code(self) -> bool {
        self.is_code_or_data() && self.0 & 1 << 3 != 0
    }

    /// DPL; the CPL if it is that of SS.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.0 >> 5 & 3) as u8
    }

    /// L: 64-bit code.
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0 & 1 << 9 != 0
    }

    /// D/B: 32-bit operands, addresses and stack.
    #[must_use]
    pub const fn is_big(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    /// G: the limit counts 4-KByte units.
    #[must_use]
    pub const fn has_page_granularity(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    const fn with(self, bits: u16) -> Self {
        Self(self.0 | bits)
    }
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Access rights.
    pub rights: AccessRights,
    /// Limit, in bytes.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

impl Segment {
    /// A 32-bit or 64-bit TSS as Xen gives it to a vcpu.
    pub const TSS: Self = Self { selector: 0, rights: AccessRights::BUSY_TSS, limit: 0x67, base: 0 };

    /// The whole of the first 4 GBytes.
    #[must_use]
    pub const fn flat(rights: AccessRights) -> Self {
        Self { selector: 0, rights, limit: u32::MAX, base: 0 }
    }

    /// As real-address mode loads `selector`.
    #[must_use]
    pub const fn real_mode(selector: u16, rights: AccessRights) -> Self {
        Self { selector, rights, limit: 0xffff, base: (selector as u64) << 4 }
    }

    /// A code or data segment of a `vcpu_hvm_context`. One that is present counts as
    /// accessed; DS and ES may be null.
    pub(super) fn requested(
        what: &'static str,
        base: u32,
        limit: u32,
        rights: u16,
    ) -> Result<Self, Violation> {
        let rights = packed(what, rights)?;
        require(what, rights.is_present() || rights.packed() == 0, "must be present")?;
        let rights = if rights.is_present() { rights.with(1) } else { rights };
        Ok(Self { selector: 0, rights, limit, base: base.into() })
    }

    /// The task register of a `vcpu_hvm_context`. A TSS counts as busy.
    pub(super) fn requested_tss(base: u32, limit: u32, rights: u16) -> Result<Self, Violation> {
        let rights = packed("TR", rights)?.with(2);
        Ok(Self { selector: 0, rights, limit, base: base.into() })
    }
}

fn packed(what: &'static str, rights: u16) -> Result<AccessRights, Violation> {
    AccessRights::new(rights).ok_or(Violation { what, rule: "bits 15:12 of the access rights must be zero" })
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DescriptorTable {
    /// Base address.
    pub base: u64,
    /// Limit, in bytes.
    pub limit: u16,
}

impl DescriptorTable {
    /// After reset.
    pub const RESET: Self = Self { base: 0, limit: 0xffff };
}

/// All segment registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// ES.
    pub es: Segment,
    /// CS.
    pub cs: Segment,
    /// SS.
    pub ss: Segment,
    /// DS.
    pub ds: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// LDTR.
    pub ldtr: Segment,
    /// TR.
    pub tr: Segment,
}

impl Segments {
    /// After reset.
    pub const RESET: Self = {
        let data = Segment::real_mode(0, AccessRights::REAL_DATA);
        Self {
            es: data,
            cs: Segment { base: 0xffff_0000, ..Segment::real_mode(0xf000, AccessRights::REAL_CODE) },
            ss: data,
            ds: data,
            fs: data,
            gs: data,
            ldtr: Segment::real_mode(0, AccessRights::LDT),
            tr: Segment::real_mode(0, AccessRights::BUSY_TSS),
        }
    };
}
