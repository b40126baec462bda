//! Copies between frames: granted ones, and the caller's own.
//!
//! Each side is pinned by itself, so that no two locks are held; nothing is allocated.

use core::ops::Deref;

use alloc::sync::Arc;
use hv_arch::frames::FrameRef;
use hv_core::addr::PAGE_SIZE;
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
    let source = source.pin(domain.id(), Access::Read)?;
    let target = target.pin(domain.id(), Access::Write)?;
    let (from, to, len) = (op.source.offset.into(), op.dest.offset.into(), op.len.into());
    if source.frame.copy_to(from, &target.frame, to, len) { Ok(()) } else { Err(GrantResult::BadCopyArg) }
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

/// A frame that a copy names.
struct Side<'a> {
    whose: Whose<'a>,
    what: What,
}

enum What {
    Frame(RawPfn),
    Grant(RawGrantRef),
}

impl<'a> Side<'a> {
    /// Only the caller's own frames can be named by their numbers.
    fn new(domain: &'a Arc<Domain>, side: &GnttabCopyPtr, is_grant: bool) -> Result<Self, GrantResult> {
        if side.domid != DOMID_SELF && !is_grant {
            return Err(GrantResult::PermissionDenied);
        }
        let own = side.domid == DOMID_SELF || side.domid == domain.id().get();
        let whose = if own {
            Whose::Own(domain)
        } else {
            let other = DomId::new(side.domid).and_then(domains::find);
            Whose::Other(other.ok_or(GrantResult::BadDomain)?)
        };
        let what = if is_grant { What::Grant(side.u.view()) } else { What::Frame(side.u.view()) };
        Ok(Self { whose, what })
    }

    fn pin(self, user: DomId, access: Access) -> Result<Pinned<'a>, GrantResult> {
        let Self { whose, what } = self;
        match what {
            What::Frame(gfn) => {
                let frame = frame_of(whose.confines(), gfn, access).ok_or(GrantResult::BadPage)?;
                Ok(Pinned { frame, grant: None })
            }
            What::Grant(gref) => {
                let frame = whose.grants().table.pin(&whose, gref, user, access, Uses::COPY)?;
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
