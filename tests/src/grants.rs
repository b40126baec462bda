//! What tests of grants say often.

use guest_rt::hypercall;
use guest_rt::paging::Page;
use guest_rt::window::Window as Kernel;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GnttabCopy, GnttabCopyPtr, GnttabCopyTarget, GnttabMapGrantRef, GnttabUnmapGrantRef, GrantFlags,
    GrantResult, GrantTableOp, GrantType, MapFlags,
};
use xen_abi::memory::{AddToPhysmap, MapSpace, MemoryOp};
use xen_abi::xen::DOMID_SELF;
use xen_control::foreign::{Mapping, Window};
use zerocopy::FromZeros;

use crate::verdict::Check;

/// Bytes of an entry.
const ENTRY_LEN: u64 = 8;
/// A grant to read and write.
pub const PERMIT: u16 = GrantType::PermitAccess as u16;
/// A grant to read.
pub const PERMIT_READ: u16 = PERMIT | GrantFlags::READONLY.bits();
/// Somebody reads.
pub const READING: u16 = GrantFlags::READING.bits();
/// Somebody reads and writes.
pub const WRITING: u16 = GrantFlags::READING.bits() | GrantFlags::WRITING.bits();
/// For a CPU, to read and write.
pub const HOST: u32 = MapFlags::HOST_MAP.bits();
/// For a CPU, to read.
pub const HOST_READ: u32 = HOST | MapFlags::READONLY.bits();

/// The grant table of another domain, as its toolstack writes it.
pub struct Entries<'a>(Mapping<'a, Kernel>);

impl<'a> Entries<'a> {
    /// That of `domain`, `frames` frames of it.
    pub fn of(window: &'a Window<Kernel>, domain: RawDomid, frames: usize) -> Check<Self> {
        Ok(Self(window.grant_table(domain, frames)?))
    }

    /// Writes an entry.
    pub fn set(&self, gref: u32, flags: u16, to: RawDomid, frame: u32) -> Check {
        let at = u64::from(gref) * ENTRY_LEN;
        self.0.write(at + 4, &frame.to_le_bytes())?;
        let header = u32::from(flags) | u32::from(to) << 16;
        Ok(self.0.write(at, &header.to_le_bytes())?)
    }

    /// The flags of an entry.
    pub fn flags(&self, gref: u32) -> Check<u16> {
        let mut bytes = [0; 2];
        self.0.read(u64::from(gref) * ENTRY_LEN, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Fails unless the status bits of an entry are these.
    pub fn expect_status(&self, gref: u32, status: u16, what: &str) -> Check {
        ensure_eq!(self.flags(gref)? & WRITING, status, "status bits of entry {gref}, {what}");
        Ok(())
    }
}

/// The first frame of the domain's own grant table, in place of a page that is gone for ever.
pub struct OwnEntries(core::mem::ManuallyDrop<Page>);

impl OwnEntries {
    /// Puts it there.
    pub fn new() -> Result<Self, Errno> {
        let page = Page::new();
        put_table(0, page.frame())?;
        Ok(Self(core::mem::ManuallyDrop::new(page)))
    }

    /// Writes an entry.
    pub fn set(&self, gref: u32, flags: u16, to: RawDomid, frame: u32) -> Check {
        let at = (gref % 512) as usize * 8;
        self.0.write_u32(at + 4, frame)?;
        Ok(self.0.write_u32(at, u32::from(flags) | u32::from(to) << 16)?)
    }

    /// The header of an entry: flags, domid.
    pub fn header(&self, gref: u32) -> Check<u32> {
        Ok(self.0.read_u32((gref % 512) as usize * 8)?)
    }
}

/// Lets frame `index` of the domain's own grant table stand at `frame`.
pub fn put_table(index: u64, frame: u64) -> Result<(), Errno> {
    let mut add = AddToPhysmap {
        domid: DOMID_SELF,
        size: 0,
        space: MapSpace::GrantTable.get(),
        idx: index,
        gpfn: frame,
    };
    hypercall::memory_op(MemoryOp::AddToPhysmap, &mut add).map(drop)
}

/// What an element says.
pub fn status(raw: i16) -> GrantResult {
    GrantResult::new(raw).unwrap_or(GrantResult::GeneralError)
}

/// Maps a grant at guest frame `frame`; the element as it comes back.
pub fn map(granter: RawDomid, gref: u32, flags: u32, frame: u64) -> Check<GnttabMapGrantRef> {
    let op = GnttabMapGrantRef {
        host_addr: frame << 12,
        flags,
        gref,
        dom: granter,
        status: i16::MAX,
        ..GnttabMapGrantRef::new_zeroed()
    };
    let mut ops = [op];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::MapGrantRef, &mut ops), Ok(0), "map_grant_ref");
    let [op] = ops;
    Ok(op)
}

/// Maps a grant, which must work; its handle.
pub fn map_ok(granter: RawDomid, gref: u32, flags: u32, frame: u64) -> Check<u32> {
    let op = map(granter, gref, flags, frame)?;
    ensure_eq!(status(op.status), GrantResult::Okay, "map of entry {gref} of d{granter}, flags {flags}");
    Ok(op.handle)
}

/// Undoes a mapping: what the element says.
pub fn unmap(handle: u32, frame: u64, device: u64) -> Check<GrantResult> {
    let op = GnttabUnmapGrantRef {
        host_addr: frame << 12,
        dev_bus_addr: device,
        handle,
        status: i16::MAX,
        _pad: 0,
    };
    let mut ops = [op];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::UnmapGrantRef, &mut ops), Ok(0), "unmap_grant_ref");
    let [op] = ops;
    Ok(status(op.status))
}

/// Undoes a mapping for CPUs, which must work.
pub fn unmap_ok(handle: u32, frame: u64) -> Check {
    ensure_eq!(unmap(handle, frame, 0)?, GrantResult::Okay, "unmap of handle {handle}");
    Ok(())
}

/// A side of a copy: an entry.
pub fn entry(domid: RawDomid, gref: u32, offset: u16) -> GnttabCopyPtr {
    GnttabCopyPtr { u: GnttabCopyTarget::of(&gref), domid, offset, _pad: 0 }
}

/// A side of a copy: a frame of the caller's.
pub fn frame(frame: u64, offset: u16) -> GnttabCopyPtr {
    GnttabCopyPtr { u: GnttabCopyTarget::of(&frame), domid: DOMID_SELF, offset, _pad: 0 }
}

/// Copies; what the element says.
pub fn copy(source: GnttabCopyPtr, dest: GnttabCopyPtr, len: u16, flags: u16) -> Check<GrantResult> {
    let mut ops = [GnttabCopy { source, dest, len, flags, status: i16::MAX, _pad: 0 }];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::Copy, &mut ops), Ok(0), "copy");
    let [op] = ops;
    Ok(status(op.status))
}
