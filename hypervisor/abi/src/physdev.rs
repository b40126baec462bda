//! Physical interrupts and PCI devices, for Dom0 (`physdev.h`).
//!
//! Operations that only PV guests use, and those withdrawn, have a number but no structure.

use bitflags::bitflags;

use crate::RawDomid;

numbers! {
    /// Operation of `physdev_op` (`PHYSDEVOP_*`).
    pub enum PhysdevOp: u32 {
        /// `PHYSDEVOP_IRQ_UNMASK_NOTIFY`: old form of [`Self::Eoi`].
        IrqUnmaskNotify = 4,
        /// `PHYSDEVOP_irq_status_query`: [`PhysdevIrqStatusQuery`].
        IrqStatusQuery = 5,
        /// `PHYSDEVOP_set_iopl`: PV.
        SetIopl = 6,
        /// `PHYSDEVOP_set_iobitmap`: PV.
        SetIobitmap = 7,
        /// `PHYSDEVOP_apic_read`: PV.
        ApicRead = 8,
        /// `PHYSDEVOP_apic_write`: PV.
        ApicWrite = 9,
        /// `PHYSDEVOP_alloc_irq_vector`: PV.
        AllocIrqVector = 10,
        /// `PHYSDEVOP_free_irq_vector`: PV.
        FreeIrqVector = 11,
        /// `PHYSDEVOP_eoi`: [`PhysdevEoi`].
        Eoi = 12,
        /// `PHYSDEVOP_map_pirq`: [`PhysdevMapPirq`].
        MapPirq = 13,
        /// `PHYSDEVOP_unmap_pirq`: [`PhysdevUnmapPirq`].
        UnmapPirq = 14,
        /// `PHYSDEVOP_manage_pci_add`: old form of [`Self::PciDeviceAdd`].
        ManagePciAdd = 15,
        /// `PHYSDEVOP_manage_pci_remove`: old form of [`Self::PciDeviceRemove`].
        ManagePciRemove = 16,
        /// `PHYSDEVOP_pirq_eoi_gmfn_v1`: page of EOI bits.
        PirqEoiGmfnV1 = 17,
        /// `PHYSDEVOP_restore_msi`: old form of [`Self::RestoreMsiExt`].
        RestoreMsi = 19,
        /// `PHYSDEVOP_manage_pci_add_ext`: old form of [`Self::PciDeviceAdd`].
        ManagePciAddExt = 20,
        /// `PHYSDEVOP_setup_gsi`: [`PhysdevSetupGsi`].
        SetupGsi = 21,
        /// `PHYSDEVOP_get_free_pirq`: [`PhysdevGetFreePirq`].
        GetFreePirq = 23,
        /// `PHYSDEVOP_pci_mmcfg_reserved`: [`PhysdevPciMmcfgReserved`].
        PciMmcfgReserved = 24,
        /// `PHYSDEVOP_pci_device_add`: [`PhysdevPciDeviceAdd`].
        PciDeviceAdd = 25,
        /// `PHYSDEVOP_pci_device_remove`: [`PhysdevPciDevice`].
        PciDeviceRemove = 26,
        /// `PHYSDEVOP_restore_msi_ext`: [`PhysdevPciDevice`].
        RestoreMsiExt = 27,
        /// `PHYSDEVOP_pirq_eoi_gmfn_v2`: page of EOI bits.
        PirqEoiGmfnV2 = 28,
        /// `PHYSDEVOP_dbgp_op`: [`PhysdevDbgpOp`].
        DbgpOp = 29,
        /// `PHYSDEVOP_prepare_msix`: [`PhysdevPciDevice`].
        PrepareMsix = 30,
        /// `PHYSDEVOP_release_msix`: [`PhysdevPciDevice`].
        ReleaseMsix = 31,
    }

    /// Kind of an interrupt to be mapped (`MAP_PIRQ_TYPE_*`).
    pub enum MapPirqType: i32 {
        /// `MAP_PIRQ_TYPE_MSI`
        Msi = 0,
        /// `MAP_PIRQ_TYPE_GSI`
        Gsi = 1,
        /// `MAP_PIRQ_TYPE_UNKNOWN`
        Unknown = 2,
        /// `MAP_PIRQ_TYPE_MSI_SEG`: MSI of a device in a PCI segment.
        MsiSeg = 3,
        /// `MAP_PIRQ_TYPE_MULTI_MSI`: several messages.
        MultiMsi = 4,
    }

    /// Step around the reset of a USB debug port (`PHYSDEVOP_DBGP_RESET_*`).
    pub enum DbgpReset: u8 {
        /// `PHYSDEVOP_DBGP_RESET_PREPARE`
        Prepare = 1,
        /// `PHYSDEVOP_DBGP_RESET_DONE`
        Done = 2,
    }

    /// Bus of a USB debug port (`PHYSDEVOP_DBGP_BUS_*`).
    pub enum DbgpBus: u8 {
        /// `PHYSDEVOP_DBGP_BUS_UNKNOWN`
        Unknown = 0,
        /// `PHYSDEVOP_DBGP_BUS_PCI`
        Pci = 1,
    }
}

/// Flag of [`PhysdevPciMmcfgReserved`]: the firmware reserves the range (`XEN_PCI_MMCFG_RESERVED`).
pub const PCI_MMCFG_RESERVED: u32 = 1;

bitflags! {
    /// State of an interrupt (`XENIRQSTAT_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqStatus: u32 {
        /// `XENIRQSTAT_needs_eoi`: the guest must call [`PhysdevOp::Eoi`].
        const NEEDS_EOI = 1 << 0;
        /// `XENIRQSTAT_shared`: other domains use it too.
        const SHARED = 1 << 1;
    }

    /// What is known of a PCI device (`XEN_PCI_DEV_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PciDevFlags: u32 {
        /// `XEN_PCI_DEV_EXTFN`: function of an ARI device.
        const EXTFN = 1 << 0;
        /// `XEN_PCI_DEV_VIRTFN`: virtual function; `physfn` is valid.
        const VIRTFN = 1 << 1;
        /// `XEN_PCI_DEV_PXM`: the proximity domain follows the structure.
        const PXM = 1 << 2;
    }
}

layout! {
    /// `struct physdev_eoi`: the guest is done with an interrupt.
    pub struct PhysdevEoi, 4 bytes {
        /// Which.
        pub irq: u32,
    }

    /// `struct physdev_irq_status_query`
    pub struct PhysdevIrqStatusQuery, 8 bytes {
        /// Which.
        pub irq: u32,
        /// [`IrqStatus`]; out.
        pub flags: u32,
    }

    /// `struct physdev_map_pirq`: make a physical interrupt known to a domain.
    pub struct PhysdevMapPirq, 40 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// Padding.
        pub _pad0: u16,
        /// `type`: [`MapPirqType`].
        pub kind: i32,
        /// GSI, or -1; out: IRQ.
        pub index: i32,
        /// Its number in the domain, or negative for any; out.
        pub pirq: i32,
        /// PCI bus, segment in the high half.
        pub bus: i32,
        /// PCI device and function.
        pub devfn: i32,
        /// MSI-X entry, or number of messages.
        pub entry_nr: i32,
        /// Padding.
        pub _pad1: u32,
        /// Address of the MSI-X table, 0 for MSI.
        pub table_base: u64,
    }

    /// `struct physdev_unmap_pirq`
    pub struct PhysdevUnmapPirq, 8 bytes {
        /// Which domain.
        pub domid: RawDomid,
        /// Padding.
        pub _pad: u16,
        /// Number in the domain.
        pub pirq: i32,
    }

    /// `struct physdev_setup_gsi`: how an I/O APIC pin is wired.
    pub struct PhysdevSetupGsi, 8 bytes {
        /// Global system interrupt.
        pub gsi: i32,
        /// 0 edge, 1 level.
        pub triggering: u8,
        /// 0 active high, 1 active low.
        pub polarity: u8,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct physdev_get_free_pirq`: a number that no interrupt has.
    pub struct PhysdevGetFreePirq, 8 bytes {
        /// `type`: [`MapPirqType`].
        pub kind: i32,
        /// The number; out.
        pub pirq: u32,
    }

    /// `struct physdev_pci_mmcfg_reserved`: memory-mapped configuration space.
    pub struct PhysdevPciMmcfgReserved, 16 bytes {
        /// Where bus 0 of the segment would be.
        pub address: u64,
        /// PCI segment.
        pub segment: u16,
        /// First bus.
        pub start_bus: u8,
        /// Last bus.
        pub end_bus: u8,
        /// [`PCI_MMCFG_RESERVED`] or 0.
        pub flags: u32,
    }

    /// `struct physdev_pci_device_add`: Dom0 found a device.
    pub struct PhysdevPciDeviceAdd, 12 bytes {
        /// PCI segment.
        pub seg: u16,
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
        /// [`PciDevFlags`].
        pub flags: u32,
        /// `physfn.bus`: bus of the physical function.
        pub physfn_bus: u8,
        /// `physfn.devfn`: device and function of the physical function.
        pub physfn_devfn: u8,
        /// Padding.
        pub _pad: u16,
    }

    /// `struct physdev_pci_device`: names a device.
    pub struct PhysdevPciDevice, 4 bytes {
        /// PCI segment.
        pub seg: u16,
        /// Bus.
        pub bus: u8,
        /// Device and function.
        pub devfn: u8,
    }

    /// `struct physdev_dbgp_op`: Dom0 resets the controller of a USB debug port.
    pub struct PhysdevDbgpOp, 6 bytes {
        /// [`DbgpReset`].
        pub op: u8,
        /// [`DbgpBus`].
        pub bus: u8,
        /// `u.pci`: the controller.
        pub pci: PhysdevPciDevice,
    }
}
