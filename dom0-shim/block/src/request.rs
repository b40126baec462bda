//! A request of the ring: copied once, then checked.
//!
//! ```text
//! x86_64   op:8 n:8 handle:16 pad:32 id:64 sector:64 │ segments, or nr_sectors, or handle and grants
//! x86_32   op:8 n:8 handle:16        id:64 sector:64 │ the same
//! offset   0                         8 / 4           24 / 20
//! ```
//!
//! So the layouts differ by four bytes of padding, and in the size of the slots.

use alloc::vec::Vec;

use storage::SECTOR;
use xen_abi::RawGrantRef;
use xen_abi::io::blkif::{
    BlkifOp, BlkifRequest, BlkifRequestDiscard, BlkifRequestIndirect, BlkifRequestSegment, BlkifSringEntry,
    BlkifStatus, DISCARD_SECURE, MAX_SEGMENTS_PER_REQUEST,
};
use xen_abi::io::protocols::{ABI_X86_32, ABI_X86_64};
use xen_backend::Memory;
use xen_backend::ring::Slot;
use zerocopy::{FromZeros, IntoBytes};

/// Sectors of a page.
const PAGE_SECTORS: u8 = 8;
const SECTOR_BYTES: u16 = 512;
const _: () = assert!(SECTOR_BYTES as usize == SECTOR);
const HEAD: usize = 24;
const SEGMENT: usize = size_of::<BlkifRequestSegment>();
/// Segments of the largest request that can be offered: half of what one page tells.
pub(crate) const MAX_INDIRECT_SEGMENTS: u16 = 256;

/// The layout of a front end's ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// Of 64-bit guests.
    X86_64,
    /// Of 32-bit guests.
    X86_32,
}

impl Layout {
    /// By its name in XenStore; the native one where nothing is said.
    pub(crate) fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some(ABI_X86_64) => Some(Self::X86_64),
            Some(ABI_X86_32) => Some(Self::X86_32),
            Some(_) => None,
        }
    }

    /// Bytes of a slot.
    pub(crate) fn slot_bytes(self) -> usize {
        size_of::<BlkifSringEntry>() - self.missing()
    }

    /// Bytes of padding that are not there.
    fn missing(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86_32 => 4,
        }
    }

    /// Copies the first 24 bytes of the 64-bit layout.
    fn read_head<M: Memory>(self, slot: &Slot<'_, M>, entry: &mut BlkifSringEntry) {
        let bytes = entry.as_mut_bytes();
        slot.read(0, &mut bytes[..4]);
        slot.read(8 - self.missing(), &mut bytes[8..HEAD]);
    }

    /// Copies so many bytes behind them.
    fn read_rest<M: Memory>(self, slot: &Slot<'_, M>, entry: &mut BlkifSringEntry, bytes: usize) {
        slot.read(HEAD - self.missing(), &mut entry.as_mut_bytes()[HEAD..HEAD + bytes]);
    }
}

/// What the disk allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sectors of the disk.
    pub(crate) sectors: u64,
    /// Nothing may be changed.
    pub(crate) read_only: bool,
    /// Discarding does something.
    pub(crate) discard: bool,
    /// Segments of one indirect request, at most [`MAX_INDIRECT_SEGMENTS`].
    pub(crate) indirect_segments: u16,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Kind {
    /// Sectors to the segments.
    #[default]
    Read,
    /// The segments to sectors.
    Write,
    /// As a write, after all that came before and before all that comes afterwards.
    Barrier,
    /// All that was answered before is on the medium; then the segments, if there are any.
    Flush,
    /// Sectors are not needed any more.
    Discard,
}

impl Kind {
    /// Whether data comes from the front end.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Barrier | Self::Flush)
    }
}

/// Some sectors of a granted page, within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) reference: RawGrantRef,
    /// Bytes into the page.
    pub(crate) offset: u16,
    /// Bytes, at least one sector.
    pub(crate) bytes: u16,
}

/// A request. Only where [`Self::take`] and [`Self::check`] say so it is one that can be done.
#[derive(Default, Debug)]
pub(crate) struct Request {
    /// The front end's name for it.
    pub(crate) id: u64,
    /// As it was asked, for the response; of an indirect request, what is done with its segments.
    pub(crate) operation: u8,
    pub(crate) kind: Kind,
    /// First sector on the disk.
    pub(crate) first: u64,
    /// Sectors; those of the segments where there are any.
    pub(crate) sectors: u64,
    pub(crate) segments: Vec<Segment>,
    /// As many bytes where there are segments, or more.
    pub(crate) buffer: Vec<u8>,
}

/// Segments that stand in a page of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Indirect {
    pub(crate) reference: RawGrantRef,
    /// At most [`MAX_INDIRECT_SEGMENTS`].
    pub(crate) count: usize,
}

impl Request {
    /// Copies a request out of its slot into this one. `Some`: its segments are elsewhere,
    /// and come by [`Self::add_segments`]. Then follows [`Self::check`].
    ///
    /// # Errors
    ///
    /// What to answer; `id` and `operation` are set in any case.
    pub(crate) fn take<M: Memory>(
        &mut self,
        slot: &Slot<'_, M>,
        layout: Layout,
        limits: &Limits,
    ) -> Result<Option<Indirect>, BlkifStatus> {
        let mut entry = BlkifSringEntry::new_zeroed();
        layout.read_head(slot, &mut entry);
        let head = entry.view::<BlkifRequestDiscard>();
        (self.id, self.operation, self.first) = (head.id, head.operation, head.sector_number);
        self.sectors = 0;
        self.segments.clear();
        let operation = BlkifOp::new(head.operation).ok_or(BlkifStatus::NotSupported)?;
        self.kind = match operation {
            BlkifOp::Read => Kind::Read,
            BlkifOp::Write => Kind::Write,
            BlkifOp::WriteBarrier => Kind::Barrier,
            BlkifOp::FlushDiskcache => Kind::Flush,
            BlkifOp::Reserved1 => return Err(BlkifStatus::NotSupported),
            BlkifOp::Discard => {
                layout.read_rest(slot, &mut entry, 8);
                return self.take_discard(&entry.view(), limits).map(|()| None);
            }
            BlkifOp::Indirect => {
                layout.read_rest(slot, &mut entry, 8);
                return self.take_indirect(&entry.view(), limits).map(Some);
            }
        };
        let count = usize::from(entry.view::<BlkifRequest>().nr_segments);
        if count > MAX_SEGMENTS_PER_REQUEST {
            return Err(BlkifStatus::Error);
        }
        layout.read_rest(slot, &mut entry, count * SEGMENT);
        let request = entry.view::<BlkifRequest>();
        self.add_segments(request.seg.get(..count).ok_or(BlkifStatus::Error)?)?;
        Ok(None)
    }

    fn take_discard(&mut self, discard: &BlkifRequestDiscard, limits: &Limits) -> Result<(), BlkifStatus> {
        (self.kind, self.sectors) = (Kind::Discard, discard.nr_sectors);
        // That nothing can bring the data back is more than anybody here can promise.
        if !limits.discard || discard.flag & DISCARD_SECURE != 0 {
            return Err(BlkifStatus::NotSupported);
        }
        Ok(())
    }

    fn take_indirect(
        &mut self,
        indirect: &BlkifRequestIndirect,
        limits: &Limits,
    ) -> Result<Indirect, BlkifStatus> {
        // Front ends compare it with what they asked for.
        self.operation = indirect.indirect_op;
        self.kind = match BlkifOp::new(indirect.indirect_op) {
            Some(BlkifOp::Read) => Kind::Read,
            Some(BlkifOp::Write) => Kind::Write,
            _ => return Err(BlkifStatus::Error),
        };
        let count = usize::from(indirect.nr_segments);
        if count == 0 || count > usize::from(limits.indirect_segments) {
            return Err(BlkifStatus::Error);
        }
        Ok(Indirect { reference: indirect.indirect_grefs[0], count })
    }

    /// Adds segments.
    ///
    /// # Errors
    ///
    /// What to answer where sectors lie outside of their page.
    pub(crate) fn add_segments(&mut self, segments: &[BlkifRequestSegment]) -> Result<(), BlkifStatus> {
        for segment in segments {
            let (first, last) = (segment.first_sect, segment.last_sect);
            if first > last || last >= PAGE_SECTORS {
                return Err(BlkifStatus::Error);
            }
            let count = u16::from(last - first) + 1;
            self.sectors += u64::from(count);
            self.segments.push(Segment {
                reference: segment.gref,
                offset: u16::from(first) * SECTOR_BYTES,
                bytes: count * SECTOR_BYTES,
            });
        }
        Ok(())
    }

    /// Checks that the disk can do it.
    ///
    /// # Errors
    ///
    /// What to answer if not.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), BlkifStatus> {
        if self.sectors == 0 {
            return match self.kind {
                Kind::Barrier | Kind::Flush => Ok(()),
                Kind::Read | Kind::Write | Kind::Discard => Err(BlkifStatus::Error),
            };
        }
        let end = self.first.checked_add(self.sectors).ok_or(BlkifStatus::Error)?;
        if end > limits.sectors || (limits.read_only && self.kind != Kind::Read) {
            return Err(BlkifStatus::Error);
        }
        Ok(())
    }

    /// Bytes of its segments.
    pub(crate) fn data_bytes(&self) -> usize {
        self.segments.iter().map(|segment| usize::from(segment.bytes)).sum()
    }
}
