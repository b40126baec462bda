//! The machine, for Dom0 (`platform.h`): the operations that a PVH Dom0 makes.

numbers! {
    /// Operation of `platform_op` (`XENPF_*`).
    pub enum PlatformOp: u32 {
        /// `XENPF_settime32`: [`Settime32`].
        Settime32 = 17,
        /// `XENPF_add_memtype`: PV.
        AddMemtype = 31,
        /// `XENPF_del_memtype`: PV.
        DelMemtype = 32,
        /// `XENPF_read_memtype`: PV.
        ReadMemtype = 33,
        /// `XENPF_microcode_update`: load microcode.
        MicrocodeUpdate = 35,
        /// `XENPF_platform_quirk`: a chipset's peculiarity.
        PlatformQuirk = 39,
        /// `XENPF_get_cpu_version`: [`PcpuVersion`].
        GetCpuVersion = 48,
        /// `XENPF_efi_runtime_call`: call the firmware.
        EfiRuntimeCall = 49,
        /// `XENPF_firmware_info`: [`FirmwareInfo`].
        FirmwareInfo = 50,
        /// `XENPF_enter_acpi_sleep`: [`EnterAcpiSleep`].
        EnterAcpiSleep = 51,
        /// `XENPF_change_freq`: a pcpu's frequency.
        ChangeFreq = 52,
        /// `XENPF_getidletime`: idle time of pcpus.
        Getidletime = 53,
        /// `XENPF_set_processor_pminfo`: power states found in ACPI.
        SetProcessorPminfo = 54,
        /// `XENPF_get_cpuinfo`: [`PcpuInfo`].
        GetCpuinfo = 55,
        /// `XENPF_cpu_online`: [`CpuOl`].
        CpuOnline = 56,
        /// `XENPF_cpu_offline`: [`CpuOl`].
        CpuOffline = 57,
        /// `XENPF_cpu_hotadd`: a pcpu was plugged in.
        CpuHotadd = 58,
        /// `XENPF_mem_hotadd`: memory was plugged in.
        MemHotadd = 59,
        /// `XENPF_core_parking`: idle some pcpus.
        CoreParking = 60,
        /// `XENPF_resource_op`: read and write MSRs of pcpus.
        ResourceOp = 61,
        /// `XENPF_settime64`: [`Settime64`].
        Settime64 = 62,
        /// `XENPF_get_symbol`: the hypervisor's symbol table.
        GetSymbol = 63,
    }

    /// Question about the firmware (`XEN_FW_*`).
    pub enum FirmwareInfoType: u32 {
        /// `XEN_FW_DISK_INFO`: a BIOS disk.
        DiskInfo = 1,
        /// `XEN_FW_DISK_MBR_SIGNATURE`: a BIOS disk's signature.
        DiskMbrSignature = 2,
        /// `XEN_FW_VBEDDC_INFO`: the monitor.
        VbeddcInfo = 3,
        /// `XEN_FW_EFI_INFO`: EFI.
        EfiInfo = 4,
        /// `XEN_FW_KBD_SHIFT_FLAGS`: the keyboard's BIOS flags.
        KbdShiftFlags = 5,
    }
}

/// `interface_version` of this header (`XENPF_INTERFACE_VERSION`).
pub const INTERFACE_VERSION: u32 = 0x0300_0001;
/// Flag of [`PcpuInfo`]: online (`XEN_PCPU_FLAGS_ONLINE`).
pub const PCPU_FLAGS_ONLINE: u32 = 1;
/// Flag of [`PcpuInfo`]: no such pcpu (`XEN_PCPU_FLAGS_INVALID`).
pub const PCPU_FLAGS_INVALID: u32 = 2;
/// Flag of [`EnterAcpiSleep`]: by the extended registers (`XENPF_ACPI_SLEEP_EXTENDED`).
pub const ACPI_SLEEP_EXTENDED: u32 = 1;

layout! {
    /// `struct xen_platform_op`: operation and argument.
    pub struct XenPlatformOp, 136 bytes {
        /// [`PlatformOp`].
        pub cmd: u32,
        /// [`INTERFACE_VERSION`].
        pub interface_version: u32,
        /// The argument.
        pub u: PlatformArgs,
    }

    /// `struct xenpf_settime32`: the wall clock, seconds until 2106.
    pub struct Settime32, 16 bytes {
        /// Seconds since 1970.
        pub secs: u32,
        /// Nanoseconds in the second.
        pub nsecs: u32,
        /// System time at which that was right, in ns.
        pub system_time: u64,
    }

    /// `struct xenpf_settime64`: the wall clock.
    pub struct Settime64, 24 bytes {
        /// Seconds since 1970.
        pub secs: u64,
        /// Nanoseconds in the second.
        pub nsecs: u32,
        /// Must be zero.
        pub mbz: u32,
        /// System time at which that was right, in ns.
        pub system_time: u64,
    }

    /// `struct xenpf_firmware_info`: question and answer about the firmware.
    pub struct FirmwareInfo, 40 bytes {
        /// `type`: [`FirmwareInfoType`].
        pub kind: u32,
        /// Which of the kind.
        pub index: u32,
        /// The answer.
        pub u: [u64; 4],
    }

    /// `struct xenpf_enter_acpi_sleep`: Dom0 has prepared the machine for sleep or power-off.
    pub struct EnterAcpiSleep, 12 bytes {
        /// Value for the PM1a control register.
        pub val_a: u16,
        /// Value for the PM1b control register.
        pub val_b: u16,
        /// ACPI sleep state: 1 to 5.
        pub sleep_state: u32,
        /// [`ACPI_SLEEP_EXTENDED`] or 0.
        pub flags: u32,
    }

    /// `struct xenpf_pcpuinfo`: one pcpu.
    pub struct PcpuInfo, 20 bytes {
        /// Which.
        pub xen_cpuid: u32,
        /// The highest there is; out.
        pub max_present: u32,
        /// [`PCPU_FLAGS_ONLINE`], [`PCPU_FLAGS_INVALID`]; out.
        pub flags: u32,
        /// APIC id; out.
        pub apic_id: u32,
        /// ACPI processor id; out.
        pub acpi_id: u32,
    }

    /// `struct xenpf_pcpu_version`: model of one pcpu.
    pub struct PcpuVersion, 32 bytes {
        /// Which.
        pub xen_cpuid: u32,
        /// The highest there is; out.
        pub max_present: u32,
        /// CPUID vendor; out.
        pub vendor_id: [u8; 12],
        /// CPUID family; out.
        pub family: u32,
        /// CPUID model; out.
        pub model: u32,
        /// CPUID stepping; out.
        pub stepping: u32,
    }

    /// `struct xenpf_cpu_ol`: start or stop a pcpu.
    pub struct CpuOl, 4 bytes {
        /// Which.
        pub cpuid: u32,
    }
}

unions! {
    /// `u` of `struct xen_platform_op`.
    pub union PlatformArgs: [u64; 16] {
        Settime32, Settime64, FirmwareInfo, EnterAcpiSleep, PcpuInfo, PcpuVersion, CpuOl,
    }
}
