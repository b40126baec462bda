//! Grant tables (`grant_table.h`): entries in shared memory, and the operations on them.
//!
//! ```text
//! v1 entry   flags:16 domid:16 frame:32                          512 to a page
//! v2 entry   flags:16 domid:16 page_off:16 length:16 frame:64    256 to a page
//!            status of v2: one 16-bit word for each entry in pages of their own
//! ```

use bitflags::bitflags;

use crate::handle::GuestHandle;
use crate::{RawDomid, RawGrantRef, RawPfn};

/// Number of one mapping, given by the hypervisor (`grant_handle_t`).
pub type RawGrantHandle = u32;
/// Status word of a v2 entry (`grant_status_t`): [`GrantFlags::READING`], [`GrantFlags::WRITING`].
pub type GrantStatus = u16;

numbers! {
    /// Operation of `grant_table_op` (`GNTTABOP_*`).
    pub enum GrantTableOp: u32 {
        /// `GNTTABOP_map_grant_ref`: [`GnttabMapGrantRef`].
        MapGrantRef = 0,
        /// `GNTTABOP_unmap_grant_ref`: [`GnttabUnmapGrantRef`].
        UnmapGrantRef = 1,
        /// `GNTTABOP_setup_table`: [`GnttabSetupTable`].
        SetupTable = 2,
        /// `GNTTABOP_dump_table`: [`GnttabDumpTable`].
        DumpTable = 3,
        /// `GNTTABOP_transfer`: [`GnttabTransfer`].
        Transfer = 4,
        /// `GNTTABOP_copy`: [`GnttabCopy`].
        Copy = 5,
        /// `GNTTABOP_query_size`: [`GnttabQuerySize`].
        QuerySize = 6,
        /// `GNTTABOP_unmap_and_replace`: [`GnttabUnmapAndReplace`].
        UnmapAndReplace = 7,
        /// `GNTTABOP_set_version`: [`GnttabSetVersion`].
        SetVersion = 8,
        /// `GNTTABOP_get_status_frames`: [`GnttabGetStatusFrames`].
        GetStatusFrames = 9,
        /// `GNTTABOP_get_version`: [`GnttabGetVersion`].
        GetVersion = 10,
        /// `GNTTABOP_swap_grant_ref`: [`GnttabSwapGrantRef`].
        SwapGrantRef = 11,
        /// `GNTTABOP_cache_flush`: [`GnttabCacheFlush`].
        CacheFlush = 12,
    }

    /// Outcome of one element of a batch (`GNTST_*`).
    pub enum GrantResult: i16 {
        /// `GNTST_okay`
        Okay = 0,
        /// `GNTST_general_error`
        GeneralError = -1,
        /// `GNTST_bad_domain`: no such domain, or not allowed to reach it.
        BadDomain = -2,
        /// `GNTST_bad_gntref`: no such entry, or it grants something else.
        BadGntref = -3,
        /// `GNTST_bad_handle`: no such mapping.
        BadHandle = -4,
        /// `GNTST_bad_virt_addr`: the address to map at is wrong.
        BadVirtAddr = -5,
        /// `GNTST_bad_dev_addr`: the device address to unmap is wrong.
        BadDevAddr = -6,
        /// `GNTST_no_device_space`: the IOMMU has no room.
        NoDeviceSpace = -7,
        /// `GNTST_permission_denied`
        PermissionDenied = -8,
        /// `GNTST_bad_page`: the page cannot be granted.
        BadPage = -9,
        /// `GNTST_bad_copy_arg`: the bytes to copy leave their page.
        BadCopyArg = -10,
        /// `GNTST_address_too_big`: the frame does not fit the entry.
        AddressTooBig = -11,
        /// `GNTST_eagain`: try again.
        Eagain = -12,
        /// `GNTST_no_space`: out of handles or frames.
        NoSpace = -13,
    }

    /// What an entry grants: its low two flag bits (`GTF_type_mask`).
    pub enum GrantType: u16 {
        /// `GTF_invalid`: nothing.
        Invalid = 0,
        /// `GTF_permit_access`: access to the frame.
        PermitAccess = 1,
        /// `GTF_accept_transfer`: accepts a frame.
        AcceptTransfer = 2,
        /// `GTF_transitive`: passes on another domain's grant. v2 only.
        Transitive = 3,
    }
}

/// Entries at the start of the table that the toolstack fills (`GNTTAB_NR_RESERVED_ENTRIES`).
pub const NR_RESERVED_ENTRIES: u32 = 8;
/// Entry for the console ring (`GNTTAB_RESERVED_CONSOLE`).
pub const RESERVED_CONSOLE: RawGrantRef = 0;
/// Entry for the XenStore ring (`GNTTAB_RESERVED_XENSTORE`).
pub const RESERVED_XENSTORE: RawGrantRef = 1;
/// The bits of `flags` that hold the [`GrantType`] (`GTF_type_mask`).
pub const TYPE_MASK: u16 = 3;
/// First of the mapping flags that the guest may use as it likes (`_GNTMAP_guest_avail0`).
pub const MAP_GUEST_AVAIL_SHIFT: u32 = 16;

bitflags! {
    /// Flags of an entry beside its [`GrantType`] (`GTF_*`), for access grants.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct GrantFlags: u16 {
        /// `GTF_readonly`: no write access. Written by the granter.
        const READONLY = 1 << 2;
        /// `GTF_reading`: mapped for reading. Written by the hypervisor.
        const READING = 1 << 3;
        /// `GTF_writing`: mapped for writing. Written by the hypervisor.
        const WRITING = 1 << 4;
        /// `GTF_PWT`: cache attribute of the mapping.
        const PWT = 1 << 5;
        /// `GTF_PCD`: cache attribute of the mapping.
        const PCD = 1 << 6;
        /// `GTF_PAT`: cache attribute of the mapping.
        const PAT = 1 << 7;
        /// `GTF_sub_page`: grants part of a page, by copy only. v2 only.
        const SUB_PAGE = 1 << 8;
    }

    /// Flags of a transfer grant beside its [`GrantType`] (`GTF_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TransferFlags: u16 {
        /// `GTF_transfer_committed`: a transfer has begun.
        const COMMITTED = 1 << 2;
        /// `GTF_transfer_completed`: the frame is in the entry.
        const COMPLETED = 1 << 3;
    }

    /// How to map a grant (`GNTMAP_*`); bits from 16 on are the guest's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// `GNTMAP_device_map`: for devices.
        const DEVICE_MAP = 1 << 0;
        /// `GNTMAP_host_map`: for the CPU, at `host_addr`.
        const HOST_MAP = 1 << 1;
        /// `GNTMAP_readonly`: reading only.
        const READONLY = 1 << 2;
        /// `GNTMAP_application_map`: for user mode too. PV only.
        const APPLICATION_MAP = 1 << 3;
        /// `GNTMAP_contains_pte`: `host_addr` is a page-table entry. PV only.
        const CONTAINS_PTE = 1 << 4;
    }

    /// What the sides of a copy are (`GNTCOPY_*`): a frame of the domain, or a grant.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CopyFlags: u16 {
        /// `GNTCOPY_source_gref`: the source is a grant.
        const SOURCE_GREF = 1 << 0;
        /// `GNTCOPY_dest_gref`: the destination is a grant.
        const DEST_GREF = 1 << 1;
    }

    /// What to do to a cache (`GNTTAB_CACHE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CacheFlushOp: u32 {
        /// `GNTTAB_CACHE_CLEAN`: write back.
        const CLEAN = 1 << 0;
        /// `GNTTAB_CACHE_INVAL`: invalidate.
        const INVAL = 1 << 1;
        /// `GNTTAB_CACHE_SOURCE_GREF`: the page is named by a grant, not by an address.
        const SOURCE_GREF = 1 << 31;
    }
}

layout! {
    /// `struct grant_entry_v1`: shared with the guest.
    pub struct GrantEntryV1, 8 bytes {
        /// [`GrantType`] and [`GrantFlags`].
        pub flags: u16,
        /// Who may use it.
        pub domid: RawDomid,
        /// Guest frame granted.
        pub frame: u32,
    }

    /// `struct grant_entry_header`: start of every v2 entry.
    pub struct GrantEntryHeader, 4 bytes {
        /// [`GrantType`] and [`GrantFlags`].
        pub flags: u16,
        /// Who may use it.
        pub domid: RawDomid,
    }

    /// `typeof(((union grant_entry_v2 *)0)->full_page)`: grants a page.
    pub struct GrantEntryV2FullPage, 16 bytes {
        /// Type, flags, domain.
        pub hdr: GrantEntryHeader,
        /// `pad0`: padding.
        pub _pad0: u32,
        /// Guest frame granted.
        pub frame: u64,
    }

    /// `typeof(((union grant_entry_v2 *)0)->sub_page)`: grants part of a page.
    pub struct GrantEntryV2SubPage, 16 bytes {
        /// Type, flags, domain.
        pub hdr: GrantEntryHeader,
        /// First byte in the page.
        pub page_off: u16,
        /// Bytes.
        pub length: u16,
        /// Guest frame granted.
        pub frame: u64,
    }

    /// `typeof(((union grant_entry_v2 *)0)->transitive)`: passes on a grant.
    pub struct GrantEntryV2Transitive, 12 bytes {
        /// Type, flags, domain.
        pub hdr: GrantEntryHeader,
        /// Domain that granted.
        pub trans_domid: RawDomid,
        /// `pad0`: padding.
        pub _pad0: u16,
        /// Its grant.
        pub gref: RawGrantRef,
    }

    /// `struct gnttab_map_grant_ref`: map a grant.
    pub struct GnttabMapGrantRef, 32 bytes {
        /// Guest physical address to map at.
        pub host_addr: u64,
        /// [`MapFlags`].
        pub flags: u32,
        /// `ref`: the grant.
        pub gref: RawGrantRef,
        /// Domain that granted.
        pub dom: RawDomid,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// The mapping; out.
        pub handle: RawGrantHandle,
        /// Address for devices; out.
        pub dev_bus_addr: u64,
    }

    /// `struct gnttab_unmap_grant_ref`: undo a mapping.
    pub struct GnttabUnmapGrantRef, 24 bytes {
        /// Guest physical address it was mapped at, or 0.
        pub host_addr: u64,
        /// Address for devices, or 0.
        pub dev_bus_addr: u64,
        /// The mapping.
        pub handle: RawGrantHandle,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct gnttab_setup_table`: grow the table and list its frames.
    pub struct GnttabSetupTable, 24 bytes {
        /// Whose table.
        pub dom: RawDomid,
        /// Padding.
        pub _pad0: u16,
        /// Frames wanted.
        pub nr_frames: u32,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad1: [u16; 3],
        /// The frames; out.
        pub frame_list: GuestHandle<RawPfn>,
    }

    /// `struct gnttab_dump_table`: print the table.
    pub struct GnttabDumpTable, 4 bytes {
        /// Whose table.
        pub dom: RawDomid,
        /// [`GrantResult`]; out.
        pub status: i16,
    }

    /// `struct gnttab_transfer`: give a frame away.
    pub struct GnttabTransfer, 24 bytes {
        /// The frame.
        pub mfn: RawPfn,
        /// Domain that gets it.
        pub domid: RawDomid,
        /// Padding.
        pub _pad0: u16,
        /// `ref`: that domain's entry.
        pub gref: RawGrantRef,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad1: [u16; 3],
    }

    /// `struct gnttab_copy_ptr`: one side of a copy.
    pub struct GnttabCopyPtr, 16 bytes {
        /// The grant, or the frame.
        pub u: GnttabCopyTarget,
        /// Domain that granted, or that owns the frame.
        pub domid: RawDomid,
        /// First byte in the page.
        pub offset: u16,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct gnttab_copy`: copy bytes from page to page.
    pub struct GnttabCopy, 40 bytes {
        /// From.
        pub source: GnttabCopyPtr,
        /// To.
        pub dest: GnttabCopyPtr,
        /// Bytes.
        pub len: u16,
        /// [`CopyFlags`].
        pub flags: u16,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct gnttab_query_size`: how large the table is.
    pub struct GnttabQuerySize, 16 bytes {
        /// Whose table.
        pub dom: RawDomid,
        /// Padding.
        pub _pad0: u16,
        /// Frames in use; out.
        pub nr_frames: u32,
        /// Frames allowed; out.
        pub max_nr_frames: u32,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad1: u16,
    }

    /// `struct gnttab_unmap_and_replace`: undo a mapping and put a page in its place. PV.
    pub struct GnttabUnmapAndReplace, 24 bytes {
        /// Address it was mapped at.
        pub host_addr: u64,
        /// Address whose page replaces it.
        pub new_addr: u64,
        /// The mapping.
        pub handle: RawGrantHandle,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct gnttab_set_version`: choose the form of the entries.
    pub struct GnttabSetVersion, 4 bytes {
        /// 1 or 2; out: the form in use.
        pub version: u32,
    }

    /// `struct gnttab_get_status_frames`: list the frames of the v2 status words.
    pub struct GnttabGetStatusFrames, 16 bytes {
        /// Frames wanted.
        pub nr_frames: u32,
        /// Whose table.
        pub dom: RawDomid,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// The frames; out.
        pub frame_list: GuestHandle<u64>,
    }

    /// `struct gnttab_get_version`: the form in use.
    pub struct GnttabGetVersion, 8 bytes {
        /// Whose table.
        pub dom: RawDomid,
        /// `pad`: padding.
        pub _pad: u16,
        /// 1 or 2; out.
        pub version: u32,
    }

    /// `struct gnttab_swap_grant_ref`: exchange two entries.
    pub struct GnttabSwapGrantRef, 12 bytes {
        /// One.
        pub ref_a: RawGrantRef,
        /// The other.
        pub ref_b: RawGrantRef,
        /// [`GrantResult`]; out.
        pub status: i16,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct gnttab_cache_flush`: cache maintenance.
    pub struct GnttabCacheFlush, 16 bytes {
        /// Address for devices, or grant.
        pub a: GnttabCacheTarget,
        /// First byte in the page.
        pub offset: u16,
        /// Bytes.
        pub length: u16,
        /// [`CacheFlushOp`].
        pub op: u32,
    }
}

unions! {
    /// `union grant_entry_v2`: shared with the guest.
    pub union GrantEntryV2: [u64; 2] {
        GrantEntryHeader, GrantEntryV2FullPage, GrantEntryV2SubPage, GrantEntryV2Transitive,
    }

    /// `u` of `struct gnttab_copy_ptr`: a grant (`u32`) or a guest frame (`u64`).
    pub union GnttabCopyTarget: [u64; 1] { RawGrantRef, RawPfn }

    /// `a` of `struct gnttab_cache_flush`: an address (`u64`) or a grant (`u32`).
    pub union GnttabCacheTarget: [u64; 1] { u64, RawGrantRef }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_negative_numbers() {
        assert_eq!(GrantResult::new(-13), Some(GrantResult::NoSpace));
        assert_eq!(GrantResult::new(-14), None);
        assert_eq!(GrantResult::BadGntref.get(), -3);
    }

    #[test]
    fn every_value_of_the_type_bits_has_a_meaning() {
        assert!((0..=TYPE_MASK).all(|bits| GrantType::new(bits).is_some()));
    }
}
