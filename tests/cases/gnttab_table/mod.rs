//! A domain sets up its grant table, asks about it, and is refused what there is not.

use guest_rt::paging::Page;
use guest_rt::{cpu, hypercall};
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    CacheFlushOp, GnttabCacheFlush, GnttabCacheTarget, GnttabDumpTable, GnttabGetStatusFrames,
    GnttabGetVersion, GnttabQuerySize, GnttabSetVersion, GnttabSetupTable, GnttabSwapGrantRef,
    GnttabTransfer, GrantResult, GrantTableOp, MapFlags,
};
use xen_abi::handle::GuestHandle;
use xen_abi::xen::DOMID_SELF;
use zerocopy::FromZeros;

use crate::expect;
use crate::grants::{self, HOST, HOST_READ, OwnEntries, PERMIT, map, put_table, status, unmap_ok};
use crate::guest::Guest;
use crate::test::{Kind, Shape, Test};
use crate::verdict::Check;

/// See above.
pub const TEST: Test = Test {
    name: "gnttab-table",
    description: "A domain sets up its grant table, asks about it, and is refused what there is not.",
    covers: &["LIF-30"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};

const GRANT_TABLE_OP: u64 = 20;
/// Frames that the toolstack allows.
const MOST: u32 = 4;
/// No memory stands there.
const HOLE: u64 = 0x80_0000;

fn run(_: &Guest) -> Check {
    calls()?;
    size()?;
    let entries = OwnEntries::new()?;
    setup()?;
    versions()?;
    swap(&entries)?;
    transfer()?;
    cache_flush(&entries)?;
    read_only(&entries)?;
    devices(&entries)?;
    // Nobody's memory but its own is behind its table's frame.
    for index in [MOST.into(), 1 << 31, 1 << 32, u64::MAX] {
        ensure_eq!(put_table(index, HOLE), Err(Errno::EINVAL), "frame {index:#x} of the table");
    }
    Ok(())
}

/// Operations and arrays that make no sense.
fn calls() -> Check {
    let call = |op: u64, array, count| hypercall::raw(GRANT_TABLE_OP, [op, array, count, 0, 0]);
    for op in [3, 13, 100, 0xfff] {
        expect::errno(call(op, 0, 1), Errno::ENOSYS, "an unknown operation")?;
    }
    for op in [0, 1, 4, 5, 7, 11] {
        expect::errno(call(op | 1 << 12, 0, 1), Errno::EINVAL, "bits of a continuation")?;
        expect::errno(call(op, 0, 1 << 31), Errno::EINVAL, "a negative count")?;
        ensure_eq!(call(op, u64::MAX, 0), 0, "operation {op} on nothing");
        for pointer in expect::BAD_POINTERS {
            expect::errno(call(op, pointer, 1), Errno::EFAULT, &alloc::format!("{op} at {pointer:#x}"))?;
        }
    }
    for op in [2, 6, 9] {
        expect::errno(call(op, 0, 2), Errno::EINVAL, "an array where there is none")?;
        expect::errno(call(op, 0, 0), Errno::EINVAL, "an array of nothing")?;
    }
    let mut dump = [GnttabDumpTable { dom: DOMID_SELF, status: 0 }];
    let dumped = hypercall::grant_table_op(GrantTableOp::DumpTable, &mut dump);
    ensure_eq!(dumped, Err(Errno::ENOSYS), "dump_table");
    Ok(())
}

fn query(dom: u16) -> Check<GnttabQuerySize> {
    let mut ops = [GnttabQuerySize { dom, ..GnttabQuerySize::new_zeroed() }];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::QuerySize, &mut ops), Ok(0), "query_size");
    let [op] = ops;
    Ok(op)
}

fn size() -> Check {
    let own = query(DOMID_SELF)?;
    ensure_eq!((status(own.status), own.nr_frames, own.max_nr_frames), (GrantResult::Okay, 1, MOST), "size");
    ensure_eq!(status(query(0)?.status), GrantResult::PermissionDenied, "Dom0's size");
    ensure_eq!(status(query(0x7fef)?.status), GrantResult::BadDomain, "no domain's size");
    Ok(())
}

fn setup_table(dom: u16, nr_frames: u32, list: u64) -> Check<GrantResult> {
    let frame_list = GuestHandle::new(list);
    let mut ops = [GnttabSetupTable { dom, nr_frames, frame_list, ..GnttabSetupTable::new_zeroed() }];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::SetupTable, &mut ops), Ok(0), "setup_table");
    Ok(status(ops[0].status))
}

fn setup() -> Check {
    let mut frames = [7_u64; MOST as usize + 1];
    let list = frames.as_mut_ptr() as u64;
    for (what, domain, count, list, result) in [
        ("nothing", DOMID_SELF, 0, u64::MAX, GrantResult::Okay),
        ("too much", DOMID_SELF, MOST + 1, list, GrantResult::GeneralError),
        ("far too much", DOMID_SELF, u32::MAX, list, GrantResult::GeneralError),
        ("of Dom0", 0, 1, list, GrantResult::PermissionDenied),
        ("of no domain", 0x7fef, 1, list, GrantResult::BadDomain),
        ("told nowhere", DOMID_SELF, 1, 1 << 40, GrantResult::BadVirtAddr),
    ] {
        ensure_eq!(setup_table(domain, count, list)?, result, "{what}");
    }
    ensure_eq!(query(DOMID_SELF)?.nr_frames, 1, "frames after what was refused");
    ensure_eq!(setup_table(DOMID_SELF, MOST, list)?, GrantResult::Okay, "as much as there may be");
    ensure_eq!(query(DOMID_SELF)?.nr_frames, MOST, "frames");
    ensure!(frames[0] != u64::MAX && frames[0] != 7, "frame 0 stands at {:#x}", frames[0]);
    ensure_eq!(&frames[1..], &[u64::MAX, u64::MAX, u64::MAX, 7], "frames that stand nowhere");
    Ok(())
}

fn versions() -> Check {
    for (version, answer) in
        [(1, Ok(0)), (2, Err(Errno::ENOSYS)), (3, Err(Errno::EINVAL)), (0, Err(Errno::EINVAL))]
    {
        let mut ops = [GnttabSetVersion { version }];
        ensure_eq!(
            hypercall::grant_table_op(GrantTableOp::SetVersion, &mut ops),
            answer,
            "version {version}"
        );
        ensure_eq!(ops[0].version, 1, "version in use after {version}");
    }
    for (dom, answer) in [(DOMID_SELF, Ok(0)), (0, Err(Errno::EPERM)), (0x7fef, Err(Errno::ESRCH))] {
        let mut ops = [GnttabGetVersion { dom, version: 7, _pad: 0 }];
        ensure_eq!(
            hypercall::grant_table_op(GrantTableOp::GetVersion, &mut ops),
            answer,
            "version of {dom:#x}"
        );
        ensure_eq!(ops[0].version, if answer.is_ok() { 1 } else { 7 }, "version of {dom:#x}");
    }
    for (nr_frames, result) in [(0, GrantResult::Okay), (1, GrantResult::GeneralError)] {
        let mut op =
            GnttabGetStatusFrames { nr_frames, dom: DOMID_SELF, ..GnttabGetStatusFrames::new_zeroed() };
        let answer = hypercall::grant_table_op(GrantTableOp::GetStatusFrames, core::slice::from_mut(&mut op));
        ensure_eq!((answer, status(op.status)), (Ok(0), result), "{nr_frames} frames of status words");
    }
    Ok(())
}

/// The domain's own number, which a PVH guest finds in CPUID.
fn own_id() -> u16 {
    let leaf = cpu::cpuid(xen_abi::cpuid::FIRST_LEAF + 4, 0);
    u16::try_from(leaf.ecx).unwrap_or(u16::MAX)
}

fn swap_refs(ref_a: u32, ref_b: u32) -> Check<GrantResult> {
    let mut ops = [GnttabSwapGrantRef { ref_a, ref_b, status: i16::MAX, _pad: 0 }];
    ensure_eq!(hypercall::grant_table_op(GrantTableOp::SwapGrantRef, &mut ops), Ok(0), "swap_grant_ref");
    Ok(status(ops[0].status))
}

fn swap(entries: &OwnEntries) -> Check {
    let page = Page::new();
    let own = own_id();
    let frame = u32::try_from(page.frame()).unwrap_or(0);
    entries.set(10, PERMIT, own, frame)?;
    entries.set(11, 0, 0, 0)?;
    ensure_eq!(swap_refs(10, 11)?, GrantResult::Okay, "swap");
    ensure_eq!(entries.header(10)?, 0, "first entry");
    ensure_eq!(entries.header(11)?, u32::from(PERMIT) | u32::from(own) << 16, "second entry");
    let handle = map(own, 11, HOST, HOLE)?.handle;
    for (a, b, result) in [
        (10, 11, GrantResult::Eagain),
        (11, 10, GrantResult::Eagain),
        (11, 11, GrantResult::Okay),
        (u32::MAX, 10, GrantResult::BadGntref),
        (10, MOST * 512, GrantResult::BadGntref),
    ] {
        ensure_eq!(swap_refs(a, b)?, result, "swap of {a} and {b}");
    }
    unmap_ok(handle, HOLE)?;
    ensure_eq!(swap_refs(11, 10)?, GrantResult::Okay, "swap when it is unmapped");
    entries.set(10, 0, 0, 0)
}

fn transfer() -> Check {
    let page = Page::new();
    for (mfn, result) in [
        (page.frame(), GrantResult::GeneralError),
        (HOLE, GrantResult::BadPage),
        (u64::MAX, GrantResult::BadPage),
    ] {
        let mut ops = [GnttabTransfer { mfn, domid: 0, gref: 1, ..GnttabTransfer::new_zeroed() }];
        ensure_eq!(hypercall::grant_table_op(GrantTableOp::Transfer, &mut ops), Ok(0), "transfer");
        ensure_eq!(status(ops[0].status), result, "transfer of {mfn:#x}");
    }
    ensure_eq!(page.read(0)?, 0, "the page is still there");
    Ok(())
}

fn cache_flush(entries: &OwnEntries) -> Check {
    let page = Page::new();
    entries.set(10, PERMIT, own_id(), u32::try_from(page.frame()).unwrap_or(0))?;
    let mapped = map(own_id(), 10, HOST, HOLE)?;
    ensure_eq!(status(mapped.status), GrantResult::Okay, "map of an own page");
    page.write(0, 42)?;
    let all = CacheFlushOp::CLEAN.bits() | CacheFlushOp::INVAL.bits();
    let address = mapped.dev_bus_addr;
    for (what, address, offset, length, op, answer) in [
        ("a page", address, 0, 4096, all, Ok(0)),
        ("some bytes", address, 4000, 96, CacheFlushOp::INVAL.bits(), Ok(0)),
        ("nothing", u64::MAX, 0, 0, all, Ok(0)),
        ("to do nothing", u64::MAX, 0, 8, 0, Ok(0)),
        ("past the page", address, 4000, 97, all, Err(Errno::EINVAL)),
        ("from past the page", address, 4096, 0, all, Err(Errno::EINVAL)),
        ("an unknown operation", address, 0, 8, 4, Err(Errno::EINVAL)),
        ("a grant", address, 0, 8, all | 1 << 31, Err(Errno::EOPNOTSUPP)),
        ("no memory", 0xfee0_0000, 0, 8, all, Err(Errno::EINVAL)),
        ("no address", u64::MAX, 0, 8, all, Err(Errno::EINVAL)),
    ] {
        let a = GnttabCacheTarget::of(&address);
        let mut ops = [GnttabCacheFlush { a, offset, length, op }];
        ensure_eq!(hypercall::grant_table_op(GrantTableOp::CacheFlush, &mut ops), answer, "flush of {what}");
    }
    ensure_eq!(page.read(0)?, 42, "what was written before");
    unmap_ok(mapped.handle, HOLE)?;
    // Dom0's memory is the machine's, frame by frame.
    let mut refused = 0;
    for mfn in (0x1000_u64..0x2000).step_by(64) {
        let a = GnttabCacheTarget::of(&(mfn << 12));
        let mut ops = [GnttabCacheFlush { a, offset: 0, length: 8, op: all }];
        let answer = hypercall::grant_table_op(GrantTableOp::CacheFlush, &mut ops);
        refused += u32::from(answer == Err(Errno::EPERM));
    }
    ensure!(refused > 0, "others' frames were flushed");
    ensure_eq!(grants::unmap(mapped.handle, HOLE, 0)?, GrantResult::BadHandle, "second unmap");
    Ok(())
}

fn read_only(entries: &OwnEntries) -> Check {
    let (page, view) = (Page::new(), Page::new());
    entries.set(10, PERMIT, own_id(), u32::try_from(page.frame()).unwrap_or(0))?;
    let mapped = map(own_id(), 10, HOST_READ, HOLE)?;
    page.write(8, 42)?;
    view.show(HOLE << 12);
    ensure_eq!(view.read(8)?, 42, "what is read through the mapping");
    expect::protection(view.write_u32(0, 1), "a write to what is mapped to be read")?;
    ensure_eq!(page.read_u32(0)?, 0, "what the write has changed");
    unmap_ok(mapped.handle, HOLE)?;
    ensure_eq!(view.read(8)?, 0xff, "what is read when it is unmapped");
    Ok(())
}

/// It has none.
fn devices(entries: &OwnEntries) -> Check {
    let page = Page::new();
    entries.set(10, PERMIT, own_id(), u32::try_from(page.frame()).unwrap_or(0))?;
    let before = entries.header(10)?;
    let device = MapFlags::DEVICE_MAP.bits();
    for flags in [device, device | HOST, device | HOST_READ] {
        let op = map(own_id(), 10, flags, HOLE)?;
        ensure_eq!(status(op.status), GrantResult::GeneralError, "map with flags {flags}");
        ensure_eq!(op.dev_bus_addr, 0, "machine address for flags {flags}");
        ensure_eq!(entries.header(10)?, before, "the entry after flags {flags}");
    }
    entries.set(10, 0, 0, 0)
}
