//! `acquire_resource`: pages that a domain shares with the hypervisor, mapped by who builds or serves it.

use core::mem::offset_of;

use alloc::sync::Arc;
use hv_arch::confines::page::SharedPage;
use hv_arch::confines::{Confines, Shootdown};
use hv_core::addr::Gfn;
use hv_core::ept::PageType;
use hv_core::gnttab::Frame;
use xen_abi::errno::Errno;
use xen_abi::memory::{GrantTableFrames, MemAcquireResource, Resource};

use super::{Answer, EXTENT_SHIFT, MOST_EXTENTS, Request, Slice};
use crate::domain::Domain;
use crate::domain_memory::errno;
use crate::domains;
use crate::hypercall::Reply;

/// `acquire_resource`
///
/// | | |
/// |---|---|
/// | In | whose, kind (the shared frames of its grant table), first frame, how many, guest frames of the caller's; or 0 frames and no list |
/// | Out | asked with 0 frames: how many there can be |
/// | Errors | `ESRCH`; `EPERM` for the caller's own domain, or one that it does not manage; `EINVAL` for other kinds, frames past the limit, a list that is too long; `EFAULT`; `EIO` if another than the first frame cannot be mapped |
///
/// The table grows to what is asked for.
pub fn acquire(request: &Request<'_, '_, '_>) -> Reply {
    let wanted = request.read::<MemAcquireResource>()?;
    let end = wanted.frame.checked_add(u64::from(wanted.nr_frames));
    if wanted.pad != 0 || wanted.frame >> 32 != 0 || end.is_none_or(|end| end >> 32 != 0) {
        return Err(Errno::EINVAL);
    }
    let domain = domains::find_any(wanted.domid, request.caller())?;
    if domain.id() == request.caller().id() || !request.caller().may_manage(&domain) {
        return Err(Errno::EPERM);
    }
    let shared = Resource::new(wanted.kind) == Some(Resource::GrantTable)
        && GrantTableFrames::new(wanted.id) == Some(GrantTableFrames::Shared);
    if !shared {
        return Err(Errno::EINVAL);
    }
    if wanted.frame_list.is_null() {
        if wanted.nr_frames != 0 || request.start != 0 {
            return Err(Errno::EINVAL);
        }
        request.write_field(offset_of!(MemAcquireResource, nr_frames), &domain.grants().most_frames())?;
        return Ok(Answer::Value(0));
    }
    if request.start >= u64::from(wanted.nr_frames) || u64::from(wanted.nr_frames) > MOST_EXTENTS {
        return Err(Errno::EINVAL);
    }
    // Whatever the table does not have is refused before anything is mapped.
    let end = end.and_then(|end| u32::try_from(end).ok()).ok_or(Errno::EINVAL)?;
    domain.grants().grow(domain.id(), end).map_err(|_| Errno::EINVAL)?;
    let mut shootdown = Shootdown::new(request.caller().confines());
    let reply = each(request, &wanted, &domain, &mut shootdown);
    shootdown.complete();
    reply
}

fn each<'a>(
    request: &'a Request<'_, '_, '_>,
    wanted: &MemAcquireResource,
    domain: &Arc<Domain>,
    shootdown: &mut Shootdown<'a>,
) -> Reply {
    let slice = Slice::new();
    for extent in request.start..u64::from(wanted.nr_frames) {
        if extent != request.start && slice.is_over() {
            return Ok(request.again(extent));
        }
        let index = u32::try_from(wanted.frame + extent).map_err(|_| Errno::EINVAL)?;
        let page = domain.grants().page(domain.id(), index)?;
        let gfn = request.item(wanted.frame_list, extent)?;
        put(request.caller(), &page, gfn, shootdown)
            .map_err(|error| if extent == 0 { error } else { Errno::EIO })?;
    }
    Ok(Answer::Value(0))
}

/// Maps a frame of the grant table at `gfn` of the caller.
fn put<'a>(
    caller: &'a Arc<Domain>,
    page: &SharedPage,
    gfn: u64,
    shootdown: &mut Shootdown<'a>,
) -> Result<(), Errno> {
    let frame = page.frame().again().ok_or(Errno::EBUSY)?;
    let gfn = Gfn::new(gfn).ok_or(Errno::EINVAL)?;
    let confines: &'a Confines = caller.confines();
    let vacated = confines.map_reference(gfn, frame, PageType::Foreign, shootdown).map_err(errno)?;
    caller.memory().note(confines, vacated);
    Ok(())
}

const _: () = assert!(MOST_EXTENTS << EXTENT_SHIFT <= u32::MAX as u64);
