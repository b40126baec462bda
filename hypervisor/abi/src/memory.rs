//! Memory of a domain (`memory.h`).

use bitflags::bitflags;

use crate::handle::GuestHandle;
use crate::physdev::PhysdevPciDevice;
use crate::{RawDomid, RawPfn};

numbers! {
    /// Operation of `memory_op` (`XENMEM_*`): the low 6 bits of the first argument.
    pub enum MemoryOp: u32 {
        /// `XENMEM_increase_reservation`: [`MemoryReservation`].
        IncreaseReservation = 0,
        /// `XENMEM_decrease_reservation`: [`MemoryReservation`].
        DecreaseReservation = 1,
        /// `XENMEM_maximum_ram_page`: returns the highest machine frame. No argument.
        MaximumRamPage = 2,
        /// `XENMEM_current_reservation`: returns the pages of a domain ([`MemoryDomain`]).
        CurrentReservation = 3,
        /// `XENMEM_maximum_reservation`: returns its limit, in pages ([`MemoryDomain`]).
        MaximumReservation = 4,
        /// `XENMEM_machphys_mfn_list`: PV machine-to-physical table.
        MachphysMfnList = 5,
        /// `XENMEM_populate_physmap`: [`MemoryReservation`].
        PopulatePhysmap = 6,
        /// `XENMEM_add_to_physmap`: [`AddToPhysmap`].
        AddToPhysmap = 7,
        /// `XENMEM_memory_map`: the caller's memory map ([`MemoryMap`]).
        MemoryMap = 9,
        /// `XENMEM_machine_memory_map`: the machine's ([`MemoryMap`]).
        MachineMemoryMap = 10,
        /// `XENMEM_exchange`: [`MemoryExchange`].
        Exchange = 11,
        /// `XENMEM_machphys_mapping`: PV machine-to-physical table.
        MachphysMapping = 12,
        /// `XENMEM_set_memory_map`: another domain's memory map ([`ForeignMemoryMap`]).
        SetMemoryMap = 13,
        /// `XENMEM_maximum_gpfn`: returns the highest guest frame in use ([`MemoryDomain`]).
        MaximumGpfn = 14,
        /// `XENMEM_remove_from_physmap`: [`RemoveFromPhysmap`].
        RemoveFromPhysmap = 15,
        /// `XENMEM_set_pod_target`: [`PodTarget`].
        SetPodTarget = 16,
        /// `XENMEM_get_pod_target`: [`PodTarget`].
        GetPodTarget = 17,
        /// `XENMEM_get_sharing_freed_pages`: returns the pages that sharing saved. No argument.
        GetSharingFreedPages = 18,
        /// `XENMEM_get_sharing_shared_pages`: returns the pages shared. No argument.
        GetSharingSharedPages = 19,
        /// `XENMEM_paging_op`: paging of guests by the host.
        PagingOp = 20,
        /// `XENMEM_access_op`: access rights for introspection.
        AccessOp = 21,
        /// `XENMEM_sharing_op`: sharing of equal pages.
        SharingOp = 22,
        /// `XENMEM_add_to_physmap_batch`: [`AddToPhysmapBatch`].
        AddToPhysmapBatch = 23,
        /// `XENMEM_claim_pages`: put pages aside for a domain ([`MemoryReservation`]).
        ClaimPages = 24,
        /// `XENMEM_machphys_compat_mfn_list`: PV machine-to-physical table.
        MachphysCompatMfnList = 25,
        /// `XENMEM_get_vnumainfo`: [`VnumaTopologyInfo`].
        GetVnumainfo = 26,
        /// `XENMEM_reserved_device_memory_map`: [`ReservedDeviceMemoryMap`].
        ReservedDeviceMemoryMap = 27,
        /// `XENMEM_acquire_resource`: [`MemAcquireResource`].
        AcquireResource = 28,
    }

    /// Where a page to be mapped comes from (`XENMAPSPACE_*`).
    pub enum MapSpace: u32 {
        /// `XENMAPSPACE_shared_info`: the `shared_info` page; `idx` 0.
        SharedInfo = 0,
        /// `XENMAPSPACE_grant_table`: frame `idx` of the grant table.
        GrantTable = 1,
        /// `XENMAPSPACE_gmfn`: guest frame `idx` of the domain itself.
        Gmfn = 2,
        /// `XENMAPSPACE_gmfn_range`: `size` guest frames from `idx`.
        GmfnRange = 3,
        /// `XENMAPSPACE_gmfn_foreign`: guest frame of another domain; batch only.
        GmfnForeign = 4,
        /// `XENMAPSPACE_dev_mmio`: a device's frame; batch only.
        DevMmio = 5,
    }

    /// Kind of a resource (`XENMEM_resource_*`).
    pub enum Resource: u16 {
        /// `XENMEM_resource_ioreq_server`: pages of a device model.
        IoreqServer = 0,
        /// `XENMEM_resource_grant_table`: pages of the grant table ([`GrantTableFrames`]).
        GrantTable = 1,
        /// `XENMEM_resource_vmtrace_buf`: trace buffer of a vcpu.
        VmtraceBuf = 2,
    }

    /// `id` of [`Resource::GrantTable`] (`XENMEM_resource_grant_table_id_*`).
    pub enum GrantTableFrames: u32 {
        /// `XENMEM_resource_grant_table_id_shared`: the entries.
        Shared = 0,
        /// `XENMEM_resource_grant_table_id_status`: the status words of v2.
        Status = 1,
    }
}

/// Flag in `idx` of [`MapSpace::GrantTable`]: a frame of status words
/// (`XENMAPIDX_grant_table_status`).
pub const MAPIDX_GRANT_TABLE_STATUS: u64 = 0x8000_0000;
/// Bits of `mem_flags` that limit the machine address (`XENMEMF_get_address_bits`).
pub const MEMF_ADDRESS_BITS_MASK: u32 = 0xff;
/// Shift of the NUMA node plus 1 in `mem_flags` (`XENMEMF_node`).
pub const MEMF_NODE_SHIFT: u32 = 8;
/// Flag of [`ReservedDeviceMemoryMap`]: of all devices (`XENMEM_RDM_ALL`).
pub const RDM_ALL: u32 = 1;

bitflags! {
    /// The flag bits of `mem_flags` (`XENMEMF_*`), beside address bits and node.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemFlags: u32 {
        /// `XENMEMF_populate_on_demand`: allocate when touched.
        const POPULATE_ON_DEMAND = 1 << 16;
        /// `XENMEMF_exact_node_request`: from this node or not at all.
        const EXACT_NODE_REQUEST = 1 << 17;
        /// `XENMEMF_vnode`: the node is the guest's.
        const VNODE = 1 << 18;
    }
}

layout! {
    /// `struct xen_memory_reservation`: extents of 2^`extent_order` pages to add or remove.
    pub struct MemoryReservation, 32 bytes {
        /// First frame of each extent.
        pub extent_start: GuestHandle<RawPfn>,
        /// How many.
        pub nr_extents: u64,
        /// Size and alignment of each: 2^order pages.
        pub extent_order: u32,
        /// [`MemFlags`], node, address bits.
        pub mem_flags: u32,
        /// Whose memory.
        pub domid: RawDomid,
        /// Padding.
        pub _pad: [u16; 3],
    }

    /// `struct xen_memory_exchange`: give some extents, get others of the same total size.
    pub struct MemoryExchange, 72 bytes {
        /// `in`: given.
        pub input: MemoryReservation,
        /// `out`: wanted; the frames are written here.
        pub output: MemoryReservation,
        /// Input extents done, in and out; 0 at first.
        pub nr_exchanged: u64,
    }

    /// `struct xen_memory_domain`: a question about one domain.
    pub struct MemoryDomain, 2 bytes {
        /// Which.
        pub domid: RawDomid,
    }

    /// `struct xen_add_to_physmap`: map a page at a guest frame.
    pub struct AddToPhysmap, 24 bytes {
        /// Whose address space.
        pub domid: RawDomid,
        /// Pages of [`MapSpace::GmfnRange`].
        pub size: u16,
        /// [`MapSpace`].
        pub space: u32,
        /// Which page of it.
        pub idx: u64,
        /// Guest frame to map at.
        pub gpfn: RawPfn,
    }

    /// `struct xen_add_to_physmap_batch`: map pages at guest frames.
    pub struct AddToPhysmapBatch, 32 bytes {
        /// Whose address space.
        pub domid: RawDomid,
        /// [`MapSpace`].
        pub space: u16,
        /// Pages.
        pub size: u16,
        /// `u.foreign_domid`: owner of the pages of [`MapSpace::GmfnForeign`], else zero.
        pub foreign_domid: RawDomid,
        /// Which pages of the space.
        pub idxs: GuestHandle<u64>,
        /// Guest frames to map at.
        pub gpfns: GuestHandle<RawPfn>,
        /// Result of each; out.
        pub errs: GuestHandle<i32>,
    }

    /// `struct xen_remove_from_physmap`: unmap a guest frame.
    pub struct RemoveFromPhysmap, 16 bytes {
        /// Whose address space.
        pub domid: RawDomid,
        /// Padding.
        pub _pad: [u16; 3],
        /// The guest frame.
        pub gpfn: RawPfn,
    }

    /// `struct xen_memory_map`: a memory map to be filled or read.
    pub struct MemoryMap, 16 bytes {
        /// Entries there is room for, then entries written.
        pub nr_entries: u32,
        /// Padding.
        pub _pad: u32,
        /// The entries.
        pub buffer: GuestHandle<E820Entry>,
    }

    /// `struct xen_foreign_memory_map`: the memory map that a domain shall see.
    pub struct ForeignMemoryMap, 24 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// Padding.
        pub _pad: [u16; 3],
        /// The map.
        pub map: MemoryMap,
    }

    /// `struct xen_pod_target`: populate-on-demand figures, in pages.
    pub struct PodTarget, 40 bytes {
        /// Memory that the domain shall have.
        pub target_pages: u64,
        /// Memory it has; out.
        pub tot_pages: u64,
        /// Pages in its cache; out.
        pub pod_cache_pages: u64,
        /// Entries not populated yet; out.
        pub pod_entries: u64,
        /// The domain.
        pub domid: RawDomid,
        /// Padding.
        pub _pad: [u16; 3],
    }

    /// `struct xen_reserved_device_memory`: memory that a device needs at its place.
    pub struct ReservedDeviceMemory, 16 bytes {
        /// First frame.
        pub start_pfn: RawPfn,
        /// Frames.
        pub nr_pages: u64,
    }

    /// `struct xen_reserved_device_memory_map`: list of such memory.
    pub struct ReservedDeviceMemoryMap, 24 bytes {
        /// [`RDM_ALL`] or 0 for one device.
        pub flags: u32,
        /// Entries there is room for, then entries that exist.
        pub nr_entries: u32,
        /// The entries.
        pub buffer: GuestHandle<ReservedDeviceMemory>,
        /// `dev.pci`: the device.
        pub dev: PhysdevPciDevice,
        /// Padding.
        pub _pad: u32,
    }

    /// `struct xen_mem_acquire_resource`: map pages that belong to the hypervisor.
    pub struct MemAcquireResource, 32 bytes {
        /// Whose resource.
        pub domid: RawDomid,
        /// `type`: [`Resource`].
        pub kind: u16,
        /// Which of the kind.
        pub id: u32,
        /// Frames wanted; 0 with a null list asks how many there are.
        pub nr_frames: u32,
        /// Must be zero.
        pub pad: u32,
        /// First frame of the resource.
        pub frame: u64,
        /// Guest frames to map at (of a PV caller, out).
        pub frame_list: GuestHandle<RawPfn>,
    }

    /// `struct xen_vmemrange`: memory of a virtual NUMA node.
    pub struct VmemRange, 24 bytes {
        /// First byte.
        pub start: u64,
        /// One past the last.
        pub end: u64,
        /// Must be zero.
        pub flags: u32,
        /// The node.
        pub nid: u32,
    }

    /// `struct xen_vnuma_topology_info`: virtual NUMA of a domain.
    pub struct VnumaTopologyInfo, 40 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// Must be zero.
        pub pad: u16,
        /// Nodes there is room for, then nodes.
        pub nr_vnodes: u32,
        /// Vcpus there is room for, then vcpus.
        pub nr_vcpus: u32,
        /// Ranges there is room for, then ranges.
        pub nr_vmemranges: u32,
        /// Distances, one row for each node.
        pub vdistance: GuestHandle<u32>,
        /// Node of each vcpu.
        pub vcpu_to_vnode: GuestHandle<u32>,
        /// The ranges.
        pub vmemrange: GuestHandle<VmemRange>,
    }
}

/// One range of a BIOS memory map: 20 bytes, so without alignment to 8
/// (ACPI "INT 15H, E820H"; not in Xen's public headers).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C, packed)]
pub struct E820Entry {
    /// First byte.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// 1 memory, 2 reserved, 3 ACPI tables, 4 ACPI NVS, 5 unusable, 6 disabled, 7 persistent.
    pub kind: u32,
}
const _: () = assert!(size_of::<E820Entry>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_flags_leave_room_for_node_and_address_bits() {
        assert_eq!(MemFlags::all().bits() & (MEMF_ADDRESS_BITS_MASK | 0xff << MEMF_NODE_SHIFT), 0);
    }

    #[test]
    fn operations_fit_below_the_continuation_bits() {
        assert!(MemoryOp::AcquireResource.get() < 1 << 6);
        assert_eq!(MemoryOp::new(8), None);
    }
}
