//! Devices of the machine in the hands of a domain.

use bitflags::bitflags;

use crate::handle::GuestHandle;

numbers! {
    /// Kind of a device (`XEN_DOMCTL_DEV_*`).
    pub enum DeviceKind: u32 {
        /// `XEN_DOMCTL_DEV_PCI`
        Pci = 0,
        /// `XEN_DOMCTL_DEV_DT`: of a device tree.
        DeviceTree = 1,
    }

    /// How an interrupt reaches the guest (`PT_IRQ_TYPE_*`).
    pub enum PtIrqType: u32 {
        /// `PT_IRQ_TYPE_PCI`: a PCI interrupt pin ([`PtIrqPci`]).
        Pci = 0,
        /// `PT_IRQ_TYPE_ISA`: an ISA line ([`PtIrqIsa`]).
        Isa = 1,
        /// `PT_IRQ_TYPE_MSI`: a message ([`PtIrqMsi`]).
        Msi = 2,
        /// `PT_IRQ_TYPE_MSI_TRANSLATE`: a message of the machine, a pin of the guest.
        MsiTranslate = 3,
        /// `PT_IRQ_TYPE_SPI`: of Arm.
        Spi = 4,
    }
}

/// Flag of [`AssignDevice`]: reserved memory may overlap (`XEN_DOMCTL_DEV_RDM_RELAXED`).
pub const DEV_RDM_RELAXED: u32 = 1;

bitflags! {
    /// Fields of a message (`XEN_DOMCTL_VMSI_X86_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MsiFlags: u32 {
        /// `XEN_DOMCTL_VMSI_X86_DEST_ID_MASK`: destination.
        const DEST_ID_MASK = 0xff;
        /// `XEN_DOMCTL_VMSI_X86_RH_MASK`: redirection hint.
        const RH_MASK = 1 << 8;
        /// `XEN_DOMCTL_VMSI_X86_DM_MASK`: logical destination.
        const DM_MASK = 1 << 9;
        /// `XEN_DOMCTL_VMSI_X86_DELIV_MASK`: delivery mode.
        const DELIV_MASK = 7 << 12;
        /// `XEN_DOMCTL_VMSI_X86_TRIG_MASK`: level-triggered.
        const TRIG_MASK = 1 << 15;
        /// `XEN_DOMCTL_VMSI_X86_UNMASKED`: not masked.
        const UNMASKED = 1 << 16;
    }
}

layout! {
    /// `struct xen_domctl_irq_permission`: whether a domain may bind an interrupt.
    pub struct IrqPermission, 8 bytes {
        /// Physical interrupt.
        pub pirq: u32,
        /// Nonzero allows.
        pub allow_access: u8,
        /// `pad`: padding.
        pub _pad: [u8; 3],
    }

    /// `struct xen_domctl_iomem_permission`: whether a domain may map registers.
    pub struct IomemPermission, 24 bytes {
        /// First machine frame.
        pub first_mfn: u64,
        /// Frames.
        pub nr_mfns: u64,
        /// Nonzero allows.
        pub allow_access: u8,
        /// Padding.
        pub _pad: [u8; 7],
    }

    /// `struct xen_domctl_ioport_permission`: whether a domain may use ports.
    pub struct IoportPermission, 12 bytes {
        /// First port.
        pub first_port: u32,
        /// Ports.
        pub nr_ports: u32,
        /// Nonzero allows.
        pub allow_access: u8,
        /// Padding.
        pub _pad: [u8; 3],
    }

    /// `struct xen_domctl_assign_device`: give, take back or test a device.
    pub struct AssignDevice, 24 bytes {
        /// [`DeviceKind`].
        pub dev: u32,
        /// [`DEV_RDM_RELAXED`] or 0.
        pub flags: u32,
        /// The device.
        pub u: AssignDeviceTarget,
    }

    /// `typeof(((struct xen_domctl_assign_device *)0)->u.pci)`
    pub struct AssignPci, 4 bytes {
        /// Segment, bus, device, function.
        pub machine_sbdf: u32,
    }

    /// `typeof(((struct xen_domctl_assign_device *)0)->u.dt)`
    pub struct AssignDt, 16 bytes {
        /// Bytes of the path.
        pub size: u32,
        /// Padding.
        pub _pad: u32,
        /// Path in the device tree.
        pub path: GuestHandle<u8>,
    }

    /// `struct xen_domctl_get_device_group`: devices that can only be given together.
    pub struct GetDeviceGroup, 24 bytes {
        /// One of them: segment, bus, device, function.
        pub machine_sbdf: u32,
        /// Devices there is room for.
        pub max_sdevs: u32,
        /// Devices; out.
        pub num_sdevs: u32,
        /// Padding.
        pub _pad: u32,
        /// The devices; out.
        pub sdev_array: GuestHandle<u32>,
    }

    /// `struct xen_domctl_bind_pt_irq`: deliver a device's interrupt to the guest.
    pub struct BindPtIrq, 24 bytes {
        /// Physical interrupt.
        pub machine_irq: u32,
        /// [`PtIrqType`].
        pub irq_type: u32,
        /// Where it goes.
        pub u: PtIrqTarget,
    }

    /// `typeof(((struct xen_domctl_bind_pt_irq *)0)->u.isa)`
    pub struct PtIrqIsa, 1 bytes {
        /// ISA line.
        pub isa_irq: u8,
    }

    /// `typeof(((struct xen_domctl_bind_pt_irq *)0)->u.pci)`
    pub struct PtIrqPci, 3 bytes {
        /// Bus in the guest.
        pub bus: u8,
        /// Device in the guest.
        pub device: u8,
        /// Pin: 0 to 3.
        pub intx: u8,
    }

    /// `typeof(((struct xen_domctl_bind_pt_irq *)0)->u.msi)`
    pub struct PtIrqMsi, 16 bytes {
        /// Vector in the guest.
        pub gvec: u8,
        /// Padding.
        pub _pad: [u8; 3],
        /// [`MsiFlags`].
        pub gflags: u32,
        /// Guest physical address of the MSI-X table.
        pub gtable: u64,
    }
}

unions! {
    /// `u` of `struct xen_domctl_assign_device`.
    pub union AssignDeviceTarget: [u64; 2] { AssignPci, AssignDt }

    /// `u` of `struct xen_domctl_bind_pt_irq`.
    pub union PtIrqTarget: [u64; 2] { PtIrqIsa, PtIrqPci, PtIrqMsi }
}
