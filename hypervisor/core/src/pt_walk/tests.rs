use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A guest's memory: 8-byte words by address. What was never written is zero,
/// except where there is no memory.
#[derive(Default)]
struct Memory {
    words: BTreeMap<u64, u64>,
    missing: Option<u64>,
    /// Fills what was never written.
    noise: Option<fn(u64) -> u64>,
}

impl GuestMemory for Memory {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        assert_eq!(addr.get() % 8, 0);
        if self.missing == Some(addr.get() >> PAGE_SHIFT) {
            return None;
        }
        let rest = || self.noise.map_or(0, |noise| noise(addr.get()));
        Some(self.words.get(&addr.get()).copied().unwrap_or_else(rest))
    }

    fn read_u32(&self, addr: GuestPhysAddr) -> Option<u32> {
        assert_eq!(addr.get() % 4, 0);
        let word = self.read_u64(GuestPhysAddr::new(addr.get() & !7)?)?;
        u32::try_from(word >> (addr.get() % 8 * 8) & 0xffff_ffff).ok()
    }
}

impl Memory {
    fn with(words: &[(u64, u64)]) -> Self {
        Self { words: words.iter().copied().collect(), ..Self::default() }
    }
}

const WALKER: fn() -> Walker = || Walker::new(39, PageSize::Size1G);
const READ: Access = Access { purpose: Purpose::Read, privilege: Privilege::Supervisor };
const ALL: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
const LONG: Registers = Registers {
    cr0: CR0_PG | CR0_WP,
    cr3: 0x1000,
    cr4: CR4_PAE,
    efer: EFER_LMA | EFER_NXE,
    rflags: 0,
    pkru: 0,
    pdptes: [0; 4],
};
const PAE: Registers = Registers { efer: EFER_NXE, pdptes: [0, 0, 0x2001, 0], ..LONG };
const BITS_32: Registers = Registers { cr4: CR4_PSE, efer: 0, ..LONG };

/// PML4 1, PDPT 3, PD 5, PT 7.
const VIRT: u64 = 1 << 39 | 3 << 30 | 5 << 21 | 7 << 12 | 0x89a;
const TABLES: [(u64, u64); 4] = [
    (0x1000 + 8, 0x2000 | ALL),
    (0x2000 + 3 * 8, 0x3000 | ALL),
    (0x3000 + 5 * 8, 0x4000 | ALL),
    (0x4000 + 7 * 8, 0x12_3456_7000 | ALL),
];

fn virt(raw: u64) -> GuestVirtAddr {
    GuestVirtAddr::new(raw)
}

fn walk(memory: &Memory, registers: &Registers, at: u64, access: Access) -> Result<Walk, Fault> {
    WALKER().walk(memory, registers, virt(at), access)
}

/// Address and page size.
fn leads(memory: &Memory, registers: &Registers, at: u64) -> (u64, u32) {
    let walk = walk(memory, registers, at, READ).unwrap();
    (walk.addr.get(), walk.order.get())
}

fn code(result: Result<Walk, Fault>) -> u32 {
    match result {
        Err(Fault::Page { code, .. }) => code.bits(),
        other => panic!("{other:?}"),
    }
}

fn with(changes: &[(usize, u64)]) -> Memory {
    let mut memory = Memory::with(&TABLES);
    for &(level, entry) in changes {
        memory.words.insert(TABLES[4 - level].0, entry);
    }
    memory
}

#[test]
fn four_levels_with_each_page_size() {
    let walked = walk(&with(&[]), &LONG, VIRT, READ).unwrap();
    assert_eq!(walked.addr.get(), 0x12_3456_789a);
    assert_eq!((walked.order, walked.rights, walked.flags), (Order::FRAME, PageRights::all(), Flags::Set));
    // Bit 12 of a large page is PAT.
    let two_mib = with(&[(2, 0x12_3460_1000 | LARGE | ALL)]);
    assert_eq!(leads(&two_mib, &LONG, VIRT), (0x12_3460_789a, 9));
    let one_gib = with(&[(3, 0x12_4000_0000 | LARGE | ALL)]);
    assert_eq!(leads(&one_gib, &LONG, VIRT), (0x12_40a0_789a, 18));
    // PAT of a small page is where PS is elsewhere.
    let pat = with(&[(1, 0x7000 | LARGE | ALL)]);
    assert_eq!(leads(&pat, &LONG, VIRT), (0x789a, 0));
    // Bits 62:52 and 11:9 are the guest's.
    let ignored = with(&[(1, 0x7ff0_0000_0000_7e00 | ALL), (4, 0x7ff0_0000_0000_2e00 | ALL)]);
    assert_eq!(leads(&ignored, &LONG, VIRT), (0x789a, 0));
    let high = Memory::with(&[(0x1000 + 511 * 8, 0x8020_0000 | LARGE | ALL)]);
    assert_eq!(code(walk(&high, &LONG, 0xffff_ff80_0000_0000, READ)), 0b1001, "no 512-GiB pages");
}

#[test]
fn the_kernel_s_walk_leaves_the_rest_to_the_whole_one() {
    let kernel = |registers: &Registers| KernelWalk::new(39, registers.cr3, registers.efer);
    let find = |memory: &Memory, at, write| {
        let purpose = if write { Purpose::Write } else { Purpose::Read };
        let found = kernel(&LONG)?.find(memory, virt(at), purpose)?;
        Some(found.addr.get())
    };
    let own = with(&[(4, 0x2000 | ALL & !USER)]);
    assert_eq!(find(&own, VIRT, true), Some(0x12_3456_789a));
    let large = with(&[(2, 0x12_3460_1000 | LARGE | ALL & !USER)]);
    assert_eq!(find(&large, VIRT, false), Some(0x12_3460_789a));
    assert_eq!(find(&with(&[]), VIRT, false), None, "a user's page");
    assert_eq!(find(&own, VIRT | 0xffff << 48, false), None, "not canonical");
    let constant = with(&[(1, 0x12_3456_7000 | ALL & !(USER | WRITABLE))]);
    assert_eq!((find(&constant, VIRT, false), find(&constant, VIRT, true)), (Some(0x12_3456_789a), None));
    assert_eq!(find(&with(&[(1, 1 << 39 | ALL & !USER)]), VIRT, false), None, "past MAXPHYADDR");
    assert_eq!(find(&Memory { missing: Some(3), ..own }, VIRT, false), None);
    for other in [PAE, BITS_32] {
        assert_eq!(kernel(&other), None);
    }
}

#[test]
fn pae_starts_from_its_registers() {
    // PDPTE 2, PD 5, PT 7.
    let at = 2 << 30 | 5 << 21 | 7 << 12 | 0x89a;
    let mut memory = Memory::with(&[(0x2000 + 5 * 8, 0x4000 | ALL), (0x4000 + 7 * 8, 0x12_3456_7000 | ALL)]);
    assert_eq!(leads(&memory, &PAE, at), (0x12_3456_789a, 0));
    assert_eq!(code(walk(&memory, &PAE, at & !(2 << 30), READ)), 0);
    memory.words.insert(0x2000 + 5 * 8, 0x12_3460_0000 | LARGE | ALL);
    assert_eq!(leads(&memory, &PAE, at), (0x12_3460_789a, 9));
    memory.words.insert(0x2000 + 5 * 8, 1 << 52 | 0x12_3460_0000 | LARGE | ALL);
    assert_eq!(code(walk(&memory, &PAE, at, READ)), 0b1001, "bits 62:52 are reserved here");
}

#[test]
fn entries_of_4_bytes() {
    // PD 5, PT 7; the odd entries lie in the upper half of a word.
    let at = 5 << 22 | 7 << 12 | 0x89a;
    let small =
        Memory::with(&[(0x1000 + 2 * 8, (0x4000 | ALL) << 32), (0x4000 + 3 * 8, (0x8000_7000 | ALL) << 32)]);
    assert_eq!(leads(&small, &BITS_32, at), (0x8000_789a, 0));
    let pde = |entry: u64| Memory::with(&[(0x1000 + 2 * 8, entry << 32)]);
    // PSE-36, with 39 bits: 19:13 are address bits 38:32.
    assert_eq!(leads(&pde(0x8040_0000 | 0x12 << 13 | LARGE | ALL), &BITS_32, at), (0x12_8040_789a, 10));
    for reserved in [1 << 20, 1 << 21] {
        assert_eq!(code(walk(&pde(0x8040_0000 | reserved | LARGE | ALL), &BITS_32, at, READ)), 0b1001);
    }
    // Without CR4.PSE the bit means nothing.
    let no_pse = Registers { cr4: 0, ..BITS_32 };
    let mut ignored = pde(0x4000 | LARGE | ALL);
    ignored.words.insert(0x4000 + 3 * 8, (0x7000 | ALL) << 32);
    assert_eq!(leads(&ignored, &no_pse, at), (0x789a, 0));
    assert_eq!(code(walk(&Memory::default(), &BITS_32, at, READ)), 0);
}

#[test]
fn without_paging_addresses_are_physical() {
    let off = Registers { cr0: CR0_WP, ..LONG };
    let walked = walk(&Memory::default(), &off, 0xdead_beef, READ).unwrap();
    assert_eq!((walked.addr.get(), walked.flags), (0xdead_beef, Flags::Set));
}

#[test]
fn what_is_no_address_is_refused() {
    assert_eq!(walk(&with(&[]), &LONG, 1 << 47, READ), Err(Fault::NotCanonical));
    let five = Registers { cr4: CR4_PAE | CR4_LA57, ..LONG };
    assert_eq!(walk(&with(&[]), &five, VIRT, READ), Err(Fault::FiveLevel));
    let gone = Memory { missing: Some(3), ..with(&[]) };
    let at = GuestPhysAddr::new(0x3028).unwrap();
    assert_eq!(walk(&gone, &LONG, VIRT, READ), Err(Fault::Unreadable(at)));
}

#[test]
fn reserved_bits_fault() {
    let bad = |level, entry| code(walk(&with(&[(level, entry | ALL)]), &LONG, VIRT, READ));
    assert_eq!(bad(4, LARGE | 0x2000), 0b1001);
    for level in 1..=4 {
        assert_eq!(bad(level, 1 << 39 | 0x2000), 0b1001, "MAXPHYADDR is 39");
    }
    assert_eq!(bad(2, LARGE | 1 << 13), 0b1001);
    assert_eq!(bad(3, LARGE | 1 << 29), 0b1001);
    let one_gib = with(&[(3, LARGE | ALL)]);
    let walker = Walker::new(39, PageSize::Size2M);
    assert_eq!(code(walker.walk(&one_gib, &LONG, virt(VIRT), READ)), 0b1001);
    let no_nx = Registers { efer: EFER_LMA, ..LONG };
    let nx = with(&[(2, NO_EXECUTE | 0x4000 | ALL)]);
    assert_eq!(code(walk(&nx, &no_nx, VIRT, READ)), 0b1001);
    assert!(walk(&nx, &LONG, VIRT, READ).is_ok());
}

#[test]
fn error_codes_tell_the_access() {
    let absent = with(&[(3, 0)]);
    let fault = |registers: &Registers, purpose, privilege| {
        code(walk(&absent, registers, VIRT, Access { purpose, privilege }))
    };
    assert_eq!(fault(&LONG, Purpose::Read, Privilege::Supervisor), 0);
    assert_eq!(fault(&LONG, Purpose::Write, Privilege::User), 0b110);
    assert_eq!(fault(&LONG, Purpose::Read, Privilege::Implicit), 0);
    assert_eq!(fault(&LONG, Purpose::Fetch, Privilege::User), 0b1_0100);
    let blind = Registers { efer: EFER_LMA, ..LONG };
    assert_eq!(fault(&blind, Purpose::Fetch, Privilege::Supervisor), 0);
    let smep = Registers { cr4: CR4_PAE | CR4_SMEP, ..blind };
    assert_eq!(fault(&smep, Purpose::Fetch, Privilege::Supervisor), 0b1_0000);
    let fault = walk(&absent, &LONG, VIRT, READ);
    assert_eq!(fault, Err(Fault::Page { code: ErrorCode::empty(), addr: virt(VIRT) }));
}

#[test]
fn protection_keys_count_once_enabled() {
    let key_5 = with(&[(1, 0x7000 | 5 << KEY_SHIFT | ALL)]);
    let with_pkru = |pkru: u32| Registers { cr4: CR4_PAE | CR4_PKE, pkru: pkru << 10, ..LONG };
    let access = |registers: &Registers, purpose, privilege| {
        walk(&key_5, registers, VIRT, Access { purpose, privilege }).err().map(|fault| match fault {
            Fault::Page { code, .. } => code.bits(),
            other => panic!("{other:?}"),
        })
    };
    use Privilege::{Supervisor, User};
    assert_eq!(access(&with_pkru(1), Purpose::Read, User), Some(0b10_0101));
    assert_eq!(access(&with_pkru(1), Purpose::Fetch, User), None);
    assert_eq!(access(&with_pkru(2), Purpose::Read, User), None);
    assert_eq!(access(&with_pkru(2), Purpose::Write, User), Some(0b10_0111));
    assert_eq!(access(&with_pkru(2), Purpose::Write, Supervisor), Some(0b10_0011));
    let no_wp = Registers { cr0: CR0_PG, ..with_pkru(2) };
    assert_eq!(access(&no_wp, Purpose::Write, Supervisor), None);
    let off = Registers { cr4: CR4_PAE, ..with_pkru(3) };
    assert_eq!(access(&off, Purpose::Write, User), None);
}

#[test]
fn marks_are_what_a_cpu_would_set() {
    let write = Access { purpose: Purpose::Write, ..READ };
    let marks = |memory: &Memory, access| -> Vec<(u64, u64)> {
        let marks = WALKER().marks(memory, &LONG, virt(VIRT), access).unwrap();
        marks.iter().map(|mark| (mark.addr.get(), mark.new ^ mark.old)).collect()
    };
    assert_eq!(marks(&with(&[]), write), []);
    let clean = with(&[(1, 0x7000 | ALL & !DIRTY), (3, 0x3000 | ALL & !ACCESSED)]);
    assert_eq!(marks(&clean, READ), [(0x2018, ACCESSED)]);
    assert_eq!(marks(&clean, write), [(0x2018, ACCESSED), (0x4038, DIRTY)]);
    assert_eq!(walk(&clean, &LONG, VIRT, READ).unwrap().flags, Flags::Stale);
    // Dirty counts in the leaf only.
    let leaf = with(&[(1, 0x7000 | ALL & !DIRTY), (2, 0x4000 | ALL & !DIRTY)]);
    assert_eq!(walk(&leaf, &LONG, VIRT, READ).unwrap().flags, Flags::Set);
    assert_eq!(walk(&leaf, &LONG, VIRT, write).unwrap().flags, Flags::Stale);
    assert_eq!(marks(&leaf, write), [(0x4038, DIRTY)]);

    let pde = Memory::with(&[(0x1000, 0x40_0000 | LARGE | PRESENT | WRITABLE)]);
    let marks = WALKER().marks(&pde, &BITS_32, virt(0), write).unwrap();
    assert_eq!((marks[0].width, marks[0].new ^ marks[0].old), (EntryWidth::Bits32, ACCESSED | DIRTY));
}

/// The access rights as the SDM lists them, line by line.
fn allowed(registers: &Registers, entries: &[u64], access: Access) -> bool {
    let cr = |register: u64, bit: u64| register & bit != 0;
    let every = |bit: u64| entries.iter().all(|entry| entry & bit != 0);
    let user_address = every(USER);
    let writable = every(WRITABLE);
    let executable = !cr(registers.efer, EFER_NXE) || entries.iter().all(|entry| entry & NO_EXECUTE == 0);
    let wp = cr(registers.cr0, CR0_WP);
    let smap = cr(registers.cr4, CR4_SMAP);
    let smap_lets = !smap || access.privilege == Privilege::Supervisor && cr(registers.rflags, RFLAGS_AC);
    match (access.privilege, user_address, access.purpose) {
        (Privilege::User, false, _) => false,
        (Privilege::User, true, Purpose::Read) => true,
        (Privilege::User, true, Purpose::Write) => writable,
        (Privilege::User, true, Purpose::Fetch) => executable,
        (_, false, Purpose::Read) => true,
        (_, true, Purpose::Read) => smap_lets,
        (_, false, Purpose::Write) => !wp || writable,
        (_, true, Purpose::Write) => smap_lets && (!wp || writable),
        (_, false, Purpose::Fetch) => executable,
        (_, true, Purpose::Fetch) => !cr(registers.cr4, CR4_SMEP) && executable,
    }
}

#[test]
fn access_rights_are_the_manual_s() {
    let bits = |set: u64, bit: u64, value: u64| if set & 1 << bit == 0 { 0 } else { value };
    let step = if cfg!(miri) { 37 } else { 1 };
    for set in (0..1 << 11).step_by(step) {
        let efer = EFER_LMA | bits(set, 0, EFER_NXE);
        let registers = Registers {
            cr0: CR0_PG | bits(set, 1, CR0_WP),
            cr4: CR4_PAE | bits(set, 2, CR4_SMEP) | bits(set, 3, CR4_SMAP),
            efer,
            rflags: bits(set, 4, RFLAGS_AC),
            ..LONG
        };
        let entry = |frame: u64, from: u64| {
            let nx = if efer & EFER_NXE == 0 { 0 } else { NO_EXECUTE };
            let flags = bits(set, from, WRITABLE) | bits(set, from + 1, USER) | bits(set, from + 2, nx);
            frame | PRESENT | ACCESSED | DIRTY | flags
        };
        let (upper, leaf) = (entry(0x3000, 5), entry(0x7000, 8));
        let memory = with(&[(3, upper), (1, leaf)]);
        for purpose in [Purpose::Read, Purpose::Write, Purpose::Fetch] {
            for privilege in [Privilege::User, Privilege::Supervisor, Privilege::Implicit] {
                let access = Access { purpose, privilege };
                let result = walk(&memory, &registers, VIRT, access);
                assert_eq!(
                    result.is_ok(),
                    allowed(&registers, &[upper, leaf], access),
                    "{access:?} {registers:x?} {upper:#x} {leaf:#x}"
                );
            }
        }
    }
}

/// An entry made of its scrambled address (the finalizer of SplitMix64): of each
/// 16, 2 are anything, 3 large pages and the others tables, rarely not executable.
fn noise(addr: u64) -> u64 {
    let mut z = addr.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let kept = match z >> 56 & 0xf {
        0 | 1 => return z | PRESENT | PRESENT << 32,
        2 | 3 => 0x7f_c000_1067,
        4 => 0x7f_ffe0_1067,
        _ => 0x7f_ffff_f067,
    };
    let large = if matches!(z >> 56 & 0xf, 2..=4) { LARGE } else { 0 };
    let no_execute = if z >> 60 == 0 { NO_EXECUTE } else { 0 };
    z & kept | large | no_execute | PRESENT | PRESENT << 32
}

/// 4-level and PAE walks as the SDM's tables of formats read, without checks of
/// access rights: the address and the page's size, or whether a bit is reserved.
fn plain_walk(memory: &Memory, registers: &Registers, at: u64) -> Result<(u64, u32), ErrorCode> {
    let reserved = |entry: u64, mut bits: core::ops::Range<u32>| bits.any(|bit| entry >> bit & 1 != 0);
    let fault = Err(ErrorCode::PRESENT | ErrorCode::RESERVED);
    let pae = registers.efer & EFER_LMA == 0;
    let (top, mut table) = if pae { (2, 0x2000) } else { (4, registers.cr3) };
    for level in (1..=top).rev() {
        let shift = 12 + 9 * (level - 1);
        let entry = memory.words.get(&(table + (at >> shift) % 512 * 8)).copied();
        let entry = entry.unwrap_or_else(|| noise(table + (at >> shift) % 512 * 8));
        let large = entry & LARGE != 0;
        let no_nx = registers.efer & EFER_NXE == 0;
        if reserved(entry, 39..52) || pae && reserved(entry, 52..63) || no_nx && entry >> 63 != 0 {
            return fault;
        }
        let (page, low) = match (level, large) {
            (4, true) => return fault,
            (3, true) => (true, 13..30),
            (2, true) => (true, 13..21),
            (1, _) => (true, 0..0),
            _ => (false, 0..0),
        };
        if reserved(entry, low) {
            return fault;
        }
        let frame = entry & 0x7f_ffff_f000;
        if page {
            let size = 1 << shift;
            return Ok((frame / size * size + at % size, shift - 12));
        }
        table = frame;
    }
    unreachable!("level 1 has pages only")
}

fn config() -> ProptestConfig {
    // Few cases under miri, which is slow and shuts the file system away.
    let cases = if cfg!(miri) { 8 } else { 4096 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn accesses() -> impl Strategy<Value = Access> {
    let purpose = prop::sample::select(&[Purpose::Read, Purpose::Write, Purpose::Fetch][..]);
    let privilege = prop::sample::select(&[Privilege::User, Privilege::Supervisor, Privilege::Implicit][..]);
    (purpose, privilege).prop_map(|(purpose, privilege)| Access { purpose, privilege })
}

#[test]
fn pdptes_are_loaded_and_checked() {
    let table = |first: u64| Memory {
        words: [(0x1_0020, first), (0x1_0028, 0), (0x1_0030, 0x3001), (0x1_0038, 0x1e6)].into(),
        ..Memory::default()
    };
    let walker = Walker::new(39, PageSize::Size1G);
    // Bits 4:0 of CR3 and those above 31 do not count; nor do the others of an absent entry.
    let cr3 = 0xf_0001_0038;
    assert_eq!(walker.load_pdptes(&table(0x2019), cr3), Some([0x2019, 0, 0x3001, 0x1e6]));
    for reserved in [1 << 1, 1 << 2, 1 << 5, 1 << 8, 1 << 39, 1 << 52, 1 << 63] {
        assert_eq!(walker.load_pdptes(&table(0x2001 | reserved), cr3), None, "{reserved:#x}");
    }
    let nothing = Memory { missing: Some(0x10), ..Memory::default() };
    assert_eq!(walker.load_pdptes(&nothing, cr3), None);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_walk_through_noise_is_the_manual_s(cr3 in 0..1_u64 << 27, at: u64, nxe: bool, pae: bool) {
        let memory = Memory { noise: Some(noise), ..Memory::default() };
        let efer = if nxe { EFER_NXE } else { 0 };
        let (registers, at) = if pae {
            (Registers { efer, pdptes: [0x2001; 4], ..LONG }, at & 0xffff_ffff)
        } else {
            (Registers { efer: efer | EFER_LMA, cr3: cr3 << 12, ..LONG }, at & 0x7fff_ffff_ffff)
        };
        let expected = plain_walk(&memory, &registers, at);
        match walk(&memory, &registers, at, READ) {
            Ok(walk) => prop_assert_eq!(Ok((walk.addr.get(), walk.order.get())), expected),
            Err(Fault::Page { code, .. }) => prop_assert_eq!(Err(code), expected),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// What the quick walk finds, the whole one finds at the same place, whatever the
    /// entries and the protections; and of an ordinary kernel page it finds all.
    #[test]
    fn the_kernel_s_walk_is_never_wrong(
        levels in any::<[u64; 4]>(), ordinary in any::<[bool; 4]>(), control in any::<[u64; 3]>(), access in accesses(),
    ) {
        let entry = |i: usize| {
            let next = TABLES.get(i).map_or(0, |&(_, entry)| entry & FRAME);
            let flags = if ordinary[i] { levels[i] & (USER | LARGE | WRITABLE) | PRESENT } else { levels[i] & !FRAME };
            (TABLES[i].0, next | flags)
        };
        let memory = Memory { words: (0..4).map(entry).collect(), noise: Some(noise), ..Memory::default() };
        let [cr0, cr4, rflags] = control;
        let registers = Registers { cr0: cr0 | CR0_PG, cr4: cr4 & !(CR4_LA57 | CR4_PKE), rflags, ..LONG };
        let access = Access { privilege: Privilege::Supervisor, ..access };
        let kernel = KernelWalk::new(39, registers.cr3, registers.efer).unwrap();
        let quick = kernel.find(&memory, virt(VIRT), access.purpose);
        let whole = walk(&memory, &registers, VIRT, access).map(|walk| walk.addr);
        if let Some(found) = quick {
            prop_assert_eq!(whole, Ok(found.addr));
        }
        let entries = memory.words.values().copied();
        let (all, any) = (entries.clone().fold(!0, |a, b| a & b), entries.fold(0, |a, b| a | b));
        if all & PRESENT != 0 && any & (LARGE | NO_EXECUTE) == 0 && all & USER == 0 && all & WRITABLE != 0 {
            prop_assert!(quick.is_some());
        }
    }

    #[test]
    fn no_register_or_entry_panics(
        control in any::<[u64; 5]>(), pkru: u32, pdptes in any::<[u64; 4]>(), at: u64,
        bits in 0..64_u32, access in accesses(),
    ) {
        let [cr0, cr3, cr4, efer, rflags] = control;
        let registers = Registers { cr0: cr0 | CR0_PG, cr3, cr4: cr4 & !CR4_LA57, efer, rflags, pkru, pdptes };
        let memory = Memory { noise: Some(noise), ..Memory::default() };
        let walker = Walker::new(bits, PageSize::Size1G);
        let walked = walker.walk(&memory, &registers, virt(at), access);
        let marks = walker.marks(&memory, &registers, virt(at), access);
        prop_assert_eq!(walked.map(|_| ()), marks.as_ref().map(|_| ()).map_err(|&fault| fault));
        if let (Ok(walk), Ok(marks)) = (walked, marks) {
            prop_assert_eq!(walk.flags == Flags::Set, marks.is_empty());
            prop_assert_eq!(walk.addr.page_offset(), at & 0xfff);
        }
    }
}
