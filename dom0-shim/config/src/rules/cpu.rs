//! Vcpus, where they run, and what share they get (CFG-05 to CFG-08).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::reader::Reader;
use crate::cpus::MAX_PCPUS;
use crate::domain::{Affinity, PcpuSpec};
use crate::source::Span;
use crate::syntax::Kind;

/// Vcpus of a domain (LIM-03).
const VCPUS: RangeInclusive<u32> = 1..=32;
/// The only pool.
const POOL: &str = "Pool-0";

/// Online at the start, and at most.
pub fn vcpus(reader: &mut Reader<'_>) -> (u32, u32) {
    let online = reader.count("vcpus", VCPUS);
    let most = reader.count("maxvcpus", VCPUS);
    if let (Some(online), Some(most)) = (online, most)
        && online > most
    {
        let span = reader.span("vcpus");
        let message = format!("`vcpus` is {online}, more than the {most} of `maxvcpus`");
        reader.report.error(span, message);
    }
    let online = online.unwrap_or(1);
    (online, most.unwrap_or(online).max(online))
}

pub fn pool(reader: &mut Reader<'_>) {
    if let Some((pool, span)) = reader.text("pool")
        && pool != POOL
    {
        reader.report.error(span, format!("there is one pool of pcpus, \"{POOL}\", found \"{pool}\""));
    }
}

/// Where the vcpus may run. Fewer pcpus than vcpus are worth a warning (CPU-20, T-31).
pub fn hard(reader: &mut Reader<'_>, vcpus: u32, max_vcpus: u32) -> Affinity {
    let affinity = affinity(reader, "cpus", max_vcpus);
    if affinity.is_too_narrow(vcpus)
        && let Some(span) = reader.span("cpus")
    {
        let pcpus = affinity.at_once(vcpus, MAX_PCPUS).unwrap_or_default();
        let message = format!("{vcpus} vcpus share {pcpus} of the machine's pcpus");
        reader.report.warning(span, message).help("name as many pcpus as `vcpus` says, or more");
    }
    affinity
}

/// Where they run best.
pub fn soft(reader: &mut Reader<'_>, max_vcpus: u32) -> Affinity {
    affinity(reader, "cpus_soft", max_vcpus)
}

/// A string is for all vcpus, a list has an entry for each.
fn affinity(reader: &mut Reader<'_>, name: &str, max_vcpus: u32) -> Affinity {
    let Some(setting) = reader.settings.get(name) else { return Affinity::Any };
    if let Kind::List(values) = &setting.value.kind {
        if u32::try_from(values.len()).is_ok_and(|entries| entries > max_vcpus) {
            let message =
                format!("`{name}` has {} entries for {max_vcpus} vcpus; the rest is ignored", values.len());
            reader.report.warning(setting.value.span, message);
        }
        let kept = usize::try_from(max_vcpus).unwrap_or(usize::MAX);
        let entries = reader.strings(name).into_iter().take(kept);
        let specs: Vec<PcpuSpec> = entries.filter_map(|entry| spec(reader, &entry)).collect();
        return if specs.is_empty() { Affinity::Any } else { Affinity::Each(specs) };
    }
    let spec = reader.text(name).and_then(|entry| spec(reader, &entry));
    spec.filter(|spec| *spec != PcpuSpec::all()).map_or(Affinity::Any, Affinity::All)
}

fn spec(reader: &mut Reader<'_>, (text, span): &(String, Span)) -> Option<PcpuSpec> {
    let spec = PcpuSpec::from_str(text);
    if let Err(error) = &spec {
        reader.report.error(*span, error.to_string());
    }
    spec.ok()
}

/// T-10.
pub fn weight(reader: &mut Reader<'_>) -> Option<u16> {
    reader.count("cpu_weight", 1..=u32::from(u16::MAX)).and_then(|weight| u16::try_from(weight).ok())
}

/// Percent of one pcpu; `cpu_cap` is xend's name of it.
pub fn cap(reader: &mut Reader<'_>, max_vcpus: u32) -> u16 {
    let most = max_vcpus.saturating_mul(100);
    let old = reader.count("cpu_cap", 0..=most);
    let new = reader.count("cap", 0..=most);
    if new.is_some()
        && let Some(span) = reader.span("cpu_cap")
    {
        reader.report.warning(span, "`cpu_cap` is ignored where `cap` is set");
    }
    new.or(old).and_then(|cap| u16::try_from(cap).ok()).unwrap_or(0)
}

/// The guest always reads the machine's counter, with an offset.
pub fn tsc_mode(reader: &mut Reader<'_>) {
    let Some((mode, span)) = reader.text("tsc_mode") else { return };
    match mode.as_str() {
        "default" | "native" | "0" | "2" => {}
        "always_emulate" | "1" => {
            let error = reader.report.error(span, "the time stamp counter is not emulated");
            error.help("tsc_mode = \"default\" and \"native\" can be had");
        }
        "native_paravirt" | "3" => {
            let error = reader.report.error(span, "Xen has no mode native_paravirt any more");
            error.help("tsc_mode = \"default\" and \"native\" can be had");
        }
        _ => {
            let message = format!("expected \"default\" or \"native\" for `tsc_mode`, found \"{mode}\"");
            reader.report.error(span, message);
        }
    }
}
