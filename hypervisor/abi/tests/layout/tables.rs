//! Which C name belongs to which Rust one.
//!
//! ```text
//! structs!    "C type" => Rust type { field, field = "C member"; padding without C name }
//! enums!      Rust type { Variant = "C expression" }
//! flags!      Rust type { FLAG = "C expression" }
//! constants!  Rust constant = "C expression"
//! types!      "C type" => Rust type, compared by size only
//! ```

use xen_abi::*;
use zerocopy::FromZeros;

use crate::Fact;

/// All comparisons.
pub(crate) fn facts() -> Vec<Fact> {
    let mut facts = Vec::new();
    structs(&mut facts);
    types(&mut facts);
    strings(&mut facts);
    enums(&mut facts);
    flags(&mut facts);
    constants(&mut facts);
    facts
}

fn fact(facts: &mut Vec<Fact>, c: String, value: impl TryInto<i128>) {
    let value = value.try_into().unwrap_or_else(|_| panic!("{c}: the number fits 128 bits"));
    facts.push(Fact { c, value });
}

macro_rules! structs {
    ($( $c:literal => $type:ty {
        $( $field:ident $(= $member:literal)? ),* $(; $( $pad:ident ),+ )?
    } )*) => {
        fn structs(facts: &mut Vec<Fact>) {
            $( {
                type T = $type;
                let value = T::new_zeroed();
                // Does not compile if a field is missing from the table.
                let T { $( $field: _, )* $($( $pad: _, )+)? } = value;
                fact(facts, format!("sizeof({})", $c), size_of::<T>());
                fact(facts, format!("_Alignof({})", $c), align_of::<T>());
                $( {
                    let member = [$( $member, )? stringify!($field)][0];
                    fact(facts, format!("offsetof({}, {member})", $c), std::mem::offset_of!(T, $field));
                    fact(facts, format!("sizeof((({} *)0)->{member})", $c), size_of_val(&value.$field));
                } )*
            } )*
        }
    };
}

macro_rules! types {
    ($( $c:literal => $type:ty, )*) => {
        fn types(facts: &mut Vec<Fact>) {
            $( fact(facts, format!("sizeof({})", $c), size_of::<$type>()); )*
        }
    };
}

/// Strings of the headers: equal when `strcmp` says 0.
fn strings(facts: &mut Vec<Fact>) {
    for (c, string) in [
        ("XEN_IO_PROTO_ABI_X86_64", io::protocols::ABI_X86_64),
        ("XEN_IO_PROTO_ABI_X86_32", io::protocols::ABI_X86_32),
    ] {
        fact(facts, format!("__builtin_strcmp({c}, \"{string}\")"), 0);
    }
}

macro_rules! enums {
    ($( $type:ty { $( $variant:ident = $c:literal ),* } )*) => {
        fn enums(facts: &mut Vec<Fact>) {
            $( {
                type T = $type;
                for variant in [$( T::$variant ),*] {
                    // Does not compile if a variant is missing from the table.
                    let c = match variant { $( T::$variant => $c, )* };
                    assert_eq!(T::new(variant.get()), Some(variant));
                    fact(facts, c.to_owned(), variant.get());
                }
            } )*
        }
    };
}

macro_rules! flags {
    ($( $type:ty { $( $flag:ident = $c:literal ),* } )*) => {
        fn flags(facts: &mut Vec<Fact>) {
            $( {
                type T = $type;
                let listed = T::empty() $( | T::$flag )*;
                assert_eq!(listed, T::all(), "flags missing from the table");
                $( fact(facts, $c.to_owned(), T::$flag.bits()); )*
            } )*
        }
    };
}

macro_rules! constants {
    ($( $constant:path = $c:literal, )*) => {
        fn constants(facts: &mut Vec<Fact>) {
            $( fact(facts, $c.to_owned(), $constant); )*
        }
    };
}

types! {
    "union grant_entry_v2" => grant_table::GrantEntryV2,
    "grant_status_t" => grant_table::GrantStatus,
    "grant_handle_t" => grant_table::RawGrantHandle,
    "xen_domain_handle_t" => xen::DomainHandle,
    "xen_extraversion_t" => version::ExtraVersion,
    "xen_capabilities_info_t" => version::CapabilitiesInfo,
    "xen_changeset_info_t" => version::ChangesetInfo,
    "xen_commandline_t" => version::CommandLine,
    "union blkif_sring_entry" => io::blkif::BlkifSringEntry,
    "union netif_tx_sring_entry" => io::netif::NetifTxSringEntry,
    "union netif_rx_sring_entry" => io::netif::NetifRxSringEntry,
    "union xen_netif_ctrl_sring_entry" => io::netif::NetifCtrlSringEntry,
    "domid_t" => RawDomid,
    "xen_pfn_t" => RawPfn,
    "evtchn_port_t" => RawPort,
    "grant_ref_t" => RawGrantRef,
    "XEN_GUEST_HANDLE_64(uint8)" => handle::GuestHandle<u8>,
    "XEN_GUEST_HANDLE(xen_pfn_t)" => handle::GuestHandle<RawPfn>,
}

structs! {
    "struct arch_vcpu_info" => arch_x86::ArchVcpuInfo { cr2; _pad }
    "struct arch_shared_info" => arch_x86::ArchSharedInfo { max_pfn, pfn_to_mfn_frame_list_list,
        nmi_reason, p2m_cr3, p2m_vaddr, p2m_generation }
    "struct xen_arch_domainconfig" => arch_x86::ArchDomainConfig { emulation_flags, misc_flags }
    "struct xen_cpuid_leaf" => arch_x86::CpuidLeaf { leaf, subleaf, a, b, c, d }
    "struct xen_msr_entry" => arch_x86::MsrEntry { idx, flags, val }
    "struct xen_domctl" => domctl::XenDomctl { cmd, interface_version, domain, u; _pad }
    "struct xen_domctl_irq_permission" => domctl::IrqPermission { pirq, allow_access; _pad }
    "struct xen_domctl_iomem_permission" => domctl::IomemPermission { first_mfn, nr_mfns,
        allow_access; _pad }
    "struct xen_domctl_ioport_permission" => domctl::IoportPermission { first_port, nr_ports,
        allow_access; _pad }
    "struct xen_domctl_assign_device" => domctl::AssignDevice { dev, flags, u }
    "typeof(((struct xen_domctl_assign_device *)0)->u.pci)" => domctl::AssignPci { machine_sbdf }
    "typeof(((struct xen_domctl_assign_device *)0)->u.dt)" => domctl::AssignDt { size, path; _pad }
    "struct xen_domctl_get_device_group" => domctl::GetDeviceGroup { machine_sbdf, max_sdevs, num_sdevs,
        sdev_array; _pad }
    "struct xen_domctl_bind_pt_irq" => domctl::BindPtIrq { machine_irq, irq_type, u }
    "typeof(((struct xen_domctl_bind_pt_irq *)0)->u.isa)" => domctl::PtIrqIsa { isa_irq }
    "typeof(((struct xen_domctl_bind_pt_irq *)0)->u.pci)" => domctl::PtIrqPci { bus, device, intx }
    "typeof(((struct xen_domctl_bind_pt_irq *)0)->u.msi)" => domctl::PtIrqMsi { gvec, gflags,
        gtable; _pad }
    "struct xen_domctl_createdomain" => domctl::CreateDomain { ssidref, handle, flags, iommu_opts,
        max_vcpus, max_evtchn_port, max_grant_frames, max_maptrack_frames, grant_opts, vmtrace_size,
        cpupool_id, arch }
    "struct xen_domctl_getdomaininfo" => domctl::GetDomainInfo { domain, pad1, flags, tot_pages, max_pages,
        outstanding_pages, shr_pages, paged_pages, shared_info_frame, cpu_time, nr_online_vcpus,
        max_vcpu_id, ssidref, handle, cpupool, gpaddr_bits, pad2, arch_config }
    "struct xen_domctl_max_mem" => domctl::MaxMem { max_memkb }
    "struct xen_domctl_max_vcpus" => domctl::MaxVcpus { max }
    "struct xen_domctl_setdomainhandle" => domctl::SetDomainHandle { handle }
    "struct xen_domctl_setdebugging" => domctl::SetDebugging { enable }
    "struct xen_domctl_hypercall_init" => domctl::HypercallInit { gmfn }
    "struct xen_domctl_settimeoffset" => domctl::SetTimeOffset { time_offset_seconds }
    "struct xen_domctl_sendtrigger" => domctl::SendTrigger { trigger, vcpu }
    "struct xen_domctl_subscribe" => domctl::Subscribe { port }
    "struct xen_domctl_address_size" => domctl::AddressSize { size }
    "struct xen_domctl_set_target" => domctl::SetTarget { target }
    "struct xen_domctl_set_virq_handler" => domctl::SetVirqHandler { virq }
    "struct xen_domctl_getpageframeinfo3" => domctl::GetPageFrameInfo3 { num, array }
    "struct xen_domctl_shadow_op_stats" => domctl::ShadowOpStats { fault_count, dirty_count }
    "struct xen_domctl_shadow_op" => domctl::ShadowOp { op, mode, mb, dirty_bitmap, pages, stats; _pad }
    "struct xen_domctl_paging_mempool" => domctl::PagingMempool { size }
    "struct xen_domctl_memory_mapping" => domctl::MemoryMapping { first_gfn, first_mfn, nr_mfns,
        add_mapping, padding }
    "struct xen_domctl_ioport_mapping" => domctl::IoportMapping { first_gport, first_mport, nr_ports,
        add_mapping }
    "struct xen_domctl_cacheflush" => domctl::CacheFlush { start_pfn, nr_pfns }
    "struct xen_domctl_set_broken_page_p2m" => domctl::SetBrokenPageP2m { pfn }
    "struct xen_domctl_vnuma" => domctl::Vnuma { nr_vnodes, nr_vmemranges, nr_vcpus, pad, vdistance,
        vcpu_to_vnode, vnode_to_pnode, vmemrange }
    "struct xen_domctl_scheduler_op" => domctl::SchedulerOp { sched_id, cmd, u }
    "struct xen_domctl_sched_credit" => domctl::SchedCredit { weight, cap }
    "struct xen_domctl_sched_credit2" => domctl::SchedCredit2 { weight, cap }
    "struct xen_domctl_sched_rtds" => domctl::SchedRtds { period, budget, flags }
    "struct xen_domctl_schedparam_vcpu" => domctl::SchedparamVcpu { u, vcpuid }
    "typeof(((struct xen_domctl_scheduler_op *)0)->u.v)" => domctl::SchedVcpus { vcpus, nr_vcpus, padding }
    "struct xen_domctl_hvmcontext" => domctl::HvmContext { size, buffer; _pad }
    "struct xen_domctl_hvmcontext_partial" => domctl::HvmContextPartial { kind = "type", instance, bufsz,
        buffer }
    "struct xen_domctl_cpu_policy" => domctl::CpuPolicy { nr_leaves, nr_msrs, leaves, msrs, err_leaf,
        err_subleaf, err_msr; _pad }
    "struct xen_domctl_tsc_info" => domctl::TscInfo { tsc_mode, gtsc_khz, incarnation, elapsed_nsec; _pad }
    "struct xen_domctl_getvcpuinfo" => domctl::GetVcpuInfo { vcpu, online, blocked, running, cpu_time,
        cpu; _pad0, _pad1 }
    "struct xen_domctl_vcpuaffinity" => domctl::VcpuAffinity { vcpu, flags, cpumap_hard, cpumap_soft }
    "struct xen_domctl_nodeaffinity" => domctl::NodeAffinity { nodemap }
    "struct xen_domctl_vcpucontext" => domctl::VcpuContext { vcpu, ctxt; _pad }
    "struct xen_domctl_vcpuextstate" => domctl::VcpuExtState { vcpu, xfeature_mask, size, buffer; _pad }
    "struct xen_domctl_vcpu_msr" => domctl::VcpuMsr { index, reserved, value }
    "struct xen_domctl_vcpu_msrs" => domctl::VcpuMsrs { vcpu, msr_count, msrs }
    "struct evtchn_alloc_unbound" => event_channel::EvtchnAllocUnbound { dom, remote_dom, port }
    "struct evtchn_bind_interdomain" => event_channel::EvtchnBindInterdomain { remote_dom, remote_port,
        local_port; _pad }
    "struct evtchn_bind_virq" => event_channel::EvtchnBindVirq { virq, vcpu, port }
    "struct evtchn_bind_pirq" => event_channel::EvtchnBindPirq { pirq, flags, port }
    "struct evtchn_bind_ipi" => event_channel::EvtchnBindIpi { vcpu, port }
    "struct evtchn_close" => event_channel::EvtchnClose { port }
    "struct evtchn_send" => event_channel::EvtchnSend { port }
    "struct evtchn_status" => event_channel::EvtchnStatus { dom, port, status, vcpu, u; _pad }
    "typeof(((struct evtchn_status *)0)->u.unbound)" => event_channel::StatusUnbound { dom }
    "typeof(((struct evtchn_status *)0)->u.interdomain)" => event_channel::StatusInterdomain { dom,
        port; _pad }
    "struct evtchn_bind_vcpu" => event_channel::EvtchnBindVcpu { port, vcpu }
    "struct evtchn_unmask" => event_channel::EvtchnUnmask { port }
    "struct evtchn_reset" => event_channel::EvtchnReset { dom }
    "struct evtchn_init_control" => event_channel::EvtchnInitControl { control_gfn, offset, vcpu,
        link_bits; _pad }
    "struct evtchn_expand_array" => event_channel::EvtchnExpandArray { array_gfn }
    "struct evtchn_set_priority" => event_channel::EvtchnSetPriority { port, priority }
    "struct evtchn_fifo_control_block" => event_channel::EvtchnFifoControlBlock { ready, head; _rsvd }
    "struct grant_entry_v1" => grant_table::GrantEntryV1 { flags, domid, frame }
    "struct grant_entry_header" => grant_table::GrantEntryHeader { flags, domid }
    "typeof(((union grant_entry_v2 *)0)->full_page)" => grant_table::GrantEntryV2FullPage { hdr,
        frame; _pad0 }
    "typeof(((union grant_entry_v2 *)0)->sub_page)" => grant_table::GrantEntryV2SubPage { hdr, page_off,
        length, frame }
    "typeof(((union grant_entry_v2 *)0)->transitive)" => grant_table::GrantEntryV2Transitive { hdr,
        trans_domid, gref; _pad0 }
    "struct gnttab_map_grant_ref" => grant_table::GnttabMapGrantRef { host_addr, flags, gref = "ref", dom,
        status, handle, dev_bus_addr }
    "struct gnttab_unmap_grant_ref" => grant_table::GnttabUnmapGrantRef { host_addr, dev_bus_addr, handle,
        status; _pad }
    "struct gnttab_setup_table" => grant_table::GnttabSetupTable { dom, nr_frames, status,
        frame_list; _pad0, _pad1 }
    "struct gnttab_dump_table" => grant_table::GnttabDumpTable { dom, status }
    "struct gnttab_transfer" => grant_table::GnttabTransfer { mfn, domid, gref = "ref",
        status; _pad0, _pad1 }
    "struct gnttab_copy_ptr" => grant_table::GnttabCopyPtr { u, domid, offset; _pad }
    "struct gnttab_copy" => grant_table::GnttabCopy { source, dest, len, flags, status; _pad }
    "struct gnttab_query_size" => grant_table::GnttabQuerySize { dom, nr_frames, max_nr_frames,
        status; _pad0, _pad1 }
    "struct gnttab_unmap_and_replace" => grant_table::GnttabUnmapAndReplace { host_addr, new_addr, handle,
        status; _pad }
    "struct gnttab_set_version" => grant_table::GnttabSetVersion { version }
    "struct gnttab_get_status_frames" => grant_table::GnttabGetStatusFrames { nr_frames, dom, status,
        frame_list }
    "struct gnttab_get_version" => grant_table::GnttabGetVersion { dom, version; _pad }
    "struct gnttab_swap_grant_ref" => grant_table::GnttabSwapGrantRef { ref_a, ref_b, status; _pad }
    "struct gnttab_cache_flush" => grant_table::GnttabCacheFlush { a, offset, length, op }
    "struct xen_hvm_param" => hvm_op::HvmParamArg { domid, index, value; _pad }
    "struct xen_hvm_pagetable_dying" => hvm_op::HvmPagetableDying { domid, gpa; _pad }
    "struct xen_hvm_get_time" => hvm_op::HvmGetTime { now }
    "struct xen_hvm_get_mem_type" => hvm_op::HvmGetMemType { domid, mem_type, pfn; _pad }
    "struct xen_hvm_evtchn_upcall_vector" => hvm_op::HvmEvtchnUpcallVector { vcpu, vector; _pad }
    "struct hvm_save_descriptor" => hvm_save::HvmSaveDescriptor { typecode, instance, length }
    "struct hvm_save_header" => hvm_save::HvmSaveHeader { magic, version, changeset, cpuid, gtsc_khz }
    "struct hvm_hw_cpu" => hvm_save::HvmHwCpu { fpu_regs, rax, rbx, rcx, rdx, rbp, rsi, rdi, rsp, r8, r9,
        r10, r11, r12, r13, r14, r15, rip, rflags, cr0, cr2, cr3, cr4, dr0, dr1, dr2, dr3, dr6, dr7,
        cs_sel, ds_sel, es_sel, fs_sel, gs_sel, ss_sel, tr_sel, ldtr_sel, cs_limit, ds_limit, es_limit,
        fs_limit, gs_limit, ss_limit, tr_limit, ldtr_limit, idtr_limit, gdtr_limit, cs_base, ds_base,
        es_base, fs_base, gs_base, ss_base, tr_base, ldtr_base, idtr_base, gdtr_base, cs_arbytes,
        ds_arbytes, es_arbytes, fs_arbytes, gs_arbytes, ss_arbytes, tr_arbytes, ldtr_arbytes, sysenter_cs,
        sysenter_esp, sysenter_eip, shadow_gs, msr_flags, msr_lstar, msr_star, msr_cstar, msr_syscall_mask,
        msr_efer, msr_tsc_aux, tsc, pending_event, error_code, flags, pad0 }
    "struct hvm_hw_vpic" => hvm_save::HvmHwVpic { irr, imr, isr, irq_base, elcr,
        int_output; init_state_priority_add, modes }
    "struct hvm_hw_vioapic" => hvm_save::HvmHwVioapic { base_address, ioregsel, id, redirtbl }
    "struct hvm_hw_lapic" => hvm_save::HvmHwLapic { apic_base_msr, disabled, timer_divisor, tdt_msr }
    "struct hvm_hw_lapic_regs" => hvm_save::HvmHwLapicRegs { data }
    "struct hvm_hw_pci_irqs" => hvm_save::HvmHwPciIrqs { pad }
    "struct hvm_hw_isa_irqs" => hvm_save::HvmHwIsaIrqs { pad }
    "struct hvm_hw_pci_link" => hvm_save::HvmHwPciLink { route; _pad0 }
    "struct hvm_hw_pit_channel" => hvm_save::HvmHwPitChannel { count, latched_count, count_latched,
        status_latched, status, read_state, write_state, write_latch, rw_mode, mode, bcd, gate }
    "struct hvm_hw_pit" => hvm_save::HvmHwPit { channels, speaker_data_on; _pad0 }
    "struct hvm_hw_rtc" => hvm_save::HvmHwRtc { cmos_data, cmos_index, rtc_offset; _pad0 }
    "struct hvm_hw_pmtimer" => hvm_save::HvmHwPmtimer { tmr_val, pm1a_sts, pm1a_en }
    "struct hvm_hw_mtrr" => hvm_save::HvmHwMtrr { msr_pat_cr, msr_mtrr_var, msr_mtrr_fixed, msr_mtrr_cap,
        msr_mtrr_def_type }
    "struct hvm_hw_cpu_xsave" => hvm_save::HvmHwCpuXsave { xfeature_mask, xcr0, xcr0_accum,
        fpu_sse = "save_area.fpu_sse", xsave_hdr = "save_area.xsave_hdr" }
    "struct hvm_hw_cpu_xsave_hdr" => hvm_save::HvmHwCpuXsaveHdr { xstate_bv, xcomp_bv, reserved }
    "struct hvm_vmce_vcpu" => hvm_save::HvmVmceVcpu { caps, mci_ctl2_bank0, mci_ctl2_bank1, mcg_ext_ctl }
    "struct hvm_tsc_adjust" => hvm_save::HvmTscAdjust { tsc_adjust }
    "struct hvm_msr" => hvm_save::HvmMsr { count; _pad, _msr }
    "struct hvm_one_msr" => hvm_save::HvmOneMsr { index, rsvd = "_rsvd", val }
    "struct hvm_start_info" => hvm_start_info::HvmStartInfo { magic, version, flags, nr_modules,
        modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr, memmap_entries, reserved }
    "struct hvm_modlist_entry" => hvm_start_info::HvmModlistEntry { paddr, size, cmdline_paddr, reserved }
    "struct hvm_memmap_table_entry" => hvm_start_info::HvmMemmapTableEntry { addr, size, kind = "type",
        reserved }
    "struct vcpu_hvm_x86_32" => hvm_vcpu::VcpuHvmX86_32 { eax, ecx, edx, ebx, esp, ebp, esi, edi, eip,
        eflags, cr0, cr3, cr4, pad1, efer, cs_base, ds_base, ss_base, es_base, tr_base, cs_limit, ds_limit,
        ss_limit, es_limit, tr_limit, cs_ar, ds_ar, ss_ar, es_ar, tr_ar, pad2 }
    "struct vcpu_hvm_x86_64" => hvm_vcpu::VcpuHvmX86_64 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, rip,
        rflags, cr0, cr3, cr4, efer }
    "struct vcpu_hvm_context" => hvm_vcpu::VcpuHvmContext { mode, pad, cpu_regs }
    "struct blkif_request_segment" => io::blkif::BlkifRequestSegment { gref, first_sect, last_sect; _pad }
    "struct blkif_request" => io::blkif::BlkifRequest { operation, nr_segments, handle, id, sector_number,
        seg; _pad }
    "struct blkif_request_discard" => io::blkif::BlkifRequestDiscard { operation, flag, handle, id,
        sector_number, nr_sectors; _pad }
    "struct blkif_request_indirect" => io::blkif::BlkifRequestIndirect { operation, indirect_op,
        nr_segments, id, sector_number, handle, indirect_grefs; _pad0, _pad1, _pad2 }
    "struct blkif_response" => io::blkif::BlkifResponse { id, operation, status; _pad0, _pad1 }
    "struct xencons_interface" => io::console::XenconsInterface { input = "in", output = "out", in_cons,
        in_prod, out_cons, out_prod }
    "struct netif_tx_request" => io::netif::NetifTxRequest { gref, offset, flags, id, size }
    "struct netif_tx_response" => io::netif::NetifTxResponse { id, status }
    "struct netif_rx_request" => io::netif::NetifRxRequest { id, gref; _pad }
    "struct netif_rx_response" => io::netif::NetifRxResponse { id, offset, flags, status }
    "struct netif_extra_info" => io::netif::NetifExtraInfo { kind = "type", flags, u }
    "typeof(((struct netif_extra_info *)0)->u.gso)" => io::netif::NetifExtraGso { size, kind = "type",
        features; _pad }
    "typeof(((struct netif_extra_info *)0)->u.mcast)" => io::netif::NetifExtraMcast { addr }
    "typeof(((struct netif_extra_info *)0)->u.hash)" => io::netif::NetifExtraHash { kind = "type",
        algorithm, value }
    "struct xen_netif_ctrl_request" => io::netif::NetifCtrlRequest { id, kind = "type", data }
    "struct xen_netif_ctrl_response" => io::netif::NetifCtrlResponse { id, kind = "type", status, data }
    "struct xen_netif_gref" => io::netif::NetifGref { gref = "ref", flags, status }
    "struct head_sring" => io::ring::SringHeader { req_prod, req_event, rsp_prod, rsp_event; _pad }
    "struct xsd_sockmsg" => io::xs_wire::XsdSockmsg { kind = "type", req_id, tx_id, len }
    "struct xenstore_domain_interface" => io::xs_wire::XenstoreDomainInterface { req, rsp, req_cons,
        req_prod, rsp_cons, rsp_prod, server_features, connection, error }
    "struct xen_memory_reservation" => memory::MemoryReservation { extent_start, nr_extents, extent_order,
        mem_flags, domid; _pad }
    "struct xen_memory_exchange" => memory::MemoryExchange { input = "in", output = "out", nr_exchanged }
    "struct xen_memory_domain" => memory::MemoryDomain { domid }
    "struct xen_add_to_physmap" => memory::AddToPhysmap { domid, size, space, idx, gpfn }
    "struct xen_add_to_physmap_batch" => memory::AddToPhysmapBatch { domid, space, size,
        foreign_domid = "u.foreign_domid", idxs, gpfns, errs }
    "struct xen_remove_from_physmap" => memory::RemoveFromPhysmap { domid, gpfn; _pad }
    "struct xen_memory_map" => memory::MemoryMap { nr_entries, buffer; _pad }
    "struct xen_foreign_memory_map" => memory::ForeignMemoryMap { domid, map; _pad }
    "struct xen_pod_target" => memory::PodTarget { target_pages, tot_pages, pod_cache_pages, pod_entries,
        domid; _pad }
    "struct xen_reserved_device_memory" => memory::ReservedDeviceMemory { start_pfn, nr_pages }
    "struct xen_reserved_device_memory_map" => memory::ReservedDeviceMemoryMap { flags, nr_entries, buffer,
        dev = "dev.pci"; _pad }
    "struct xen_mem_acquire_resource" => memory::MemAcquireResource { domid, kind = "type", id, nr_frames,
        pad, frame, frame_list }
    "struct xen_vmemrange" => memory::VmemRange { start, end, flags, nid }
    "struct xen_vnuma_topology_info" => memory::VnumaTopologyInfo { domid, pad, nr_vnodes, nr_vcpus,
        nr_vmemranges, vdistance, vcpu_to_vnode, vmemrange }
    "struct physdev_eoi" => physdev::PhysdevEoi { irq }
    "struct physdev_irq_status_query" => physdev::PhysdevIrqStatusQuery { irq, flags }
    "struct physdev_map_pirq" => physdev::PhysdevMapPirq { domid, kind = "type", index, pirq, bus, devfn,
        entry_nr, table_base; _pad0, _pad1 }
    "struct physdev_unmap_pirq" => physdev::PhysdevUnmapPirq { domid, pirq; _pad }
    "struct physdev_setup_gsi" => physdev::PhysdevSetupGsi { gsi, triggering, polarity; _pad }
    "struct physdev_get_free_pirq" => physdev::PhysdevGetFreePirq { kind = "type", pirq }
    "struct physdev_pci_mmcfg_reserved" => physdev::PhysdevPciMmcfgReserved { address, segment, start_bus,
        end_bus, flags }
    "struct physdev_pci_device_add" => physdev::PhysdevPciDeviceAdd { seg, bus, devfn, flags,
        physfn_bus = "physfn.bus", physfn_devfn = "physfn.devfn"; _pad }
    "struct physdev_pci_device" => physdev::PhysdevPciDevice { seg, bus, devfn }
    "struct physdev_dbgp_op" => physdev::PhysdevDbgpOp { op, bus, pci = "u.pci" }
    "struct xen_platform_op" => platform::XenPlatformOp { cmd, interface_version, u }
    "struct xenpf_settime32" => platform::Settime32 { secs, nsecs, system_time }
    "struct xenpf_settime64" => platform::Settime64 { secs, nsecs, mbz, system_time }
    "struct xenpf_firmware_info" => platform::FirmwareInfo { kind = "type", index, u }
    "struct xenpf_enter_acpi_sleep" => platform::EnterAcpiSleep { val_a, val_b, sleep_state, flags }
    "struct xenpf_pcpuinfo" => platform::PcpuInfo { xen_cpuid, max_present, flags, apic_id, acpi_id }
    "struct xenpf_pcpu_version" => platform::PcpuVersion { xen_cpuid, max_present, vendor_id, family,
        model, stepping }
    "struct xenpf_cpu_ol" => platform::CpuOl { cpuid }
    "struct sched_shutdown" => sched::SchedShutdown { reason }
    "struct sched_poll" => sched::SchedPoll { ports, nr_ports, timeout; _pad }
    "struct sched_remote_shutdown" => sched::SchedRemoteShutdown { domain_id, reason; _pad }
    "struct sched_watchdog" => sched::SchedWatchdog { id, timeout }
    "struct sched_pin_override" => sched::SchedPinOverride { pcpu }
    "struct xen_sysctl" => sysctl::XenSysctl { cmd, interface_version, u }
    "struct xen_sysctl_readconsole" => sysctl::ReadConsole { clear, incremental, index, buffer,
        count; _pad0, _pad }
    "struct xen_sysctl_physinfo" => sysctl::PhysInfo { threads_per_core, cores_per_socket, nr_cpus,
        max_cpu_id, nr_nodes, max_node_id, cpu_khz, capabilities, arch_capabilities, total_pages,
        free_pages, scrub_pages, outstanding_pages, max_mfn, hw_cap; _pad }
    "struct xen_sysctl_sched_id" => sysctl::SchedId { sched_id }
    "struct xen_sysctl_getdomaininfolist" => sysctl::GetDomainInfoList { first_domain, max_domains, buffer,
        num_domains; _pad0, _pad1 }
    "struct xen_sysctl_debug_keys" => sysctl::DebugKeys { keys, nr_keys; _pad }
    "struct xen_sysctl_cpuinfo" => sysctl::CpuInfo { idletime }
    "struct xen_sysctl_getcpuinfo" => sysctl::GetCpuInfo { max_cpus, info, nr_cpus; _pad0, _pad1 }
    "struct xen_sysctl_availheap" => sysctl::AvailHeap { min_bitwidth, max_bitwidth, node,
        avail_bytes; _pad }
    "struct xen_sysctl_cpu_hotplug" => sysctl::CpuHotplug { cpu, op }
    "struct xen_sysctl_cputopo" => sysctl::CpuTopo { core, socket, node }
    "struct xen_sysctl_cputopoinfo" => sysctl::CpuTopoInfo { num_cpus, cputopo; _pad }
    "struct xen_sysctl_pcitopoinfo" => sysctl::PciTopoInfo { num_devs, devs, nodes; _pad }
    "struct xen_sysctl_meminfo" => sysctl::MemInfo { memsize, memfree }
    "struct xen_sysctl_numainfo" => sysctl::NumaInfo { num_nodes, meminfo, distance; _pad }
    "struct xen_sysctl_cpupool_op" => sysctl::CpupoolOp { op, cpupool_id, sched_id, domid, cpu, n_dom,
        cpumap }
    "struct xen_sysctl_credit_schedule" => sysctl::CreditSchedule { tslice_ms, ratelimit_us,
        vcpu_migr_delay_us }
    "struct xen_sysctl_credit2_schedule" => sysctl::Credit2Schedule { ratelimit_us }
    "struct xen_sysctl_scheduler_op" => sysctl::SchedulerOp { cpupool_id, sched_id, cmd, u; _pad }
    "struct xen_sysctl_cpu_levelling_caps" => sysctl::CpuLevellingCaps { caps }
    "struct xen_sysctl_cpu_featureset" => sysctl::CpuFeatureset { index, nr_features, features }
    "struct xen_sysctl_cpu_policy" => sysctl::CpuPolicy { index, nr_leaves, nr_msrs, rsvd = "_rsvd",
        leaves, msrs }
    "struct vcpu_runstate_info" => vcpu::VcpuRunstateInfo { state, state_entry_time, time; _pad }
    "struct vcpu_register_runstate_memory_area" => vcpu::VcpuRegisterRunstateMemoryArea { addr }
    "struct vcpu_set_periodic_timer" => vcpu::VcpuSetPeriodicTimer { period_ns }
    "struct vcpu_set_singleshot_timer" => vcpu::VcpuSetSingleshotTimer { timeout_abs_ns, flags; _pad }
    "struct vcpu_register_vcpu_info" => vcpu::VcpuRegisterVcpuInfo { mfn, offset, rsvd }
    "struct vcpu_get_physid" => vcpu::VcpuGetPhysid { phys_id }
    "struct vcpu_register_time_memory_area" => vcpu::VcpuRegisterTimeMemoryArea { addr }
    "struct xen_compile_info" => version::CompileInfo { compiler, compile_by, compile_domain, compile_date }
    "struct xen_platform_parameters" => version::PlatformParameters { virt_start }
    "struct xen_feature_info" => version::FeatureInfo { submap_idx, submap }
    "struct xen_build_id" => version::BuildId { len }
    "struct multicall_entry" => xen::MulticallEntry { op, result, args }
    "struct vcpu_time_info" => xen::VcpuTimeInfo { version, tsc_timestamp, system_time, tsc_to_system_mul,
        tsc_shift, flags; _pad0, _pad1 }
    "struct vcpu_info" => xen::VcpuInfo { evtchn_upcall_pending, evtchn_upcall_mask, evtchn_pending_sel,
        arch, time; _pad0 }
    "struct shared_info" => xen::SharedInfo { vcpu_info, evtchn_pending, evtchn_mask, wc_version, wc_sec,
        wc_nsec, wc_sec_hi, arch }
    "xen_uuid_t" => xen::XenUuid { a }
    "struct xenctl_bitmap" => xen::XenctlBitmap { bitmap, nr_bits; _pad }
}

enums! {
    cpufeatureset::FeatureWord { Leaf1Edx = "XEN_X86_FEATURE_FPU / 32",
        Leaf1Ecx = "XEN_X86_FEATURE_SSE3 / 32", Leaf80000001Edx = "XEN_X86_FEATURE_SYSCALL / 32",
        Leaf80000001Ecx = "XEN_X86_FEATURE_LAHF_LM / 32", LeafDSub1Eax = "XEN_X86_FEATURE_XSAVEOPT / 32",
        Leaf7Sub0Ebx = "XEN_X86_FEATURE_FSGSBASE / 32", Leaf7Sub0Ecx = "XEN_X86_FEATURE_PREFETCHWT1 / 32",
        Leaf80000007Edx = "XEN_X86_FEATURE_HW_PSTATE / 32",
        Leaf80000008Ebx = "XEN_X86_FEATURE_CLZERO / 32",
        Leaf7Sub0Edx = "XEN_X86_FEATURE_AVX512_4VNNIW / 32",
        Leaf7Sub1Eax = "XEN_X86_FEATURE_AVX_VNNI / 32",
        Leaf80000021Eax = "XEN_X86_FEATURE_LFENCE_DISPATCH / 32",
        Leaf7Sub1Ebx = "XEN_X86_FEATURE_INTEL_PPIN / 32", Leaf7Sub2Edx = "XEN_X86_FEATURE_INTEL_PSFD / 32",
        Leaf7Sub1Ecx = "XEN_X86_FEATURE_CET_SSS / 32 - 1", Leaf7Sub1Edx = "XEN_X86_FEATURE_CET_SSS / 32",
        ArchCapsLow = "XEN_X86_FEATURE_RDCL_NO / 32", ArchCapsHigh = "XEN_X86_FEATURE_ITS_NO / 32",
        Leaf80000021Ecx = "XEN_X86_FEATURE_TSA_SQ_NO / 32" }
    domctl::DomctlOp { CreateDomain = "XEN_DOMCTL_createdomain",
        DestroyDomain = "XEN_DOMCTL_destroydomain", PauseDomain = "XEN_DOMCTL_pausedomain",
        UnpauseDomain = "XEN_DOMCTL_unpausedomain", GetDomainInfo = "XEN_DOMCTL_getdomaininfo",
        SetVcpuAffinity = "XEN_DOMCTL_setvcpuaffinity", ShadowOp = "XEN_DOMCTL_shadow_op",
        MaxMem = "XEN_DOMCTL_max_mem", SetVcpuContext = "XEN_DOMCTL_setvcpucontext",
        GetVcpuContext = "XEN_DOMCTL_getvcpucontext", GetVcpuInfo = "XEN_DOMCTL_getvcpuinfo",
        MaxVcpus = "XEN_DOMCTL_max_vcpus", SchedulerOp = "XEN_DOMCTL_scheduler_op",
        SetDomainHandle = "XEN_DOMCTL_setdomainhandle", SetDebugging = "XEN_DOMCTL_setdebugging",
        IrqPermission = "XEN_DOMCTL_irq_permission", IomemPermission = "XEN_DOMCTL_iomem_permission",
        IoportPermission = "XEN_DOMCTL_ioport_permission", HypercallInit = "XEN_DOMCTL_hypercall_init",
        SetTimeOffset = "XEN_DOMCTL_settimeoffset", GetVcpuAffinity = "XEN_DOMCTL_getvcpuaffinity",
        RealModeArea = "XEN_DOMCTL_real_mode_area", ResumeDomain = "XEN_DOMCTL_resumedomain",
        SendTrigger = "XEN_DOMCTL_sendtrigger", Subscribe = "XEN_DOMCTL_subscribe",
        GetHvmContext = "XEN_DOMCTL_gethvmcontext", SetHvmContext = "XEN_DOMCTL_sethvmcontext",
        SetAddressSize = "XEN_DOMCTL_set_address_size", GetAddressSize = "XEN_DOMCTL_get_address_size",
        AssignDevice = "XEN_DOMCTL_assign_device", BindPtIrq = "XEN_DOMCTL_bind_pt_irq",
        MemoryMapping = "XEN_DOMCTL_memory_mapping", IoportMapping = "XEN_DOMCTL_ioport_mapping",
        SetExtVcpuContext = "XEN_DOMCTL_set_ext_vcpucontext",
        GetExtVcpuContext = "XEN_DOMCTL_get_ext_vcpucontext", SetOptFeature = "XEN_DOMCTL_set_opt_feature",
        TestAssignDevice = "XEN_DOMCTL_test_assign_device", SetTarget = "XEN_DOMCTL_set_target",
        DeassignDevice = "XEN_DOMCTL_deassign_device", UnbindPtIrq = "XEN_DOMCTL_unbind_pt_irq",
        GetDeviceGroup = "XEN_DOMCTL_get_device_group", DebugOp = "XEN_DOMCTL_debug_op",
        GetHvmContextPartial = "XEN_DOMCTL_gethvmcontext_partial", VmEventOp = "XEN_DOMCTL_vm_event_op",
        MemSharingOp = "XEN_DOMCTL_mem_sharing_op", GetTscInfo = "XEN_DOMCTL_gettscinfo",
        SetTscInfo = "XEN_DOMCTL_settscinfo", GetPageFrameInfo3 = "XEN_DOMCTL_getpageframeinfo3",
        SetVcpuExtState = "XEN_DOMCTL_setvcpuextstate", GetVcpuExtState = "XEN_DOMCTL_getvcpuextstate",
        SetAccessRequired = "XEN_DOMCTL_set_access_required", AuditP2m = "XEN_DOMCTL_audit_p2m",
        SetVirqHandler = "XEN_DOMCTL_set_virq_handler",
        SetBrokenPageP2m = "XEN_DOMCTL_set_broken_page_p2m",
        SetNodeAffinity = "XEN_DOMCTL_setnodeaffinity", GetNodeAffinity = "XEN_DOMCTL_getnodeaffinity",
        CacheFlush = "XEN_DOMCTL_cacheflush", GetVcpuMsrs = "XEN_DOMCTL_get_vcpu_msrs",
        SetVcpuMsrs = "XEN_DOMCTL_set_vcpu_msrs", SetVnumaInfo = "XEN_DOMCTL_setvnumainfo",
        PsrCmtOp = "XEN_DOMCTL_psr_cmt_op", MonitorOp = "XEN_DOMCTL_monitor_op",
        PsrAlloc = "XEN_DOMCTL_psr_alloc", SoftReset = "XEN_DOMCTL_soft_reset",
        VuartOp = "XEN_DOMCTL_vuart_op", GetCpuPolicy = "XEN_DOMCTL_get_cpu_policy",
        SetCpuPolicy = "XEN_DOMCTL_set_cpu_policy", VmtraceOp = "XEN_DOMCTL_vmtrace_op",
        GetPagingMempoolSize = "XEN_DOMCTL_get_paging_mempool_size",
        SetPagingMempoolSize = "XEN_DOMCTL_set_paging_mempool_size",
        GdbsxGuestMemio = "XEN_DOMCTL_gdbsx_guestmemio", GdbsxPauseVcpu = "XEN_DOMCTL_gdbsx_pausevcpu",
        GdbsxUnpauseVcpu = "XEN_DOMCTL_gdbsx_unpausevcpu", GdbsxDomStatus = "XEN_DOMCTL_gdbsx_domstatus" }
    domctl::DeviceKind { Pci = "XEN_DOMCTL_DEV_PCI", DeviceTree = "XEN_DOMCTL_DEV_DT" }
    domctl::PtIrqType { Pci = "PT_IRQ_TYPE_PCI", Isa = "PT_IRQ_TYPE_ISA", Msi = "PT_IRQ_TYPE_MSI",
        MsiTranslate = "PT_IRQ_TYPE_MSI_TRANSLATE", Spi = "PT_IRQ_TYPE_SPI" }
    domctl::Trigger { Nmi = "XEN_DOMCTL_SENDTRIGGER_NMI", Reset = "XEN_DOMCTL_SENDTRIGGER_RESET",
        Init = "XEN_DOMCTL_SENDTRIGGER_INIT", Power = "XEN_DOMCTL_SENDTRIGGER_POWER",
        Sleep = "XEN_DOMCTL_SENDTRIGGER_SLEEP" }
    domctl::ShadowCmd { Off = "XEN_DOMCTL_SHADOW_OP_OFF", EnableTest = "XEN_DOMCTL_SHADOW_OP_ENABLE_TEST",
        EnableLogdirty = "XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY", Clean = "XEN_DOMCTL_SHADOW_OP_CLEAN",
        Peek = "XEN_DOMCTL_SHADOW_OP_PEEK", GetAllocation = "XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION",
        SetAllocation = "XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION", Enable = "XEN_DOMCTL_SHADOW_OP_ENABLE" }
    domctl::MappingChange { Remove = "DPCI_REMOVE_MAPPING", Add = "DPCI_ADD_MAPPING" }
    domctl::Scheduler { Credit = "XEN_SCHEDULER_CREDIT", Credit2 = "XEN_SCHEDULER_CREDIT2",
        Arinc653 = "XEN_SCHEDULER_ARINC653", Rtds = "XEN_SCHEDULER_RTDS", Null = "XEN_SCHEDULER_NULL" }
    domctl::SchedulerCmd { PutInfo = "XEN_DOMCTL_SCHEDOP_putinfo", GetInfo = "XEN_DOMCTL_SCHEDOP_getinfo",
        PutVcpuInfo = "XEN_DOMCTL_SCHEDOP_putvcpuinfo", GetVcpuInfo = "XEN_DOMCTL_SCHEDOP_getvcpuinfo" }
    domctl::TscMode { Default = "0", AlwaysEmulate = "1", NeverEmulate = "2" }
    errno::Errno { EPERM = "XEN_EPERM", ENOENT = "XEN_ENOENT", ESRCH = "XEN_ESRCH", EIO = "XEN_EIO",
        ENXIO = "XEN_ENXIO", E2BIG = "XEN_E2BIG", ENOEXEC = "XEN_ENOEXEC", EBADF = "XEN_EBADF",
        ECHILD = "XEN_ECHILD", EAGAIN = "XEN_EAGAIN", ENOMEM = "XEN_ENOMEM", EACCES = "XEN_EACCES",
        EFAULT = "XEN_EFAULT", EBUSY = "XEN_EBUSY", EEXIST = "XEN_EEXIST", EXDEV = "XEN_EXDEV",
        ENODEV = "XEN_ENODEV", ENOTDIR = "XEN_ENOTDIR", EISDIR = "XEN_EISDIR", EINVAL = "XEN_EINVAL",
        ENFILE = "XEN_ENFILE", EMFILE = "XEN_EMFILE", ENOSPC = "XEN_ENOSPC", EROFS = "XEN_EROFS",
        EMLINK = "XEN_EMLINK", EDOM = "XEN_EDOM", ERANGE = "XEN_ERANGE", EDEADLK = "XEN_EDEADLK",
        ENAMETOOLONG = "XEN_ENAMETOOLONG", ENOLCK = "XEN_ENOLCK", ENOSYS = "XEN_ENOSYS",
        ENOTEMPTY = "XEN_ENOTEMPTY", ENODATA = "XEN_ENODATA", ETIME = "XEN_ETIME", EBADMSG = "XEN_EBADMSG",
        EOVERFLOW = "XEN_EOVERFLOW", EILSEQ = "XEN_EILSEQ", ENOTSOCK = "XEN_ENOTSOCK",
        EMSGSIZE = "XEN_EMSGSIZE", EOPNOTSUPP = "XEN_EOPNOTSUPP", EADDRINUSE = "XEN_EADDRINUSE",
        EADDRNOTAVAIL = "XEN_EADDRNOTAVAIL", ENOBUFS = "XEN_ENOBUFS", EISCONN = "XEN_EISCONN",
        ENOTCONN = "XEN_ENOTCONN", ETIMEDOUT = "XEN_ETIMEDOUT", ECONNREFUSED = "XEN_ECONNREFUSED" }
    event_channel::EventChannelOp { BindInterdomain = "EVTCHNOP_bind_interdomain",
        BindVirq = "EVTCHNOP_bind_virq", BindPirq = "EVTCHNOP_bind_pirq", Close = "EVTCHNOP_close",
        Send = "EVTCHNOP_send", Status = "EVTCHNOP_status", AllocUnbound = "EVTCHNOP_alloc_unbound",
        BindIpi = "EVTCHNOP_bind_ipi", BindVcpu = "EVTCHNOP_bind_vcpu", Unmask = "EVTCHNOP_unmask",
        Reset = "EVTCHNOP_reset", InitControl = "EVTCHNOP_init_control",
        ExpandArray = "EVTCHNOP_expand_array", SetPriority = "EVTCHNOP_set_priority" }
    event_channel::PortStatus { Closed = "EVTCHNSTAT_closed", Unbound = "EVTCHNSTAT_unbound",
        Interdomain = "EVTCHNSTAT_interdomain", Pirq = "EVTCHNSTAT_pirq", Virq = "EVTCHNSTAT_virq",
        Ipi = "EVTCHNSTAT_ipi" }
    grant_table::GrantTableOp { MapGrantRef = "GNTTABOP_map_grant_ref",
        UnmapGrantRef = "GNTTABOP_unmap_grant_ref", SetupTable = "GNTTABOP_setup_table",
        DumpTable = "GNTTABOP_dump_table", Transfer = "GNTTABOP_transfer", Copy = "GNTTABOP_copy",
        QuerySize = "GNTTABOP_query_size", UnmapAndReplace = "GNTTABOP_unmap_and_replace",
        SetVersion = "GNTTABOP_set_version", GetStatusFrames = "GNTTABOP_get_status_frames",
        GetVersion = "GNTTABOP_get_version", SwapGrantRef = "GNTTABOP_swap_grant_ref",
        CacheFlush = "GNTTABOP_cache_flush" }
    grant_table::GrantResult { Okay = "GNTST_okay", GeneralError = "GNTST_general_error",
        BadDomain = "GNTST_bad_domain", BadGntref = "GNTST_bad_gntref", BadHandle = "GNTST_bad_handle",
        BadVirtAddr = "GNTST_bad_virt_addr", BadDevAddr = "GNTST_bad_dev_addr",
        NoDeviceSpace = "GNTST_no_device_space", PermissionDenied = "GNTST_permission_denied",
        BadPage = "GNTST_bad_page", BadCopyArg = "GNTST_bad_copy_arg",
        AddressTooBig = "GNTST_address_too_big", Eagain = "GNTST_eagain", NoSpace = "GNTST_no_space" }
    grant_table::GrantType { Invalid = "GTF_invalid", PermitAccess = "GTF_permit_access",
        AcceptTransfer = "GTF_accept_transfer", Transitive = "GTF_transitive" }
    hvm_op::HvmOp { SetParam = "HVMOP_set_param", GetParam = "HVMOP_get_param",
        FlushTlbs = "HVMOP_flush_tlbs", PagetableDying = "HVMOP_pagetable_dying",
        GetTime = "HVMOP_get_time", Xentrace = "HVMOP_xentrace", SetMemAccess = "HVMOP_set_mem_access",
        GetMemAccess = "HVMOP_get_mem_access", GetMemType = "HVMOP_get_mem_type",
        SetEvtchnUpcallVector = "HVMOP_set_evtchn_upcall_vector",
        GuestRequestVmEvent = "HVMOP_guest_request_vm_event", Altp2m = "HVMOP_altp2m" }
    hvm_op::HvmMemType { RamRw = "HVMMEM_ram_rw", RamRo = "HVMMEM_ram_ro", MmioDm = "HVMMEM_mmio_dm",
        Unused = "HVMMEM_unused", IoreqServer = "HVMMEM_ioreq_server" }
    hvm_params::HvmParam { CallbackIrq = "HVM_PARAM_CALLBACK_IRQ", StorePfn = "HVM_PARAM_STORE_PFN",
        StoreEvtchn = "HVM_PARAM_STORE_EVTCHN", PaeEnabled = "HVM_PARAM_PAE_ENABLED",
        IoreqPfn = "HVM_PARAM_IOREQ_PFN", BufioreqPfn = "HVM_PARAM_BUFIOREQ_PFN",
        Viridian = "HVM_PARAM_VIRIDIAN", TimerMode = "HVM_PARAM_TIMER_MODE",
        HpetEnabled = "HVM_PARAM_HPET_ENABLED", IdentPt = "HVM_PARAM_IDENT_PT",
        DmDomain = "HVM_PARAM_DM_DOMAIN", AcpiSState = "HVM_PARAM_ACPI_S_STATE",
        Vm86Tss = "HVM_PARAM_VM86_TSS", VptAlign = "HVM_PARAM_VPT_ALIGN",
        ConsolePfn = "HVM_PARAM_CONSOLE_PFN", ConsoleEvtchn = "HVM_PARAM_CONSOLE_EVTCHN",
        AcpiIoportsLocation = "HVM_PARAM_ACPI_IOPORTS_LOCATION",
        MemoryEventCr0 = "HVM_PARAM_MEMORY_EVENT_CR0", MemoryEventCr3 = "HVM_PARAM_MEMORY_EVENT_CR3",
        MemoryEventCr4 = "HVM_PARAM_MEMORY_EVENT_CR4", MemoryEventInt3 = "HVM_PARAM_MEMORY_EVENT_INT3",
        Nestedhvm = "HVM_PARAM_NESTEDHVM", MemoryEventSingleStep = "HVM_PARAM_MEMORY_EVENT_SINGLE_STEP",
        BufioreqEvtchn = "HVM_PARAM_BUFIOREQ_EVTCHN", PagingRingPfn = "HVM_PARAM_PAGING_RING_PFN",
        MonitorRingPfn = "HVM_PARAM_MONITOR_RING_PFN", SharingRingPfn = "HVM_PARAM_SHARING_RING_PFN",
        MemoryEventMsr = "HVM_PARAM_MEMORY_EVENT_MSR", TripleFaultReason = "HVM_PARAM_TRIPLE_FAULT_REASON",
        IoreqServerPfn = "HVM_PARAM_IOREQ_SERVER_PFN",
        NrIoreqServerPages = "HVM_PARAM_NR_IOREQ_SERVER_PAGES",
        VmGenerationIdAddr = "HVM_PARAM_VM_GENERATION_ID_ADDR", Altp2m = "HVM_PARAM_ALTP2M",
        X87FipWidth = "HVM_PARAM_X87_FIP_WIDTH", Vm86TssSized = "HVM_PARAM_VM86_TSS_SIZED",
        McaCap = "HVM_PARAM_MCA_CAP" }
    hvm_params::CallbackType { Gsi = "HVM_PARAM_CALLBACK_TYPE_GSI",
        PciIntx = "HVM_PARAM_CALLBACK_TYPE_PCI_INTX", Vector = "HVM_PARAM_CALLBACK_TYPE_VECTOR" }
    hvm_params::TimerMode { DelayForMissedTicks = "HVMPTM_delay_for_missed_ticks",
        NoDelayForMissedTicks = "HVMPTM_no_delay_for_missed_ticks",
        NoMissedTicksPending = "HVMPTM_no_missed_ticks_pending",
        OneMissedTickPending = "HVMPTM_one_missed_tick_pending" }
    hvm_params::Altp2mMode { Disabled = "XEN_ALTP2M_disabled", Mixed = "XEN_ALTP2M_mixed",
        External = "XEN_ALTP2M_external", Limited = "XEN_ALTP2M_limited" }
    hvm_save::SaveType { End = "HVM_SAVE_CODE(END)", Header = "HVM_SAVE_CODE(HEADER)",
        Cpu = "HVM_SAVE_CODE(CPU)", Pic = "HVM_SAVE_CODE(PIC)", Ioapic = "HVM_SAVE_CODE(IOAPIC)",
        Lapic = "HVM_SAVE_CODE(LAPIC)", LapicRegs = "HVM_SAVE_CODE(LAPIC_REGS)",
        PciIrq = "HVM_SAVE_CODE(PCI_IRQ)", IsaIrq = "HVM_SAVE_CODE(ISA_IRQ)",
        PciLink = "HVM_SAVE_CODE(PCI_LINK)", Pit = "HVM_SAVE_CODE(PIT)", Rtc = "HVM_SAVE_CODE(RTC)",
        Hpet = "HVM_SAVE_CODE(HPET)", Pmtimer = "HVM_SAVE_CODE(PMTIMER)", Mtrr = "HVM_SAVE_CODE(MTRR)",
        ViridianDomain = "HVM_SAVE_CODE(VIRIDIAN_DOMAIN)", CpuXsave = "CPU_XSAVE_CODE",
        ViridianVcpu = "HVM_SAVE_CODE(VIRIDIAN_VCPU)", VmceVcpu = "HVM_SAVE_CODE(VMCE_VCPU)",
        TscAdjust = "HVM_SAVE_CODE(TSC_ADJUST)", CpuMsr = "CPU_MSR_CODE" }
    hvm_start_info::HvmMemmapType { Ram = "XEN_HVM_MEMMAP_TYPE_RAM",
        Reserved = "XEN_HVM_MEMMAP_TYPE_RESERVED", Acpi = "XEN_HVM_MEMMAP_TYPE_ACPI",
        Nvs = "XEN_HVM_MEMMAP_TYPE_NVS", Unusable = "XEN_HVM_MEMMAP_TYPE_UNUSABLE",
        Disabled = "XEN_HVM_MEMMAP_TYPE_DISABLED", Pmem = "XEN_HVM_MEMMAP_TYPE_PMEM" }
    hvm_vcpu::VcpuHvmMode { Bits32 = "VCPU_HVM_MODE_32B", Bits64 = "VCPU_HVM_MODE_64B" }
    io::blkif::BlkifOp { Read = "BLKIF_OP_READ", Write = "BLKIF_OP_WRITE",
        WriteBarrier = "BLKIF_OP_WRITE_BARRIER", FlushDiskcache = "BLKIF_OP_FLUSH_DISKCACHE",
        Reserved1 = "BLKIF_OP_RESERVED_1", Discard = "BLKIF_OP_DISCARD", Indirect = "BLKIF_OP_INDIRECT" }
    io::blkif::BlkifStatus { Okay = "BLKIF_RSP_OKAY", Error = "BLKIF_RSP_ERROR",
        NotSupported = "BLKIF_RSP_EOPNOTSUPP" }
    io::netif::NetifExtraType { None = "XEN_NETIF_EXTRA_TYPE_NONE", Gso = "XEN_NETIF_EXTRA_TYPE_GSO",
        McastAdd = "XEN_NETIF_EXTRA_TYPE_MCAST_ADD", McastDel = "XEN_NETIF_EXTRA_TYPE_MCAST_DEL",
        Hash = "XEN_NETIF_EXTRA_TYPE_HASH" }
    io::netif::NetifGsoType { None = "XEN_NETIF_GSO_TYPE_NONE", TcpV4 = "XEN_NETIF_GSO_TYPE_TCPV4",
        TcpV6 = "XEN_NETIF_GSO_TYPE_TCPV6" }
    io::netif::NetifStatus { Okay = "NETIF_RSP_OKAY", Null = "NETIF_RSP_NULL", Error = "NETIF_RSP_ERROR",
        Dropped = "NETIF_RSP_DROPPED" }
    io::netif::NetifCtrlType { Invalid = "XEN_NETIF_CTRL_TYPE_INVALID",
        GetHashFlags = "XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS",
        SetHashFlags = "XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS",
        SetHashKey = "XEN_NETIF_CTRL_TYPE_SET_HASH_KEY",
        GetHashMappingSize = "XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE",
        SetHashMappingSize = "XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE",
        SetHashMapping = "XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING",
        SetHashAlgorithm = "XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM",
        GetGrefMappingSize = "XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE",
        AddGrefMapping = "XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING",
        DelGrefMapping = "XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING" }
    io::netif::NetifCtrlStatus { Success = "XEN_NETIF_CTRL_STATUS_SUCCESS",
        NotSupported = "XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED",
        InvalidParameter = "XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER",
        BufferOverflow = "XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW" }
    io::netif::NetifHashAlgorithm { None = "XEN_NETIF_CTRL_HASH_ALGORITHM_NONE",
        Toeplitz = "XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ" }
    io::xenbus::XenbusState { Unknown = "XenbusStateUnknown", Initialising = "XenbusStateInitialising",
        InitWait = "XenbusStateInitWait", Initialised = "XenbusStateInitialised",
        Connected = "XenbusStateConnected", Closing = "XenbusStateClosing", Closed = "XenbusStateClosed",
        Reconfiguring = "XenbusStateReconfiguring", Reconfigured = "XenbusStateReconfigured" }
    io::xs_wire::XsMessage { Control = "XS_CONTROL", Directory = "XS_DIRECTORY", Read = "XS_READ",
        GetPerms = "XS_GET_PERMS", Watch = "XS_WATCH", Unwatch = "XS_UNWATCH",
        TransactionStart = "XS_TRANSACTION_START", TransactionEnd = "XS_TRANSACTION_END",
        Introduce = "XS_INTRODUCE", Release = "XS_RELEASE", GetDomainPath = "XS_GET_DOMAIN_PATH",
        Write = "XS_WRITE", Mkdir = "XS_MKDIR", Rm = "XS_RM", SetPerms = "XS_SET_PERMS",
        WatchEvent = "XS_WATCH_EVENT", Error = "XS_ERROR", IsDomainIntroduced = "XS_IS_DOMAIN_INTRODUCED",
        Resume = "XS_RESUME", SetTarget = "XS_SET_TARGET", ResetWatches = "XS_RESET_WATCHES",
        DirectoryPart = "XS_DIRECTORY_PART", Invalid = "XS_INVALID" }
    io::xs_wire::XenstoreConnection { Connected = "XENSTORE_CONNECTED", Reconnect = "XENSTORE_RECONNECT" }
    io::xs_wire::XenstoreRingError { None = "XENSTORE_ERROR_NONE", Comm = "XENSTORE_ERROR_COMM",
        RingIndex = "XENSTORE_ERROR_RINGIDX", Protocol = "XENSTORE_ERROR_PROTO" }
    memory::MemoryOp { IncreaseReservation = "XENMEM_increase_reservation",
        DecreaseReservation = "XENMEM_decrease_reservation", MaximumRamPage = "XENMEM_maximum_ram_page",
        CurrentReservation = "XENMEM_current_reservation",
        MaximumReservation = "XENMEM_maximum_reservation", MachphysMfnList = "XENMEM_machphys_mfn_list",
        PopulatePhysmap = "XENMEM_populate_physmap", AddToPhysmap = "XENMEM_add_to_physmap",
        MemoryMap = "XENMEM_memory_map", MachineMemoryMap = "XENMEM_machine_memory_map",
        Exchange = "XENMEM_exchange", MachphysMapping = "XENMEM_machphys_mapping",
        SetMemoryMap = "XENMEM_set_memory_map", MaximumGpfn = "XENMEM_maximum_gpfn",
        RemoveFromPhysmap = "XENMEM_remove_from_physmap", SetPodTarget = "XENMEM_set_pod_target",
        GetPodTarget = "XENMEM_get_pod_target", GetSharingFreedPages = "XENMEM_get_sharing_freed_pages",
        GetSharingSharedPages = "XENMEM_get_sharing_shared_pages", PagingOp = "XENMEM_paging_op",
        AccessOp = "XENMEM_access_op", SharingOp = "XENMEM_sharing_op",
        AddToPhysmapBatch = "XENMEM_add_to_physmap_batch", ClaimPages = "XENMEM_claim_pages",
        MachphysCompatMfnList = "XENMEM_machphys_compat_mfn_list", GetVnumainfo = "XENMEM_get_vnumainfo",
        ReservedDeviceMemoryMap = "XENMEM_reserved_device_memory_map",
        AcquireResource = "XENMEM_acquire_resource" }
    memory::MapSpace { SharedInfo = "XENMAPSPACE_shared_info", GrantTable = "XENMAPSPACE_grant_table",
        Gmfn = "XENMAPSPACE_gmfn", GmfnRange = "XENMAPSPACE_gmfn_range",
        GmfnForeign = "XENMAPSPACE_gmfn_foreign", DevMmio = "XENMAPSPACE_dev_mmio" }
    memory::Resource { IoreqServer = "XENMEM_resource_ioreq_server",
        GrantTable = "XENMEM_resource_grant_table", VmtraceBuf = "XENMEM_resource_vmtrace_buf" }
    memory::GrantTableFrames { Shared = "XENMEM_resource_grant_table_id_shared",
        Status = "XENMEM_resource_grant_table_id_status" }
    physdev::PhysdevOp { IrqUnmaskNotify = "PHYSDEVOP_IRQ_UNMASK_NOTIFY",
        IrqStatusQuery = "PHYSDEVOP_irq_status_query", SetIopl = "PHYSDEVOP_set_iopl",
        SetIobitmap = "PHYSDEVOP_set_iobitmap", ApicRead = "PHYSDEVOP_apic_read",
        ApicWrite = "PHYSDEVOP_apic_write", AllocIrqVector = "PHYSDEVOP_alloc_irq_vector",
        FreeIrqVector = "PHYSDEVOP_free_irq_vector", Eoi = "PHYSDEVOP_eoi", MapPirq = "PHYSDEVOP_map_pirq",
        UnmapPirq = "PHYSDEVOP_unmap_pirq", ManagePciAdd = "PHYSDEVOP_manage_pci_add",
        ManagePciRemove = "PHYSDEVOP_manage_pci_remove", PirqEoiGmfnV1 = "PHYSDEVOP_pirq_eoi_gmfn_v1",
        RestoreMsi = "PHYSDEVOP_restore_msi", ManagePciAddExt = "PHYSDEVOP_manage_pci_add_ext",
        SetupGsi = "PHYSDEVOP_setup_gsi", GetFreePirq = "PHYSDEVOP_get_free_pirq",
        PciMmcfgReserved = "PHYSDEVOP_pci_mmcfg_reserved", PciDeviceAdd = "PHYSDEVOP_pci_device_add",
        PciDeviceRemove = "PHYSDEVOP_pci_device_remove", RestoreMsiExt = "PHYSDEVOP_restore_msi_ext",
        PirqEoiGmfnV2 = "PHYSDEVOP_pirq_eoi_gmfn_v2", DbgpOp = "PHYSDEVOP_dbgp_op",
        PrepareMsix = "PHYSDEVOP_prepare_msix", ReleaseMsix = "PHYSDEVOP_release_msix" }
    physdev::MapPirqType { Msi = "MAP_PIRQ_TYPE_MSI", Gsi = "MAP_PIRQ_TYPE_GSI",
        Unknown = "MAP_PIRQ_TYPE_UNKNOWN", MsiSeg = "MAP_PIRQ_TYPE_MSI_SEG",
        MultiMsi = "MAP_PIRQ_TYPE_MULTI_MSI" }
    physdev::DbgpReset { Prepare = "PHYSDEVOP_DBGP_RESET_PREPARE", Done = "PHYSDEVOP_DBGP_RESET_DONE" }
    physdev::DbgpBus { Unknown = "PHYSDEVOP_DBGP_BUS_UNKNOWN", Pci = "PHYSDEVOP_DBGP_BUS_PCI" }
    platform::PlatformOp { Settime32 = "XENPF_settime32", AddMemtype = "XENPF_add_memtype",
        DelMemtype = "XENPF_del_memtype", ReadMemtype = "XENPF_read_memtype",
        MicrocodeUpdate = "XENPF_microcode_update", PlatformQuirk = "XENPF_platform_quirk",
        GetCpuVersion = "XENPF_get_cpu_version", EfiRuntimeCall = "XENPF_efi_runtime_call",
        FirmwareInfo = "XENPF_firmware_info", EnterAcpiSleep = "XENPF_enter_acpi_sleep",
        ChangeFreq = "XENPF_change_freq", Getidletime = "XENPF_getidletime",
        SetProcessorPminfo = "XENPF_set_processor_pminfo", GetCpuinfo = "XENPF_get_cpuinfo",
        CpuOnline = "XENPF_cpu_online", CpuOffline = "XENPF_cpu_offline", CpuHotadd = "XENPF_cpu_hotadd",
        MemHotadd = "XENPF_mem_hotadd", CoreParking = "XENPF_core_parking",
        ResourceOp = "XENPF_resource_op", Settime64 = "XENPF_settime64", GetSymbol = "XENPF_get_symbol" }
    platform::FirmwareInfoType { DiskInfo = "XEN_FW_DISK_INFO",
        DiskMbrSignature = "XEN_FW_DISK_MBR_SIGNATURE", VbeddcInfo = "XEN_FW_VBEDDC_INFO",
        EfiInfo = "XEN_FW_EFI_INFO", KbdShiftFlags = "XEN_FW_KBD_SHIFT_FLAGS" }
    sched::SchedOp { Yield = "SCHEDOP_yield", Block = "SCHEDOP_block", Shutdown = "SCHEDOP_shutdown",
        Poll = "SCHEDOP_poll", RemoteShutdown = "SCHEDOP_remote_shutdown",
        ShutdownCode = "SCHEDOP_shutdown_code", Watchdog = "SCHEDOP_watchdog",
        PinOverride = "SCHEDOP_pin_override" }
    sched::ShutdownReason { Poweroff = "SHUTDOWN_poweroff", Reboot = "SHUTDOWN_reboot",
        Suspend = "SHUTDOWN_suspend", Crash = "SHUTDOWN_crash", Watchdog = "SHUTDOWN_watchdog",
        SoftReset = "SHUTDOWN_soft_reset" }
    sysctl::SysctlOp { ReadConsole = "XEN_SYSCTL_readconsole", TbufOp = "XEN_SYSCTL_tbuf_op",
        PhysInfo = "XEN_SYSCTL_physinfo", SchedId = "XEN_SYSCTL_sched_id", PerfcOp = "XEN_SYSCTL_perfc_op",
        GetDomainInfoList = "XEN_SYSCTL_getdomaininfolist", DebugKeys = "XEN_SYSCTL_debug_keys",
        GetCpuInfo = "XEN_SYSCTL_getcpuinfo", AvailHeap = "XEN_SYSCTL_availheap",
        GetPmstat = "XEN_SYSCTL_get_pmstat", CpuHotplug = "XEN_SYSCTL_cpu_hotplug",
        PmOp = "XEN_SYSCTL_pm_op", PageOfflineOp = "XEN_SYSCTL_page_offline_op",
        LockprofOp = "XEN_SYSCTL_lockprof_op", CpuTopoInfo = "XEN_SYSCTL_cputopoinfo",
        NumaInfo = "XEN_SYSCTL_numainfo", CpupoolOp = "XEN_SYSCTL_cpupool_op",
        SchedulerOp = "XEN_SYSCTL_scheduler_op", CoverageOp = "XEN_SYSCTL_coverage_op",
        PsrCmtOp = "XEN_SYSCTL_psr_cmt_op", PciTopoInfo = "XEN_SYSCTL_pcitopoinfo",
        PsrAlloc = "XEN_SYSCTL_psr_alloc", GetCpuLevellingCaps = "XEN_SYSCTL_get_cpu_levelling_caps",
        GetCpuFeatureset = "XEN_SYSCTL_get_cpu_featureset", LivepatchOp = "XEN_SYSCTL_livepatch_op",
        GetCpuPolicy = "XEN_SYSCTL_get_cpu_policy" }
    sysctl::CpupoolCmd { Create = "XEN_SYSCTL_CPUPOOL_OP_CREATE",
        Destroy = "XEN_SYSCTL_CPUPOOL_OP_DESTROY", Info = "XEN_SYSCTL_CPUPOOL_OP_INFO",
        AddCpu = "XEN_SYSCTL_CPUPOOL_OP_ADDCPU", RmCpu = "XEN_SYSCTL_CPUPOOL_OP_RMCPU",
        MoveDomain = "XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN", FreeInfo = "XEN_SYSCTL_CPUPOOL_OP_FREEINFO" }
    sysctl::SchedulerCmd { PutInfo = "XEN_SYSCTL_SCHEDOP_putinfo", GetInfo = "XEN_SYSCTL_SCHEDOP_getinfo" }
    sysctl::CpuHotplugCmd { Online = "XEN_SYSCTL_CPU_HOTPLUG_ONLINE",
        Offline = "XEN_SYSCTL_CPU_HOTPLUG_OFFLINE", SmtEnable = "XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE",
        SmtDisable = "XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE" }
    sysctl::FeaturesetIndex { Raw = "XEN_SYSCTL_cpu_featureset_raw",
        Host = "XEN_SYSCTL_cpu_featureset_host", Pv = "XEN_SYSCTL_cpu_featureset_pv",
        Hvm = "XEN_SYSCTL_cpu_featureset_hvm", PvMax = "XEN_SYSCTL_cpu_featureset_pv_max",
        HvmMax = "XEN_SYSCTL_cpu_featureset_hvm_max" }
    sysctl::CpuPolicyIndex { Raw = "XEN_SYSCTL_cpu_policy_raw", Host = "XEN_SYSCTL_cpu_policy_host",
        PvMax = "XEN_SYSCTL_cpu_policy_pv_max", HvmMax = "XEN_SYSCTL_cpu_policy_hvm_max",
        PvDefault = "XEN_SYSCTL_cpu_policy_pv_default", HvmDefault = "XEN_SYSCTL_cpu_policy_hvm_default" }
    vcpu::VcpuOp { Initialise = "VCPUOP_initialise", Up = "VCPUOP_up", Down = "VCPUOP_down",
        IsUp = "VCPUOP_is_up", GetRunstateInfo = "VCPUOP_get_runstate_info",
        RegisterRunstateMemoryArea = "VCPUOP_register_runstate_memory_area",
        SetPeriodicTimer = "VCPUOP_set_periodic_timer", StopPeriodicTimer = "VCPUOP_stop_periodic_timer",
        SetSingleshotTimer = "VCPUOP_set_singleshot_timer",
        StopSingleshotTimer = "VCPUOP_stop_singleshot_timer",
        RegisterVcpuInfo = "VCPUOP_register_vcpu_info", SendNmi = "VCPUOP_send_nmi",
        GetPhysid = "VCPUOP_get_physid",
        RegisterVcpuTimeMemoryArea = "VCPUOP_register_vcpu_time_memory_area" }
    vcpu::Runstate { Running = "RUNSTATE_running", Runnable = "RUNSTATE_runnable",
        Blocked = "RUNSTATE_blocked", Offline = "RUNSTATE_offline" }
    version::VersionOp { Version = "XENVER_version", ExtraVersion = "XENVER_extraversion",
        CompileInfo = "XENVER_compile_info", Capabilities = "XENVER_capabilities",
        Changeset = "XENVER_changeset", PlatformParameters = "XENVER_platform_parameters",
        GetFeatures = "XENVER_get_features", Pagesize = "XENVER_pagesize",
        GuestHandle = "XENVER_guest_handle", CommandLine = "XENVER_commandline",
        BuildId = "XENVER_build_id" }
    xen::Hypercall { SetTrapTable = "__HYPERVISOR_set_trap_table", MmuUpdate = "__HYPERVISOR_mmu_update",
        SetGdt = "__HYPERVISOR_set_gdt", StackSwitch = "__HYPERVISOR_stack_switch",
        SetCallbacks = "__HYPERVISOR_set_callbacks", FpuTaskswitch = "__HYPERVISOR_fpu_taskswitch",
        SchedOpCompat = "__HYPERVISOR_sched_op_compat", PlatformOp = "__HYPERVISOR_platform_op",
        SetDebugreg = "__HYPERVISOR_set_debugreg", GetDebugreg = "__HYPERVISOR_get_debugreg",
        UpdateDescriptor = "__HYPERVISOR_update_descriptor", MemoryOp = "__HYPERVISOR_memory_op",
        Multicall = "__HYPERVISOR_multicall", UpdateVaMapping = "__HYPERVISOR_update_va_mapping",
        SetTimerOp = "__HYPERVISOR_set_timer_op",
        EventChannelOpCompat = "__HYPERVISOR_event_channel_op_compat",
        XenVersion = "__HYPERVISOR_xen_version", ConsoleIo = "__HYPERVISOR_console_io",
        PhysdevOpCompat = "__HYPERVISOR_physdev_op_compat", GrantTableOp = "__HYPERVISOR_grant_table_op",
        VmAssist = "__HYPERVISOR_vm_assist",
        UpdateVaMappingOtherdomain = "__HYPERVISOR_update_va_mapping_otherdomain",
        Iret = "__HYPERVISOR_iret", VcpuOp = "__HYPERVISOR_vcpu_op",
        SetSegmentBase = "__HYPERVISOR_set_segment_base", MmuextOp = "__HYPERVISOR_mmuext_op",
        XsmOp = "__HYPERVISOR_xsm_op", NmiOp = "__HYPERVISOR_nmi_op", SchedOp = "__HYPERVISOR_sched_op",
        CallbackOp = "__HYPERVISOR_callback_op", XenoprofOp = "__HYPERVISOR_xenoprof_op",
        EventChannelOp = "__HYPERVISOR_event_channel_op", PhysdevOp = "__HYPERVISOR_physdev_op",
        HvmOp = "__HYPERVISOR_hvm_op", Sysctl = "__HYPERVISOR_sysctl", Domctl = "__HYPERVISOR_domctl",
        KexecOp = "__HYPERVISOR_kexec_op", TmemOp = "__HYPERVISOR_tmem_op",
        ArgoOp = "__HYPERVISOR_argo_op", XenpmuOp = "__HYPERVISOR_xenpmu_op", DmOp = "__HYPERVISOR_dm_op",
        HypfsOp = "__HYPERVISOR_hypfs_op", Mca = "__HYPERVISOR_arch_0",
        PagingDomctlCont = "__HYPERVISOR_arch_1" }
    xen::Virq { Timer = "VIRQ_TIMER", Debug = "VIRQ_DEBUG", Console = "VIRQ_CONSOLE",
        DomExc = "VIRQ_DOM_EXC", Tbuf = "VIRQ_TBUF", Debugger = "VIRQ_DEBUGGER",
        Xenoprof = "VIRQ_XENOPROF", ConRing = "VIRQ_CON_RING", PcpuState = "VIRQ_PCPU_STATE",
        MemEvent = "VIRQ_MEM_EVENT", Argo = "VIRQ_ARGO", Enomem = "VIRQ_ENOMEM", Xenpmu = "VIRQ_XENPMU",
        Mca = "VIRQ_ARCH_0" }
    xen::ConsoleIo { Write = "CONSOLEIO_write", Read = "CONSOLEIO_read" }
    xen::VmAssistCmd { Enable = "VMASST_CMD_enable", Disable = "VMASST_CMD_disable" }
    xen::VmAssistType { FourGbSegments = "VMASST_TYPE_4gb_segments",
        FourGbSegmentsNotify = "VMASST_TYPE_4gb_segments_notify",
        WritablePagetables = "VMASST_TYPE_writable_pagetables",
        PaeExtendedCr3 = "VMASST_TYPE_pae_extended_cr3",
        ArchitecturalIopl = "VMASST_TYPE_architectural_iopl",
        RunstateUpdateFlag = "VMASST_TYPE_runstate_update_flag", M2pStrict = "VMASST_TYPE_m2p_strict" }
}

flags! {
    arch_x86::Emulation { LAPIC = "XEN_X86_EMU_LAPIC", HPET = "XEN_X86_EMU_HPET", PM = "XEN_X86_EMU_PM",
        RTC = "XEN_X86_EMU_RTC", IOAPIC = "XEN_X86_EMU_IOAPIC", PIC = "XEN_X86_EMU_PIC",
        VGA = "XEN_X86_EMU_VGA", IOMMU = "XEN_X86_EMU_IOMMU", PIT = "XEN_X86_EMU_PIT",
        USE_PIRQ = "XEN_X86_EMU_USE_PIRQ", VPCI = "XEN_X86_EMU_VPCI" }
    arch_x86::MiscFlags { MSR_RELAXED = "XEN_X86_MSR_RELAXED" }
    cpuid::HvmFeatures { APIC_ACCESS_VIRT = "XEN_HVM_CPUID_APIC_ACCESS_VIRT",
        X2APIC_VIRT = "XEN_HVM_CPUID_X2APIC_VIRT", IOMMU_MAPPINGS = "XEN_HVM_CPUID_IOMMU_MAPPINGS",
        VCPU_ID_PRESENT = "XEN_HVM_CPUID_VCPU_ID_PRESENT", DOMID_PRESENT = "XEN_HVM_CPUID_DOMID_PRESENT",
        EXT_DEST_ID = "XEN_HVM_CPUID_EXT_DEST_ID", UPCALL_VECTOR = "XEN_HVM_CPUID_UPCALL_VECTOR" }
    domctl::MsiFlags { DEST_ID_MASK = "XEN_DOMCTL_VMSI_X86_DEST_ID_MASK",
        RH_MASK = "XEN_DOMCTL_VMSI_X86_RH_MASK", DM_MASK = "XEN_DOMCTL_VMSI_X86_DM_MASK",
        DELIV_MASK = "XEN_DOMCTL_VMSI_X86_DELIV_MASK", TRIG_MASK = "XEN_DOMCTL_VMSI_X86_TRIG_MASK",
        UNMASKED = "XEN_DOMCTL_VMSI_X86_UNMASKED" }
    domctl::CreateFlags { HVM = "XEN_DOMCTL_CDF_hvm", HAP = "XEN_DOMCTL_CDF_hap",
        S3_INTEGRITY = "XEN_DOMCTL_CDF_s3_integrity", OOS_OFF = "XEN_DOMCTL_CDF_oos_off",
        XS_DOMAIN = "XEN_DOMCTL_CDF_xs_domain", IOMMU = "XEN_DOMCTL_CDF_iommu",
        NESTED_VIRT = "XEN_DOMCTL_CDF_nested_virt", VPMU = "XEN_DOMCTL_CDF_vpmu" }
    domctl::DomainFlags { DYING = "XEN_DOMINF_dying", HVM_GUEST = "XEN_DOMINF_hvm_guest",
        SHUTDOWN = "XEN_DOMINF_shutdown", PAUSED = "XEN_DOMINF_paused", BLOCKED = "XEN_DOMINF_blocked",
        RUNNING = "XEN_DOMINF_running", DEBUGGED = "XEN_DOMINF_debugged",
        XS_DOMAIN = "XEN_DOMINF_xs_domain", HAP = "XEN_DOMINF_hap" }
    domctl::ShadowMode { REFCOUNT = "XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT",
        LOG_DIRTY = "XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY", TRANSLATE = "XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE",
        EXTERNAL = "XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL" }
    domctl::AffinityFlags { HARD = "XEN_VCPUAFFINITY_HARD", SOFT = "XEN_VCPUAFFINITY_SOFT",
        FORCE = "XEN_VCPUAFFINITY_FORCE" }
    event_channel::BindPirqFlags { WILL_SHARE = "BIND_PIRQ__WILL_SHARE" }
    features::Features { WRITABLE_PAGE_TABLES = "1 << XENFEAT_writable_page_tables",
        WRITABLE_DESCRIPTOR_TABLES = "1 << XENFEAT_writable_descriptor_tables",
        AUTO_TRANSLATED_PHYSMAP = "1 << XENFEAT_auto_translated_physmap",
        SUPERVISOR_MODE_KERNEL = "1 << XENFEAT_supervisor_mode_kernel",
        PAE_PGDIR_ABOVE_4GB = "1 << XENFEAT_pae_pgdir_above_4gb",
        MMU_PT_UPDATE_PRESERVE_AD = "1 << XENFEAT_mmu_pt_update_preserve_ad",
        HIGHMEM_ASSIST = "1 << XENFEAT_highmem_assist",
        GNTTAB_MAP_AVAIL_BITS = "1 << XENFEAT_gnttab_map_avail_bits",
        HVM_CALLBACK_VECTOR = "1 << XENFEAT_hvm_callback_vector",
        HVM_SAFE_PVCLOCK = "1 << XENFEAT_hvm_safe_pvclock", HVM_PIRQS = "1 << XENFEAT_hvm_pirqs",
        DOM0 = "1 << XENFEAT_dom0", MEMORY_OP_VNODE_SUPPORTED = "1 << XENFEAT_memory_op_vnode_supported",
        ARM_SMCCC_SUPPORTED = "1 << XENFEAT_ARM_SMCCC_supported",
        LINUX_RSDP_UNRESTRICTED = "1 << XENFEAT_linux_rsdp_unrestricted",
        NOT_DIRECT_MAPPED = "1 << XENFEAT_not_direct_mapped", DIRECT_MAPPED = "1 << XENFEAT_direct_mapped" }
    grant_table::GrantFlags { READONLY = "GTF_readonly", READING = "GTF_reading", WRITING = "GTF_writing",
        PWT = "GTF_PWT", PCD = "GTF_PCD", PAT = "GTF_PAT", SUB_PAGE = "GTF_sub_page" }
    grant_table::TransferFlags { COMMITTED = "GTF_transfer_committed",
        COMPLETED = "GTF_transfer_completed" }
    grant_table::MapFlags { DEVICE_MAP = "GNTMAP_device_map", HOST_MAP = "GNTMAP_host_map",
        READONLY = "GNTMAP_readonly", APPLICATION_MAP = "GNTMAP_application_map",
        CONTAINS_PTE = "GNTMAP_contains_pte" }
    grant_table::CopyFlags { SOURCE_GREF = "GNTCOPY_source_gref", DEST_GREF = "GNTCOPY_dest_gref" }
    grant_table::CacheFlushOp { CLEAN = "GNTTAB_CACHE_CLEAN", INVAL = "GNTTAB_CACHE_INVAL",
        SOURCE_GREF = "GNTTAB_CACHE_SOURCE_GREF" }
    hvm_params::ViridianFlags { BASE_FREQ = "HVMPV_base_freq", NO_FREQ = "HVMPV_no_freq",
        TIME_REF_COUNT = "HVMPV_time_ref_count", REFERENCE_TSC = "HVMPV_reference_tsc",
        HCALL_REMOTE_TLB_FLUSH = "HVMPV_hcall_remote_tlb_flush", APIC_ASSIST = "HVMPV_apic_assist",
        CRASH_CTL = "HVMPV_crash_ctl", SYNIC = "HVMPV_synic", STIMER = "HVMPV_stimer",
        HCALL_IPI = "HVMPV_hcall_ipi", EX_PROCESSOR_MASKS = "HVMPV_ex_processor_masks",
        NO_VP_LIMIT = "HVMPV_no_vp_limit", CPU_HOTPLUG = "HVMPV_cpu_hotplug" }
    hvm_save::CpuFlags { FPU_INITIALISED = "XEN_X86_FPU_INITIALISED" }
    io::netif::NetifTxFlags { CSUM_BLANK = "NETTXF_csum_blank", DATA_VALIDATED = "NETTXF_data_validated",
        MORE_DATA = "NETTXF_more_data", EXTRA_INFO = "NETTXF_extra_info" }
    io::netif::NetifRxFlags { DATA_VALIDATED = "NETRXF_data_validated", CSUM_BLANK = "NETRXF_csum_blank",
        MORE_DATA = "NETRXF_more_data", EXTRA_INFO = "NETRXF_extra_info", GSO_PREFIX = "NETRXF_gso_prefix" }
    io::netif::NetifHashTypes { IPV4 = "XEN_NETIF_CTRL_HASH_TYPE_IPV4",
        IPV4_TCP = "XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP", IPV6 = "XEN_NETIF_CTRL_HASH_TYPE_IPV6",
        IPV6_TCP = "XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP" }
    io::xs_wire::ServerFeatures { RECONNECTION = "XENSTORE_SERVER_FEATURE_RECONNECTION",
        ERROR = "XENSTORE_SERVER_FEATURE_ERROR" }
    memory::MemFlags { POPULATE_ON_DEMAND = "XENMEMF_populate_on_demand",
        EXACT_NODE_REQUEST = "XENMEMF_exact_node_request", VNODE = "XENMEMF_vnode" }
    physdev::IrqStatus { NEEDS_EOI = "XENIRQSTAT_needs_eoi", SHARED = "XENIRQSTAT_shared" }
    physdev::PciDevFlags { EXTFN = "XEN_PCI_DEV_EXTFN", VIRTFN = "XEN_PCI_DEV_VIRTFN",
        PXM = "XEN_PCI_DEV_PXM" }
    sysctl::PhysCap { HVM = "XEN_SYSCTL_PHYSCAP_hvm", PV = "XEN_SYSCTL_PHYSCAP_pv",
        DIRECTIO = "XEN_SYSCTL_PHYSCAP_directio", HAP = "XEN_SYSCTL_PHYSCAP_hap",
        SHADOW = "XEN_SYSCTL_PHYSCAP_shadow", IOMMU_HAP_PT_SHARE = "XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share",
        VMTRACE = "XEN_SYSCTL_PHYSCAP_vmtrace", VPMU = "XEN_SYSCTL_PHYSCAP_vpmu",
        GNTTAB_V1 = "XEN_SYSCTL_PHYSCAP_gnttab_v1", GNTTAB_V2 = "XEN_SYSCTL_PHYSCAP_gnttab_v2" }
    sysctl::LevelCap { FAULTING = "XEN_SYSCTL_CPU_LEVELCAP_faulting", ECX = "XEN_SYSCTL_CPU_LEVELCAP_ecx",
        EDX = "XEN_SYSCTL_CPU_LEVELCAP_edx", EXTD_ECX = "XEN_SYSCTL_CPU_LEVELCAP_extd_ecx",
        EXTD_EDX = "XEN_SYSCTL_CPU_LEVELCAP_extd_edx", XSAVE_EAX = "XEN_SYSCTL_CPU_LEVELCAP_xsave_eax",
        THERMAL_ECX = "XEN_SYSCTL_CPU_LEVELCAP_thermal_ecx", L7S0_EAX = "XEN_SYSCTL_CPU_LEVELCAP_l7s0_eax",
        L7S0_EBX = "XEN_SYSCTL_CPU_LEVELCAP_l7s0_ebx" }
    vcpu::SingleshotFlags { FUTURE = "VCPU_SSHOTTMR_future" }
    xen::StartFlags { PRIVILEGED = "SIF_PRIVILEGED", INITDOMAIN = "SIF_INITDOMAIN",
        MULTIBOOT_MOD = "SIF_MULTIBOOT_MOD", MOD_START_PFN = "SIF_MOD_START_PFN",
        VIRT_P2M_4TOOLS = "SIF_VIRT_P2M_4TOOLS" }
    xen::PvclockFlags { TSC_STABLE = "XEN_PVCLOCK_TSC_STABLE_BIT",
        GUEST_STOPPED = "XEN_PVCLOCK_GUEST_STOPPED" }
}

constants! {
    arch_x86::LEGACY_MAX_VCPUS = "XEN_LEGACY_MAX_VCPUS",
    arch_x86::HVM_DEBUGCONS_IOPORT = "XEN_HVM_DEBUGCONS_IOPORT",
    arch_x86::CPUID_NO_SUBLEAF = "XEN_CPUID_NO_SUBLEAF",
    cpufeatureset::NR_WORDS = "XEN_X86_FEATURE_TSA_SQ_NO / 32 + 1",
    cpuid::FIRST_LEAF = "XEN_CPUID_FIRST_LEAF",
    cpuid::MAX_NUM_LEAVES = "XEN_CPUID_MAX_NUM_LEAVES",
    cpuid::SIGNATURE_EBX = "XEN_CPUID_SIGNATURE_EBX",
    cpuid::SIGNATURE_ECX = "XEN_CPUID_SIGNATURE_ECX",
    cpuid::SIGNATURE_EDX = "XEN_CPUID_SIGNATURE_EDX",
    cpuid::FEAT1_MMU_PT_UPDATE_PRESERVE_AD = "XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD",
    cpuid::MACHINE_ADDRESS_WIDTH_MASK = "XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK",
    domctl::INTERFACE_VERSION = "XEN_DOMCTL_INTERFACE_VERSION",
    domctl::DEV_RDM_RELAXED = "XEN_DOMCTL_DEV_RDM_RELAXED",
    domctl::SHUTDOWN_SHIFT = "XEN_DOMINF_shutdownshift",
    domctl::SHUTDOWN_MASK = "XEN_DOMINF_shutdownmask",
    domctl::INVALID_MAX_VCPU_ID = "XEN_INVALID_MAX_VCPU_ID",
    domctl::GRANT_VERSION_MASK = "XEN_DOMCTL_GRANT_version_mask",
    domctl::IOMMU_NO_SHAREPT = "XEN_DOMCTL_IOMMU_no_sharept",
    domctl::PFINFO_NOTAB = "XEN_DOMCTL_PFINFO_NOTAB",
    domctl::PFINFO_XTAB = "XEN_DOMCTL_PFINFO_XTAB",
    domctl::PFINFO_XALLOC = "XEN_DOMCTL_PFINFO_XALLOC",
    domctl::PFINFO_BROKEN = "XEN_DOMCTL_PFINFO_BROKEN",
    domctl::SHADOW_LOGDIRTY_FINAL = "XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL",
    domctl::SCHEDRT_EXTRA = "XEN_DOMCTL_SCHEDRT_extra",
    elfnote::PHYS32_ENTRY = "XEN_ELFNOTE_PHYS32_ENTRY",
    event_channel::TWO_LEVEL_NR_CHANNELS = "EVTCHN_2L_NR_CHANNELS",
    event_channel::FIFO_NR_CHANNELS = "EVTCHN_FIFO_NR_CHANNELS",
    event_channel::FIFO_PRIORITY_MAX = "EVTCHN_FIFO_PRIORITY_MAX",
    event_channel::FIFO_PRIORITY_DEFAULT = "EVTCHN_FIFO_PRIORITY_DEFAULT",
    event_channel::FIFO_PRIORITY_MIN = "EVTCHN_FIFO_PRIORITY_MIN",
    event_channel::FIFO_MAX_QUEUES = "EVTCHN_FIFO_MAX_QUEUES",
    event_channel::FIFO_PENDING_BIT = "EVTCHN_FIFO_PENDING",
    event_channel::FIFO_MASKED_BIT = "EVTCHN_FIFO_MASKED",
    event_channel::FIFO_LINKED_BIT = "EVTCHN_FIFO_LINKED",
    event_channel::FIFO_BUSY_BIT = "EVTCHN_FIFO_BUSY",
    event_channel::FIFO_LINK_BITS = "EVTCHN_FIFO_LINK_BITS",
    event_channel::FIFO_LINK_MASK = "EVTCHN_FIFO_LINK_MASK",
    features::NR_SUBMAPS = "XENFEAT_NR_SUBMAPS",
    grant_table::NR_RESERVED_ENTRIES = "GNTTAB_NR_RESERVED_ENTRIES",
    grant_table::RESERVED_CONSOLE = "GNTTAB_RESERVED_CONSOLE",
    grant_table::RESERVED_XENSTORE = "GNTTAB_RESERVED_XENSTORE",
    grant_table::TYPE_MASK = "GTF_type_mask",
    grant_table::MAP_GUEST_AVAIL_SHIFT = "_GNTMAP_guest_avail0",
    hvm_params::NR_PARAMS = "HVM_NR_PARAMS",
    hvm_params::CALLBACK_IRQ_TYPE_MASK = "HVM_PARAM_CALLBACK_IRQ_TYPE_MASK",
    hvm_params::MCA_CAP_LMCE = "XEN_HVM_MCA_CAP_LMCE",
    hvm_save::FILE_MAGIC = "HVM_FILE_MAGIC",
    hvm_save::FILE_VERSION = "HVM_FILE_VERSION",
    hvm_save::VIOAPIC_NUM_PINS = "VIOAPIC_NUM_PINS",
    hvm_save::RTC_CMOS_SIZE = "RTC_CMOS_SIZE",
    hvm_save::MTRR_VCNT = "MTRR_VCNT",
    hvm_save::NUM_FIXED_MSR = "NUM_FIXED_MSR",
    hvm_start_info::START_MAGIC = "XEN_HVM_START_MAGIC_VALUE",
    io::blkif::MAX_SEGMENTS_PER_REQUEST = "BLKIF_MAX_SEGMENTS_PER_REQUEST",
    io::blkif::MAX_INDIRECT_PAGES_PER_REQUEST = "BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST",
    io::blkif::DISCARD_SECURE = "BLKIF_DISCARD_SECURE",
    io::blkif::VDISK_CDROM = "VDISK_CDROM",
    io::blkif::VDISK_REMOVABLE = "VDISK_REMOVABLE",
    io::blkif::VDISK_READONLY = "VDISK_READONLY",
    io::blkif::RING_ENTRIES = "__CONST_RING_SIZE(blkif, 4096)",
    io::console::IN_BYTES = "sizeof(((struct xencons_interface *)0)->in)",
    io::console::OUT_BYTES = "sizeof(((struct xencons_interface *)0)->out)",
    io::netif::NR_SLOTS_MIN = "XEN_NETIF_NR_SLOTS_MIN",
    io::netif::MAX_TX_SIZE = "XEN_NETIF_MAX_TX_SIZE",
    io::netif::EXTRA_FLAG_MORE = "XEN_NETIF_EXTRA_FLAG_MORE",
    io::netif::CTRLF_GREF_READONLY = "XEN_NETIF_CTRLF_GREF_readonly",
    io::netif::TX_RING_ENTRIES = "__CONST_RING_SIZE(netif_tx, 4096)",
    io::netif::RX_RING_ENTRIES = "__CONST_RING_SIZE(netif_rx, 4096)",
    io::xs_wire::RING_SIZE = "XENSTORE_RING_SIZE",
    io::xs_wire::PAYLOAD_MAX = "XENSTORE_PAYLOAD_MAX",
    io::xs_wire::ABS_PATH_MAX = "XENSTORE_ABS_PATH_MAX",
    io::xs_wire::REL_PATH_MAX = "XENSTORE_REL_PATH_MAX",
    memory::MAPIDX_GRANT_TABLE_STATUS = "XENMAPIDX_grant_table_status",
    memory::MEMF_ADDRESS_BITS_MASK = "XENMEMF_get_address_bits(~0U)",
    memory::MEMF_NODE_SHIFT = "__builtin_ctz(XENMEMF_node(0))",
    memory::RDM_ALL = "XENMEM_RDM_ALL",
    physdev::PCI_MMCFG_RESERVED = "XEN_PCI_MMCFG_RESERVED",
    platform::INTERFACE_VERSION = "XENPF_INTERFACE_VERSION",
    platform::PCPU_FLAGS_ONLINE = "XEN_PCPU_FLAGS_ONLINE",
    platform::PCPU_FLAGS_INVALID = "XEN_PCPU_FLAGS_INVALID",
    platform::ACPI_SLEEP_EXTENDED = "XENPF_ACPI_SLEEP_EXTENDED",
    sysctl::INTERFACE_VERSION = "XEN_SYSCTL_INTERFACE_VERSION",
    sysctl::INVALID_CORE_ID = "XEN_INVALID_CORE_ID",
    sysctl::INVALID_SOCKET_ID = "XEN_INVALID_SOCKET_ID",
    sysctl::INVALID_NODE_ID = "XEN_INVALID_NODE_ID",
    sysctl::INVALID_MEM_SZ = "XEN_INVALID_MEM_SZ",
    sysctl::INVALID_NODE_DIST = "XEN_INVALID_NODE_DIST",
    sysctl::INVALID_DEV = "XEN_INVALID_DEV",
    sysctl::CPUPOOL_PAR_ANY = "XEN_SYSCTL_CPUPOOL_PAR_ANY",
    sysctl::SCHED_RATELIMIT_MAX = "XEN_SYSCTL_SCHED_RATELIMIT_MAX",
    sysctl::SCHED_RATELIMIT_MIN = "XEN_SYSCTL_SCHED_RATELIMIT_MIN",
    sysctl::CSCHED_TSLICE_MAX = "XEN_SYSCTL_CSCHED_TSLICE_MAX",
    sysctl::CSCHED_TSLICE_MIN = "XEN_SYSCTL_CSCHED_TSLICE_MIN",
    sysctl::CSCHED_MGR_DLY_MAX_US = "XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US",
    vcpu::RUNSTATE_UPDATE = "XEN_RUNSTATE_UPDATE",
    xen::NR_VIRQS = "NR_VIRQS",
    xen::DOMID_FIRST_RESERVED = "DOMID_FIRST_RESERVED",
    xen::DOMID_SELF = "DOMID_SELF",
    xen::DOMID_IO = "DOMID_IO",
    xen::DOMID_XEN = "DOMID_XEN",
    xen::DOMID_COW = "DOMID_COW",
    xen::DOMID_INVALID = "DOMID_INVALID",
    xen::DOMID_IDLE = "DOMID_IDLE",
    xen::DOMID_MASK = "DOMID_MASK",
}
