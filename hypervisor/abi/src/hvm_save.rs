//! Records of a saved HVM domain (`hvm/save.h`, `arch-x86/hvm/save.h`).
//!
//! ```text
//! descriptor (HEADER)  HvmSaveHeader
//! descriptor (CPU, 0)  HvmHwCpu        instance: the vcpu, or the device
//! descriptor (CPU, 1)  HvmHwCpu
//! ...
//! descriptor (END)     nothing
//! ```
//!
//! Each descriptor says how long its record is. A record shorter than the structure is
//! filled up with zeros: later versions only add fields at the end.

use bitflags::bitflags;

numbers! {
    /// Kind of a record (`HVM_SAVE_CODE`).
    pub enum SaveType: u16 {
        /// `HVM_SAVE_CODE(END)`: the last one.
        End = 0,
        /// `HVM_SAVE_CODE(HEADER)`: [`HvmSaveHeader`], the first one.
        Header = 1,
        /// `HVM_SAVE_CODE(CPU)`: [`HvmHwCpu`] of each vcpu.
        Cpu = 2,
        /// `HVM_SAVE_CODE(PIC)`: [`HvmHwVpic`], two.
        Pic = 3,
        /// `HVM_SAVE_CODE(IOAPIC)`: [`HvmHwVioapic`].
        Ioapic = 4,
        /// `HVM_SAVE_CODE(LAPIC)`: [`HvmHwLapic`] of each vcpu.
        Lapic = 5,
        /// `HVM_SAVE_CODE(LAPIC_REGS)`: [`HvmHwLapicRegs`] of each vcpu.
        LapicRegs = 6,
        /// `HVM_SAVE_CODE(PCI_IRQ)`: [`HvmHwPciIrqs`].
        PciIrq = 7,
        /// `HVM_SAVE_CODE(ISA_IRQ)`: [`HvmHwIsaIrqs`].
        IsaIrq = 8,
        /// `HVM_SAVE_CODE(PCI_LINK)`: [`HvmHwPciLink`].
        PciLink = 9,
        /// `HVM_SAVE_CODE(PIT)`: [`HvmHwPit`].
        Pit = 10,
        /// `HVM_SAVE_CODE(RTC)`: [`HvmHwRtc`].
        Rtc = 11,
        /// `HVM_SAVE_CODE(HPET)`: state of an HPET; none is emulated.
        Hpet = 12,
        /// `HVM_SAVE_CODE(PMTIMER)`: [`HvmHwPmtimer`].
        Pmtimer = 13,
        /// `HVM_SAVE_CODE(MTRR)`: [`HvmHwMtrr`] of each vcpu.
        Mtrr = 14,
        /// `HVM_SAVE_CODE(VIRIDIAN_DOMAIN)`: Hyper-V state; that interface is not offered.
        ViridianDomain = 15,
        /// `CPU_XSAVE_CODE`: [`HvmHwCpuXsave`] of each vcpu, the rest of the area behind it.
        CpuXsave = 16,
        /// `HVM_SAVE_CODE(VIRIDIAN_VCPU)`: Hyper-V state; that interface is not offered.
        ViridianVcpu = 17,
        /// `HVM_SAVE_CODE(VMCE_VCPU)`: [`HvmVmceVcpu`] of each vcpu.
        VmceVcpu = 18,
        /// `HVM_SAVE_CODE(TSC_ADJUST)`: [`HvmTscAdjust`] of each vcpu.
        TscAdjust = 19,
        /// `CPU_MSR_CODE`: [`HvmMsr`] of each vcpu, [`HvmOneMsr`]s behind it.
        CpuMsr = 20,
    }
}

/// First word of a [`HvmSaveHeader`] (`HVM_FILE_MAGIC`).
pub const FILE_MAGIC: u32 = 0x5438_1286;
/// Second word of a [`HvmSaveHeader`] (`HVM_FILE_VERSION`).
pub const FILE_VERSION: u32 = 1;
/// Pins of the saved I/O APIC (`VIOAPIC_NUM_PINS`).
pub const VIOAPIC_NUM_PINS: usize = 48;
/// Bytes of the saved CMOS memory (`RTC_CMOS_SIZE`).
pub const RTC_CMOS_SIZE: usize = 14;
/// Variable MTRRs saved (`MTRR_VCNT`).
pub const MTRR_VCNT: usize = 8;
/// Fixed MTRRs saved (`NUM_FIXED_MSR`).
pub const NUM_FIXED_MSR: usize = 11;

bitflags! {
    /// State of a [`HvmHwCpu`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CpuFlags: u32 {
        /// `XEN_X86_FPU_INITIALISED`: `fpu_regs` is valid; otherwise the FPU is as after reset.
        const FPU_INITIALISED = 1 << 0;
    }
}

layout! {
    /// `struct hvm_save_descriptor`: head of each record.
    pub struct HvmSaveDescriptor, 8 bytes {
        /// [`SaveType`].
        pub typecode: u16,
        /// Which vcpu or device.
        pub instance: u16,
        /// Bytes of the record behind this head.
        pub length: u32,
    }

    /// `struct hvm_save_header`: who saved.
    pub struct HvmSaveHeader, 24 bytes {
        /// [`FILE_MAGIC`].
        pub magic: u32,
        /// [`FILE_VERSION`].
        pub version: u32,
        /// Revision of the hypervisor.
        pub changeset: u64,
        /// EAX of CPUID leaf 1 of the host.
        pub cpuid: u32,
        /// Frequency of the guest's TSC, in kHz.
        pub gtsc_khz: u32,
    }

    /// `struct hvm_hw_cpu`: registers of a vcpu.
    ///
    /// Access rights are packed as in [`hvm_vcpu`](crate::hvm_vcpu): unlike in the VMCS,
    /// the four bits behind "present" follow it directly.
    pub struct HvmHwCpu, 1032 bytes {
        /// FXSAVE image.
        pub fpu_regs: [u8; 512],
        /// RAX.
        pub rax: u64,
        /// RBX.
        pub rbx: u64,
        /// RCX.
        pub rcx: u64,
        /// RDX.
        pub rdx: u64,
        /// RBP.
        pub rbp: u64,
        /// RSI.
        pub rsi: u64,
        /// RDI.
        pub rdi: u64,
        /// RSP.
        pub rsp: u64,
        /// R8.
        pub r8: u64,
        /// R9.
        pub r9: u64,
        /// R10.
        pub r10: u64,
        /// R11.
        pub r11: u64,
        /// R12.
        pub r12: u64,
        /// R13.
        pub r13: u64,
        /// R14.
        pub r14: u64,
        /// R15.
        pub r15: u64,
        /// RIP.
        pub rip: u64,
        /// RFLAGS.
        pub rflags: u64,
        /// CR0.
        pub cr0: u64,
        /// CR2.
        pub cr2: u64,
        /// CR3.
        pub cr3: u64,
        /// CR4.
        pub cr4: u64,
        /// DR0.
        pub dr0: u64,
        /// DR1.
        pub dr1: u64,
        /// DR2.
        pub dr2: u64,
        /// DR3.
        pub dr3: u64,
        /// DR6.
        pub dr6: u64,
        /// DR7.
        pub dr7: u64,
        /// CS selector.
        pub cs_sel: u32,
        /// DS selector.
        pub ds_sel: u32,
        /// ES selector.
        pub es_sel: u32,
        /// FS selector.
        pub fs_sel: u32,
        /// GS selector.
        pub gs_sel: u32,
        /// SS selector.
        pub ss_sel: u32,
        /// TR selector.
        pub tr_sel: u32,
        /// LDTR selector.
        pub ldtr_sel: u32,
        /// CS limit, in bytes.
        pub cs_limit: u32,
        /// DS limit, in bytes.
        pub ds_limit: u32,
        /// ES limit, in bytes.
        pub es_limit: u32,
        /// FS limit, in bytes.
        pub fs_limit: u32,
        /// GS limit, in bytes.
        pub gs_limit: u32,
        /// SS limit, in bytes.
        pub ss_limit: u32,
        /// TR limit, in bytes.
        pub tr_limit: u32,
        /// LDTR limit, in bytes.
        pub ldtr_limit: u32,
        /// IDTR limit, in bytes.
        pub idtr_limit: u32,
        /// GDTR limit, in bytes.
        pub gdtr_limit: u32,
        /// CS base.
        pub cs_base: u64,
        /// DS base.
        pub ds_base: u64,
        /// ES base.
        pub es_base: u64,
        /// FS base.
        pub fs_base: u64,
        /// GS base.
        pub gs_base: u64,
        /// SS base.
        pub ss_base: u64,
        /// TR base.
        pub tr_base: u64,
        /// LDTR base.
        pub ldtr_base: u64,
        /// IDTR base.
        pub idtr_base: u64,
        /// GDTR base.
        pub gdtr_base: u64,
        /// CS access rights.
        pub cs_arbytes: u32,
        /// DS access rights.
        pub ds_arbytes: u32,
        /// ES access rights.
        pub es_arbytes: u32,
        /// FS access rights.
        pub fs_arbytes: u32,
        /// GS access rights.
        pub gs_arbytes: u32,
        /// SS access rights.
        pub ss_arbytes: u32,
        /// TR access rights.
        pub tr_arbytes: u32,
        /// LDTR access rights.
        pub ldtr_arbytes: u32,
        /// MSR IA32_SYSENTER_CS.
        pub sysenter_cs: u64,
        /// MSR IA32_SYSENTER_ESP.
        pub sysenter_esp: u64,
        /// MSR IA32_SYSENTER_EIP.
        pub sysenter_eip: u64,
        /// MSR IA32_KERNEL_GS_BASE.
        pub shadow_gs: u64,
        /// Unused.
        pub msr_flags: u64,
        /// MSR IA32_LSTAR.
        pub msr_lstar: u64,
        /// MSR IA32_STAR.
        pub msr_star: u64,
        /// MSR IA32_CSTAR.
        pub msr_cstar: u64,
        /// MSR IA32_FMASK.
        pub msr_syscall_mask: u64,
        /// MSR IA32_EFER.
        pub msr_efer: u64,
        /// MSR IA32_TSC_AUX.
        pub msr_tsc_aux: u64,
        /// The guest's TSC.
        pub tsc: u64,
        /// Event in delivery, in the form of the VM-entry interruption-information field.
        pub pending_event: u32,
        /// Its error code.
        pub error_code: u32,
        /// [`CpuFlags`].
        pub flags: u32,
        /// Must be zero.
        pub pad0: u32,
    }

    /// `struct hvm_hw_vpic`: one of the two 8259 interrupt controllers.
    pub struct HvmHwVpic, 8 bytes {
        /// Interrupt requests.
        pub irr: u8,
        /// Interrupt mask.
        pub imr: u8,
        /// Interrupts in service.
        pub isr: u8,
        /// Vector of line 0.
        pub irq_base: u8,
        /// Low nibble: step of the initialization; high nibble: line of highest priority.
        pub init_state_priority_add: u8,
        /// The modes, one bit each; bit 6 says master.
        pub modes: u8,
        /// Edge or level for each line.
        pub elcr: u8,
        /// Whether the output is raised.
        pub int_output: u8,
    }

    /// `struct hvm_hw_vioapic`: the I/O APIC.
    pub struct HvmHwVioapic, 400 bytes {
        /// Guest physical address.
        pub base_address: u64,
        /// Register selected.
        pub ioregsel: u32,
        /// APIC id.
        pub id: u32,
        /// Redirection entries, as in the device.
        pub redirtbl: [u64; VIOAPIC_NUM_PINS],
    }

    /// `struct hvm_hw_lapic`: state of a local APIC beside its registers.
    pub struct HvmHwLapic, 24 bytes {
        /// MSR IA32_APIC_BASE.
        pub apic_base_msr: u64,
        /// Bit 0: disabled by `apic_base_msr`; bit 1: disabled by its spurious-vector register.
        pub disabled: u32,
        /// Divisor of the timer: 1 to 128.
        pub timer_divisor: u32,
        /// MSR IA32_TSC_DEADLINE.
        pub tdt_msr: u64,
    }

    /// `struct hvm_hw_lapic_regs`: registers of a local APIC, as in its page.
    pub struct HvmHwLapicRegs, 1024 bytes {
        /// The first KiB of the page.
        pub data: [u8; 1024],
    }

    /// `struct hvm_hw_pci_irqs`: levels of PCI interrupt pins.
    pub struct HvmHwPciIrqs, 16 bytes {
        /// Bit device * 4 + pin.
        pub pad: [u64; 2],
    }

    /// `struct hvm_hw_isa_irqs`: levels of ISA interrupt lines.
    pub struct HvmHwIsaIrqs, 8 bytes {
        /// Bit for each line.
        pub pad: [u64; 1],
    }

    /// `struct hvm_hw_pci_link`: how the PCI interrupts reach the ISA lines.
    pub struct HvmHwPciLink, 8 bytes {
        /// ISA line of each link, 0 none.
        pub route: [u8; 4],
        /// `pad0`: padding.
        pub _pad0: [u8; 4],
    }

    /// `struct hvm_hw_pit_channel`: one counter of the 8254.
    pub struct HvmHwPitChannel, 16 bytes {
        /// Reload value; 65536 for 0.
        pub count: u32,
        /// Value latched.
        pub latched_count: u16,
        /// Which bytes of it wait to be read.
        pub count_latched: u8,
        /// Whether the status is latched.
        pub status_latched: u8,
        /// Status latched.
        pub status: u8,
        /// Which byte is read next.
        pub read_state: u8,
        /// Which byte is written next.
        pub write_state: u8,
        /// First byte written.
        pub write_latch: u8,
        /// Access mode.
        pub rw_mode: u8,
        /// Counting mode.
        pub mode: u8,
        /// Whether it counts in BCD.
        pub bcd: u8,
        /// Level of the gate.
        pub gate: u8,
    }

    /// `struct hvm_hw_pit`: the 8254 timer.
    pub struct HvmHwPit, 56 bytes {
        /// The three counters.
        pub channels: [HvmHwPitChannel; 3],
        /// Whether port 61H feeds the speaker.
        pub speaker_data_on: u32,
        /// `pad0`: padding.
        pub _pad0: u32,
    }

    /// `struct hvm_hw_rtc`: the real-time clock.
    pub struct HvmHwRtc, 24 bytes {
        /// The clock's registers.
        pub cmos_data: [u8; RTC_CMOS_SIZE],
        /// Register selected.
        pub cmos_index: u8,
        /// `pad0`: padding.
        pub _pad0: u8,
        /// Offset of its time from the host's, in s.
        pub rtc_offset: i64,
    }

    /// `struct hvm_hw_pmtimer`: the ACPI timer and event block.
    pub struct HvmHwPmtimer, 8 bytes {
        /// Timer value.
        pub tmr_val: u32,
        /// PM1a status register.
        pub pm1a_sts: u16,
        /// PM1a enable register.
        pub pm1a_en: u16,
    }

    /// `struct hvm_hw_mtrr`: memory types of a vcpu.
    pub struct HvmHwMtrr, 240 bytes {
        /// MSR IA32_PAT.
        pub msr_pat_cr: u64,
        /// Variable MTRRs: base and mask in turn.
        pub msr_mtrr_var: [u64; MTRR_VCNT * 2],
        /// Fixed MTRRs by number of the MSR.
        pub msr_mtrr_fixed: [u64; NUM_FIXED_MSR],
        /// MSR IA32_MTRRCAP.
        pub msr_mtrr_cap: u64,
        /// MSR IA32_MTRR_DEF_TYPE.
        pub msr_mtrr_def_type: u64,
    }

    /// `struct hvm_hw_cpu_xsave`: extended state of a vcpu; the components from 2 on follow.
    pub struct HvmHwCpuXsave, 600 bytes {
        /// XCR0 of the host that saved.
        pub xfeature_mask: u64,
        /// XCR0.
        pub xcr0: u64,
        /// All bits that XCR0 ever had.
        pub xcr0_accum: u64,
        /// `save_area.fpu_sse`: legacy region of the XSAVE area.
        pub fpu_sse: [u8; 512],
        /// `save_area.xsave_hdr`: its header.
        pub xsave_hdr: HvmHwCpuXsaveHdr,
    }

    /// `struct hvm_hw_cpu_xsave_hdr`: header of an XSAVE area.
    pub struct HvmHwCpuXsaveHdr, 64 bytes {
        /// Components present.
        pub xstate_bv: u64,
        /// Components of the compacted form.
        pub xcomp_bv: u64,
        /// Must be zero.
        pub reserved: [u64; 6],
    }

    /// `struct hvm_vmce_vcpu`: machine-check state of a vcpu.
    pub struct HvmVmceVcpu, 32 bytes {
        /// MSR IA32_MCG_CAP.
        pub caps: u64,
        /// MSR IA32_MC0_CTL2.
        pub mci_ctl2_bank0: u64,
        /// MSR IA32_MC1_CTL2.
        pub mci_ctl2_bank1: u64,
        /// MSR IA32_MCG_EXT_CTL.
        pub mcg_ext_ctl: u64,
    }

    /// `struct hvm_tsc_adjust`
    pub struct HvmTscAdjust, 8 bytes {
        /// MSR IA32_TSC_ADJUST.
        pub tsc_adjust: u64,
    }

    /// `struct hvm_msr`: further MSRs of a vcpu; `count` [`HvmOneMsr`]s follow.
    pub struct HvmMsr, 8 bytes {
        /// How many.
        pub count: u32,
        /// Padding.
        pub _pad: u32,
        /// Where they start; gives their alignment to this head.
        pub _msr: [HvmOneMsr; 0],
    }

    /// `struct hvm_one_msr`: one MSR.
    pub struct HvmOneMsr, 16 bytes {
        /// Its number.
        pub index: u32,
        /// `_rsvd`: must be zero.
        pub rsvd: u32,
        /// Contents.
        pub val: u64,
    }
}
