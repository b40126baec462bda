//! The domains that there are, by number.

use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_core::id::DomId;
use spin::RwLock;

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
