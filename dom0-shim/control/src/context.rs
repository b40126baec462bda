//! The state in which the first vcpu of a PVH domain starts, as records of
//! `hvm/save.h` (Xen's `docs/misc/pvh`, "Domain startup": 32-bit flat segments, paging
//! off, EBX = start info).

use alloc::vec::Vec;

use xen_abi::hvm_save::{HvmHwCpu, HvmHwMtrr, HvmSaveDescriptor, HvmSaveHeader, SaveType};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::Error;

/// Access rights packed as in `hvm_hw_cpu`: 32-bit code, accessed, 4-KiB limit.
const CODE: u32 = 0xc9b;
/// The same for data.
const DATA: u32 = 0xc93;
/// Busy 32-bit TSS.
const TSS: u32 = 0x8b;
/// CR0: PE, ET.
const CR0: u64 = 0x11;
/// IA32_PAT after reset (SDM "Page Attribute Table").
const PAT: u64 = 0x0007_0406_0007_0406;
/// MTRRs on, write-back everywhere.
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;

/// Records for a first vcpu that starts at `entry` with `start_info` in EBX. `current`
/// are the domain's, of which the header and the MTRRs are kept.
///
/// # Errors
///
/// [`Error::BadAnswer`] when there is no header among them.
pub fn pvh_start(current: &[u8], entry: u32, start_info: u32) -> Result<Vec<u8>, Error> {
    let header: HvmSaveHeader = find(current, SaveType::Header).ok_or(Error::BadAnswer("gethvmcontext"))?;
    let cpu = HvmHwCpu {
        rip: entry.into(),
        rbx: start_info.into(),
        rflags: 2,
        cr0: CR0,
        dr6: 0xffff_0ff0,
        dr7: 0x400,
        cs_limit: u32::MAX,
        ds_limit: u32::MAX,
        es_limit: u32::MAX,
        ss_limit: u32::MAX,
        tr_limit: 0x67,
        cs_arbytes: CODE,
        ds_arbytes: DATA,
        es_arbytes: DATA,
        ss_arbytes: DATA,
        tr_arbytes: TSS,
        ..HvmHwCpu::new_zeroed()
    };
    let mut records = Vec::new();
    push(&mut records, SaveType::Header, &header);
    push(&mut records, SaveType::Cpu, &cpu);
    if let Some(mtrr) = find::<HvmHwMtrr>(current, SaveType::Mtrr) {
        let mtrr = HvmHwMtrr { msr_pat_cr: PAT, msr_mtrr_def_type: MTRR_WRITE_BACK, ..mtrr };
        push(&mut records, SaveType::Mtrr, &mtrr);
    }
    push(&mut records, SaveType::End, &());
    Ok(records)
}

/// The first record of this type.
#[must_use]
pub fn find<T: FromBytes>(records: &[u8], kind: SaveType) -> Option<T> {
    let mut rest = records;
    loop {
        let (head, behind) = HvmSaveDescriptor::read_from_prefix(rest).ok()?;
        if head.typecode == kind.get() {
            return T::read_from_prefix(behind).ok().map(|(record, _)| record);
        }
        if head.typecode == SaveType::End.get() {
            return None;
        }
        rest = behind.get(head.length as usize..)?;
    }
}

fn push<T: IntoBytes + Immutable>(records: &mut Vec<u8>, kind: SaveType, record: &T) {
    let length = u32::try_from(size_of::<T>()).unwrap_or(0);
    let head = HvmSaveDescriptor { typecode: kind.get(), instance: 0, length };
    records.extend_from_slice(head.as_bytes());
    records.extend_from_slice(record.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Vec<u8> {
        let mut records = Vec::new();
        push(&mut records, SaveType::Header, &HvmSaveHeader { magic: 7, ..HvmSaveHeader::new_zeroed() });
        push(&mut records, SaveType::Cpu, &HvmHwCpu::new_zeroed());
        push(&mut records, SaveType::Mtrr, &HvmHwMtrr { msr_mtrr_cap: 5, ..HvmHwMtrr::new_zeroed() });
        push(&mut records, SaveType::End, &());
        records
    }

    #[test]
    fn header_and_mtrrs_are_the_domains_own() {
        let records = pvh_start(&current(), 0x20_0000, 0x1000).unwrap();
        assert_eq!(find::<HvmSaveHeader>(&records, SaveType::Header).unwrap().magic, 7);
        let mtrr = find::<HvmHwMtrr>(&records, SaveType::Mtrr).unwrap();
        assert_eq!((mtrr.msr_mtrr_cap, mtrr.msr_mtrr_def_type), (5, 0x806));
    }

    #[test]
    fn the_vcpu_starts_as_pvh_says() {
        let records = pvh_start(&current(), 0x20_0000, 0x1000).unwrap();
        let cpu = find::<HvmHwCpu>(&records, SaveType::Cpu).unwrap();
        assert_eq!((cpu.rip, cpu.rbx, cpu.cr0, cpu.cs_arbytes), (0x20_0000, 0x1000, 0x11, 0xc9b));
        assert_eq!(&records[records.len() - 8..], [0; 8]);
    }

    #[test]
    fn records_without_a_header_are_refused() {
        assert_eq!(pvh_start(&[], 0, 0), Err(Error::BadAnswer("gethvmcontext")));
        assert_eq!(find::<HvmHwCpu>(&current()[..100], SaveType::Cpu), None);
    }
}
