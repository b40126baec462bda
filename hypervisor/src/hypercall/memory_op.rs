//! `memory_op`: memory of the calling domain, and for Dom0 that of others.
//!
//! The operation is in the low 6 bits of the first argument. The other bits are the
//! extent from which a long operation goes on (`MEMOP_EXTENT_SHIFT`): the hypercall
//! is then made again, after the vcpu has taken its interrupts.
//!
//! [`reservation`]: frames by extents. [`physmap`]: what stands at which guest frame.
//! [`maps`]: memory maps. [`resource`]: pages of the hypervisor's. Here: questions and the rest.

mod exchange;
mod maps;
mod physmap;
mod reservation;
mod resource;

use core::mem::offset_of;

use alloc::sync::Arc;
use hv_arch::frames;
use hv_core::id::DomId;
use xen_abi::RawDomid;
use xen_abi::errno::Errno;
use xen_abi::handle::GuestHandle;
use xen_abi::memory::{
    MemoryDomain, MemoryOp, MemoryReservation, PodTarget, RDM_ALL, ReservedDeviceMemoryMap, VnumaTopologyInfo,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::slice::Slice;
use super::{Answer, Call, Reply};
use crate::domain::Domain;
use crate::domains;
use crate::guest_copy::{self, Guest};

const EXTENT_SHIFT: u32 = 6;
const OP_MASK: u64 = (1 << EXTENT_SHIFT) - 1;
/// Largest number of extents for which a continuation can say where it stands.
const MOST_EXTENTS: u64 = (u32::MAX >> EXTENT_SHIFT) as u64;

/// `HYPERVISOR_memory_op(cmd, arg)`.
///
/// | operation | In | Out |
/// |---|---|---|
/// | increase, decrease, populate | extents | extents done |
/// | exchange | extents given and wanted | `nr_exchanged` |
/// | `maximum_ram_page` | | one past the highest machine frame |
/// | current, maximum reservation, `maximum_gpfn` | domid | frames, frames, highest guest frame |
/// | `add_to_physmap`, batch, `remove_from_physmap` | domid, pages | errors of each |
/// | `memory_map`, `machine_memory_map` | room | entries |
/// | `set_memory_map` | domid, entries | |
/// | `claim_pages` | domid, frames | |
/// | `set_pod_target`, `get_pod_target` | domid | frames |
/// | `acquire_resource` | domid, kind, frames | |
///
/// A domid is `DOMID_SELF`, the caller's, or for Dom0 anyone's. Errors: `ESRCH` for
/// no such domain, `EPERM` for another one than the caller's, `EFAULT`, `EINVAL` (also
/// for a start extent where there is none), `ENOSYS` for operations that PV guests,
/// paging, sharing and introspection would use.
pub fn handle(call: &Call<'_, '_>) -> Reply {
    let [command, argument, ..] = call.arguments;
    let (op, start) = (command & OP_MASK, command >> EXTENT_SHIFT);
    let op = u32::try_from(op).ok().and_then(MemoryOp::new).ok_or(Errno::ENOSYS)?;
    let guest = Guest::new(call.cpu, call.vcpu);
    let request = Request { call, guest, op, start, argument };
    match op {
        MemoryOp::IncreaseReservation | MemoryOp::DecreaseReservation | MemoryOp::PopulatePhysmap => {
            Ok(reservation::handle(&request))
        }
        MemoryOp::AddToPhysmap => physmap::add(&request),
        MemoryOp::AddToPhysmapBatch => physmap::add_batch(&request),
        MemoryOp::AcquireResource => resource::acquire(&request),
        _ if start != 0 => Err(Errno::EINVAL),
        MemoryOp::Exchange => exchange::handle(&request),
        MemoryOp::MaximumRamPage => Ok(Answer::Value(frames::end().get())),
        MemoryOp::CurrentReservation | MemoryOp::MaximumReservation | MemoryOp::MaximumGpfn => {
            figure(&request)
        }
        MemoryOp::RemoveFromPhysmap => physmap::remove(&request),
        MemoryOp::MemoryMap => maps::own(&request),
        MemoryOp::MachineMemoryMap => maps::machine(&request),
        MemoryOp::SetMemoryMap => maps::set(&request),
        MemoryOp::ClaimPages => claim(&request),
        MemoryOp::SetPodTarget | MemoryOp::GetPodTarget => pod_target(&request),
        // Nothing is shared.
        MemoryOp::GetSharingFreedPages | MemoryOp::GetSharingSharedPages => Ok(Answer::Value(0)),
        MemoryOp::GetVnumainfo => vnuma(&request),
        MemoryOp::ReservedDeviceMemoryMap => reserved_device_memory(&request),
        MemoryOp::MachphysMfnList
        | MemoryOp::MachphysMapping
        | MemoryOp::MachphysCompatMfnList
        | MemoryOp::PagingOp
        | MemoryOp::AccessOp
        | MemoryOp::SharingOp => Err(Errno::ENOSYS),
    }
}

/// One hypercall.
struct Request<'a, 'b, 'c> {
    call: &'a Call<'b, 'c>,
    guest: Guest<'a, 'c>,
    op: MemoryOp,
    /// The extent to begin with.
    start: u64,
    /// Guest virtual address of the operation's structure.
    argument: u64,
}

impl Request<'_, '_, '_> {
    fn read<T: FromBytes + IntoBytes>(&self) -> Result<T, Errno> {
        self.guest.read_obj(GuestHandle::new(self.argument))
    }

    fn write<T: IntoBytes + Immutable>(&self, object: &T) -> Result<(), Errno> {
        self.guest.write(self.argument, object.as_bytes())
    }

    fn write_field<F: IntoBytes + Immutable>(&self, offset: usize, field: &F) -> Result<(), Errno> {
        self.guest.write_field(GuestHandle::<u8>::new(self.argument), offset, field)
    }

    fn item<T: FromBytes + IntoBytes>(&self, list: GuestHandle<T>, index: u64) -> Result<T, Errno> {
        self.guest.read_obj(guest_copy::item(list, index)?)
    }

    fn set_item<T: IntoBytes + Immutable>(
        &self,
        list: GuestHandle<T>,
        index: u64,
        item: &T,
    ) -> Result<(), Errno> {
        self.guest.write(guest_copy::item(list, index)?.address(), item.as_bytes())
    }

    fn caller(&self) -> &Arc<Domain> {
        self.call.vcpu.domain()
    }

    /// The domain that `domid` names, if the caller may change its memory.
    fn target(&self, domid: RawDomid) -> Result<Arc<Domain>, Errno> {
        domains::target(domid, self.caller())
    }

    fn check_privileged(&self) -> Result<(), Errno> {
        if self.caller().is_privileged() { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// The same hypercall, to go on with extent `next`.
    fn again(&self, next: u64) -> Answer {
        let [_, argument, rest @ ..] = self.call.arguments;
        let [a, b, c] = rest;
        Answer::Again([u64::from(self.op.get()) | next << EXTENT_SHIFT, argument, a, b, c])
    }
}

fn figure(request: &Request<'_, '_, '_>) -> Reply {
    let domain = request.target(request.read::<MemoryDomain>()?.domid)?;
    Ok(Answer::Value(match request.op {
        MemoryOp::CurrentReservation => domain.memory().total(),
        MemoryOp::MaximumReservation => domain.memory().limit(),
        _ => domain.confines().end().saturating_sub(1),
    }))
}

/// Order and flags must be 0, as Xen asks.
fn claim(request: &Request<'_, '_, '_>) -> Reply {
    let claim = request.read::<MemoryReservation>()?;
    if !claim.extent_start.is_null() || claim.extent_order != 0 || claim.mem_flags != 0 {
        return Err(Errno::EINVAL);
    }
    let domain = DomId::new(claim.domid).and_then(domains::find).ok_or(Errno::EINVAL)?;
    request.check_privileged()?;
    domain.memory().claim(claim.nr_extents)?;
    Ok(Answer::Value(0))
}

/// Nothing is populated on demand: a target changes nothing, and toolstacks that set
/// one with each new limit find it kept.
fn pod_target(request: &Request<'_, '_, '_>) -> Reply {
    let mut target = request.read::<PodTarget>()?;
    let domain = request.target(target.domid)?;
    request.check_privileged()?;
    let memory = domain.memory();
    if request.op == MemoryOp::SetPodTarget && target.target_pages > memory.limit() {
        return Err(Errno::EINVAL);
    }
    (target.tot_pages, target.pod_cache_pages, target.pod_entries) = (memory.total(), 0, 0);
    request.write(&target)?;
    Ok(Answer::Value(0))
}

/// No domain has virtual NUMA nodes.
fn vnuma(request: &Request<'_, '_, '_>) -> Reply {
    let topology = request.read::<VnumaTopologyInfo>()?;
    if topology.pad != 0 {
        return Err(Errno::EINVAL);
    }
    request.target(topology.domid)?;
    Err(Errno::EOPNOTSUPP)
}

/// No IOMMU is used: no device has reserved memory.
fn reserved_device_memory(request: &Request<'_, '_, '_>) -> Reply {
    let map = request.read::<ReservedDeviceMemoryMap>()?;
    if map.flags & !RDM_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    request.write_field(offset_of!(ReservedDeviceMemoryMap, nr_entries), &0_u32)?;
    Ok(Answer::Value(0))
}
