//! Block devices (`io/blkif.h`).
//!
//! A sector has 512 bytes in all fields of the ring, whatever the disk's own size.

use crate::RawGrantRef;
use crate::io::ring;

numbers! {
    /// Operation of a request (`BLKIF_OP_*`).
    pub enum BlkifOp: u8 {
        /// `BLKIF_OP_READ`
        Read = 0,
        /// `BLKIF_OP_WRITE`
        Write = 1,
        /// `BLKIF_OP_WRITE_BARRIER`: write after all before it, before all after it.
        WriteBarrier = 2,
        /// `BLKIF_OP_FLUSH_DISKCACHE`: what was written is on the disk.
        FlushDiskcache = 3,
        /// `BLKIF_OP_RESERVED_1`: raw packets, never standardized.
        Reserved1 = 4,
        /// `BLKIF_OP_DISCARD`: contents no longer needed ([`BlkifRequestDiscard`]).
        Discard = 5,
        /// `BLKIF_OP_INDIRECT`: segments in pages of their own ([`BlkifRequestIndirect`]).
        Indirect = 6,
    }

    /// Outcome of a request (`BLKIF_RSP_*`).
    pub enum BlkifStatus: i16 {
        /// `BLKIF_RSP_OKAY`
        Okay = 0,
        /// `BLKIF_RSP_ERROR`: failed.
        Error = -1,
        /// `BLKIF_RSP_EOPNOTSUPP`: operation not supported.
        NotSupported = -2,
    }
}

/// Segments in a request (`BLKIF_MAX_SEGMENTS_PER_REQUEST`).
pub const MAX_SEGMENTS_PER_REQUEST: usize = 11;
/// Pages of segments in an indirect request (`BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST`).
pub const MAX_INDIRECT_PAGES_PER_REQUEST: usize = 8;
/// Flag of [`BlkifRequestDiscard`]: beyond recovery (`BLKIF_DISCARD_SECURE`).
pub const DISCARD_SECURE: u8 = 1;
/// Bit of the XenStore node `info`: a CD (`VDISK_CDROM`).
pub const VDISK_CDROM: u32 = 1;
/// Bit of the XenStore node `info`: may be taken out (`VDISK_REMOVABLE`).
pub const VDISK_REMOVABLE: u32 = 2;
/// Bit of the XenStore node `info`: not writable (`VDISK_READONLY`).
pub const VDISK_READONLY: u32 = 4;
/// Entries in a ring of one page (`__CONST_RING_SIZE(blkif, 4096)`).
pub const RING_ENTRIES: usize = ring::entries(4096, size_of::<BlkifSringEntry>());

layout! {
    /// `struct blkif_request_segment`: some sectors of a granted page.
    pub struct BlkifRequestSegment, 8 bytes {
        /// The page.
        pub gref: RawGrantRef,
        /// First sector in the page: 0 to 7.
        pub first_sect: u8,
        /// Last sector in the page.
        pub last_sect: u8,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct blkif_request`: read, write or flush.
    pub struct BlkifRequest, 112 bytes {
        /// [`BlkifOp`].
        pub operation: u8,
        /// Segments.
        pub nr_segments: u8,
        /// The device's number (`virtual-device` in XenStore).
        pub handle: u16,
        /// Padding.
        pub _pad: u32,
        /// The front end's name for it, returned in the response.
        pub id: u64,
        /// First sector on the disk.
        pub sector_number: u64,
        /// The segments.
        pub seg: [BlkifRequestSegment; MAX_SEGMENTS_PER_REQUEST],
    }

    /// `struct blkif_request_discard`
    pub struct BlkifRequestDiscard, 32 bytes {
        /// [`BlkifOp::Discard`].
        pub operation: u8,
        /// [`DISCARD_SECURE`] or 0.
        pub flag: u8,
        /// The device's number.
        pub handle: u16,
        /// Padding.
        pub _pad: u32,
        /// The front end's name for it, returned in the response.
        pub id: u64,
        /// First sector on the disk.
        pub sector_number: u64,
        /// Sectors.
        pub nr_sectors: u64,
    }

    /// `struct blkif_request_indirect`: read or write of many segments.
    pub struct BlkifRequestIndirect, 64 bytes {
        /// [`BlkifOp::Indirect`].
        pub operation: u8,
        /// [`BlkifOp::Read`] or [`BlkifOp::Write`].
        pub indirect_op: u8,
        /// Segments.
        pub nr_segments: u16,
        /// Padding.
        pub _pad0: u32,
        /// The front end's name for it, returned in the response.
        pub id: u64,
        /// First sector on the disk.
        pub sector_number: u64,
        /// The device's number.
        pub handle: u16,
        /// Padding.
        pub _pad1: u16,
        /// Pages of [`BlkifRequestSegment`]s, 512 to a page.
        pub indirect_grefs: [RawGrantRef; MAX_INDIRECT_PAGES_PER_REQUEST],
        /// Padding.
        pub _pad2: u32,
    }

    /// `struct blkif_response`
    pub struct BlkifResponse, 16 bytes {
        /// The front end's name for the request.
        pub id: u64,
        /// Its [`BlkifOp`].
        pub operation: u8,
        /// Padding.
        pub _pad0: u8,
        /// [`BlkifStatus`].
        pub status: i16,
        /// Padding.
        pub _pad1: u32,
    }
}

unions! {
    /// `union blkif_sring_entry`: one slot of the ring.
    pub union BlkifSringEntry: [u64; 14] {
        BlkifRequest, BlkifRequestDiscard, BlkifRequestIndirect, BlkifResponse,
    }
}
