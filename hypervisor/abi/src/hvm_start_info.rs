//! What a PVH guest finds at its start (`arch-x86/hvm/start_info.h`).
//!
//! EBX holds the physical address of [`HvmStartInfo`]. All addresses are physical and
//! may be zero for "none".

numbers! {
    /// Kind of a memory range (`XEN_HVM_MEMMAP_TYPE_*`); the numbers of ACPI's E820.
    pub enum HvmMemmapType: u32 {
        /// `XEN_HVM_MEMMAP_TYPE_RAM`
        Ram = 1,
        /// `XEN_HVM_MEMMAP_TYPE_RESERVED`
        Reserved = 2,
        /// `XEN_HVM_MEMMAP_TYPE_ACPI`: ACPI tables; memory once they are read.
        Acpi = 3,
        /// `XEN_HVM_MEMMAP_TYPE_NVS`: ACPI non-volatile storage.
        Nvs = 4,
        /// `XEN_HVM_MEMMAP_TYPE_UNUSABLE`: broken memory.
        Unusable = 5,
        /// `XEN_HVM_MEMMAP_TYPE_DISABLED`
        Disabled = 6,
        /// `XEN_HVM_MEMMAP_TYPE_PMEM`: persistent memory.
        Pmem = 7,
    }
}

/// First word of [`HvmStartInfo`] (`XEN_HVM_START_MAGIC_VALUE`).
pub const START_MAGIC: u32 = 0x336e_c578;

layout! {
    /// `struct hvm_start_info`: version 1, with a memory map.
    pub struct HvmStartInfo, 56 bytes {
        /// [`START_MAGIC`].
        pub magic: u32,
        /// 1; 0 ends before `memmap_paddr`.
        pub version: u32,
        /// [`StartFlags`](crate::xen::StartFlags).
        pub flags: u32,
        /// Number of modules.
        pub nr_modules: u32,
        /// Address of the [`HvmModlistEntry`]s.
        pub modlist_paddr: u64,
        /// Address of the command line, NUL-terminated.
        pub cmdline_paddr: u64,
        /// Address of the ACPI RSDP.
        pub rsdp_paddr: u64,
        /// Address of the [`HvmMemmapTableEntry`]s.
        pub memmap_paddr: u64,
        /// Number of ranges.
        pub memmap_entries: u32,
        /// Must be zero.
        pub reserved: u32,
    }

    /// `struct hvm_modlist_entry`: one module.
    pub struct HvmModlistEntry, 32 bytes {
        /// Address.
        pub paddr: u64,
        /// Bytes.
        pub size: u64,
        /// Address of its command line, NUL-terminated.
        pub cmdline_paddr: u64,
        /// Must be zero.
        pub reserved: u64,
    }

    /// `struct hvm_memmap_table_entry`: one range of the memory map.
    pub struct HvmMemmapTableEntry, 24 bytes {
        /// Address.
        pub addr: u64,
        /// Bytes.
        pub size: u64,
        /// `type`: [`HvmMemmapType`].
        pub kind: u32,
        /// Must be zero.
        pub reserved: u32,
    }
}
