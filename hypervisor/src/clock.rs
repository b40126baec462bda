//! Time as guests see it: system time, the PV clock's records, wall clock.
//!
//! System time is nanoseconds since the image's first instruction, computed from the
//! time stamp counter as guests compute it ([`hv_core::pvclock`]). All vcpus have the
//! record of that first instant, so that time never differs between them.

use core::mem::offset_of;
use core::num::NonZeroU64;
use core::sync::atomic::Ordering;

use hv_arch::confines::page::Words;
use hv_arch::sync::{Lock, Rank};
use hv_arch::{cpu, rtc, time};
use hv_core::pvclock::{SystemClock, WallClock, version_done, version_writing};
use spin::Once;
use xen_abi::xen::{PvclockFlags, SharedInfo, VcpuTimeInfo};
use zerocopy::IntoBytes;

static CLOCK: Once<SystemClock> = Once::new();
/// UTC when system time was 0.
static WALL: Lock<WallClock> = Lock::new(Rank::Lapic, WallClock::new(0, 0));

/// Starts the clock; the time stamp counter's rate is known.
pub fn init() {
    if let Some(hz) = NonZeroU64::new(time::tsc_hz()) {
        CLOCK.call_once(|| SystemClock::new(hz, time::epoch()));
    }
    match rtc::unix_seconds() {
        Some(seconds) => set_wall(u128::from(seconds) * 1_000_000_000, now()),
        None => log::warn!("no battery-backed clock: it is 1970 until Dom0 sets the time"),
    }
}

/// System time when the time stamp counter is at `tsc`.
pub fn ns_at(tsc: u64) -> u64 {
    CLOCK.get().map_or(0, |clock| clock.ns_at(tsc))
}

/// System time in nanoseconds.
pub fn now() -> u64 {
    ns_at(cpu::rdtsc())
}

/// Where the time stamp counter is when system time reaches `ns`.
pub fn tsc_at(ns: u64) -> u64 {
    CLOCK.get().map_or(u64::MAX, |clock| clock.tsc_at(ns))
}

/// Where the time stamp counter is when system time reaches `ns`; `None` for `u64::MAX`, which never comes.
pub fn tsc_until(ns: u64) -> Option<u64> {
    (ns != u64::MAX).then(|| tsc_at(ns))
}

/// The wall clock.
pub fn wall() -> WallClock {
    *WALL.lock()
}

/// Sets the wall clock: `unix_ns` nanoseconds after 1970 at `system_time`.
pub fn set_wall(unix_ns: u128, system_time: u64) {
    *WALL.lock() = WallClock::new(unix_ns, system_time);
}

/// Writes the record of a vcpu whose time stamp counter is ahead by `tsc_offset` to
/// byte `at` of a page. `false` if it does not fit.
pub fn write_record(words: &Words, at: usize, tsc_offset: u64) -> bool {
    let Some(clock) = CLOCK.get() else { return false };
    let stable = if cpu::features().invariant_tsc { PvclockFlags::TSC_STABLE } else { PvclockFlags::empty() };
    let record = clock.record(time::epoch(), tsc_offset, stable);
    let Some(version) = words.u32(at) else { return false };
    let writing = version_writing(version.load(Ordering::Relaxed));
    version.store(writing, Ordering::SeqCst);
    let rest = offset_of!(VcpuTimeInfo, _pad0);
    let fits = words.write(at.saturating_add(rest), record.as_bytes().get(rest..).unwrap_or_default());
    version.store(version_done(writing), Ordering::SeqCst);
    fits
}

/// Writes the wall clock of a domain that lives `ahead` seconds ahead to its shared
/// info page.
pub fn write_wall(shared_info: &Words, ahead: i64) {
    let wall = wall().ahead(ahead);
    let Some(version) = shared_info.u32(offset_of!(SharedInfo, wc_version)) else { return };
    let writing = version_writing(version.load(Ordering::Relaxed));
    version.store(writing, Ordering::SeqCst);
    let fields = [
        (offset_of!(SharedInfo, wc_sec), wall.sec()),
        (offset_of!(SharedInfo, wc_nsec), wall.nsec()),
        (offset_of!(SharedInfo, wc_sec_hi), wall.sec_hi()),
    ];
    for (at, value) in fields {
        if let Some(word) = shared_info.u32(at) {
            word.store(value, Ordering::Relaxed);
        }
    }
    version.store(version_done(writing), Ordering::SeqCst);
}
