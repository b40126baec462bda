//! Feature bits that a guest reads by `XENVER_get_features` (`features.h`).

use bitflags::bitflags;

/// Words of feature bits (`XENFEAT_NR_SUBMAPS`).
pub const NR_SUBMAPS: u32 = 1;

bitflags! {
    /// Word 0 of the feature bits; the interface counts bits (`XENFEAT_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// `1 << XENFEAT_writable_page_tables`: page tables may be writable.
        const WRITABLE_PAGE_TABLES = 1 << 0;
        /// `1 << XENFEAT_writable_descriptor_tables`: descriptor tables may be writable.
        const WRITABLE_DESCRIPTOR_TABLES = 1 << 1;
        /// `1 << XENFEAT_auto_translated_physmap`: the guest works with its own frame numbers.
        const AUTO_TRANSLATED_PHYSMAP = 1 << 2;
        /// `1 << XENFEAT_supervisor_mode_kernel`: a PV kernel runs in ring 0.
        const SUPERVISOR_MODE_KERNEL = 1 << 3;
        /// `1 << XENFEAT_pae_pgdir_above_4gb`: PAE page directories may lie above 4 GiB.
        const PAE_PGDIR_ABOVE_4GB = 1 << 4;
        /// `1 << XENFEAT_mmu_pt_update_preserve_ad`: that PV command exists.
        const MMU_PT_UPDATE_PRESERVE_AD = 1 << 5;
        /// `1 << XENFEAT_highmem_assist`: PV commands for high memory exist.
        const HIGHMEM_ASSIST = 1 << 6;
        /// `1 << XENFEAT_gnttab_map_avail_bits`: a grant mapping may set the entry's free bits.
        const GNTTAB_MAP_AVAIL_BITS = 1 << 7;
        /// `1 << XENFEAT_hvm_callback_vector`: events may be delivered by a vector.
        const HVM_CALLBACK_VECTOR = 1 << 8;
        /// `1 << XENFEAT_hvm_safe_pvclock`: the PV clock is usable in HVM guests.
        const HVM_SAFE_PVCLOCK = 1 << 9;
        /// `1 << XENFEAT_hvm_pirqs`: HVM guests may bind physical interrupts to events.
        const HVM_PIRQS = 1 << 10;
        /// `1 << XENFEAT_dom0`: the calling domain is Dom0.
        const DOM0 = 1 << 11;
        /// `1 << XENFEAT_memory_op_vnode_supported`: `XENMEMF_vnode` is understood.
        const MEMORY_OP_VNODE_SUPPORTED = 1 << 13;
        /// `1 << XENFEAT_ARM_SMCCC_supported`: of Arm.
        const ARM_SMCCC_SUPPORTED = 1 << 14;
        /// `1 << XENFEAT_linux_rsdp_unrestricted`: a PVH guest need not find the RSDP low in memory.
        const LINUX_RSDP_UNRESTRICTED = 1 << 15;
        /// `1 << XENFEAT_not_direct_mapped`: guest frames are not machine frames.
        const NOT_DIRECT_MAPPED = 1 << 16;
        /// `1 << XENFEAT_direct_mapped`: guest frames are machine frames.
        const DIRECT_MAPPED = 1 << 17;
    }
}
