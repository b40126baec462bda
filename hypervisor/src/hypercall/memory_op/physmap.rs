//! What stands at which guest frame.
//!
//! | space | what | who may |
//! |---|---|---|
//! | `shared_info` | the page shared with the hypervisor; it stands at one frame only | a domain for itself |
//! | `grant_table` | a frame of the grant table; it stands at one frame only | a domain for itself |
//! | `gmfn`, `gmfn_range` | moves RAM of the domain | a domain for itself; not Dom0, whose RAM stands still |
//! | `gmfn_foreign` | a frame of another domain | Dom0, in batches |
//! | `dev_mmio` | device registers at their own address | Dom0, in batches |
//!
//! What stood at the frame before goes; if it was RAM, it is freed.

use alloc::sync::Arc;
use hv_arch::confines::{AccessError, Confines, Shootdown, Vacated};
use hv_core::addr::{Gfn, PAGE_SHIFT, PAGE_SIZE, PhysRange};
use hv_core::ept::{MapError, PageType, Rights};
use hv_core::id::DomId;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::memory::{AddToPhysmap, AddToPhysmapBatch, MapSpace, RemoveFromPhysmap};

use super::{Answer, Request, Slice};
use crate::domain::Domain;
use crate::domain_memory::errno;
use crate::domains;
use crate::hypercall::Reply;

/// `INVALID_GFN`.
const INVALID: u64 = u64::MAX;

/// `add_to_physmap`. Errors: `EDOM` for a start extent past 16 bits, `ENOSYS` for a
/// foreign page, else those of [`Page::put`].
pub fn add(request: &Request<'_, '_, '_>) -> Reply {
    let start = u16::try_from(request.start).map_err(|_| Errno::EDOM)?;
    let add = request.read::<AddToPhysmap>()?;
    let space = MapSpace::new(add.space).ok_or(Errno::ENOSYS)?;
    if space == MapSpace::GmfnForeign {
        return Err(Errno::ENOSYS);
    }
    let domain = request.target(add.domid)?;
    if add.gpfn == INVALID {
        return Err(Errno::EINVAL);
    }
    let mut shootdown = Shootdown::new(domain.confines());
    let reply = if space == MapSpace::GmfnRange {
        range(request, &domain, &add, start, &mut shootdown)
    } else {
        let page = Page { domain: &domain, space, foreign: None };
        page.put(add.idx, add.gpfn, &mut shootdown).map(|()| Answer::Value(0))
    };
    shootdown.complete();
    reply
}

/// `size` frames from `idx` on go to `gpfn` and the frames behind it: backwards where
/// they overlap and would be overwritten.
fn range<'a>(
    request: &Request<'_, '_, '_>,
    domain: &'a Arc<Domain>,
    add: &AddToPhysmap,
    start: u16,
    shootdown: &mut Shootdown<'a>,
) -> Reply {
    let size = u64::from(add.size);
    let ends = add.gpfn.checked_add(size).zip(add.idx.checked_add(size));
    let (_, end) = ends.ok_or(Errno::EOVERFLOW)?;
    if add.size < start {
        return Err(Errno::EILSEQ);
    }
    let backwards = add.gpfn > add.idx && add.gpfn < end;
    let slice = Slice::new();
    let page = Page { domain, space: MapSpace::Gmfn, foreign: None };
    for done in u64::from(start)..size {
        if done != u64::from(start) && slice.is_over() {
            return Ok(request.again(done));
        }
        let offset = if backwards { size - 1 - done } else { done };
        page.put(add.idx + offset, add.gpfn + offset, shootdown)?;
    }
    Ok(Answer::Value(0))
}

/// `add_to_physmap_batch`: the error of each page goes to `errs`. Errors of the whole:
/// `EDOM`, `EOPNOTSUPP` for a range, `EILSEQ` for a start extent past the end,
/// `EFAULT`, `EINVAL` for no frame.
pub fn add_batch(request: &Request<'_, '_, '_>) -> Reply {
    let start = u16::try_from(request.start).map_err(|_| Errno::EDOM)?;
    let batch = request.read::<AddToPhysmapBatch>()?;
    let space = MapSpace::new(u32::from(batch.space)).ok_or(Errno::ENOSYS)?;
    if space == MapSpace::GmfnRange {
        return Err(Errno::EOPNOTSUPP);
    }
    let domain = request.target(batch.domid)?;
    if start > batch.size || start == batch.size && start != 0 {
        return Err(Errno::EILSEQ);
    }
    if space == MapSpace::DevMmio && batch.foreign_domid != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let foreign = match space {
        MapSpace::GmfnForeign => Some(foreign(request, &domain, batch.foreign_domid)),
        _ => None,
    };
    let mut shootdown = Shootdown::new(domain.confines());
    let page = Page { domain: &domain, space, foreign };
    let reply = each(request, &batch, &page, start, &mut shootdown);
    shootdown.complete();
    reply
}

fn each<'a>(
    request: &Request<'_, '_, '_>,
    batch: &AddToPhysmapBatch,
    page: &Page<'a>,
    start: u16,
    shootdown: &mut Shootdown<'a>,
) -> Reply {
    let slice = Slice::new();
    for extent in u64::from(start)..u64::from(batch.size) {
        if extent != u64::from(start) && slice.is_over() {
            return Ok(request.again(extent));
        }
        let (index, gpfn) = (request.item(batch.idxs, extent)?, request.item(batch.gpfns, extent)?);
        if gpfn == INVALID {
            return Err(Errno::EINVAL);
        }
        let error = match page.put(index, gpfn, shootdown) {
            Ok(()) => 0,
            Err(error) => i32::try_from(error.return_value()).unwrap_or(i32::MIN),
        };
        request.set_item(batch.errs, extent, &error)?;
    }
    Ok(Answer::Value(0))
}

/// The domain whose pages are mapped.
fn foreign(
    request: &Request<'_, '_, '_>,
    domain: &Arc<Domain>,
    domid: RawDomid,
) -> Result<Arc<Domain>, Errno> {
    // Only what Dom0's toolstack and back ends need.
    if !request.caller().is_privileged() || !domain.is_privileged() {
        return Err(Errno::EPERM);
    }
    let found = DomId::new(domid).and_then(domains::find).ok_or(Errno::ESRCH)?;
    if found.id() == domain.id() { Err(Errno::EINVAL) } else { Ok(found) }
}

/// Where pages come from, and where they go.
struct Page<'a> {
    domain: &'a Arc<Domain>,
    space: MapSpace,
    foreign: Option<Result<Arc<Domain>, Errno>>,
}

impl<'a> Page<'a> {
    /// Maps page `index` of the space at `gpfn`.
    fn put(&self, index: u64, gpfn: u64, shootdown: &mut Shootdown<'a>) -> Result<(), Errno> {
        let gfn = Gfn::new(gpfn).ok_or(Errno::EINVAL)?;
        let confines: &'a Confines = self.domain.confines();
        let vacated = match self.space {
            MapSpace::SharedInfo if index == 0 => {
                confines.map_shared(gfn, self.domain.memory().shared_info(), shootdown).map_err(errno)?
            }
            MapSpace::GrantTable => {
                let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
                let page = self.domain.grants().page(self.domain.id(), index)?;
                confines.map_shared(gfn, &page, shootdown).map_err(errno)?
            }
            MapSpace::SharedInfo | MapSpace::GmfnRange => return Err(Errno::EINVAL),
            MapSpace::Gmfn => {
                let from = Gfn::new(index).ok_or(Errno::EACCES)?;
                confines.move_ram(from, gfn, shootdown).map_err(not_movable)?
            }
            MapSpace::GmfnForeign => self.put_foreign(index, gfn, shootdown)?,
            MapSpace::DevMmio => return self.put_device(index, gfn),
        };
        self.domain.memory().note(confines, vacated);
        Ok(())
    }

    fn put_foreign(&self, index: u64, gfn: Gfn, shootdown: &mut Shootdown<'a>) -> Result<Vacated, Errno> {
        let foreign = self.foreign.as_ref().ok_or(Errno::EINVAL)?.as_ref().map_err(|&error| error)?;
        let at = Gfn::new(index).ok_or(Errno::EINVAL)?;
        let frame = foreign.confines().reference(at, Rights::ReadWrite).map_err(|_| Errno::EINVAL)?;
        let confines: &'a Confines = self.domain.confines();
        confines.map_reference(gfn, frame, PageType::Foreign, shootdown).map_err(errno)
    }

    /// Dom0 has device registers where they are; a page that it has already stays.
    fn put_device(&self, index: u64, gfn: Gfn) -> Result<(), Errno> {
        if !self.domain.is_privileged() {
            return Err(Errno::EPERM);
        }
        if index != gfn.get() {
            return Err(Errno::EOPNOTSUPP);
        }
        let page = PhysRange::from_len(index << PAGE_SHIFT, PAGE_SIZE).ok_or(Errno::EINVAL)?;
        match self.domain.confines().map_device(page) {
            Ok(()) | Err(AccessError::Map(MapError::AlreadyMapped)) => Ok(()),
            Err(AccessError::NotOwned) => Err(Errno::EPERM),
            Err(error) => Err(errno(error)),
        }
    }
}

fn not_movable(error: AccessError) -> Errno {
    match error {
        AccessError::NotMapped | AccessError::NotRam | AccessError::NotOwned => Errno::EACCES,
        error => errno(error),
    }
}

/// `remove_from_physmap`. Errors: `ESRCH`, `EPERM`, `ENOENT` if nothing stands there,
/// `EINVAL` for a page mapped by grant.
pub fn remove(request: &Request<'_, '_, '_>) -> Reply {
    let remove = request.read::<RemoveFromPhysmap>()?;
    let domain = request.target(remove.domid)?;
    let gfn = Gfn::new(remove.gpfn).ok_or(Errno::ENOENT)?;
    let mut shootdown = Shootdown::new(domain.confines());
    let removed = domain.confines().remove(gfn, &mut shootdown);
    shootdown.complete();
    domain.memory().note(domain.confines(), removed.map_err(errno)?);
    Ok(Answer::Value(0))
}
