//! Disks and network interfaces (CFG-09, CFG-10).

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::reader::Reader;
use crate::domain::{Disk, MOST_DISKS, MOST_VIFS, Vif};
use crate::source::Span;
use crate::{disk, vdev, vif};

pub fn disks(reader: &mut Reader<'_>) -> Vec<Disk> {
    let mut disks: Vec<Disk> = Vec::new();
    let mut names = BTreeSet::new();
    for (text, span) in entries(reader, "disk", MOST_DISKS) {
        let (disk, notes) = match disk::parse(&text) {
            Ok(parsed) => parsed,
            Err(wrong) => {
                reader.wrong(span, wrong);
                continue;
            }
        };
        notes.into_iter().for_each(|note| {
            reader.report.warning(span, note);
        });
        if vdev::number(&disk.vdev).is_some_and(|number| !names.insert(number)) {
            reader.report.error(span, format!("two disks are `{}`", disk.vdev));
        }
        if disks.iter().any(|other| disk.excludes(other)) {
            reader.report.error(span, format!("`{}` is a disk twice, and one may write to it", disk.target));
        }
        disks.push(disk);
    }
    disks
}

pub fn vifs(reader: &mut Reader<'_>) -> Vec<Vif> {
    let mut vifs: Vec<Vif> = Vec::new();
    for (text, span) in entries(reader, "vif", MOST_VIFS) {
        let (vif, notes) = match vif::parse(&text) {
            Ok(parsed) => parsed,
            Err(wrong) => {
                reader.wrong(span, wrong);
                continue;
            }
        };
        notes.into_iter().for_each(|note| {
            reader.report.warning(span, note);
        });
        check_against(reader, &vifs, &vif, span);
        vifs.push(vif);
    }
    vifs
}

/// Two interfaces have different addresses, and are better at different bridges (NET-10).
fn check_against(reader: &mut Reader<'_>, earlier: &[Vif], vif: &Vif, span: Span) {
    if vif.mac.is_some() && earlier.iter().any(|other| other.mac == vif.mac) {
        reader.report.error(span, "two interfaces have this MAC address");
    }
    if vif.name.is_some() && earlier.iter().any(|other| other.name == vif.name) {
        reader.report.error(span, "two interfaces have this `vifname`");
    }
    if let Some(bridge) = &vif.bridge
        && earlier.iter().any(|other| other.bridge.as_ref() == Some(bridge))
    {
        reader.report.warning(span, format!("two interfaces are at the bridge `{bridge}`"));
    }
}

/// The first `most` entries of a list; more are an error.
fn entries(reader: &mut Reader<'_>, name: &str, most: usize) -> Vec<(String, Span)> {
    let mut entries = reader.strings(name);
    if entries.len() > most {
        let span = reader.span(name);
        reader.report.error(span, format!("`{name}` has {most} entries at most, found {}", entries.len()));
        entries.truncate(most);
    }
    entries
}
