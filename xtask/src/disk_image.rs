//! Images of disks with a partition table of the master boot record kind.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

const SECTOR: u64 = 512;
/// Of the first sector.
const RECORD: usize = 512;
/// Where partitions begin: whole MiB.
const ALIGNMENT: u64 = 1 << 20;
/// Bytes of a cylinder of 16 heads and 63 sectors: emulators count disks in them.
const CYLINDER: u64 = 16 * 63 * SECTOR;
/// Of the table in the first sector, of its entries and of the mark behind it.
const TABLE: usize = 446;
const ENTRY: usize = 16;
const MARK: [u8; 2] = [0x55, 0xaa];
const MOST_PARTITIONS: usize = 4;
/// Cylinder, head and sector of what is too far away for them; the sector's number counts then.
const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];

/// A file system's image, and the type that the table says it has.
pub(crate) struct Partition<'a> {
    image: &'a Path,
    kind: u8,
}

impl<'a> Partition<'a> {
    /// FAT16, found by sector number.
    pub(crate) fn fat(image: &'a Path) -> Self {
        Self { image, kind: 0x0e }
    }

    pub(crate) fn linux(image: &'a Path) -> Self {
        Self { image, kind: 0x83 }
    }
}

/// Writes a disk with `partitions` to `file`. It has holes where the images are zeros.
pub(crate) fn write(file: &Path, partitions: &[Partition<'_>]) -> Result<()> {
    ensure!(partitions.len() <= MOST_PARTITIONS, "a partition table has {MOST_PARTITIONS} entries");
    let mut disk = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut record = [0; RECORD];
    let mut start = ALIGNMENT;
    for (partition, entry) in partitions.iter().zip(record[TABLE..].chunks_exact_mut(ENTRY)) {
        let size = fs::metadata(partition.image)?.len().next_multiple_of(SECTOR);
        entry.copy_from_slice(&table_entry(partition.kind, start / SECTOR, size / SECTOR)?);
        copy(partition.image, &mut disk, start)?;
        start = (start + size).next_multiple_of(ALIGNMENT);
    }
    record[RECORD - MARK.len()..].copy_from_slice(&MARK);
    disk.rewind()?;
    disk.write_all(&record)?;
    disk.set_len(start.next_multiple_of(CYLINDER))?;
    Ok(())
}

/// Flags, first sector, type, last sector, by cylinder; first sector and number of sectors.
fn table_entry(kind: u8, first: u64, count: u64) -> Result<[u8; ENTRY]> {
    let mut entry = [0; ENTRY];
    entry[1..4].copy_from_slice(&NO_CHS);
    entry[4] = kind;
    entry[5..8].copy_from_slice(&NO_CHS);
    entry[8..12].copy_from_slice(&u32::try_from(first)?.to_le_bytes());
    entry[12..].copy_from_slice(&u32::try_from(count)?.to_le_bytes());
    Ok(entry)
}

/// Copies what is not zero to `place`.
fn copy(image: &Path, disk: &mut File, place: u64) -> Result<()> {
    const CHUNK: usize = 1 << 16;
    let mut image = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut at = place;
    loop {
        chunk.clear();
        let count = Read::by_ref(&mut image).take(CHUNK as u64).read_to_end(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        if chunk.iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(at))?;
            disk.write_all(&chunk)?;
        }
        at += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_where_the_table_says() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, disk) = (folder.path().join("1"), folder.path().join("2"), folder.path().join("disk"));
        fs::write(&one, [1; 1000]).unwrap();
        fs::write(&two, [vec![0; 70_000], vec![2; 10]].concat()).unwrap();
        write(&disk, &[Partition::fat(&one), Partition::linux(&two)]).unwrap();
        let bytes = fs::read(&disk).unwrap();
        assert_eq!(bytes.len() as u64 % CYLINDER, 0);
        assert_eq!(&bytes[510..512], [0x55, 0xaa]);
        let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes[450], field(454), field(458)), (0x0e, 2048, 2));
        assert_eq!((bytes[466], field(470), field(474)), (0x83, 4096, 137));
        assert_eq!(bytes[1 << 20..][..1000], [1; 1000]);
        assert_eq!(bytes[(2 << 20) + 70_000..][..10], [2; 10]);
        assert!(write(&disk, &[const { 0 }; 5].map(|_| Partition::fat(&one))).is_err());
    }
}
