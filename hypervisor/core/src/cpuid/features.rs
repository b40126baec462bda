//! The lists of what a domain may see, by leaf and register (SDM "CPUID—CPU
//! Identification", names as there). What is not named here, no guest sees: VMX, SMX,
//! MONITOR, performance monitoring, processor trace, SGX, TSX, MPX, protection keys,
//! CET, 5-level paging, AMX, XSAVES and whatever comes next.

use super::Regs;

/// A mask of the named bits.
macro_rules! allow {
    ($($(#[$doc:meta])* $name:ident = { $($feature:ident $bit:literal),* $(,)? };)*) => {
        $( $(#[$doc])* pub(super) const $name: u32 = 0 $(| 1 << $bit)*; )*
    };
}

allow! {
    /// X2APIC, TSC_DEADLINE, OSXSAVE and HYPERVISOR do not come from the host.
    LEAF_1_ECX = {
        SSE3 0, PCLMULQDQ 1, SSSE3 9, FMA 12, CMPXCHG16B 13, PCID 17, SSE4_1 19, SSE4_2 20, MOVBE 22,
        POPCNT 23, AESNI 25, XSAVE 26, AVX 28, F16C 29, RDRAND 30,
    };
    LEAF_1_EDX = {
        FPU 0, VME 1, DE 2, PSE 3, TSC 4, MSR 5, PAE 6, MCE 7, CX8 8, APIC 9, SEP 11, MTRR 12, PGE 13,
        MCA 14, CMOV 15, PAT 16, PSE36 17, CLFSH 19, MMX 23, FXSR 24, SSE 25, SSE2 26, SS 27,
    };
    /// FDP_EXCPTN_ONLY and the deprecation of FPU CS and DS tell what the CPU lacks.
    LEAF_7_0_EBX = {
        FSGSBASE 0, TSC_ADJUST 1, BMI1 3, AVX2 5, FDP_EXCPTN_ONLY 6, SMEP 7, BMI2 8, ERMS 9, INVPCID 10,
        DEPRECATES_FPU_CS_DS 13, AVX512F 16, AVX512DQ 17, RDSEED 18, ADX 19, SMAP 20, AVX512_IFMA 21,
        CLFLUSHOPT 23, CLWB 24, AVX512CD 28, SHA 29, AVX512BW 30, AVX512VL 31,
    };
    LEAF_7_0_ECX = {
        AVX512_VBMI 1, UMIP 2, AVX512_VBMI2 6, GFNI 8, VAES 9, VPCLMULQDQ 10, AVX512_VNNI 11,
        AVX512_BITALG 12, AVX512_VPOPCNTDQ 14, RDPID 22, CLDEMOTE 25, MOVDIRI 27, MOVDIR64B 28,
    };
    LEAF_7_0_EDX = {
        FAST_SHORT_REP_MOV 4, MD_CLEAR 10, SERIALIZE 14, AVX512_FP16 23, IBRS_IBPB 26, STIBP 27,
        ARCH_CAPABILITIES 29, SSBD 31,
    };
    /// Of those, what stands for bits of `IA32_SPEC_CTRL` and for `IA32_PRED_CMD`.
    LEAF_7_0_EDX_SPECULATION = { IBRS_IBPB 26, STIBP 27, SSBD 31 };
    LEAF_7_1_EAX = {
        SHA512 0, SM3 1, SM4 2, AVX_VNNI 4, AVX512_BF16 5, CMPCCXADD 7, FAST_ZERO_LENGTH_REP_MOVSB 10,
        FAST_SHORT_REP_STOSB 11, FAST_SHORT_REP_CMPSB_SCASB 12, AVX_IFMA 23,
    };
    LEAF_7_1_EDX = { AVX_VNNI_INT8 4, AVX_NE_CONVERT 5, AVX_VNNI_INT16 10, PREFETCHI 14 };
    LEAF_7_2_EDX = { PSFD 0, IPRED_CTRL 1, RRSBA_CTRL 2, BHI_CTRL 4, MCDT_NO 5 };
    LEAF_7_2_EDX_SPECULATION = { PSFD 0, IPRED_CTRL 1, RRSBA_CTRL 2, BHI_CTRL 4 };
    LEAF_D_1_EAX = { XSAVEOPT 0, XSAVEC 1, XGETBV_ECX_1 2 };
    LEAF_80000001_ECX = { LAHF_SAHF_64 0, LZCNT 5, PREFETCHW 8 };
    LEAF_80000001_EDX = { SYSCALL 11, NX 20, PAGE_1G 26, RDTSCP 27, LONG_MODE 29 };
    /// Components of XCR0.
    XCR0 = { X87 0, SSE 1, AVX 2, OPMASK 5, ZMM_HI256 6, HI16_ZMM 7 };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// A feature on which something in the hypervisor depends: where CPUID tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    leaf: u32,
    subleaf: u32,
    register: Register,
    bit: u8,
}

macro_rules! features {
    ($($name:ident = $leaf:literal / $subleaf:literal $register:ident $bit:literal, $doc:literal;)*) => {
        impl Feature { $(
            #[doc = $doc]
            pub const $name: Self =
                Self { leaf: $leaf, subleaf: $subleaf, register: Register::$register, bit: $bit };
        )* }
    };
}

features! {
    PCID = 1 / 0 Ecx 17, "Process-context identifiers.";
    X2APIC = 1 / 0 Ecx 21, "x2APIC mode.";
    TSC_DEADLINE = 1 / 0 Ecx 24, "TSC-deadline mode of the LAPIC timer.";
    XSAVE = 1 / 0 Ecx 26, "XSAVE and XCR0.";
    OSXSAVE = 1 / 0 Ecx 27, "CR4.OSXSAVE is set.";
    HYPERVISOR = 1 / 0 Ecx 31, "A hypervisor is there.";
    AVX = 1 / 0 Ecx 28, "AVX.";
    VME = 1 / 0 Edx 1, "Virtual-8086 mode enhancements.";
    DE = 1 / 0 Edx 2, "Debugging extensions.";
    PSE = 1 / 0 Edx 3, "4-MByte pages.";
    TSC = 1 / 0 Edx 4, "Time-stamp counter.";
    PAE = 1 / 0 Edx 6, "Physical-address extension.";
    MCE = 1 / 0 Edx 7, "Machine-check exception.";
    SEP = 1 / 0 Edx 11, "SYSENTER.";
    MTRR = 1 / 0 Edx 12, "Memory-type range registers.";
    PGE = 1 / 0 Edx 13, "Global pages.";
    PAT = 1 / 0 Edx 16, "Page attribute table.";
    FXSR = 1 / 0 Edx 24, "FXSAVE.";
    SSE = 1 / 0 Edx 25, "SSE.";
    APIC = 1 / 0 Edx 9, "There is a local APIC, and it is on.";
    HTT = 1 / 0 Edx 28, "The package has more than one APIC id.";
    FSGSBASE = 7 / 0 Ebx 0, "RDFSBASE and its kin.";
    TSC_ADJUST = 7 / 0 Ebx 1, "`IA32_TSC_ADJUST`.";
    SMEP = 7 / 0 Ebx 7, "Supervisor-mode execution prevention.";
    INVPCID = 7 / 0 Ebx 10, "INVPCID.";
    AVX512F = 7 / 0 Ebx 16, "AVX-512 foundation.";
    SMAP = 7 / 0 Ebx 20, "Supervisor-mode access prevention.";
    UMIP = 7 / 0 Ecx 2, "User-mode instruction prevention.";
    RDPID = 7 / 0 Ecx 22, "RDPID.";
    IBRS_IBPB = 7 / 0 Edx 26, "`IA32_SPEC_CTRL` and `IA32_PRED_CMD`.";
    ARCH_CAPABILITIES = 7 / 0 Edx 29, "`IA32_ARCH_CAPABILITIES`.";
    XSAVEC = 0xd / 1 Eax 1, "XSAVEC: the compacted format.";
    SYSCALL = 0x8000_0001 / 0 Edx 11, "SYSCALL in 64-bit mode.";
    NX = 0x8000_0001 / 0 Edx 20, "No-execute pages.";
    PAGE_1G = 0x8000_0001 / 0 Edx 26, "1-GByte pages.";
    RDTSCP = 0x8000_0001 / 0 Edx 27, "RDTSCP.";
    LONG_MODE = 0x8000_0001 / 0 Edx 29, "Intel 64.";
}

impl Feature {
    pub(super) const fn leaf(self) -> u32 {
        self.leaf
    }

    pub(super) const fn subleaf(self) -> u32 {
        self.subleaf
    }

    /// The bit in its register.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << self.bit
    }

    /// Whether `regs`, of the right leaf, have it.
    #[must_use]
    pub const fn is_in(self, regs: &Regs) -> bool {
        let register = match self.register {
            Register::Eax => regs.eax,
            Register::Ebx => regs.ebx,
            Register::Ecx => regs.ecx,
            Register::Edx => regs.edx,
        };
        register & self.mask() != 0
    }
}

/// Bits of CR4 by the feature that makes them exist (SDM "Control Registers"). PCE is
/// allowed without one: a guest may set it, and RDPMC exits all the same.
pub(super) const CR4: [(Feature, u64); 16] = [
    (Feature::VME, 1 << 0 | 1 << 1),
    (Feature::TSC, 1 << 2),
    (Feature::DE, 1 << 3),
    (Feature::PSE, 1 << 4),
    (Feature::PAE, 1 << 5),
    (Feature::MCE, 1 << 6),
    (Feature::PGE, 1 << 7),
    (Feature::HYPERVISOR, 1 << 8),
    (Feature::FXSR, 1 << 9),
    (Feature::SSE, 1 << 10),
    (Feature::UMIP, 1 << 11),
    (Feature::FSGSBASE, 1 << 16),
    (Feature::PCID, 1 << 17),
    (Feature::XSAVE, 1 << 18),
    (Feature::SMEP, 1 << 20),
    (Feature::SMAP, 1 << 21),
];

/// Bits of EFER.
pub(super) const EFER: [(Feature, u64); 3] =
    [(Feature::SYSCALL, 1 << 0), (Feature::LONG_MODE, 1 << 8 | 1 << 10), (Feature::NX, 1 << 11)];
