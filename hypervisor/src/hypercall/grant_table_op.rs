//! `grant_table_op`: frames that domains let each other use.
//!
//! Most operations take an array and leave a status in each element; the hypercall itself fails for the array only. Long
//! arrays are done in slices: the hypercall is made again with what is left of them.

use core::mem::offset_of;

use alloc::sync::Arc;
use arrayvec::ArrayVec;
use hv_arch::confines::Shootdown;
use hv_arch::frames;
use hv_core::addr::{Gfn, HostPhysAddr, PAGE_SIZE};
use hv_core::frame::FrameState;
use hv_core::gnttab::Search;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    CacheFlushOp, GnttabCacheFlush, GnttabCopy, GnttabGetStatusFrames, GnttabGetVersion, GnttabMapGrantRef,
    GnttabQuerySize, GnttabSetVersion, GnttabSetupTable, GnttabSwapGrantRef, GnttabTransfer,
    GnttabUnmapAndReplace, GnttabUnmapGrantRef, GrantResult, GrantTableOp,
};
use xen_abi::handle::GuestHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::slice::Slice;
use super::{Answer, Call, Reply};
use crate::domain::Domain;
use crate::domains;
use crate::grant::{self, Unmap, Unmapped};
use crate::guest_copy::{self, Guest};

/// The operation; the bits above are where a cache flush goes on (`GNTTABOP_CONTINUATION_ARG_SHIFT`).
const COMMAND_MASK: u32 = 0xfff;
/// Mappings that one shoot-down serves.
const UNMAPS: usize = 32;
/// The only version of tables.
const VERSION: u32 = 1;
/// Guest frame of a page that stands nowhere (`INVALID_GFN`).
const NOWHERE: u64 = u64::MAX;

/// `HYPERVISOR_grant_table_op(cmd, array, count)`.
///
/// | operation | In | Out |
/// |---|---|---|
/// | `map_grant_ref` | domain, entry, flags, address | handle, machine address |
/// | `unmap_grant_ref` | handle, addresses | |
/// | `unmap_and_replace` | handle, address, 0 | |
/// | `copy` | two frames or entries, offsets, length | |
/// | `transfer` | frame, domain, entry | refused |
/// | `swap_grant_ref` | two entries | |
/// | `cache_flush` | machine address, offset, length, what | |
/// | `setup_table` | domain, frames | where they stand |
/// | `query_size` | domain | frames, most frames |
/// | `get_version`, `set_version` | domain; version | version |
/// | `get_status_frames` | domain, frames | |
///
/// Errors: `EFAULT`; `EINVAL` for a count past 2^31, for one other than 1 where there is no array; `ENOSYS`
/// for `dump_table`, version 2 and unknown operations. The results of single elements (`GNTST_*`) stand in
/// `docs/hypercalls.md`.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [command, array, count, ..] = call.arguments;
    // Both are `unsigned int`.
    let [command, count] = [command, count].map(low_half);
    let (op, from) = (command & COMMAND_MASK, command & !COMMAND_MASK);
    let op = GrantTableOp::new(op);
    if i32::try_from(count).is_err() || from != 0 && op != Some(GrantTableOp::CacheFlush) {
        return Err(Errno::EINVAL);
    }
    let guest = Guest::new(call.cpu, call.vcpu);
    let batch = Batch { call, guest, op: op.ok_or(Errno::ENOSYS)?, array, count };
    match batch.op {
        GrantTableOp::Copy => {
            batch.each(offset_of!(GnttabCopy, status), |op| grant::copy(batch.caller(), op))
        }
        GrantTableOp::MapGrantRef => map(&batch),
        GrantTableOp::UnmapGrantRef => {
            batch.unmap_each(offset_of!(GnttabUnmapGrantRef, status), |op: &GnttabUnmapGrantRef| {
                Ok(Unmap { handle: op.handle, host: op.host_addr, device: op.dev_bus_addr })
            })
        }
        GrantTableOp::UnmapAndReplace => {
            batch.unmap_each(offset_of!(GnttabUnmapAndReplace, status), unmap_and_replace)
        }
        GrantTableOp::Transfer => {
            batch.each(offset_of!(GnttabTransfer, status), |op| transfer(batch.caller(), op))
        }
        GrantTableOp::SwapGrantRef => batch
            .each(offset_of!(GnttabSwapGrantRef, status), |op: &GnttabSwapGrantRef| {
                batch.caller().grants().swap(op.ref_a, op.ref_b)
            }),
        GrantTableOp::CacheFlush => cache_flush(&batch, from),
        GrantTableOp::SetupTable => setup_table(&batch),
        GrantTableOp::QuerySize => query_size(&batch),
        GrantTableOp::GetStatusFrames => status_frames(&batch),
        GrantTableOp::GetVersion => get_version(&batch),
        GrantTableOp::SetVersion => set_version(&batch),
        GrantTableOp::DumpTable => Err(Errno::ENOSYS),
    }
}

fn low_half(value: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    {
        value as u32
    }
}

/// One hypercall.
struct Batch<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
    guest: Guest<'a, 'c>,
    op: GrantTableOp,
    /// Guest virtual address.
    array: u64,
    count: u32,
}

impl<'a> Batch<'a, '_, '_> {
    fn caller(&self) -> &'a Arc<Domain> {
        self.call.vcpu.domain()
    }

    fn element<T>(&self, index: u32) -> Result<GuestHandle<T>, Errno> {
        guest_copy::item(GuestHandle::new(self.array), index.into())
    }

    fn read<T: FromBytes + IntoBytes>(&self, index: u32) -> Result<T, Errno> {
        self.guest.read_obj(self.element(index)?)
    }

    fn write_field<T, F: IntoBytes + Immutable>(
        &self,
        index: u32,
        offset: usize,
        field: &F,
    ) -> Result<(), Errno> {
        self.guest.write_field(self.element::<T>(index)?, offset, field)
    }

    /// The same hypercall, to go on with element `next`.
    fn again<T>(&self, next: u32, from: u32) -> Reply {
        let array = self.element::<T>(next)?.address();
        let [.., fourth, fifth] = self.call.arguments;
        let command = self.op.get() | from;
        Ok(Answer::Again([command.into(), array, (self.count - next).into(), fourth, fifth]))
    }

    /// Does `act` for each element, and writes its result to byte `status` of it.
    fn each<T: FromBytes + IntoBytes>(
        &self,
        status: usize,
        mut act: impl FnMut(&T) -> Result<(), GrantResult>,
    ) -> Reply {
        // A single element is done however long it takes.
        let slice = (self.count > 1).then(Slice::new);
        for index in 0..self.count {
            if index != 0 && slice.as_ref().is_some_and(Slice::is_over) {
                return self.again::<T>(index, 0);
            }
            let result = act(&self.read(index)?);
            self.write_field::<T, i16>(index, status, &raw(result))?;
        }
        Ok(Answer::Value(0))
    }

    /// Undoes the mappings that `what` reads from the elements, with one shoot-down for some of them.
    fn unmap_each<T: FromBytes + IntoBytes>(
        &self,
        status: usize,
        what: impl Fn(&T) -> Result<Unmap, GrantResult>,
    ) -> Reply {
        let domain = self.caller();
        let slice = Slice::new();
        let mut index = 0;
        while index < self.count {
            if index != 0 && slice.is_over() {
                return self.again::<T>(index, 0);
            }
            let mut unmapped = ArrayVec::<Unmapped, UNMAPS>::new();
            let mut shootdown = Shootdown::new(domain.confines());
            let mut done = Ok(());
            while index < self.count && !unmapped.is_full() && done.is_ok() {
                done = self.read(index).and_then(|op| {
                    let result = what(&op).and_then(|op| grant::unmap(domain, op, &mut shootdown));
                    let result = result.map(|some| unmapped.extend(some));
                    self.write_field::<T, i16>(index, status, &raw(result))
                });
                index += 1;
            }
            shootdown.complete();
            unmapped.into_iter().for_each(|one| one.complete(domain));
            done?;
        }
        Ok(Answer::Value(0))
    }

    fn check_single(&self) -> Result<(), Errno> {
        if self.count == 1 { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// The domain that `domid` names, if the caller is it or manages it.
    fn target(&self, domid: RawDomid) -> Result<Arc<Domain>, GrantResult> {
        let found = domains::find_any(domid, self.caller()).map_err(|_| GrantResult::BadDomain)?;
        if self.caller().may_manage(&found) { Ok(found) } else { Err(GrantResult::PermissionDenied) }
    }
}

fn raw(result: Result<(), GrantResult>) -> i16 {
    result.map_or_else(GrantResult::get, |()| GrantResult::Okay.get())
}

fn map(batch: &Batch<'_, '_, '_>) -> Reply {
    let domain = batch.caller();
    let slice = Slice::new();
    let mut shootdown = Shootdown::new(domain.confines());
    for index in 0..batch.count {
        if index != 0 && slice.is_over() {
            return batch.again::<GnttabMapGrantRef>(index, 0);
        }
        let mut op = batch.read::<GnttabMapGrantRef>(index)?;
        let mapped = grant::map(domain, &op, &mut shootdown);
        op.status = raw(mapped.map(|_| ()));
        if let Ok(mapped) = mapped {
            (op.handle, op.dev_bus_addr) = (mapped.handle, mapped.address);
        }
        batch.guest.write(batch.element::<GnttabMapGrantRef>(index)?.address(), op.as_bytes())?;
    }
    shootdown.complete();
    Ok(Answer::Value(0))
}

/// Only PV guests can have a page put in place.
fn unmap_and_replace(op: &GnttabUnmapAndReplace) -> Result<Unmap, GrantResult> {
    if op.new_addr != 0 {
        return Err(GrantResult::GeneralError);
    }
    Ok(Unmap { handle: op.handle, host: op.host_addr, device: 0 })
}

/// Frames of HVM guests are never given away, as in Xen.
fn transfer(domain: &Domain, op: &GnttabTransfer) -> Result<(), GrantResult> {
    let stands = Gfn::new(op.mfn).is_some_and(|gfn| domain.confines().lookup(gfn).page().is_some());
    Err(if stands { GrantResult::GeneralError } else { GrantResult::BadPage })
}

/// Frames are named by their machine addresses, as `map_grant_ref` returns them: the caller's own, and those that it has
/// mapped. Nothing but memory is reached by going past caches, and no data is lost: lines are written back whether
/// they are to be cleaned or to be invalidated.
///
/// Errors of the whole: `EINVAL`, `EPERM` for others' frames, `EOPNOTSUPP` for a frame named by a grant.
fn cache_flush(batch: &Batch<'_, '_, '_>, from: u32) -> Reply {
    let slice = Slice::new();
    let mut from = from;
    for index in 0..batch.count {
        if index != 0 && slice.is_over() {
            return batch.again::<GnttabCacheFlush>(index, 0);
        }
        let op = batch.read(index)?;
        if let Some(next) = flush_one(batch.caller(), &op, from)? {
            return batch.again::<GnttabCacheFlush>(index, next);
        }
        from = 0;
    }
    Ok(Answer::Value(0))
}

/// Returns where the search for the mapping is to go on, if it is not done.
fn flush_one(domain: &Domain, op: &GnttabCacheFlush, from: u32) -> Result<Option<u32>, Errno> {
    let (offset, length) = (u64::from(op.offset), u64::from(op.length));
    let what = CacheFlushOp::from_bits(op.op).ok_or(Errno::EINVAL)?;
    if offset >= PAGE_SIZE || length > PAGE_SIZE || offset + length > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    if what.contains(CacheFlushOp::SOURCE_GREF) {
        return Err(Errno::EOPNOTSUPP);
    }
    if length == 0 || what.is_empty() {
        return Ok(None);
    }
    let mfn = HostPhysAddr::new(op.a.view::<u64>()).ok_or(Errno::EINVAL)?.mfn();
    let FrameState::Domain { owner, .. } = frames::state(mfn) else { return Err(Errno::EINVAL) };
    if owner != domain.id() {
        match domain.grants().find(mfn, from) {
            Search::Found => {}
            Search::GoOn(next) => return Ok(Some(next)),
            Search::Nothing => return Err(Errno::EPERM),
        }
    }
    if frames::flush_cache(mfn, offset, length) { Ok(None) } else { Err(Errno::EINVAL) }
}

fn setup_table(batch: &Batch<'_, '_, '_>) -> Reply {
    batch.check_single()?;
    let op = batch.read::<GnttabSetupTable>(0)?;
    let result = batch.target(op.dom).and_then(|domain| {
        let grown = domain.grants().grow(domain.id(), op.nr_frames);
        grown.map_err(|_| GrantResult::GeneralError)?;
        for index in 0..op.nr_frames {
            let gfn = domain.grants().gfn(index).map_or(NOWHERE, Gfn::get);
            let place = guest_copy::item(op.frame_list, index.into());
            let written = place.and_then(|place| batch.guest.write(place.address(), gfn.as_bytes()));
            written.map_err(|_| GrantResult::BadVirtAddr)?;
        }
        Ok(())
    });
    batch.write_field::<GnttabSetupTable, i16>(0, offset_of!(GnttabSetupTable, status), &raw(result))?;
    Ok(Answer::Value(0))
}

fn query_size(batch: &Batch<'_, '_, '_>) -> Reply {
    batch.check_single()?;
    let mut op = batch.read::<GnttabQuerySize>(0)?;
    let target = batch.target(op.dom);
    if let Ok(domain) = &target {
        (op.nr_frames, op.max_nr_frames) = (domain.grants().frames(), domain.grants().most_frames());
    }
    op.status = raw(target.map(drop));
    batch.guest.write(batch.array, op.as_bytes())?;
    Ok(Answer::Value(0))
}

/// Tables of version 1 have none.
fn status_frames(batch: &Batch<'_, '_, '_>) -> Reply {
    batch.check_single()?;
    let op = batch.read::<GnttabGetStatusFrames>(0)?;
    let none = if op.nr_frames == 0 { Ok(()) } else { Err(GrantResult::GeneralError) };
    let result = batch.target(op.dom).and(none);
    let status = offset_of!(GnttabGetStatusFrames, status);
    batch.write_field::<GnttabGetStatusFrames, i16>(0, status, &raw(result))?;
    Ok(Answer::Value(0))
}

fn get_version(batch: &Batch<'_, '_, '_>) -> Reply {
    let op = batch.read::<GnttabGetVersion>(0)?;
    batch.target(op.dom).map_err(|error| match error {
        GrantResult::BadDomain => Errno::ESRCH,
        _ => Errno::EPERM,
    })?;
    batch.write_field::<GnttabGetVersion, u32>(0, offset_of!(GnttabGetVersion, version), &VERSION)?;
    Ok(Answer::Value(0))
}

/// As Xen with tables of version 1 only: `ENOSYS` for version 2, as if there were no such operation.
fn set_version(batch: &Batch<'_, '_, '_>) -> Reply {
    let op = batch.read::<GnttabSetVersion>(0)?;
    let result = match op.version {
        VERSION => Ok(Answer::Value(0)),
        2 => Err(Errno::ENOSYS),
        _ => Err(Errno::EINVAL),
    };
    batch.write_field::<GnttabSetVersion, u32>(0, offset_of!(GnttabSetVersion, version), &VERSION)?;
    result
}
