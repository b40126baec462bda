//! A file as a disk.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use hadris_fs::Extent;

use super::FileSystem;
use crate::access::Access;
use crate::disk::{Disk, Failure, Properties, SECTOR};

const BYTES: u64 = SECTOR as u64;

/// A raw image: the sectors of a file are those of the disk. Its size does not change
/// (BLK-35).
///
/// Where the clusters of the file are was found out when it was opened; reads and writes go
/// straight there. The file is in use until this is dropped.
pub struct Image<D> {
    system: Rc<FileSystem<D>>,
    used: Rc<Used>,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Used {
    path: String,
    user: String,
    access: Access,
    /// In the order of the file.
    runs: Vec<Run>,
    /// The same sectors of the disk in their own order.
    sectors: Vec<Range<u64>>,
}

/// Clusters in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// First sector in the file.
    file: u64,
    /// First sector on the disk.
    disk: u64,
    count: u64,
}

impl Run {
    /// The part of an extent that is whole sectors; none for the last bytes of a file that are
    /// fewer.
    pub(super) fn new(extent: &Extent) -> Option<Result<Self, Failure>> {
        let (file, disk, count) = (extent.file_offset(), extent.offset(), extent.len() / BYTES);
        if !file.is_multiple_of(BYTES) || !disk.is_multiple_of(BYTES) {
            return Some(Err(Failure::Medium(String::from("clusters are not aligned to sectors"))));
        }
        (count > 0).then_some(Ok(Self { file: file / BYTES, disk: disk / BYTES, count }))
    }

    fn end(&self) -> u64 {
        self.file.saturating_add(self.count)
    }

    fn on_disk(&self) -> Range<u64> {
        self.disk..self.disk.saturating_add(self.count)
    }
}

impl Used {
    /// A file of `sectors`.
    pub(super) fn new(
        (path, user): (&str, &str),
        access: Access,
        runs: Vec<Run>,
        sectors: u64,
    ) -> Result<Self, Failure> {
        if sectors == 0 {
            let words = format!("it has less than a sector of {SECTOR} bytes: it is no disk");
            return Err(Failure::Medium(words));
        }
        let mut next = 0;
        for run in &runs {
            if run.file != next {
                return Err(damaged("its clusters have gaps"));
            }
            next = run.end();
        }
        if next != sectors {
            return Err(damaged("it has fewer clusters than its size says"));
        }
        let mut on_disk: Vec<_> = runs.iter().map(Run::on_disk).collect();
        on_disk.sort_by_key(|range| range.start);
        if on_disk.iter().zip(on_disk.iter().skip(1)).any(|(one, next)| one.end > next.start) {
            return Err(damaged("a cluster is in it twice"));
        }
        Ok(Self { path: path.into(), user: user.into(), access, runs, sectors: on_disk })
    }

    /// Whether both files at once could corrupt data: they are the same one, or share clusters.
    pub(super) fn check(&self, other: &Self) -> Result<(), Failure> {
        if !self.access.conflicts(other.access) || !overlap(&self.sectors, &other.sectors) {
            return Ok(());
        }
        let (path, user, access) = (&other.path, &other.user, other.access);
        Err(Failure::Medium(match self.path.eq_ignore_ascii_case(path) {
            true => format!("it is in use by {user} for {access}"),
            false => {
                format!(
                    "it has clusters of `{path}`, which is in use by {user} for {access}: check the file system"
                )
            }
        }))
    }
}

fn damaged(words: &str) -> Failure {
    Failure::Medium(format!("it is damaged: {words}; check the file system"))
}

/// Whether ranges, each in order, have something in common.
fn overlap(ours: &[Range<u64>], theirs: &[Range<u64>]) -> bool {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    while let (Some(one), Some(other)) = (ours.peek(), theirs.peek()) {
        if one.end <= other.start {
            ours.next();
        } else if other.end <= one.start {
            theirs.next();
        } else {
            return true;
        }
    }
    false
}

impl<D: Disk> Image<D> {
    pub(super) fn new(system: Rc<FileSystem<D>>, used: Rc<Used>) -> Self {
        Self { system, used }
    }

    /// Where sectors are on the disk.
    pub(super) fn places(&self, sectors: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let start = self.used.runs.partition_point(|run| run.end() <= sectors.start);
        let runs = self.used.runs.iter().skip(start);
        let mut at = sectors.start;
        runs.map_while(move |run| {
            let skip = at.saturating_sub(run.file);
            let count = run.end().min(sectors.end).checked_sub(at).filter(|count| *count > 0)?;
            at = at.saturating_add(count);
            let first = run.disk.saturating_add(skip);
            Some(first..first.saturating_add(count))
        })
    }
}

fn bytes(sectors: &Range<u64>) -> usize {
    let count = sectors.end.saturating_sub(sectors.start);
    usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(SECTOR)
}

impl<D: Disk> Disk for Image<D> {
    fn properties(&self) -> Properties {
        let disk = self.system.disk().properties();
        Properties {
            sectors: self.used.runs.last().map_or(0, Run::end),
            block_bytes: disk.block_bytes,
            read_only: disk.read_only || self.used.access == Access::Read,
            discard: disk.discard,
        }
    }

    async fn read(&self, first: u64, to: &mut [u8]) -> Result<(), Failure> {
        let mut rest = to;
        for place in self.places(self.properties().range(first, rest.len())?) {
            let piece = rest.split_off_mut(..bytes(&place)).ok_or(Failure::OutOfRange)?;
            self.system.disk().read(place.start, piece).await?;
        }
        Ok(())
    }

    async fn write(&self, first: u64, from: &[u8]) -> Result<(), Failure> {
        let mut rest = from;
        for place in self.places(self.properties().writable(first, rest.len())?) {
            let piece = rest.split_off(..bytes(&place)).ok_or(Failure::OutOfRange)?;
            self.system.disk().write(place.start, piece).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Failure> {
        self.system.disk().flush().await
    }

    async fn discard(&self, first: u64, count: u64) -> Result<(), Failure> {
        if self.properties().read_only {
            return Err(Failure::ReadOnly);
        }
        for place in self.places(self.properties().sectors(first, count)?) {
            let count = place.end.saturating_sub(place.start);
            self.system.disk().discard(place.start, count).await?;
        }
        Ok(())
    }
}
