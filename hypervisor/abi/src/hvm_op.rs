//! Operations on HVM domains (`hvm/hvm_op.h`).

use crate::RawDomid;

numbers! {
    /// Operation of `hvm_op` (`HVMOP_*`).
    pub enum HvmOp: u32 {
        /// `HVMOP_set_param`: [`HvmParamArg`].
        SetParam = 0,
        /// `HVMOP_get_param`: [`HvmParamArg`].
        GetParam = 1,
        /// `HVMOP_flush_tlbs`: flush the TLBs of the domain's vcpus. No argument.
        FlushTlbs = 5,
        /// `HVMOP_pagetable_dying`: [`HvmPagetableDying`]; a hint for shadow paging.
        PagetableDying = 9,
        /// `HVMOP_get_time`: [`HvmGetTime`].
        GetTime = 10,
        /// `HVMOP_xentrace`: a record for the trace buffer.
        Xentrace = 11,
        /// `HVMOP_set_mem_access`: withdrawn.
        SetMemAccess = 12,
        /// `HVMOP_get_mem_access`: withdrawn.
        GetMemAccess = 13,
        /// `HVMOP_get_mem_type`: [`HvmGetMemType`].
        GetMemType = 15,
        /// `HVMOP_set_evtchn_upcall_vector`: [`HvmEvtchnUpcallVector`].
        SetEvtchnUpcallVector = 23,
        /// `HVMOP_guest_request_vm_event`: tell an introspection tool. No argument.
        GuestRequestVmEvent = 24,
        /// `HVMOP_altp2m`: alternative p2ms.
        Altp2m = 25,
    }

    /// What a guest frame holds (`HVMMEM_*`).
    pub enum HvmMemType: u16 {
        /// `HVMMEM_ram_rw`: memory.
        RamRw = 0,
        /// `HVMMEM_ram_ro`: memory, writes discarded.
        RamRo = 1,
        /// `HVMMEM_mmio_dm`: a device model's registers, or nothing.
        MmioDm = 2,
        /// `HVMMEM_unused`: not in use.
        Unused = 3,
        /// `HVMMEM_ioreq_server`: memory, writes sent to a device model.
        IoreqServer = 4,
    }
}

layout! {
    /// `struct xen_hvm_param`: one parameter of a domain (`hvm/params.h`).
    pub struct HvmParamArg, 16 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// `pad`: padding.
        pub _pad: u16,
        /// [`HvmParam`](crate::hvm_params::HvmParam).
        pub index: u32,
        /// Its value; in or out.
        pub value: u64,
    }

    /// `struct xen_hvm_pagetable_dying`
    pub struct HvmPagetableDying, 16 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// `pad`: padding.
        pub _pad: [u16; 3],
        /// Guest address of the root page table.
        pub gpa: u64,
    }

    /// `struct xen_hvm_get_time`
    pub struct HvmGetTime, 8 bytes {
        /// System time, in ns; out.
        pub now: u64,
    }

    /// `struct xen_hvm_get_mem_type`
    pub struct HvmGetMemType, 16 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// [`HvmMemType`]; out.
        pub mem_type: u16,
        /// `pad`: padding.
        pub _pad: [u16; 2],
        /// The guest frame.
        pub pfn: u64,
    }

    /// `struct xen_hvm_evtchn_upcall_vector`: vector by which one vcpu gets upcalls.
    pub struct HvmEvtchnUpcallVector, 8 bytes {
        /// Which vcpu.
        pub vcpu: u32,
        /// The vector, from 16 on.
        pub vector: u8,
        /// Padding.
        pub _pad: [u8; 3],
    }
}
