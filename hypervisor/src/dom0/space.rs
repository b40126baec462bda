//! What Dom0 finds at which physical address: its RAM, and everything of the
//! machine that is neither RAM of others nor driven by the hypervisor.
//!
//! ```text
//!   RAM claimed for Dom0, below 640 KiB and from 1 MiB on    RAM
//!   ACPI tables and NVS                                      memory, not executable
//!   other gaps between RAM below 4 GiB                       devices and firmware
//!   above 4 GiB, but for RAM                                 devices, when touched
//! ```
//!
//! Missing are the local and I/O APICs' registers, of which Dom0 gets models, and
//! whatever else of devices the hypervisor drives; the display is shared.

use alloc::vec::Vec;
use hv_arch::confines::{AccessError, Confines};
use hv_arch::memory;
use hv_core::addr::{PAGE_SIZE, PhysRange};
use hv_core::frame::Order;
use hv_core::memmap::{MemoryMap, Region, RegionKind};
use xen_abi::memory::E820Entry;

use crate::domain::Domain;
use crate::init;

const FOUR_GIB: u64 = 1 << 32;
const LARGE_PAGE: u64 = Order::TWO_MIB.frames() * PAGE_SIZE;

/// Maps what is not RAM below 4 GiB.
///
/// # Errors
///
/// [`AccessError`] without frames for tables.
pub fn map(confines: &Confines, map: &MemoryMap) -> Result<(), AccessError> {
    let tables: Vec<_> = map.iter().filter(|region| is_acpi(region)).map(|region| region.range).collect();
    let mut next = 0;
    for range in tables.iter().map(|range| range.round_out()) {
        // The one before may end in the frame where this one begins.
        let range = PhysRange::new(range.start().max(next), range.end()).unwrap_or_default();
        next = next.max(range.end());
        for piece in memory::passable(range) {
            confines.map_firmware(piece)?;
        }
    }
    for gap in gaps(map.usable_minus(&[]), FOUR_GIB) {
        for rest in gaps(within(&tables, gap), gap.end()) {
            let Some(rest) = PhysRange::new(rest.start().max(gap.start()), rest.end()) else { continue };
            for piece in memory::passable(rest) {
                confines.map_device(piece)?;
            }
        }
    }
    Ok(())
}

/// Maps the devices around `address`, where Dom0 found a hole; `false` if it is to stay
/// one. Most are above 4 GiB, where the gap is too large to be mapped before.
pub fn map_on_demand(domain: &Domain, address: u64) -> bool {
    let in_page = |size: u64| PhysRange::from_len(address & !(size - 1), size);
    let passes = |range: &PhysRange| {
        let is_ram = |region: &Region| region.kind == RegionKind::Ram && region.range.overlaps(*range);
        range.end() <= 1 << hv_arch::cpu::phys_bits() && !init::memory_map().iter().any(is_ram)
    };
    let sizes = [LARGE_PAGE, PAGE_SIZE].into_iter().filter_map(in_page).filter(passes);
    sizes.into_iter().any(|range| domain.confines().map_device(range).is_ok())
}

/// The memory map that Dom0 is told: the machine's, where RAM that is not Dom0's is
/// reserved, so that Dom0 puts nothing there.
pub fn memory_map(map: &MemoryMap, own: &[PhysRange]) -> Vec<E820Entry> {
    let mut entries = Vec::new();
    for region in map.iter() {
        if region.kind != RegionKind::Ram {
            entries.push(entry(region.range, region.kind));
            continue;
        }
        let mut next = region.range.start();
        for range in within(own, region.range) {
            entries.extend(PhysRange::new(next, range.start()).map(|gap| entry(gap, RegionKind::Reserved)));
            entries.push(entry(range, RegionKind::Ram));
            next = range.end();
        }
        entries.extend(PhysRange::new(next, region.range.end()).map(|gap| entry(gap, RegionKind::Reserved)));
    }
    entries.retain(|entry| entry.size != 0);
    entries
}

fn entry(range: PhysRange, kind: RegionKind) -> E820Entry {
    E820Entry { addr: range.start(), size: range.len(), kind: kind.to_type() }
}

fn is_acpi(region: &Region) -> bool {
    matches!(region.kind, RegionKind::AcpiReclaimable | RegionKind::AcpiNvs)
}

/// What lies between `ranges`, which ascend, from 0 to `end`.
fn gaps(ranges: impl Iterator<Item = PhysRange>, end: u64) -> Vec<PhysRange> {
    let mut next = 0;
    let mut gaps = Vec::new();
    for range in ranges.take_while(|range| range.start() < end) {
        gaps.extend(PhysRange::new(next, range.start()).filter(|gap| !gap.is_empty()));
        next = next.max(range.end());
    }
    gaps.extend(PhysRange::new(next, end).filter(|gap| !gap.is_empty()));
    gaps
}

/// Those of `ranges` that lie in `outer`, in whole frames.
fn within(ranges: &[PhysRange], outer: PhysRange) -> impl Iterator<Item = PhysRange> {
    ranges.iter().map(|range| range.round_out()).filter(move |range| range.overlaps(outer))
}
