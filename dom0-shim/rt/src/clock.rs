//! Time: the TSC at the rate that CPUID tells, and the PV clock of `vcpu_info`.

use alloc::boxed::Box;
use core::mem::offset_of;
use core::sync::atomic::{Ordering, fence};

use spin::Once;
use xen_abi::cpuid;
use xen_abi::errno::Errno;
use xen_abi::memory::{AddToPhysmap, MapSpace, MemoryOp};
use xen_abi::xen::{DOMID_SELF, SharedInfo, VcpuInfo, VcpuTimeInfo};

use crate::paging::Page;
use crate::{cpu, hypercall};

/// Rate of the TSC, kHz: Xen's leaf 3; 1 GHz where it says nothing.
#[must_use]
pub fn tsc_khz() -> u32 {
    static KHZ: Once<u32> = Once::new();
    *KHZ.call_once(|| match cpu::cpuid(cpuid::FIRST_LEAF + 3, 0).ecx {
        0 => 1_000_000,
        khz => khz,
    })
}

/// The TSC in nanoseconds.
#[must_use]
pub fn ticks_ns() -> u64 {
    let ns = u128::from(cpu::rdtsc()) * 1_000_000 / u128::from(tsc_khz());
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// TSC ticks of `us` microseconds.
#[must_use]
pub fn ticks_of_us(us: u64) -> u64 {
    us * u64::from(tsc_khz()) / 1_000
}

/// Spins.
pub fn delay_us(us: u64) {
    let (start, ticks) = (cpu::rdtsc(), ticks_of_us(us));
    while cpu::rdtsc().wrapping_sub(start) < ticks {
        cpu::relax();
    }
}

static SHARED: Once<u64> = Once::new();

/// Maps the page that hypervisor and domain share, once.
///
/// # Errors
///
/// What the hypervisor says.
pub fn map_shared_info() -> Result<(), Errno> {
    if SHARED.get().is_some() {
        return Ok(());
    }
    // The page is mapped in place of one of the heap, which is then nobody's any more.
    let page = Box::leak(Box::new(Page::new()));
    let mut argument = AddToPhysmap {
        domid: DOMID_SELF,
        size: 0,
        space: MapSpace::SharedInfo.get(),
        idx: 0,
        gpfn: page.frame(),
    };
    hypercall::memory_op(MemoryOp::AddToPhysmap, &mut argument)?;
    SHARED.call_once(|| page.address());
    Ok(())
}

/// Address of the shared page, once it is mapped.
#[must_use]
pub fn shared_info() -> Option<u64> {
    SHARED.get().copied()
}

/// The PV clock's record of `vcpu`, read without an update in between.
///
/// # Panics
///
/// When the shared page is not mapped.
#[must_use]
pub fn record(vcpu: u32) -> VcpuTimeInfo {
    let shared = crate::to_usize(*SHARED.get().expect("map_shared_info was called"));
    let record = shared
        + offset_of!(SharedInfo, vcpu_info)
        + vcpu as usize % 32 * size_of::<VcpuInfo>()
        + offset_of!(VcpuInfo, time);
    let version = record + offset_of!(VcpuTimeInfo, version);
    loop {
        // SAFETY: in the page; the hypervisor may write meanwhile, which the version shows.
        let before = unsafe { (version as *const u32).read_volatile() };
        fence(Ordering::Acquire);
        // SAFETY: as above.
        let copy = unsafe { (record as *const VcpuTimeInfo).read_volatile() };
        fence(Ordering::Acquire);
        // SAFETY: as above.
        let after = unsafe { (version as *const u32).read_volatile() };
        if before == after && before & 1 == 0 {
            return copy;
        }
    }
}

/// The wall clock at system time 0: version, seconds since 1970, nanoseconds.
///
/// # Panics
///
/// When the shared page is not mapped.
#[must_use]
pub fn wall_clock() -> (u32, u64, u32) {
    let shared = crate::to_usize(*SHARED.get().expect("map_shared_info was called"));
    let word = |offset: usize| {
        let place = (shared + offset) as *const u32;
        // SAFETY: in the page.
        unsafe { place.read_volatile() }
    };
    loop {
        let version = word(offset_of!(SharedInfo, wc_version));
        let (low, high) = (word(offset_of!(SharedInfo, wc_sec)), word(offset_of!(SharedInfo, wc_sec_hi)));
        let nanoseconds = word(offset_of!(SharedInfo, wc_nsec));
        if version & 1 == 0 && word(offset_of!(SharedInfo, wc_version)) == version {
            return (version, u64::from(high) << 32 | u64::from(low), nanoseconds);
        }
    }
}

/// Nanoseconds of a PV clock record at `tsc` (`xen.h`, `vcpu_time_info`).
#[must_use]
pub fn pv_ns_at(record: &VcpuTimeInfo, tsc: u64) -> u64 {
    let ticks = tsc.wrapping_sub(record.tsc_timestamp);
    let shifted = match record.tsc_shift {
        shift @ 0.. => ticks << shift,
        shift => ticks >> shift.unsigned_abs(),
    };
    let ns = (u128::from(shifted) * u128::from(record.tsc_to_system_mul)) >> 32;
    record.system_time.wrapping_add(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// Nanoseconds by the PV clock of the vcpu with this number.
#[must_use]
pub fn pv_ns(vcpu: u32) -> u64 {
    loop {
        let first = record(vcpu);
        let tsc = cpu::rdtsc();
        // Moved to another pcpu in between: the record may be another one.
        if record(vcpu).version == first.version {
            return pv_ns_at(&first, tsc);
        }
    }
}
