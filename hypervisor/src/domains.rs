//! The domains that there are, by number: how they come, and how they go.
//!
//! A domain is destroyed in slices, so that nobody waits for it long:
//!
//! | slice | done when |
//! |---|---|
//! | no vcpu may run any more | none is on a pcpu |
//! | its event channels close | all are free |
//! | what it has mapped of others by grant is undone | nothing is left |
//! | its memory goes back | there is none left |
//! | its vcpus go, and its place in the table | at once |
//!
//! Whoever has found it before may still look at it; the last one frees what is left
//! of it.

use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use alloc::sync::Arc;
use alloc::vec::Vec;
use hv_arch::confines::Confines;
use hv_core::ept::Progress;
use hv_core::frame::OutOfFrames;
use hv_core::id::DomId;
use spin::RwLock;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::xen::{DOMID_FIRST_RESERVED, DOMID_SELF, DomainHandle, NR_VIRQS, Virq};

use crate::domain::{Config, Domain};
use crate::{cpuid, dom0, event, grant, init};

/// In the order of their numbers. Written when domains come and go; readers only
/// take an `Arc` from it.
static DOMAINS: RwLock<Vec<Arc<Domain>>> = RwLock::new(Vec::new());

/// The number that was given last.
static LAST: AtomicU16 = AtomicU16::new(0);

/// Domain `id`.
pub fn find(id: DomId) -> Option<Arc<Domain>> {
    let domains = DOMAINS.read();
    let index = domains.binary_search_by_key(&id, |domain| domain.id()).ok()?;
    domains.get(index).cloned()
}

/// The domain that `domid` names for a caller of `caller`: `DOMID_SELF` is its own.
///
/// # Errors
///
/// `ESRCH`.
pub fn find_any(domid: RawDomid, caller: &Arc<Domain>) -> Result<Arc<Domain>, Errno> {
    if domid == DOMID_SELF {
        return Ok(Arc::clone(caller));
    }
    DomId::new(domid).and_then(find).ok_or(Errno::ESRCH)
}

/// The domain that `domid` names, if it is `caller` itself or `caller` may act on others.
///
/// # Errors
///
/// `ESRCH`, `EPERM`.
pub fn target(domid: RawDomid, caller: &Arc<Domain>) -> Result<Arc<Domain>, Errno> {
    let found = find_any(domid, caller)?;
    if caller.is_privileged() || Arc::ptr_eq(&found, caller) { Ok(found) } else { Err(Errno::EPERM) }
}

/// The first domain whose number is `id` or higher.
pub fn find_from(id: DomId) -> Option<Arc<Domain>> {
    let domains = DOMAINS.read();
    domains.get(domains.partition_point(|domain| domain.id() < id)).cloned()
}

/// Does `act` for each of them.
pub fn for_each(mut act: impl FnMut(&Domain)) {
    let domains = DOMAINS.read().clone();
    domains.iter().for_each(|domain| act(domain));
}

/// How many there are.
pub fn count() -> usize {
    DOMAINS.read().len()
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

fn remove(id: DomId) {
    let mut domains = DOMAINS.write();
    let index = domains.binary_search_by_key(&id, |domain| domain.id());
    let removed = index.map(|index| domains.remove(index));
    // Its end takes other locks.
    drop(domains);
    drop(removed);
}

/// Makes a domain without memory and vcpus, paused by the toolstack, with the number
/// `wanted`, or the next free one.
///
/// # Errors
///
/// `EEXIST` if the number is taken, `ENOMEM`.
pub fn create(wanted: Option<DomId>, config: Config, handle: DomainHandle) -> Result<Arc<Domain>, Errno> {
    let id = match wanted {
        Some(id) if find(id).is_some() => return Err(Errno::EEXIST),
        Some(id) => id,
        None => next_free().ok_or(Errno::ENOMEM)?,
    };
    let domain = build(id, config, handle).map_err(|_| Errno::ENOMEM)?;
    if !insert(&domain) {
        return Err(Errno::EEXIST);
    }
    if wanted.is_none() {
        LAST.store(id.get(), Ordering::Relaxed);
    }
    Ok(domain)
}

fn build(id: DomId, config: Config, handle: DomainHandle) -> Result<Arc<Domain>, OutOfFrames> {
    let vmx = init::vmx_config();
    let confines = Confines::new(id, vmx)?;
    let policy = cpuid::policy(id, config.max_vcpus, vmx, dom0::tsc());
    Domain::new(id, config, handle, confines, 0, policy)
}

/// The next number after the one given last that no domain has; 1 follows on the
/// highest.
fn next_free() -> Option<DomId> {
    let last = LAST.load(Ordering::Relaxed);
    let after = last.saturating_add(1)..DOMID_FIRST_RESERVED;
    let mut all = after.chain(1..=last).filter_map(DomId::new);
    all.find(|&id| find(id).is_none())
}

/// Goes on with the end of a domain. The caller is none of its vcpus.
pub fn destroy(domain: &Arc<Domain>) -> Progress {
    domain.begin_end();
    if domain.is_on_a_pcpu() {
        return Progress::More;
    }
    if event::close_all(domain) == Progress::More {
        return Progress::More;
    }
    if grant::release_mappings(domain) == Progress::More {
        return Progress::More;
    }
    if domain.memory().relinquish(domain.confines()) == Progress::More {
        return Progress::More;
    }
    drop(domain.take_vcpus());
    // None of its ports can be bound any more. Before the number can be another domain's.
    for_each(|other| other.events().forget_peer(domain.id()));
    remove(domain.id());
    forget_virq_handler(domain.id());
    event::raise_global(Virq::DomExc);
    Progress::Done
}

/// Domain to which each global virtual interrupt goes: Dom0, unless the toolstack has
/// named another.
static VIRQ_HANDLERS: [AtomicU32; NR_VIRQS as usize] = [const { AtomicU32::new(0) }; NR_VIRQS as usize];

/// Lets `domain` have the global virtual interrupt `virq`; `false` if there is none.
pub fn set_virq_handler(virq: u32, domain: DomId) -> bool {
    let place = usize::try_from(virq).ok().and_then(|virq| VIRQ_HANDLERS.get(virq));
    place.map(|place| place.store(domain.get().into(), Ordering::Release)).is_some()
}

/// The domain that gets the global virtual interrupt `virq`.
pub fn virq_handler(virq: u32) -> DomId {
    let place = usize::try_from(virq).ok().and_then(|virq| VIRQ_HANDLERS.get(virq));
    let id = place.and_then(|place| u16::try_from(place.load(Ordering::Acquire)).ok());
    id.and_then(DomId::new).unwrap_or(DomId::DOM0)
}

/// What a domain that is no more was to get goes to Dom0.
fn forget_virq_handler(id: DomId) {
    for place in &VIRQ_HANDLERS {
        let dom0 = DomId::DOM0.get().into();
        let _other = place.compare_exchange(id.get().into(), dom0, Ordering::AcqRel, Ordering::Acquire);
    }
}
