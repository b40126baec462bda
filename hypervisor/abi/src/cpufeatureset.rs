//! CPU features as words of 32 bits (`arch-x86/cpufeatureset.h`), for the toolstack.
//!
//! A featureset is an array of such words, indexed by [`FeatureWord`]. Its length may grow:
//! a reader with fewer words ignores the rest. The header gives each feature one number,
//! word times 32 plus bit; here a feature is the bit that the SDM names in its register.

numbers! {
    /// A word of a featureset: the register whose bits it holds.
    pub enum FeatureWord: u32 {
        /// `XEN_X86_FEATURE_FPU / 32`: leaf 1 EDX.
        Leaf1Edx = 0,
        /// `XEN_X86_FEATURE_SSE3 / 32`: leaf 1 ECX.
        Leaf1Ecx = 1,
        /// `XEN_X86_FEATURE_SYSCALL / 32`: leaf 80000001H EDX.
        Leaf80000001Edx = 2,
        /// `XEN_X86_FEATURE_LAHF_LM / 32`: leaf 80000001H ECX.
        Leaf80000001Ecx = 3,
        /// `XEN_X86_FEATURE_XSAVEOPT / 32`: leaf DH, sub-leaf 1 EAX.
        LeafDSub1Eax = 4,
        /// `XEN_X86_FEATURE_FSGSBASE / 32`: leaf 7, sub-leaf 0 EBX.
        Leaf7Sub0Ebx = 5,
        /// `XEN_X86_FEATURE_PREFETCHWT1 / 32`: leaf 7, sub-leaf 0 ECX.
        Leaf7Sub0Ecx = 6,
        /// `XEN_X86_FEATURE_HW_PSTATE / 32`: leaf 80000007H EDX.
        Leaf80000007Edx = 7,
        /// `XEN_X86_FEATURE_CLZERO / 32`: leaf 80000008H EBX.
        Leaf80000008Ebx = 8,
        /// `XEN_X86_FEATURE_AVX512_4VNNIW / 32`: leaf 7, sub-leaf 0 EDX.
        Leaf7Sub0Edx = 9,
        /// `XEN_X86_FEATURE_AVX_VNNI / 32`: leaf 7, sub-leaf 1 EAX.
        Leaf7Sub1Eax = 10,
        /// `XEN_X86_FEATURE_LFENCE_DISPATCH / 32`: leaf 80000021H EAX.
        Leaf80000021Eax = 11,
        /// `XEN_X86_FEATURE_INTEL_PPIN / 32`: leaf 7, sub-leaf 1 EBX.
        Leaf7Sub1Ebx = 12,
        /// `XEN_X86_FEATURE_INTEL_PSFD / 32`: leaf 7, sub-leaf 2 EDX.
        Leaf7Sub2Edx = 13,
        /// `XEN_X86_FEATURE_CET_SSS / 32 - 1`: leaf 7, sub-leaf 1 ECX.
        Leaf7Sub1Ecx = 14,
        /// `XEN_X86_FEATURE_CET_SSS / 32`: leaf 7, sub-leaf 1 EDX.
        Leaf7Sub1Edx = 15,
        /// `XEN_X86_FEATURE_RDCL_NO / 32`: MSR IA32_ARCH_CAPABILITIES, low half.
        ArchCapsLow = 16,
        /// `XEN_X86_FEATURE_ITS_NO / 32`: MSR IA32_ARCH_CAPABILITIES, high half.
        ArchCapsHigh = 17,
        /// `XEN_X86_FEATURE_TSA_SQ_NO / 32`: leaf 80000021H ECX.
        Leaf80000021Ecx = 18,
    }
}

/// Words in a featureset.
pub const NR_WORDS: usize = 19;
