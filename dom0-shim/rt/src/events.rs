//! Event channels of the 2-level interface: a pending bit and a mask bit for each port, in
//! the shared page (`xen.h`, `struct shared_info`).

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use xen_abi::RawPort;
use xen_abi::xen::{SharedInfo, VcpuInfo};

use crate::clock;

/// Words of each bitmap.
pub(crate) const WORDS: usize = 64;

/// The word of the shared page at `offset`.
fn word(offset: usize) -> &'static AtomicU64 {
    let page = crate::to_usize(clock::shared_info().expect("map_shared_info was called"));
    let place = (page + offset) as *mut u64;
    // SAFETY: an aligned word of the page, which stays mapped and is only used atomically.
    unsafe { AtomicU64::from_ptr(place) }
}

/// The word of the bitmap at `offset` in which `port` is, and its bit.
fn bit(offset: usize, port: RawPort) -> (&'static AtomicU64, u64) {
    let index = port as usize / 64 % WORDS;
    (word(offset + index * 8), 1 << (port % 64))
}

/// Masks all ports: their events are recorded without an upcall.
///
/// # Panics
///
/// When the shared page is not mapped. So do all functions here.
pub fn mask_all() {
    for index in 0..WORDS {
        word(offset_of!(SharedInfo, evtchn_mask) + index * 8).store(u64::MAX, Ordering::Release);
    }
}

/// Unmasks a port that has no event pending.
pub fn unmask(port: RawPort) {
    let (word, bit) = bit(offset_of!(SharedInfo, evtchn_mask), port);
    word.fetch_and(!bit, Ordering::AcqRel);
}

/// Masks a port: its events are recorded without an upcall.
pub fn mask(port: RawPort) {
    let (word, bit) = bit(offset_of!(SharedInfo, evtchn_mask), port);
    word.fetch_or(bit, Ordering::AcqRel);
}

/// Masks ports of one word of the bitmap.
pub(crate) fn mask_all_of(index: usize, ports: u64) {
    if index < WORDS {
        word(offset_of!(SharedInfo, evtchn_mask) + index * 8).fetch_or(ports, Ordering::AcqRel);
    }
}

/// Takes all events that the first vcpu's upcall is for: `each` gets the number of a word and
/// the bits of the ports in it.
pub fn take_unmasked(mut each: impl FnMut(usize, u64)) {
    let info = offset_of!(SharedInfo, vcpu_info);
    // `evtchn_upcall_pending` first, so that an event that comes meanwhile raises another one.
    word(info).store(0, Ordering::Release);
    let mut selected = word(info + offset_of!(VcpuInfo, evtchn_pending_sel)).swap(0, Ordering::AcqRel);
    while selected != 0 {
        let index = selected.trailing_zeros() as usize;
        selected &= selected - 1;
        let masked = word(offset_of!(SharedInfo, evtchn_mask) + index * 8).load(Ordering::Acquire);
        let pending = word(offset_of!(SharedInfo, evtchn_pending) + index * 8);
        each(index, pending.fetch_and(masked, Ordering::AcqRel) & !masked);
    }
}

/// Takes a port's event; whether there was one.
pub fn take(port: RawPort) -> bool {
    let (word, bit) = bit(offset_of!(SharedInfo, evtchn_pending), port);
    word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// Overwrites a word of the shared page, whatever it is for: what a guest does that breaks the rules.
///
/// # Panics
///
/// When the page has no word `index`.
pub fn overwrite(index: usize, value: u64) {
    assert!(index < crate::to_usize(crate::paging::PAGE_SIZE) / 8, "no word {index}");
    word(index * 8).store(value, Ordering::Release);
}

/// Forgets all events, and the upcalls of the first `vcpus` vcpus.
pub fn forget_all(vcpus: usize) {
    for index in 0..WORDS {
        word(offset_of!(SharedInfo, evtchn_pending) + index * 8).store(0, Ordering::Release);
    }
    for vcpu in 0..vcpus.min(32) {
        let info = offset_of!(SharedInfo, vcpu_info) + vcpu * size_of::<VcpuInfo>();
        // `evtchn_upcall_pending`, and the mask beside it that HVM guests do not use.
        word(info).store(0, Ordering::Release);
        word(info + offset_of!(VcpuInfo, evtchn_pending_sel)).store(0, Ordering::Release);
    }
}
