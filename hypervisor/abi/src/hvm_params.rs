//! Parameters of an HVM domain (`hvm/params.h`), read and written by [`HvmOp`](crate::hvm_op::HvmOp).
//!
//! ```text
//! CALLBACK_IRQ   63..56 type   55..0 by type
//!   type 0       0 none, else a GSI
//!   type 1       segment 47..32  bus 31..16  device and function 15..8  pin 1..0
//!   type 2       vector 7..0
//! ```

use bitflags::bitflags;

numbers! {
    /// Index of a parameter (`HVM_PARAM_*`).
    pub enum HvmParam: u32 {
        /// `HVM_PARAM_CALLBACK_IRQ`: how upcalls arrive ([`CallbackType`]).
        CallbackIrq = 0,
        /// `HVM_PARAM_STORE_PFN`: guest frame of the XenStore ring.
        StorePfn = 1,
        /// `HVM_PARAM_STORE_EVTCHN`: its port.
        StoreEvtchn = 2,
        /// `HVM_PARAM_PAE_ENABLED`: withdrawn.
        PaeEnabled = 4,
        /// `HVM_PARAM_IOREQ_PFN`: withdrawn; the toolstack still writes it.
        IoreqPfn = 5,
        /// `HVM_PARAM_BUFIOREQ_PFN`: withdrawn; the toolstack still writes it.
        BufioreqPfn = 6,
        /// `HVM_PARAM_VIRIDIAN`: [`ViridianFlags`].
        Viridian = 9,
        /// `HVM_PARAM_TIMER_MODE`: [`TimerMode`].
        TimerMode = 10,
        /// `HVM_PARAM_HPET_ENABLED`: nonzero if there is an HPET.
        HpetEnabled = 11,
        /// `HVM_PARAM_IDENT_PT`: guest address of an identity page table for real mode.
        IdentPt = 12,
        /// `HVM_PARAM_DM_DOMAIN`: withdrawn.
        DmDomain = 13,
        /// `HVM_PARAM_ACPI_S_STATE`: ACPI sleep state: 0 or 3.
        AcpiSState = 14,
        /// `HVM_PARAM_VM86_TSS`: guest address of the TSS for real mode.
        Vm86Tss = 15,
        /// `HVM_PARAM_VPT_ALIGN`: nonzero aligns periodic timers.
        VptAlign = 16,
        /// `HVM_PARAM_CONSOLE_PFN`: guest frame of the console ring.
        ConsolePfn = 17,
        /// `HVM_PARAM_CONSOLE_EVTCHN`: its port.
        ConsoleEvtchn = 18,
        /// `HVM_PARAM_ACPI_IOPORTS_LOCATION`: 0 or 1: which ports the ACPI PM block has.
        AcpiIoportsLocation = 19,
        /// `HVM_PARAM_MEMORY_EVENT_CR0`: withdrawn.
        MemoryEventCr0 = 20,
        /// `HVM_PARAM_MEMORY_EVENT_CR3`: withdrawn.
        MemoryEventCr3 = 21,
        /// `HVM_PARAM_MEMORY_EVENT_CR4`: withdrawn.
        MemoryEventCr4 = 22,
        /// `HVM_PARAM_MEMORY_EVENT_INT3`: withdrawn.
        MemoryEventInt3 = 23,
        /// `HVM_PARAM_NESTEDHVM`: withdrawn; nested virtualization is asked for at creation.
        Nestedhvm = 24,
        /// `HVM_PARAM_MEMORY_EVENT_SINGLE_STEP`: withdrawn.
        MemoryEventSingleStep = 25,
        /// `HVM_PARAM_BUFIOREQ_EVTCHN`: withdrawn.
        BufioreqEvtchn = 26,
        /// `HVM_PARAM_PAGING_RING_PFN`: guest frame of the ring for paging events.
        PagingRingPfn = 27,
        /// `HVM_PARAM_MONITOR_RING_PFN`: guest frame of the ring for introspection events.
        MonitorRingPfn = 28,
        /// `HVM_PARAM_SHARING_RING_PFN`: guest frame of the ring for sharing events.
        SharingRingPfn = 29,
        /// `HVM_PARAM_MEMORY_EVENT_MSR`: withdrawn.
        MemoryEventMsr = 30,
        /// `HVM_PARAM_TRIPLE_FAULT_REASON`: [`ShutdownReason`](crate::sched::ShutdownReason) of a
        /// triple fault.
        TripleFaultReason = 31,
        /// `HVM_PARAM_IOREQ_SERVER_PFN`: first guest frame for device models.
        IoreqServerPfn = 32,
        /// `HVM_PARAM_NR_IOREQ_SERVER_PAGES`: how many.
        NrIoreqServerPages = 33,
        /// `HVM_PARAM_VM_GENERATION_ID_ADDR`: guest address of the VM generation id.
        VmGenerationIdAddr = 34,
        /// `HVM_PARAM_ALTP2M`: [`Altp2mMode`].
        Altp2m = 35,
        /// `HVM_PARAM_X87_FIP_WIDTH`: bytes of the FPU instruction pointer kept: 0, 4 or 8.
        X87FipWidth = 36,
        /// `HVM_PARAM_VM86_TSS_SIZED`: as [`Self::Vm86Tss`], size in the high half.
        Vm86TssSized = 37,
        /// `HVM_PARAM_MCA_CAP`: machine-check capabilities.
        McaCap = 38,
    }

    /// How upcalls arrive: bits 63..56 of [`HvmParam::CallbackIrq`] (`HVM_PARAM_CALLBACK_TYPE_*`).
    pub enum CallbackType: u8 {
        /// `HVM_PARAM_CALLBACK_TYPE_GSI`: by an I/O APIC pin.
        Gsi = 0,
        /// `HVM_PARAM_CALLBACK_TYPE_PCI_INTX`: by a PCI interrupt pin.
        PciIntx = 1,
        /// `HVM_PARAM_CALLBACK_TYPE_VECTOR`: by a vector, straight to the vcpu.
        Vector = 2,
    }

    /// What becomes of timer ticks while a vcpu does not run (`HVMPTM_*`).
    pub enum TimerMode: u64 {
        /// `HVMPTM_delay_for_missed_ticks`: guest time stands still, ticks follow.
        DelayForMissedTicks = 0,
        /// `HVMPTM_no_delay_for_missed_ticks`: time goes on, ticks follow.
        NoDelayForMissedTicks = 1,
        /// `HVMPTM_no_missed_ticks_pending`: time goes on, ticks are lost.
        NoMissedTicksPending = 2,
        /// `HVMPTM_one_missed_tick_pending`: time goes on, one tick follows.
        OneMissedTickPending = 3,
    }

    /// Who may use alternative p2ms (`XEN_ALTP2M_*`).
    pub enum Altp2mMode: u64 {
        /// `XEN_ALTP2M_disabled`: nobody.
        Disabled = 0,
        /// `XEN_ALTP2M_mixed`: guest and tools.
        Mixed = 1,
        /// `XEN_ALTP2M_external`: tools.
        External = 2,
        /// `XEN_ALTP2M_limited`: tools, and the guest to switch.
        Limited = 3,
    }
}

/// Number of parameters (`HVM_NR_PARAMS`).
pub const NR_PARAMS: u32 = 39;
/// Bits of [`HvmParam::CallbackIrq`] that hold the type (`HVM_PARAM_CALLBACK_IRQ_TYPE_MASK`).
pub const CALLBACK_IRQ_TYPE_MASK: u64 = 0xff00_0000_0000_0000;
/// Bit of [`HvmParam::McaCap`]: local machine checks (`XEN_HVM_MCA_CAP_LMCE`).
pub const MCA_CAP_LMCE: u64 = 1;

bitflags! {
    /// Parts of the Hyper-V interface (`HVMPV_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ViridianFlags: u64 {
        /// `HVMPV_base_freq`: the base set, with frequency MSRs.
        const BASE_FREQ = 1 << 0;
        /// `HVMPV_no_freq`: without frequency MSRs.
        const NO_FREQ = 1 << 1;
        /// `HVMPV_time_ref_count`: partition time counter.
        const TIME_REF_COUNT = 1 << 2;
        /// `HVMPV_reference_tsc`: reference TSC page.
        const REFERENCE_TSC = 1 << 3;
        /// `HVMPV_hcall_remote_tlb_flush`: TLB flush hypercall.
        const HCALL_REMOTE_TLB_FLUSH = 1 << 4;
        /// `HVMPV_apic_assist`: APIC assist page.
        const APIC_ASSIST = 1 << 5;
        /// `HVMPV_crash_ctl`: crash MSRs.
        const CRASH_CTL = 1 << 6;
        /// `HVMPV_synic`: synthetic interrupt controller.
        const SYNIC = 1 << 7;
        /// `HVMPV_stimer`: synthetic timers.
        const STIMER = 1 << 8;
        /// `HVMPV_hcall_ipi`: IPI hypercall.
        const HCALL_IPI = 1 << 9;
        /// `HVMPV_ex_processor_masks`: masks of more than 64 vcpus.
        const EX_PROCESSOR_MASKS = 1 << 10;
        /// `HVMPV_no_vp_limit`: tell of more than 64 vcpus.
        const NO_VP_LIMIT = 1 << 11;
        /// `HVMPV_cpu_hotplug`: vcpus may be added.
        const CPU_HOTPLUG = 1 << 12;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_name_no_parameter() {
        for hole in [3, 7, 8, NR_PARAMS] {
            assert_eq!(HvmParam::new(hole), None, "{hole}");
        }
    }
}
