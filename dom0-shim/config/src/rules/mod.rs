//! What a domain is to be, out of the settings. Rules go on after an error with what is assumed where
//! a parameter is absent, so that all errors are found.

mod boot;
mod cpu;
mod devices;
mod ends;
mod identity;
mod memory;
mod reader;
mod screen;

use crate::domain::{DEFAULT_WEIGHT, DomainConfig};
use crate::report::Report;
use crate::settings::Settings;
use reader::Reader;

/// Frames of a grant table, where none are named (Xen's `gnttab_max_frames`).
const GRANT_FRAMES: u32 = 64;
/// Frames of mapped grants (Xen's `gnttab_max_maptrack_frames`).
const MAPTRACK_FRAMES: u32 = 1024;
/// Highest event channel port (`libxl`).
const EVENT_CHANNELS: u32 = 1023;
/// Highest port that the FIFO ABI has (`EVTCHN_FIFO_NR_CHANNELS`).
const MOST_EVENT_CHANNELS: u32 = (1 << 17) - 1;
/// Frames are an `int` at the hypervisor's interface.
const MOST_FRAMES: u32 = i32::MAX.unsigned_abs();

/// The domain of these settings; it means something only if no error was reported.
pub fn domain(settings: &Settings, report: &mut Report) -> DomainConfig {
    let mut reader = Reader { settings, report };
    let reader = &mut reader;
    let boot = boot::boot(reader);
    let (memory_kib, max_memory_kib) = memory::memory(reader);
    let (vcpus, max_vcpus) = cpu::vcpus(reader);
    cpu::pool(reader);
    cpu::tsc_mode(reader);
    screen::check(reader);
    DomainConfig {
        name: identity::name(reader),
        uuid: identity::uuid(reader),
        kernel: boot.kernel,
        ramdisk: boot.ramdisk,
        command_line: boot.command_line,
        memory_kib,
        max_memory_kib,
        vcpus,
        max_vcpus,
        cpus: cpu::hard(reader, vcpus, max_vcpus),
        cpus_soft: cpu::soft(reader, max_vcpus),
        weight: cpu::weight(reader).unwrap_or(DEFAULT_WEIGHT),
        cap: cpu::cap(reader, max_vcpus),
        on_poweroff: ends::on_poweroff(reader),
        on_reboot: ends::on_reboot(reader),
        on_crash: ends::on_crash(reader),
        on_watchdog: ends::on_watchdog(reader),
        disks: devices::disks(reader),
        vifs: devices::vifs(reader),
        max_grant_frames: reader.count("max_grant_frames", 1..=MOST_FRAMES).unwrap_or(GRANT_FRAMES),
        max_maptrack_frames: reader.count("max_maptrack_frames", 0..=MOST_FRAMES).unwrap_or(MAPTRACK_FRAMES),
        max_event_channels: reader
            .count("max_event_channels", 1..=MOST_EVENT_CHANNELS)
            .unwrap_or(EVENT_CHANNELS),
        localtime: reader.flag("localtime").unwrap_or(false),
        rtc_timeoffset: offset(reader),
    }
}

fn offset(reader: &mut Reader<'_>) -> i32 {
    let bounds = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let seconds = reader.integer("rtc_timeoffset", bounds);
    seconds.and_then(|seconds| i32::try_from(seconds).ok()).unwrap_or_default()
}
