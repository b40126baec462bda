//! Grants: frames that a domain lets others map or copy.
//!
//! ```text
//!   granter ── GrantTable { entries, pins, frames } <──┐
//!   mapper ─── Maptrack { handle: Mapping ─────────────┘ }
//!              p2m { gfn: frame }
//! ```
//!
//! | who | holds |
//! |---|---|
//! | an entry in use | a reference to its frame |
//! | a p2m in which it stands | one more |
//! | a [`Mapping`] | the granter's table, past the granter's end |
//!
//! So neither a granter that gives a frame back nor its end takes anything away that is mapped: frame and table are
//! freed when the last mapping goes. At a mapper's end its mappings are undone.
//!
//! Each domain has two locks, one for its table and one for its handles; nobody holds both, or those of two
//! domains. A mapping is undone in this order: out of the mapper's p2m, no pcpu uses it any more
//! ([`Shootdown`]), the granter is told by its status bits, the handle is free.
//!
//! Here: tables and mappings. [`mod@copy`]: copies. The state machine is `hv_core::gnttab`.

mod copy;

use alloc::sync::Arc;
use hv_arch::confines::page::SharedPage;
use hv_arch::confines::{Confines, Shootdown};
use hv_arch::frames::{self, FrameRef};
use hv_arch::sync::{Lock, Rank};
use hv_core::addr::{Gfn, Mfn, PAGE_SHIFT};
use hv_core::ept::{PageType, Progress, Rights};
use hv_core::frame::OutOfFrames;
use hv_core::gnttab::{Access, GrowError, Maptrack, Search, Table, Uses};
use hv_core::id::DomId;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{GnttabMapGrantRef, GrantResult, MapFlags};

use crate::domain::Domain;
use crate::domains;

pub use copy::copy;

/// Mappings that a slice of a domain's end undoes.
const SLICE: usize = 64;

/// What a domain has granted. It outlives the domain while something of it is mapped.
#[derive(Debug)]
pub struct GrantTable(Lock<Table<Arc<SharedPage>, FrameRef>>);

/// Both sides of a domain's grants.
#[derive(Debug)]
pub struct Grants {
    table: Arc<GrantTable>,
    maptrack: Lock<Maptrack<Mapping>>,
}

/// A frame of a granter that a domain has mapped.
#[derive(Clone, Debug)]
struct Mapping {
    granter: Arc<GrantTable>,
    gref: u32,
    /// Where it stands, if a CPU uses it.
    gfn: Gfn,
    mfn: Mfn,
    access: Access,
    uses: Uses,
}

impl Grants {
    /// Of domain `owner`, whose table has one frame and may have `frames`, and which may have as many mappings
    /// as `maptrack_frames` frames of Xen's have room for.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`].
    pub fn new(owner: DomId, frames: u32, maptrack_frames: u32) -> Result<Self, OutOfFrames> {
        let grants = Self {
            table: Arc::new(GrantTable(Lock::new(Rank::Grants, Table::new(frames)))),
            maptrack: Lock::new(Rank::Grants, Maptrack::new(maptrack_frames)),
        };
        grants.grow(owner, 1).map_err(|_| OutOfFrames { unscrubbed: 0 })?;
        Ok(grants)
    }

    /// Frames that the table has.
    pub fn frames(&self) -> u32 {
        self.table.0.lock().frames()
    }

    /// Frames that it may have.
    pub fn most_frames(&self) -> u32 {
        self.table.0.lock().most()
    }

    /// Lets the table of `owner` have at least `frames` frames.
    ///
    /// # Errors
    ///
    /// [`GrowError`]; it has not grown then.
    pub fn grow(&self, owner: DomId, frames: u32) -> Result<(), GrowError> {
        self.table.0.lock().grow(frames, || SharedPage::new(owner).map(Arc::new))
    }

    /// Where frame `index` of the table stands in the domain.
    pub fn gfn(&self, index: u32) -> Option<Gfn> {
        self.table.0.lock().page(index)?.gfn()
    }

    /// Frame `index` of the table of `owner`, which grows so far.
    ///
    /// # Errors
    ///
    /// `EINVAL`, as in Xen also if there is no memory.
    pub fn page(&self, owner: DomId, index: u32) -> Result<Arc<SharedPage>, Errno> {
        let frames = index.checked_add(1).ok_or(Errno::EINVAL)?;
        self.grow(owner, frames).map_err(|_| Errno::EINVAL)?;
        self.table.0.lock().page(index).cloned().ok_or(Errno::EINVAL)
    }

    /// `GNTTABOP_swap_grant_ref`
    ///
    /// # Errors
    ///
    /// Those of [`Table::swap`].
    pub fn swap(&self, first: u32, second: u32) -> Result<(), GrantResult> {
        self.table.0.lock().swap(first, second)
    }

    /// Whether the domain has frame `mfn` mapped, looked for from handle `start` on.
    pub fn find(&self, mfn: Mfn, start: u32) -> Search {
        self.maptrack.lock().find(start, |mapping| mapping.mfn == mfn)
    }
}

impl GrantTable {
    /// Lets `user` use entry `gref` of `granter`, whose table this is.
    fn pin(
        &self,
        granter: &Domain,
        gref: u32,
        user: DomId,
        access: Access,
        uses: Uses,
    ) -> Result<FrameRef, GrantResult> {
        self.0.lock().pin(gref, user, access, uses, |frame| {
            frame_of(granter.confines(), frame.into(), access).ok_or(GrantResult::BadPage)
        })
    }

    fn unpin(&self, gref: u32, access: Access, uses: Uses) {
        let frame = self.0.lock().unpin(gref, access, uses);
        // Without the lock.
        drop(frame);
    }
}

/// The domain's own frame at `gfn`: neither what it has mapped of others nor devices.
fn frame_of(confines: &Confines, gfn: u64, access: Access) -> Option<FrameRef> {
    let rights = if access == Access::Write { Rights::ReadWrite } else { Rights::Read };
    confines.reference(Gfn::new(gfn)?, rights).ok()
}

impl Mapping {
    /// What it is in the p2m.
    fn kind(&self) -> PageType {
        if self.access == Access::Write { PageType::GrantRw } else { PageType::GrantRo }
    }

    /// No pcpu uses it any more.
    fn unpin(&self, uses: Uses) {
        self.granter.unpin(self.gref, self.access, uses);
    }
}

/// What [`map`] says of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// Its handle.
    pub handle: u32,
    /// The machine address of its frame.
    pub address: u64,
}

/// `GNTTABOP_map_grant_ref`: maps a grant for `domain`, in place of what stands there.
///
/// # Errors
///
/// `GNTST_bad_gntref`: nobody is to use it, or no such entry. `GNTST_general_error`: flags of PV guests; for devices, of
/// which only Dom0 has any; not granted; a place where it cannot stand. `GNTST_bad_domain`, `GNTST_no_space`,
/// `GNTST_bad_page`. Nothing is mapped then.
pub fn map<'a>(
    domain: &'a Arc<Domain>,
    op: &GnttabMapGrantRef,
    shootdown: &mut Shootdown<'a>,
) -> Result<Mapped, GrantResult> {
    let (uses, access) = uses_of(op.flags)?;
    // Without an IOMMU it is of use only to who has devices.
    if uses.contains(Uses::DEVICE) && !domain.is_privileged() {
        return Err(GrantResult::GeneralError);
    }
    let granter = DomId::new(op.dom).and_then(domains::find).ok_or(GrantResult::BadDomain)?;
    let gfn = gfn_of(op.host_addr);
    let handle = reserve(domain)?;
    let table = &granter.grants().table;
    let made = table.pin(&granter, op.gref, domain.id(), access, uses).and_then(|frame| {
        let mfn = frame.mfn();
        let mapping = Mapping {
            granter: Arc::clone(table),
            gref: op.gref,
            gfn: gfn.unwrap_or_default(),
            mfn,
            access,
            uses,
        };
        let put = if uses.contains(Uses::HOST) {
            put(domain, gfn, frame, mapping.kind(), shootdown)
        } else {
            Ok(())
        };
        put.inspect_err(|_| mapping.unpin(uses)).map(|()| mapping)
    });
    let mut maptrack = domain.grants().maptrack.lock();
    match made {
        Ok(mapping) => {
            let address = mapping.mfn.start().get();
            maptrack.fill(handle, mapping);
            Ok(Mapped { handle, address })
        }
        Err(error) => {
            maptrack.release(handle);
            Err(error)
        }
    }
}

/// A handle. For those of a DomU the hypervisor's heap does not take what is kept for itself.
fn reserve(domain: &Domain) -> Result<u32, GrantResult> {
    let may_grow = || domain.is_privileged() || frames::has_reserve();
    domain.grants().maptrack.lock().reserve(may_grow).map_err(|_| GrantResult::NoSpace)
}

/// Who is to use it, and how.
fn uses_of(flags: u32) -> Result<(Uses, Access), GrantResult> {
    let known = MapFlags::from_bits_truncate(flags);
    let mut uses = Uses::empty();
    uses.set(Uses::HOST, known.contains(MapFlags::HOST_MAP));
    uses.set(Uses::DEVICE, known.contains(MapFlags::DEVICE_MAP));
    if uses.is_empty() {
        return Err(GrantResult::BadGntref);
    }
    let possible = MapFlags::HOST_MAP | MapFlags::DEVICE_MAP | MapFlags::READONLY;
    if flags & !possible.bits() != 0 {
        return Err(GrantResult::GeneralError);
    }
    Ok((uses, if known.contains(MapFlags::READONLY) { Access::Read } else { Access::Write }))
}

/// Offsets in the page do not count, as in Xen.
fn gfn_of(address: u64) -> Option<Gfn> {
    Gfn::new(address >> PAGE_SHIFT)
}

fn put<'a>(
    domain: &'a Arc<Domain>,
    gfn: Option<Gfn>,
    frame: FrameRef,
    kind: PageType,
    shootdown: &mut Shootdown<'a>,
) -> Result<(), GrantResult> {
    let confines: &'a Confines = domain.confines();
    let gfn = gfn.ok_or(GrantResult::GeneralError)?;
    let vacated =
        confines.map_reference(gfn, frame, kind, shootdown).map_err(|_| GrantResult::GeneralError)?;
    domain.memory().note(confines, vacated);
    Ok(())
}

/// What is to be undone.
#[derive(Clone, Copy, Debug)]
pub struct Unmap {
    /// The mapping.
    pub handle: u32,
    /// Guest physical address of the CPUs' mapping, or 0 if it stays.
    pub host: u64,
    /// The machine address that devices use, or 0 if they go on.
    pub device: u64,
}

/// A mapping, or its use by devices or CPUs, that is out of the p2m. The granter hears of it by
/// [`Unmapped::complete`], when no pcpu uses it any more.
#[derive(Debug)]
#[must_use]
pub struct Unmapped {
    mapping: Mapping,
    uses: Uses,
    /// Nothing is left of it.
    handle: Option<u32>,
}

impl Unmapped {
    /// The shoot-down has been completed.
    pub fn complete(self, domain: &Domain) {
        self.mapping.unpin(self.uses);
        if let Some(handle) = self.handle {
            domain.grants().maptrack.lock().release(handle);
        }
    }
}

/// Begins to undo a mapping of `domain`; `None` if there is nothing to be undone.
///
/// # Errors
///
/// `GNTST_bad_handle`, `GNTST_bad_dev_addr`; `GNTST_general_error` if it does not stand there. Nothing has changed then.
pub fn unmap<'a>(
    domain: &'a Arc<Domain>,
    unmap: Unmap,
    shootdown: &mut Shootdown<'a>,
) -> Result<Option<Unmapped>, GrantResult> {
    let Some(unmapped) = take(&mut domain.grants().maptrack.lock(), unmap)? else { return Ok(None) };
    let Unmapped { mapping, uses, .. } = &unmapped;
    if uses.contains(Uses::HOST) {
        let confines: &'a Confines = domain.confines();
        let gone = confines.unmap_reference(mapping.gfn, mapping.mfn, mapping.kind(), shootdown);
        if gone.is_err() {
            restore(&mut domain.grants().maptrack.lock(), unmap.handle, unmapped);
            return Err(GrantResult::GeneralError);
        }
    }
    Ok(Some(unmapped))
}

/// Takes what is to be undone out of the mapping, and the whole of it if nothing else is left.
fn take(maptrack: &mut Maptrack<Mapping>, unmap: Unmap) -> Result<Option<Unmapped>, GrantResult> {
    let mapping = maptrack.get_mut(unmap.handle).ok_or(GrantResult::BadHandle)?;
    let mut uses = Uses::empty();
    uses.set(Uses::HOST, unmap.host != 0 && mapping.uses.contains(Uses::HOST));
    uses.set(Uses::DEVICE, unmap.device != 0 && mapping.uses.contains(Uses::DEVICE));
    if uses.contains(Uses::DEVICE) && unmap.device != mapping.mfn.start().get() {
        return Err(GrantResult::BadDevAddr);
    }
    if uses.contains(Uses::HOST) && gfn_of(unmap.host) != Some(mapping.gfn) {
        return Err(GrantResult::GeneralError);
    }
    if uses.is_empty() {
        return Ok(None);
    }
    mapping.uses -= uses;
    if !mapping.uses.is_empty() {
        return Ok(Some(Unmapped { mapping: mapping.clone(), uses, handle: None }));
    }
    let mapping = maptrack.take(unmap.handle).ok_or(GrantResult::BadHandle)?;
    Ok(Some(Unmapped { mapping, uses, handle: Some(unmap.handle) }))
}

/// Undoes [`take`].
fn restore(maptrack: &mut Maptrack<Mapping>, handle: u32, unmapped: Unmapped) {
    let Unmapped { mut mapping, uses, handle: whole } = unmapped;
    if whole.is_some() {
        mapping.uses |= uses;
        maptrack.fill(handle, mapping);
    } else if let Some(rest) = maptrack.get_mut(handle) {
        rest.uses |= uses;
    }
}

/// A slice of the end of `domain`, none of whose vcpus runs any more: undoes what it has mapped. Its p2m lets the
/// frames go later.
pub fn release_mappings(domain: &Domain) -> Progress {
    for _ in 0..SLICE {
        let Some(mapping) = domain.grants().maptrack.lock().pop() else { return Progress::Done };
        mapping.unpin(mapping.uses);
    }
    Progress::More
}
