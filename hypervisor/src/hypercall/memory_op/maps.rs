//! Memory maps: what a domain is told about its memory, and Dom0 about the machine's.

use alloc::vec::Vec;
use core::mem::offset_of;

use hv_core::memmap::Region;
use xen_abi::errno::Errno;
use xen_abi::memory::{E820Entry, ForeignMemoryMap, MemoryMap};

use super::{Answer, Request};
use crate::hypercall::Reply;
use crate::init;

/// Most entries of a map, as Xen's `E820MAX`.
const MOST_ENTRIES: u32 = 1024;

/// `memory_map`: the caller's own, as far as there is room. `ENOSYS` if it has none.
pub fn own(request: &Request<'_, '_, '_>) -> Reply {
    let map = request.read::<MemoryMap>()?;
    // Copied first: no lock is held while the guest's memory is written.
    let entries = request.caller().memory().map().lock().clone();
    if entries.is_empty() {
        return Err(Errno::ENOSYS);
    }
    let room = usize::try_from(map.nr_entries).unwrap_or(usize::MAX);
    write(request, &map, entries.into_iter().take(room))
}

/// `machine_memory_map`: the firmware's. `EPERM`; `EINVAL` if there is too little room.
pub fn machine(request: &Request<'_, '_, '_>) -> Reply {
    request.check_privileged()?;
    let map = request.read::<MemoryMap>()?;
    let regions = init::memory_map();
    let count = regions.iter().count();
    if map.buffer.is_null() {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        request.write_field(offset_of!(MemoryMap, nr_entries), &count)?;
        return Ok(Answer::Value(0));
    }
    if usize::try_from(map.nr_entries).is_ok_and(|room| room < count) {
        return Err(Errno::EINVAL);
    }
    write(request, &map, regions.iter().map(entry))
}

/// Copies entries and then their number.
fn write(request: &Request<'_, '_, '_>, map: &MemoryMap, entries: impl Iterator<Item = E820Entry>) -> Reply {
    let mut written = 0_u32;
    for (entry, index) in entries.zip(0..) {
        request.set_item(map.buffer, index, &entry)?;
        written = written.saturating_add(1);
    }
    request.write_field(offset_of!(MemoryMap, nr_entries), &written)?;
    Ok(Answer::Value(0))
}

/// `set_memory_map`: what another domain will be told. `EINVAL` for too many entries.
pub fn set(request: &Request<'_, '_, '_>) -> Reply {
    let foreign = request.read::<ForeignMemoryMap>()?;
    if foreign.map.nr_entries > MOST_ENTRIES {
        return Err(Errno::EINVAL);
    }
    let domain = request.target(foreign.domid)?;
    request.check_privileged()?;
    let entries = (0..foreign.map.nr_entries).map(|index| request.item(foreign.map.buffer, index.into()));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    *domain.memory().map().lock() = entries;
    Ok(Answer::Value(0))
}

fn entry(region: &Region) -> E820Entry {
    E820Entry { addr: region.range.start(), size: region.range.len(), kind: region.kind.to_type() }
}
