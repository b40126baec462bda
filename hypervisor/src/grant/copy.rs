//! Copies between frames: granted ones, and the caller's own.
//!
//! Each side is pinned by itself, so that no two locks are held; nothing is allocated. RAM of the caller's, whose vcpu
//! is loaded on this pcpu, is not pinned: it stays what it is while the bytes are copied
//! ([`hv_arch::confines::Local`]).

use core::ops::Deref;

use alloc::sync::Arc;
use hv_arch::confines::Confines;
use hv_arch::frames::FrameRef;
use hv_core::addr::{Gfn, PAGE_SIZE};
use hv_core::gnttab::{Access, Uses};
use hv_core::id::DomId;
use xen_abi::grant_table::{CopyFlags, GnttabCopy, GnttabCopyPtr, GrantResult};
use xen_abi::xen::DOMID_SELF;
use xen_abi::{RawGrantRef, RawPfn};

use super::frame_of;
use crate::domain::Domain;
use crate::domains;

/// `GNTTABOP_copy` of `domain`. No bytes are copied whatever else is wrong.
///
/// # Errors
///
/// `GNTST_permission_denied` for a frame of another domain that is not named by a grant; `GNTST_bad_domain`,
/// `GNTST_bad_page`; `GNTST_bad_gntref`, `GNTST_general_error` for what is not granted; `GNTST_bad_copy_arg` for bytes
/// that leave their page.
pub fn copy(domain: &Arc<Domain>, op: &GnttabCopy) -> Result<(), GrantResult> {
    if op.len == 0 {
        return Ok(());
    }
    let flags = CopyFlags::from_bits_truncate(op.flags);
    let source = Side::new(domain, &op.source, flags.contains(CopyFlags::SOURCE_GREF))?;
    let target = Side::new(domain, &op.dest, flags.contains(CopyFlags::DEST_GREF))?;
    let bytes = Bytes { from: op.source.offset.into(), to: op.dest.offset.into(), len: op.len.into() };
    let inside = match (source, target) {
        (source, Side::Frame(gfn)) => bytes.write_own(&source.pin(domain, Access::Read)?, domain, gfn),
        (Side::Frame(gfn), target) => bytes.read_own(domain, gfn, &target.pin(domain, Access::Write)?),
        (source, target) => {
            let source = source.pin(domain, Access::Read)?;
            Ok(bytes.copy(&source.frame, &target.pin(domain, Access::Write)?.frame))
        }
    };
    if inside? { Ok(()) } else { Err(GrantResult::BadCopyArg) }
}

const _: () = assert!(PAGE_SIZE <= u16::MAX as u64);

/// The caller's domain, or another one.
enum Whose<'a> {
    Own(&'a Arc<Domain>),
    Other(Arc<Domain>),
}

impl Deref for Whose<'_> {
    type Target = Domain;

    fn deref(&self) -> &Domain {
        match self {
            Self::Own(domain) => domain,
            Self::Other(domain) => domain,
        }
    }
}

/// Which bytes of two frames are copied. What copies says whether they lie in the frames.
struct Bytes {
    from: usize,
    to: usize,
    len: usize,
}

impl Bytes {
    fn copy(&self, source: &FrameRef, target: &FrameRef) -> bool {
        source.copy_to(self.from, target, self.to, self.len)
    }

    /// To the caller's own frame at `gfn`.
    fn write_own(&self, source: &Pinned<'_>, domain: &Domain, gfn: RawPfn) -> Result<bool, GrantResult> {
        let gfn = Gfn::new(gfn).ok_or(GrantResult::BadPage)?;
        let confines = domain.confines();
        match confines.local().copy_from_frame(gfn, self.to, &source.frame, self.from, self.len) {
            Ok(inside) => Ok(inside),
            // A page that it shares with the hypervisor is looked up from outside.
            Err(_) => Ok(self.copy(&source.frame, &own_frame(confines, gfn, Access::Write)?)),
        }
    }

    /// From the caller's own frame at `gfn`.
    fn read_own(&self, domain: &Domain, gfn: RawPfn, target: &Pinned<'_>) -> Result<bool, GrantResult> {
        let gfn = Gfn::new(gfn).ok_or(GrantResult::BadPage)?;
        let confines = domain.confines();
        match confines.local().copy_to_frame(gfn, self.from, &target.frame, self.to, self.len) {
            Ok(inside) => Ok(inside),
            Err(_) => Ok(self.copy(&own_frame(confines, gfn, Access::Read)?, &target.frame)),
        }
    }
}

fn own_frame(confines: &Confines, gfn: Gfn, access: Access) -> Result<FrameRef, GrantResult> {
    frame_of(confines, gfn.get(), access).ok_or(GrantResult::BadPage)
}

/// A frame that a copy names.
enum Side<'a> {
    /// The caller's own.
    Frame(RawPfn),
    Grant(Whose<'a>, RawGrantRef),
}

impl<'a> Side<'a> {
    /// Only the caller's own frames can be named by their numbers.
    fn new(domain: &'a Arc<Domain>, side: &GnttabCopyPtr, is_grant: bool) -> Result<Self, GrantResult> {
        if !is_grant {
            let own = side.domid == DOMID_SELF;
            return if own { Ok(Self::Frame(side.u.view())) } else { Err(GrantResult::PermissionDenied) };
        }
        let own = side.domid == DOMID_SELF || side.domid == domain.id().get();
        let whose = if own {
            Whose::Own(domain)
        } else {
            let other = DomId::new(side.domid).and_then(domains::find);
            Whose::Other(other.ok_or(GrantResult::BadDomain)?)
        };
        Ok(Self::Grant(whose, side.u.view()))
    }

    fn pin(self, user: &Domain, access: Access) -> Result<Pinned<'a>, GrantResult> {
        match self {
            Self::Frame(gfn) => {
                let frame = frame_of(user.confines(), gfn, access).ok_or(GrantResult::BadPage)?;
                Ok(Pinned { frame, grant: None })
            }
            Self::Grant(whose, gref) => {
                let frame = whose.grants().table.pin(&whose, gref, user.id(), access, Uses::COPY)?;
                Ok(Pinned { frame, grant: Some((whose, gref, access)) })
            }
        }
    }
}

/// A frame that stays what it is until this is dropped.
struct Pinned<'a> {
    frame: FrameRef,
    grant: Option<(Whose<'a>, RawGrantRef, Access)>,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some((whose, gref, access)) = &self.grant {
            whose.grants().table.unpin(*gref, *access, Uses::COPY);
        }
    }
}
