//! The core of the interface (`xen.h`): hypercall numbers, domain ids, virtual
//! interrupts and the pages that the hypervisor shares with every guest.
//!
//! ```text
//! shared_info                                     offset
//!   vcpu_info[32]         64 bytes for each vcpu       0
//!   evtchn_pending[64]    one bit for each port   0x0800
//!   evtchn_mask[64]       one bit for each port   0x0a00
//!   wall clock            version, s, ns, s high  0x0c00
//!   arch_shared_info                              0x0c10
//! ```

use core::mem::offset_of;

use bitflags::bitflags;

use crate::RawDomid;
use crate::arch_x86::{ArchSharedInfo, ArchVcpuInfo, LEGACY_MAX_VCPUS};
use crate::handle::GuestHandle;

numbers! {
    /// Hypercall number, in EAX at the call (`__HYPERVISOR_*`).
    pub enum Hypercall: u32 {
        /// `__HYPERVISOR_set_trap_table`: PV exception handlers.
        SetTrapTable = 0,
        /// `__HYPERVISOR_mmu_update`: PV page-table writes.
        MmuUpdate = 1,
        /// `__HYPERVISOR_set_gdt`: PV descriptor table.
        SetGdt = 2,
        /// `__HYPERVISOR_stack_switch`: PV kernel stack.
        StackSwitch = 3,
        /// `__HYPERVISOR_set_callbacks`: PV entry points.
        SetCallbacks = 4,
        /// `__HYPERVISOR_fpu_taskswitch`: PV CR0.TS.
        FpuTaskswitch = 5,
        /// `__HYPERVISOR_sched_op_compat`: scheduling, the form before 3.1.
        SchedOpCompat = 6,
        /// `__HYPERVISOR_platform_op`: the machine, for Dom0 (`platform.h`).
        PlatformOp = 7,
        /// `__HYPERVISOR_set_debugreg`: PV debug register write.
        SetDebugreg = 8,
        /// `__HYPERVISOR_get_debugreg`: PV debug register read.
        GetDebugreg = 9,
        /// `__HYPERVISOR_update_descriptor`: PV descriptor write.
        UpdateDescriptor = 10,
        /// `__HYPERVISOR_memory_op`: memory of a domain (`memory.h`).
        MemoryOp = 12,
        /// `__HYPERVISOR_multicall`: several hypercalls in one ([`MulticallEntry`]).
        Multicall = 13,
        /// `__HYPERVISOR_update_va_mapping`: PV page-table write by address.
        UpdateVaMapping = 14,
        /// `__HYPERVISOR_set_timer_op`: one-shot timer of the calling vcpu.
        SetTimerOp = 15,
        /// `__HYPERVISOR_event_channel_op_compat`: event channels, the form before 3.2.
        EventChannelOpCompat = 16,
        /// `__HYPERVISOR_xen_version`: who the hypervisor is (`version.h`).
        XenVersion = 17,
        /// `__HYPERVISOR_console_io`: hypervisor console ([`ConsoleIo`]).
        ConsoleIo = 18,
        /// `__HYPERVISOR_physdev_op_compat`: physical interrupts, the form before 3.2.
        PhysdevOpCompat = 19,
        /// `__HYPERVISOR_grant_table_op`: shared memory (`grant_table.h`).
        GrantTableOp = 20,
        /// `__HYPERVISOR_vm_assist`: optional services to a guest ([`VmAssistCmd`]).
        VmAssist = 21,
        /// `__HYPERVISOR_update_va_mapping_otherdomain`: PV mapping of foreign frames.
        UpdateVaMappingOtherdomain = 22,
        /// `__HYPERVISOR_iret`: PV return from exception.
        Iret = 23,
        /// `__HYPERVISOR_vcpu_op`: vcpus of the calling domain (`vcpu.h`).
        VcpuOp = 24,
        /// `__HYPERVISOR_set_segment_base`: PV FS and GS bases.
        SetSegmentBase = 25,
        /// `__HYPERVISOR_mmuext_op`: PV memory management.
        MmuextOp = 26,
        /// `__HYPERVISOR_xsm_op`: security module (`xsm/flask_op.h`).
        XsmOp = 27,
        /// `__HYPERVISOR_nmi_op`: PV NMI handler.
        NmiOp = 28,
        /// `__HYPERVISOR_sched_op`: scheduling and shutdown (`sched.h`).
        SchedOp = 29,
        /// `__HYPERVISOR_callback_op`: PV entry points.
        CallbackOp = 30,
        /// `__HYPERVISOR_xenoprof_op`: profiling.
        XenoprofOp = 31,
        /// `__HYPERVISOR_event_channel_op`: event channels (`event_channel.h`).
        EventChannelOp = 32,
        /// `__HYPERVISOR_physdev_op`: physical devices (`physdev.h`).
        PhysdevOp = 33,
        /// `__HYPERVISOR_hvm_op`: HVM domains (`hvm/hvm_op.h`).
        HvmOp = 34,
        /// `__HYPERVISOR_sysctl`: the whole host, for the toolstack (`sysctl.h`).
        Sysctl = 35,
        /// `__HYPERVISOR_domctl`: one domain, for the toolstack (`domctl.h`).
        Domctl = 36,
        /// `__HYPERVISOR_kexec_op`: crash kernels.
        KexecOp = 37,
        /// `__HYPERVISOR_tmem_op`: transcendent memory, withdrawn.
        TmemOp = 38,
        /// `__HYPERVISOR_argo_op`: message rings between domains.
        ArgoOp = 39,
        /// `__HYPERVISOR_xenpmu_op`: performance counters.
        XenpmuOp = 40,
        /// `__HYPERVISOR_dm_op`: device models.
        DmOp = 41,
        /// `__HYPERVISOR_hypfs_op`: hypervisor file system.
        HypfsOp = 42,
        /// `__HYPERVISOR_arch_0`: on x86, machine checks (`arch-x86/xen-mca.h`).
        Mca = 48,
        /// `__HYPERVISOR_arch_1`: on x86, paging of another domain.
        PagingDomctlCont = 49,
    }

    /// Virtual interrupt lines (`VIRQ_*`).
    pub enum Virq: u32 {
        /// `VIRQ_TIMER`: the vcpu's timer fired. One for each vcpu.
        Timer = 0,
        /// `VIRQ_DEBUG`: asks the guest to dump its state. One for each vcpu.
        Debug = 1,
        /// `VIRQ_CONSOLE`: bytes arrived at the hypervisor's console. Dom0.
        Console = 2,
        /// `VIRQ_DOM_EXC`: a domain shut down, crashed or died. Dom0.
        DomExc = 3,
        /// `VIRQ_TBUF`: trace buffers have records. Dom0.
        Tbuf = 4,
        /// `VIRQ_DEBUGGER`: a domain is paused for a debugger. Dom0.
        Debugger = 6,
        /// `VIRQ_XENOPROF`: a profile sample. One for each vcpu.
        Xenoprof = 7,
        /// `VIRQ_CON_RING`: bytes were added to the console ring. Dom0.
        ConRing = 8,
        /// `VIRQ_PCPU_STATE`: a pcpu came or went. Dom0.
        PcpuState = 9,
        /// `VIRQ_MEM_EVENT`: a memory event happened. Dom0.
        MemEvent = 10,
        /// `VIRQ_ARGO`: an Argo message arrived.
        Argo = 11,
        /// `VIRQ_ENOMEM`: the host's memory runs low. Dom0.
        Enomem = 12,
        /// `VIRQ_XENPMU`: a performance counter interrupt. One for each vcpu.
        Xenpmu = 13,
        /// `VIRQ_ARCH_0`: on x86 `VIRQ_MCA`, a machine check. Dom0.
        Mca = 16,
    }

    /// Operation of `console_io` (`CONSOLEIO_*`).
    pub enum ConsoleIo: u32 {
        /// `CONSOLEIO_write`: `count` bytes at `buffer` go to the console.
        Write = 0,
        /// `CONSOLEIO_read`: up to `count` bytes of input go to `buffer`.
        Read = 1,
    }

    /// Operation of `vm_assist` (`VMASST_CMD_*`).
    pub enum VmAssistCmd: u32 {
        /// `VMASST_CMD_enable`
        Enable = 0,
        /// `VMASST_CMD_disable`
        Disable = 1,
    }

    /// Service that `vm_assist` turns on or off (`VMASST_TYPE_*`).
    pub enum VmAssistType: u32 {
        /// `VMASST_TYPE_4gb_segments`: PV, 32-bit.
        FourGbSegments = 0,
        /// `VMASST_TYPE_4gb_segments_notify`: PV, 32-bit.
        FourGbSegmentsNotify = 1,
        /// `VMASST_TYPE_writable_pagetables`: PV.
        WritablePagetables = 2,
        /// `VMASST_TYPE_pae_extended_cr3`: PV, 32-bit.
        PaeExtendedCr3 = 3,
        /// `VMASST_TYPE_architectural_iopl`: PV.
        ArchitecturalIopl = 4,
        /// `VMASST_TYPE_runstate_update_flag`: mark runstate areas while they are written
        /// ([`RUNSTATE_UPDATE`](crate::vcpu::RUNSTATE_UPDATE)).
        RunstateUpdateFlag = 5,
        /// `VMASST_TYPE_m2p_strict`: PV.
        M2pStrict = 32,
    }
}

/// One past the largest virtual interrupt (`NR_VIRQS`).
pub const NR_VIRQS: u32 = 24;

/// First id that names no domain.
pub const DOMID_FIRST_RESERVED: RawDomid = 0x7ff0;
/// The calling domain.
pub const DOMID_SELF: RawDomid = 0x7ff0;
/// Owner of memory-mapped I/O.
pub const DOMID_IO: RawDomid = 0x7ff1;
/// Owner of the hypervisor's own shared pages.
pub const DOMID_XEN: RawDomid = 0x7ff2;
/// Owner of pages shared copy-on-write.
pub const DOMID_COW: RawDomid = 0x7ff3;
/// No domain.
pub const DOMID_INVALID: RawDomid = 0x7ff4;
/// The idle domain.
pub const DOMID_IDLE: RawDomid = 0x7fff;
/// Bits that a domain id has.
pub const DOMID_MASK: RawDomid = 0x7fff;

bitflags! {
    /// How the calling domain was started (`SIF_*`): `hvm_start_info.flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StartFlags: u32 {
        /// `SIF_PRIVILEGED`: the domain is privileged.
        const PRIVILEGED = 1 << 0;
        /// `SIF_INITDOMAIN`: the domain is Dom0.
        const INITDOMAIN = 1 << 1;
        /// `SIF_MULTIBOOT_MOD`: the PV module area holds a list of modules.
        const MULTIBOOT_MOD = 1 << 2;
        /// `SIF_MOD_START_PFN`: the PV module start is a frame number.
        const MOD_START_PFN = 1 << 3;
        /// `SIF_VIRT_P2M_4TOOLS`: the PV frame list is mapped for the tools.
        const VIRT_P2M_4TOOLS = 1 << 4;
    }

    /// State of a [`VcpuTimeInfo`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PvclockFlags: u8 {
        /// `XEN_PVCLOCK_TSC_STABLE_BIT`: time is monotonic across vcpus without the guest's help.
        const TSC_STABLE = 1 << 0;
        /// `XEN_PVCLOCK_GUEST_STOPPED`: the vcpu was stopped from outside.
        const GUEST_STOPPED = 1 << 1;
    }
}

layout! {
    /// `struct multicall_entry`: one hypercall of a multicall.
    pub struct MulticallEntry, 64 bytes {
        /// Hypercall number.
        pub op: u64,
        /// Its return value, written by the hypervisor.
        pub result: u64,
        /// Its arguments.
        pub args: [u64; 6],
    }

    /// `struct vcpu_time_info`: the PV clock of one vcpu.
    ///
    /// Nanoseconds since boot are `system_time` plus the ticks since `tsc_timestamp`,
    /// shifted by `tsc_shift` and multiplied by `tsc_to_system_mul` / 2^32. Consistent
    /// when `version` is even and the same before and after the reads.
    pub struct VcpuTimeInfo, 32 bytes {
        /// Odd while the hypervisor writes.
        pub version: u32,
        /// Padding.
        pub _pad0: u32,
        /// TSC at which `system_time` was right, in ticks of the guest's TSC.
        pub tsc_timestamp: u64,
        /// Time since boot, in ns.
        pub system_time: u64,
        /// Nanoseconds for each shifted tick, times 2^32.
        pub tsc_to_system_mul: u32,
        /// Left shift of a tick difference; negative shifts right.
        pub tsc_shift: i8,
        /// [`PvclockFlags`].
        pub flags: u8,
        /// Padding.
        pub _pad1: [u8; 2],
    }

    /// `struct vcpu_info`: what the hypervisor and one vcpu share; one cache line.
    pub struct VcpuInfo, 64 bytes {
        /// Nonzero when an upcall is due.
        pub evtchn_upcall_pending: u8,
        /// Nonzero while the guest refuses upcalls. Of PV guests only.
        pub evtchn_upcall_mask: u8,
        /// Padding.
        pub _pad0: [u8; 6],
        /// Bit n: word n of `evtchn_pending` has a bit set.
        pub evtchn_pending_sel: u64,
        /// The part of x86.
        pub arch: ArchVcpuInfo,
        /// The PV clock.
        pub time: VcpuTimeInfo,
    }

    /// `struct shared_info`: what the hypervisor and a domain share; one page holds it.
    pub struct SharedInfo, 3136 bytes {
        /// The first 32 vcpus, until they register another place (`VCPUOP_register_vcpu_info`).
        pub vcpu_info: [VcpuInfo; LEGACY_MAX_VCPUS],
        /// 2-level event channels: one bit for each port with an event.
        pub evtchn_pending: [u64; 64],
        /// 2-level event channels: one bit for each port that is masked.
        pub evtchn_mask: [u64; 64],
        /// Wall clock: odd while the hypervisor writes.
        pub wc_version: u32,
        /// Wall clock at system time 0: seconds since 1970, low 32 bits.
        pub wc_sec: u32,
        /// Wall clock at system time 0: ns in the second.
        pub wc_nsec: u32,
        /// Wall clock at system time 0: seconds since 1970, high 32 bits.
        pub wc_sec_hi: u32,
        /// The part of x86.
        pub arch: ArchSharedInfo,
    }

    /// `xen_uuid_t`: a UUID, most significant byte first.
    pub struct XenUuid, 16 bytes {
        /// The bytes.
        pub a: [u8; 16],
    }

    /// `struct xenctl_bitmap`: a bitmap in the toolstack's memory, least significant bit first.
    pub struct XenctlBitmap, 16 bytes {
        /// The bytes, `nr_bits` rounded up to 8.
        pub bitmap: GuestHandle<u8>,
        /// Bits in the map.
        pub nr_bits: u32,
        /// Padding.
        pub _pad: u32,
    }
}

/// Name that the toolstack gives to a domain, a UUID in most cases (`xen_domain_handle_t`).
pub type DomainHandle = [u8; 16];

// The words that both sides write concurrently are reached by these offsets.
const _: () = {
    assert!(offset_of!(VcpuInfo, evtchn_pending_sel) == 8);
    assert!(offset_of!(VcpuInfo, time) == 32);
    assert!(offset_of!(SharedInfo, evtchn_pending) == 0x800);
    assert!(offset_of!(SharedInfo, evtchn_mask) == 0xa00);
    assert!(offset_of!(SharedInfo, wc_version) == 0xc00);
    assert!(size_of::<SharedInfo>() <= 4096);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_in_the_hypercall_numbers_name_nothing() {
        for hole in [11, 43, 47, 56, u32::MAX] {
            assert_eq!(Hypercall::new(hole), None, "{hole}");
        }
        assert_eq!(Hypercall::new(29), Some(Hypercall::SchedOp));
        assert_eq!(Hypercall::SchedOp.get(), 29);
    }

    #[test]
    fn unknown_start_flags_are_refused() {
        assert_eq!(StartFlags::from_bits(3), Some(StartFlags::PRIVILEGED | StartFlags::INITDOMAIN));
        assert_eq!(StartFlags::from_bits(1 << 31), None);
    }
}
