//! The domains that there are, by number.

use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_core::id::DomId;
use spin::RwLock;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::xen::DOMID_SELF;

use crate::domain::Domain;

/// In the order of their numbers. Written when domains come and go; readers only
/// take an `Arc` from it.
static DOMAINS: RwLock<Vec<Arc<Domain>>> = RwLock::new(Vec::new());

/// Domain `id`.
pub fn find(id: DomId) -> Option<Arc<Domain>> {
    let domains = DOMAINS.read();
    let index = domains.binary_search_by_key(&id, |domain| domain.id()).ok()?;
    domains.get(index).cloned()
}

/// The domain that `domid` means in a hypercall of `caller`.
///
/// # Errors
///
/// `ESRCH`: there is none.
pub fn named(caller: &Arc<Domain>, domid: RawDomid) -> Result<Arc<Domain>, Errno> {
    if domid == DOMID_SELF || domid == caller.id().get() {
        return Ok(Arc::clone(caller));
    }
    DomId::new(domid).and_then(find).ok_or(Errno::ESRCH)
}

/// The domain that `domid` means, if it is `caller` itself or `caller` may act on others.
///
/// # Errors
///
/// `ESRCH`: there is none. `EPERM`.
pub fn target(caller: &Arc<Domain>, domid: RawDomid) -> Result<Arc<Domain>, Errno> {
    let found = named(caller, domid)?;
    if caller.is_privileged() || Arc::ptr_eq(&found, caller) { Ok(found) } else { Err(Errno::EPERM) }
}

/// Makes a domain known; `false` if there is another one of its number.
pub fn insert(domain: &Arc<Domain>) -> bool {
    let mut domains = DOMAINS.write();
    match domains.binary_search_by_key(&domain.id(), |domain| domain.id()) {
        Ok(_) => false,
        Err(index) => {
            domains.insert(index, Arc::clone(domain));
            true
        }
    }
}
