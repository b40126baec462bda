//! Partition tables: what parts a disk has.
//!
//! ```text
//! MBR            sector 0: 4 entries of type, start, size
//!  └─ extended   each logical partition has a table of its own: entry 0 is the partition,
//!                entry 1 the next such table (numbers 5, 6, ... by their order)
//! GPT            sector 0: MBR with an entry of type EE; sector 1: header;
//!                its copy in the last sector is read where the first one is damaged
//! ```
//!
//! Tables are written by guests too, so everything in them is checked. A table with an error
//! is refused as a whole: nobody knows what else of it is not meant.
//!
//! Authority: UEFI specification 2.10, chapter 5, "GUID Partition Table (GPT) Disk Layout".

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use bytemuck::pod_read_unaligned;
use gpt_disk_types::{BlockSize, GptHeader, GptHeaderRevision, GptPartitionEntryArray, MbrPartitionRecord};

use crate::disk::{Disk, Failure, SECTOR};

/// Type of an entry that is not used.
const UNUSED: u8 = 0;
/// Types of an entry that is a chain of logical partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Type of the entry that tells of a GPT.
const PROTECTIVE: u8 = 0xee;
/// Logical partitions of a chain, at most.
const LOGICAL: usize = 128;
/// Number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;
/// Bytes of a GPT's entries, at most; the usual ones have 16 KiB.
const ARRAY: u64 = 256 << 10;

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its number, from 1 on, as in names such as `hda1`.
    pub number: u32,
    /// Where it is on the disk.
    pub sectors: Range<u64>,
}

/// The partitions of a disk by their numbers; none where it has no table.
///
/// # Errors
///
/// [`Failure::Medium`] tells what is wrong with the table, other ones come from the disk.
pub async fn partitions(disk: &impl Disk) -> Result<Vec<Partition>, Failure> {
    let sectors = disk.properties().sectors;
    if sectors == 0 {
        return Ok(Vec::new());
    }
    let Some(table) = boot_record(disk, 0).await? else { return Ok(Vec::new()) };
    let mut found = Found { sectors, partitions: Vec::new(), tables: vec![0] };
    match table.iter().any(|entry| entry.os_indicator == PROTECTIVE) {
        true => guid_table(disk, &mut found).await?,
        false => master_table(disk, &table, &mut found).await?,
    }
    found.finish()
}

/// What a table says so far.
struct Found {
    /// Of the disk.
    sectors: u64,
    partitions: Vec<Partition>,
    /// Sectors that hold tables.
    tables: Vec<u64>,
}

impl Found {
    /// Adds a partition that lies within `place`, a part of the disk.
    fn add(&mut self, number: u32, first: u64, count: u64, place: &Range<u64>) -> Result<(), Failure> {
        let end = first.checked_add(count).filter(|end| *end <= self.sectors);
        let Some(end) = end else {
            return damaged(format!(
                "partition {number} ends beyond the disk's {} sectors: it starts at {first} and has {count}",
                self.sectors,
            ));
        };
        if first < place.start || end > place.end || count == 0 {
            return damaged(format!(
                "partition {number} at sectors {first} to {end} is not within {} to {}",
                place.start, place.end,
            ));
        }
        self.partitions.push(Partition { number, sectors: first..end });
        Ok(())
    }

    /// The partitions, none of which touches another one or a table.
    fn finish(mut self) -> Result<Vec<Partition>, Failure> {
        self.partitions.sort_by_key(|partition| partition.sectors.start);
        for (one, next) in self.partitions.iter().zip(self.partitions.iter().skip(1)) {
            if one.sectors.end > next.sectors.start {
                return damaged(format!("partitions {} and {} overlap", one.number, next.number));
            }
        }
        for partition in &self.partitions {
            if let Some(table) = self.tables.iter().find(|table| partition.sectors.contains(table)) {
                let number = partition.number;
                return damaged(format!("partition {number} contains the table in sector {table}"));
            }
        }
        self.partitions.sort_by_key(|partition| partition.number);
        Ok(self.partitions)
    }
}

/// The entries of the boot record in a sector; `None` where there is no boot record.
///
/// File systems start with the same signature. They have code where a table has flags that
/// are 0 or 80h; `mformat` also makes an entry for the file system itself.
async fn boot_record(disk: &impl Disk, at: u64) -> Result<Option<[MbrPartitionRecord; 4]>, Failure> {
    let mut sector = [0; SECTOR];
    disk.read(at, &mut sector).await?;
    let (_, rest) = sector.split_at(446);
    let (table, signature) = rest.split_at(64);
    let table: [MbrPartitionRecord; 4] = pod_read_unaligned::<[[u8; 16]; 4]>(table).map(bytemuck::cast);
    let is_table = signature == [0x55, 0xaa] && table.iter().all(|entry| entry.boot_indicator & 0x7f == 0);
    let of_itself = table.iter().any(|entry| entry.os_indicator != UNUSED && place(entry).0 == 0);
    Ok((is_table && !(of_itself && is_fat(&sector))).then_some(table))
}

/// Whether a sector has the parameters of a FAT file system: bytes of a sector, number of FATs,
/// media.
fn is_fat(sector: &[u8; SECTOR]) -> bool {
    let [.., low, high, _, _, _, fats, _, _, _, _, media] = sector.first_chunk::<22>().unwrap_or(&[0; 22]);
    let bytes = u16::from_le_bytes([*low, *high]);
    matches!(bytes, 512 | 1024 | 2048 | 4096) && matches!(fats, 1 | 2) && matches!(media, 0xf0 | 0xf8..)
}

async fn master_table(
    disk: &impl Disk,
    table: &[MbrPartitionRecord; 4],
    found: &mut Found,
) -> Result<(), Failure> {
    let everywhere = 0..found.sectors;
    let mut chain = None;
    for (number, entry) in (1..).zip(table) {
        let (first, count) = place(entry);
        match entry.os_indicator {
            UNUSED => {}
            kind if EXTENDED.contains(&kind) => {
                if chain.replace(first..first.saturating_add(count)).is_some() {
                    return damaged(String::from("there are two extended partitions"));
                }
            }
            _ => found.add(number, first, count, &everywhere)?,
        }
    }
    match chain {
        Some(chain) => logical_tables(disk, &chain, found).await,
        None => Ok(()),
    }
}

/// Follows the chain of tables in an extended partition.
async fn logical_tables(disk: &impl Disk, chain: &Range<u64>, found: &mut Found) -> Result<(), Failure> {
    let mut at = chain.start;
    let mut number = FIRST_LOGICAL;
    for _ in 0..LOGICAL {
        if !chain.contains(&at) || at >= found.sectors {
            return damaged(format!("a table of logical partitions in sector {at}, where none can be"));
        }
        let Some([partition, next, ..]) = boot_record(disk, at).await? else {
            return damaged(format!("sector {at} should be a table of logical partitions"));
        };
        found.tables.push(at);
        let (first, count) = place(&partition);
        if partition.os_indicator != UNUSED {
            found.add(number, at.saturating_add(first), count, chain)?;
            number = number.saturating_add(1);
        }
        if !EXTENDED.contains(&next.os_indicator) {
            return Ok(());
        }
        at = chain.start.saturating_add(place(&next).0);
        if found.tables.contains(&at) {
            return damaged(String::from("the chain of logical partitions is a loop"));
        }
    }
    damaged(format!("there are more than {LOGICAL} logical partitions"))
}

async fn guid_table(disk: &impl Disk, found: &mut Found) -> Result<(), Failure> {
    let last = found.sectors.saturating_sub(1);
    let first = match header(disk, 1).await {
        Ok(header) => entries(disk, &header, found).await,
        Err(words) => Err(words),
    };
    let Err(words) = first else { return Ok(()) };
    let copy = match header(disk, last).await {
        Ok(header) => entries(disk, &header, found).await,
        Err(words) => Err(words),
    };
    copy.or_else(|copy| damaged(format!("the GPT is damaged: {words}; its copy as well: {copy}")))
}

async fn header(disk: &impl Disk, at: u64) -> Result<GptHeader, Failure> {
    let mut sector = [0; SECTOR];
    disk.read(at, &mut sector).await?;
    let (bytes, _) = sector.split_at(size_of::<GptHeader>());
    let header: GptHeader = pod_read_unaligned(bytes);
    if !header.is_signature_valid() || header.revision != GptHeaderRevision::VERSION_1_0 {
        return damaged(format!("sector {at} is no header"));
    }
    let bytes = header.header_size.to_u32();
    if usize::try_from(bytes) != Ok(size_of::<GptHeader>()) {
        return damaged(format!("a header of {bytes} bytes"));
    }
    if header.calculate_header_crc32() != header.header_crc32 {
        return damaged(String::from("the header's checksum is wrong"));
    }
    if header.my_lba.to_u64() != at {
        return damaged(format!("the header of sector {} is in sector {at}", header.my_lba.to_u64()));
    }
    Ok(header)
}

/// Reads a header's entries; adds nothing where one is wrong.
async fn entries(disk: &impl Disk, header: &GptHeader, found: &mut Found) -> Result<(), Failure> {
    let no_layout = "entries of a size that cannot be";
    let layout = header.get_partition_entry_array_layout().or_else(|_| damaged(String::from(no_layout)))?;
    let bytes = layout.num_bytes_rounded_to_block(BlockSize::BS_512).filter(|bytes| *bytes <= ARRAY);
    let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
        return damaged(format!("{} entries", layout.num_entries));
    };
    let mut storage = vec![0; bytes];
    disk.read(layout.start_lba.to_u64(), &mut storage).await?;
    let array = GptPartitionEntryArray::new(layout, BlockSize::BS_512, &mut storage);
    let array = array.or_else(|_| damaged(String::from(no_layout)))?;
    if array.calculate_crc32() != header.partition_entry_array_crc32 {
        return damaged(String::from("the entries' checksum is wrong"));
    }
    let place = header.first_usable_lba.to_u64()..header.last_usable_lba.to_u64().saturating_add(1);
    let mut partitions = Found { sectors: found.sectors, partitions: Vec::new(), tables: Vec::new() };
    for (index, number) in (0..layout.num_entries).zip(1..) {
        let Some(entry) = array.get_partition_entry(index).filter(|entry| entry.is_used()) else { continue };
        let first = entry.starting_lba.to_u64();
        let after = entry.ending_lba.to_u64().checked_add(1);
        let Some(count) = after.and_then(|after| after.checked_sub(first)) else {
            return damaged(format!("partition {number} ends before it starts"));
        };
        partitions.add(number, first, count, &place)?;
    }
    found.partitions = partitions.partitions;
    found.tables.push(header.my_lba.to_u64());
    let start = layout.start_lba.to_u64();
    found.tables.extend((start..).take(bytes / SECTOR));
    Ok(())
}

/// First sector and number of sectors.
fn place(entry: &MbrPartitionRecord) -> (u64, u64) {
    (u64::from(entry.starting_lba.to_u32()), u64::from(entry.size_in_lba.to_u32()))
}

fn damaged<T>(words: String) -> Result<T, Failure> {
    Err(Failure::Medium(words))
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use bytemuck::bytes_of;
    use gpt_disk_types::{Crc32, GptPartitionEntry, GptPartitionType, LbaLe, U32Le};
    use pollster::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Account;
    use crate::memory::Ram;

    const DISK: u64 = 4096;

    fn disk() -> Ram {
        Ram::new(DISK, Account::of(1 << 22))
    }

    /// Writes a boot record of entries (type, start, count).
    fn record(disk: &Ram, at: u64, entries: &[(u8, u64, u64)]) {
        let mut sector = [0; SECTOR];
        for (slot, (kind, first, count)) in sector[446..].chunks_exact_mut(16).zip(entries) {
            slot[4] = *kind;
            slot[8..12].copy_from_slice(&u32::try_from(*first).unwrap().to_le_bytes());
            slot[12..16].copy_from_slice(&u32::try_from(*count).unwrap().to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        block_on(disk.write(at, &sector)).unwrap();
    }

    /// Writes a GPT of partitions (first, last), and its copy.
    fn guid(disk: &Ram, entries: &[(u64, u64)]) {
        record(disk, 0, &[(PROTECTIVE, 1, DISK - 1)]);
        let mut array = vec![0; 128 * 128];
        for (slot, (first, last)) in array.chunks_exact_mut(128).zip(entries) {
            slot.copy_from_slice(bytes_of(&GptPartitionEntry {
                partition_type_guid: GptPartitionType::BASIC_DATA,
                starting_lba: LbaLe::from_u64(*first),
                ending_lba: LbaLe::from_u64(*last),
                ..GptPartitionEntry::default()
            }));
        }
        for (at, start) in [(1, 2), (DISK - 1, DISK - 33)] {
            block_on(disk.write(start, &array)).unwrap();
            let mut header = GptHeader {
                my_lba: LbaLe::from_u64(at),
                alternate_lba: LbaLe::from_u64(DISK - at),
                first_usable_lba: LbaLe::from_u64(34),
                last_usable_lba: LbaLe::from_u64(DISK - 34),
                partition_entry_lba: LbaLe::from_u64(start),
                number_of_partition_entries: U32Le::from_u32(128),
                partition_entry_array_crc32: crc(&mut array.clone()),
                ..GptHeader::default()
            };
            header.update_header_crc32();
            let mut sector = [0; SECTOR];
            sector[..92].copy_from_slice(bytes_of(&header));
            block_on(disk.write(at, &sector)).unwrap();
        }
    }

    fn crc(array: &mut [u8]) -> Crc32 {
        let header = GptHeader { number_of_partition_entries: U32Le::from_u32(128), ..GptHeader::default() };
        let layout = header.get_partition_entry_array_layout().unwrap();
        GptPartitionEntryArray::new(layout, BlockSize::BS_512, array).unwrap().calculate_crc32()
    }

    fn found(disk: &Ram) -> Vec<(u32, Range<u64>)> {
        let partitions = block_on(partitions(disk)).unwrap();
        partitions.into_iter().map(|partition| (partition.number, partition.sectors)).collect()
    }

    fn words(disk: &Ram) -> String {
        format!("{}", block_on(partitions(disk)).unwrap_err())
    }

    #[test]
    fn disks_without_a_table() {
        assert_eq!(found(&Ram::new(0, Account::of(0))), []);
        assert_eq!(found(&disk()), []);
        let file_system = disk();
        let mut sector = [b'x'; SECTOR];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        block_on(file_system.write(0, &sector)).unwrap();
        assert_eq!(found(&file_system), []);
    }

    /// As `mformat` makes it.
    #[test]
    fn a_file_system_with_an_entry_of_itself() {
        let disk = Rc::new(Ram::new(DISK, Account::of(1 << 22)));
        block_on(crate::fat::FileSystem::format(Rc::clone(&disk))).unwrap();
        let mut sector = [0; SECTOR];
        block_on(disk.read(0, &mut sector)).unwrap();
        sector[446..510].fill(0);
        sector[446..462].copy_from_slice(&[0x80, 0, 1, 0, 1, 63, 31, 5, 0, 0, 0, 0, 0, 16, 0, 0]);
        block_on(disk.write(0, &sector)).unwrap();
        assert_eq!(found(&disk), []);
        sector[454] = 64;
        block_on(disk.write(0, &sector)).unwrap();
        assert_eq!(
            words(&disk),
            "partition 1 ends beyond the disk's 4096 sectors: it starts at 64 and has 4096"
        );
    }

    #[test]
    fn primary_and_logical_partitions() {
        let disk = disk();
        record(&disk, 0, &[(0x83, 64, 100), (0, 0, 0), (0x0f, 1000, 1000), (0x0c, 200, 50)]);
        record(&disk, 1000, &[(0x83, 10, 90), (0x05, 100, 200)]);
        record(&disk, 1100, &[(0x83, 10, 190), (0x05, 400, 100)]);
        record(&disk, 1400, &[(0x82, 1, 99)]);
        let expected = [(1, 64..164), (4, 200..250), (5, 1010..1100), (6, 1110..1300), (7, 1401..1500)];
        assert_eq!(found(&disk), expected);
    }

    #[test]
    fn guid_partitions_and_their_copy() {
        let disk = disk();
        guid(&disk, &[(34, 99), (200, 299), (100, 199)]);
        let expected = [(1, 34..100), (2, 200..300), (3, 100..200)];
        assert_eq!(found(&disk), expected);
        block_on(disk.discard(1, 1)).unwrap();
        assert_eq!(found(&disk), expected, "the copy in the last sector");
        block_on(disk.write(DISK - 33, &[1; SECTOR])).unwrap();
        assert_eq!(
            words(&disk),
            "the GPT is damaged: sector 1 is no header; its copy as well: the entries' checksum is wrong",
        );
    }

    #[test]
    fn wrong_primary_tables() {
        type Entries<'a> = &'a [(u8, u64, u64)];
        let cases: [(Entries<'_>, &str); 5] = [
            (&[(0x83, 1, 100), (0x83, 50, 100)], "partitions 1 and 2 overlap"),
            (
                &[(0x83, 4000, 97)],
                "partition 1 ends beyond the disk's 4096 sectors: it starts at 4000 and has 97",
            ),
            (&[(0x83, 0, 10)], "partition 1 contains the table in sector 0"),
            (&[(0x83, 10, 0)], "partition 1 at sectors 10 to 10 is not within 0 to 4096"),
            (&[(0x05, 10, 20), (0x0f, 50, 20)], "there are two extended partitions"),
        ];
        for (entries, expected) in cases {
            let disk = disk();
            record(&disk, 0, entries);
            assert_eq!(words(&disk), expected);
        }
    }

    #[test]
    fn wrong_chains() {
        type Records<'a> = &'a [(u64, &'a [(u8, u64, u64)])];
        let cases: [(Records<'_>, &str); 6] = [
            (&[(1000, &[(0x83, 1, 9), (5, 0, 9)])], "the chain of logical partitions is a loop"),
            (
                &[(1000, &[(0, 0, 0), (5, 10, 9)]), (1010, &[(0, 0, 0), (5, 0, 9)])],
                "the chain of logical partitions is a loop",
            ),
            (&[(1000, &[(0, 0, 0), (5, 10, 9)])], "sector 1010 should be a table of logical partitions"),
            (
                &[(1000, &[(0, 0, 0), (5, 1000, 9)])],
                "a table of logical partitions in sector 2000, where none can be",
            ),
            (&[(1000, &[(0x83, 1, 2000)])], "partition 5 at sectors 1001 to 3001 is not within 1000 to 2000"),
            (
                &[(1000, &[(0x83, 1, 20), (5, 10, 9)]), (1010, &[(0, 0, 0)])],
                "partition 5 contains the table in sector 1010",
            ),
        ];
        for (records, expected) in cases {
            let disk = disk();
            record(&disk, 0, &[(0x05, 1000, 1000)]);
            for (at, entries) in records {
                record(&disk, *at, entries);
            }
            assert_eq!(words(&disk), expected);
        }
    }

    #[test]
    fn a_chain_without_end() {
        let disk = disk();
        record(&disk, 0, &[(0x05, 1000, 1000)]);
        for at in 0..500 {
            record(&disk, 1000 + at, &[(0, 0, 0), (5, at + 1, 1)]);
        }
        assert_eq!(words(&disk), "there are more than 128 logical partitions");
    }

    #[test]
    fn wrong_guid_partitions() {
        let cases: [(&[(u64, u64)], &str); 4] = [
            (&[(34, 33)], "partition 1 at sectors 34 to 34 is not within 34 to 4063"),
            (&[(100, 50)], "partition 1 ends before it starts"),
            (&[(33, 50)], "partition 1 at sectors 33 to 51 is not within 34 to 4063"),
            (&[(100, u64::MAX)], "partition 1 ends before it starts"),
        ];
        for (entries, expected) in cases {
            let disk = disk();
            guid(&disk, entries);
            assert_eq!(words(&disk), format!("the GPT is damaged: {expected}; its copy as well: {expected}"));
        }
        let disk = disk();
        guid(&disk, &[(100, 200), (200, 300)]);
        assert_eq!(words(&disk), "partitions 1 and 2 overlap");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is in a table, partitions are within the disk and apart.
        #[test]
        fn damaged_tables(
            is_guid in any::<bool>(),
            damage in prop::collection::vec((0..5_usize, 440..SECTOR, any::<u8>()), 0..12),
        ) {
            let disk = Rc::new(disk());
            match is_guid {
                true => guid(&disk, &[(34, 99), (200, 299), (100, 199)]),
                false => {
                    record(&disk, 0, &[(0x83, 64, 100), (0x0f, 1000, 1000), (0x0c, 200, 50)]);
                    record(&disk, 1000, &[(0x83, 10, 90), (0x05, 100, 200)]);
                    record(&disk, 1100, &[(0x83, 10, 190), (0x05, 400, 100)]);
                    record(&disk, 1400, &[(0x82, 1, 99)]);
                }
            }
            for (sector, at, byte) in damage {
                let sector = [0, 1000, 1100, 1400, 2][sector];
                let mut bytes = [0; SECTOR];
                block_on(disk.read(sector, &mut bytes)).unwrap();
                bytes[at] = byte;
                block_on(disk.write(sector, &bytes)).unwrap();
            }
            if let Ok(mut found) = block_on(partitions(&disk)) {
                found.sort_by_key(|partition| partition.sectors.start);
                let ends = found.windows(2).all(|pair| pair[0].sectors.end <= pair[1].sectors.start);
                prop_assert!(ends);
                prop_assert!(found.iter().all(|it| it.sectors.start > 0 && it.sectors.end <= DISK));
            }
        }

        /// Headers and entries of a GPT with right checksums, and whatever else.
        #[test]
        fn damaged_guid_tables(
            numbers in prop::array::uniform4(prop_oneof![0..DISK + 40, Just(u64::MAX), any::<u64>()]),
            size in prop_oneof![Just(128), any::<u32>()],
            count in prop_oneof![Just(128), 0..200_u32, any::<u32>()],
        ) {
            let disk = disk();
            guid(&disk, &[(34, 99), (numbers[0], numbers[1])]);
            let mut sector = [0; SECTOR];
            block_on(disk.read(1, &mut sector)).unwrap();
            let mut header: GptHeader = pod_read_unaligned(&sector[..92]);
            header.last_usable_lba = LbaLe::from_u64(numbers[2]);
            header.partition_entry_lba = LbaLe::from_u64(numbers[3]);
            header.size_of_partition_entry = U32Le::from_u32(size);
            header.number_of_partition_entries = U32Le::from_u32(count);
            header.update_header_crc32();
            sector[..92].copy_from_slice(bytes_of(&header));
            block_on(disk.write(1, &sector)).unwrap();
            if let Ok(found) = block_on(partitions(&disk)) {
                prop_assert!(found.iter().all(|it| it.sectors.start > 1 && it.sectors.end <= DISK));
            }
        }
    }
}
