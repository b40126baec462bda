//! Every parameter of `xl.cfg`(5), and of the configurations that xend read: whether Kigumi honours
//! it, and why not.
//!
//! Ignored with a warning is what adds a device or tunes one: the guest runs without. Refused is what
//! the domain would not be what its file promises without: another way to boot, hardware of its own,
//! isolation. `docs/xl.cfg.md` shows this table; a test compares them.

use crate::number;
use crate::syntax::Kind;

/// What becomes of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// A rule reads it: honoured, or refused where a value cannot be had.
    Rule,
    /// A warning says why it does nothing.
    Ignored(&'static str),
    /// An error says why it cannot be had.
    Refused(&'static str),
}

/// Values by which a parameter asks for what is so anyway; nothing is said about these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Neutral {
    /// None.
    None,
    /// 0, an empty string, an empty list.
    Off,
    /// Any other number.
    On,
    /// All: the parameter never makes a difference here.
    All,
    /// These.
    These(&'static [&'static str]),
}

/// A parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub support: Support,
    neutral: Neutral,
}

impl Parameter {
    /// Whether this value asks for what is so anyway.
    pub fn asks_for_nothing(&self, value: &Kind) -> bool {
        match (self.neutral, value) {
            (Neutral::None, _) => false,
            (Neutral::All, _) => true,
            (Neutral::Off, Kind::List(values)) => values.is_empty(),
            (Neutral::Off, Kind::Atom(text)) => text.is_empty() || number::integer(text) == Ok(0),
            (Neutral::On, Kind::Atom(text)) => number::integer(text).is_ok_and(|number| number != 0),
            (Neutral::These(texts), Kind::Atom(text)) => texts.contains(&text.as_str()),
            (Neutral::On | Neutral::These(_), Kind::List(_)) => false,
        }
    }
}

/// The parameter of this name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}

/// The names of those that rules read.
pub fn useful_names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().filter(|parameter| parameter.support == Support::Rule).map(|parameter| parameter.name)
}

const fn rule(name: &'static str) -> Parameter {
    Parameter { name, support: Support::Rule, neutral: Neutral::None }
}

const fn ignored(name: &'static str, neutral: Neutral, reason: &'static str) -> Parameter {
    Parameter { name, support: Support::Ignored(reason), neutral }
}

const fn refused(name: &'static str, neutral: Neutral, reason: &'static str) -> Parameter {
    Parameter { name, support: Support::Refused(reason), neutral }
}

const DEVICE_MODEL: &str = "it needs a device model, which Kigumi has not";
const FIRMWARE: &str = "there is no firmware; domains start from kernel=";
const BOOTLOADER: &str = "nothing here reads a guest's disk to find a kernel; name it by kernel=";
const BACK_END: &str = "there is no back end for such devices";
const PASSTHROUGH: &str = "devices of the machine cannot be given to domains";
const SCHEDULER: &str = "it is of another scheduler; the credit scheduler has cpu_weight and cap";
const ARM: &str = "it is for Arm";
const PV: &str = "it is for PV guests, which Kigumi does not run";
const SHIM: &str = "PV guests do not run, not in a shim either";
const NO_ACPI: &str = "a PVH domain has the ACPI tables that the toolstack writes";
const ALWAYS: &str = "all domains have it";
const XSM: &str = "there are no security labels";
const TIMERS: &str = "the emulated timers have one mode";
const HYPER_V: &str = "there are no interfaces of Hyper-V";
const XEND: &str = "it was an option of xend";
const VIRTUAL_NUMA: &str = "domains have one NUMA node";

/// All parameters, by what they are for.
pub static PARAMETERS: &[Parameter] = &[
    rule("name"),
    rule("uuid"),
    rule("type"),
    rule("builder"),
    rule("kernel"),
    rule("ramdisk"),
    rule("cmdline"),
    rule("root"),
    rule("extra"),
    rule("memory"),
    rule("maxmem"),
    rule("vcpus"),
    rule("maxvcpus"),
    rule("cpus"),
    rule("cpus_soft"),
    rule("cpu_weight"),
    rule("cap"),
    rule("cpu_cap"),
    rule("pool"),
    rule("on_poweroff"),
    rule("on_reboot"),
    rule("on_crash"),
    rule("on_watchdog"),
    rule("disk"),
    rule("vif"),
    rule("max_grant_frames"),
    rule("max_maptrack_frames"),
    rule("max_event_channels"),
    rule("tsc_mode"),
    rule("localtime"),
    rule("rtc_timeoffset"),
    rule("vnc"),
    rule("vnclisten"),
    rule("vncdisplay"),
    rule("vncunused"),
    rule("vncpasswd"),
    rule("keymap"),
    rule("vfb"),
    // How it boots.
    refused("firmware", Neutral::None, FIRMWARE),
    refused("bios", Neutral::None, FIRMWARE),
    refused("firmware_override", Neutral::None, FIRMWARE),
    refused("bios_path_override", Neutral::None, FIRMWARE),
    refused("bootloader", Neutral::Off, BOOTLOADER),
    ignored("bootloader_args", Neutral::Off, BOOTLOADER),
    ignored("bootloader_restrict", Neutral::Off, BOOTLOADER),
    ignored("bootloader_user", Neutral::Off, BOOTLOADER),
    ignored("boot", Neutral::Off, FIRMWARE),
    refused("pvshim", Neutral::Off, SHIM),
    ignored("pvshim_path", Neutral::Off, SHIM),
    ignored("pvshim_cmdline", Neutral::Off, SHIM),
    ignored("pvshim_extra", Neutral::Off, SHIM),
    refused("nfs_server", Neutral::Off, "roots on NFS are named by cmdline="),
    refused("nfs_root", Neutral::Off, "roots on NFS are named by cmdline="),
    // Scheduling and NUMA.
    refused("period", Neutral::Off, SCHEDULER),
    refused("slice", Neutral::Off, SCHEDULER),
    refused("budget", Neutral::Off, SCHEDULER),
    refused("latency", Neutral::Off, SCHEDULER),
    refused("extratime", Neutral::Off, SCHEDULER),
    ignored("vnuma", Neutral::Off, VIRTUAL_NUMA),
    ignored("cpu", Neutral::Off, "it was an option of xend; cpus= says where a domain runs"),
    // What the processor and the platform are like.
    refused("hap", Neutral::On, "domains always have nested paging"),
    refused("nestedhvm", Neutral::Off, "domains cannot use VMX themselves"),
    refused("altp2m", Neutral::These(&["", "0", "disabled"]), "domains have one view of their memory"),
    refused("altp2mhvm", Neutral::Off, "domains have one view of their memory"),
    ignored("altp2m_count", Neutral::Off, "domains have one view of their memory"),
    refused("cpuid", Neutral::Off, "all domains have the same CPUID policy"),
    ignored("apic", Neutral::On, ALWAYS),
    ignored("pae", Neutral::On, ALWAYS),
    ignored("nx", Neutral::On, ALWAYS),
    ignored("oos", Neutral::All, "it is of shadow paging, which is not used"),
    ignored("shadow_memory", Neutral::All, "it is of shadow paging, which is not used"),
    ignored("acpi", Neutral::Off, NO_ACPI),
    ignored("acpi_s3", Neutral::Off, NO_ACPI),
    ignored("acpi_s4", Neutral::Off, NO_ACPI),
    ignored("acpi_laptop_slate", Neutral::Off, NO_ACPI),
    ignored("acpi_firmware", Neutral::Off, NO_ACPI),
    ignored("hpet", Neutral::Off, "there is no HPET"),
    ignored("timer_mode", Neutral::None, TIMERS),
    ignored("vpt_align", Neutral::None, TIMERS),
    ignored("vpmu", Neutral::Off, "domains have no performance counters"),
    ignored("vmtrace_buf_kb", Neutral::Off, "processor trace is not offered"),
    ignored("msr_relaxed", Neutral::Off, "unknown MSRs fault"),
    ignored("mca_caps", Neutral::Off, "machine checks are not offered"),
    ignored("viridian", Neutral::Off, HYPER_V),
    ignored("ms_vm_genid", Neutral::These(&["", "none"]), HYPER_V),
    ignored("smbios", Neutral::Off, FIRMWARE),
    ignored("smbios_firmware", Neutral::Off, FIRMWARE),
    ignored("mmio_hole", Neutral::Off, DEVICE_MODEL),
    ignored("xen_platform_pci", Neutral::Off, DEVICE_MODEL),
    ignored("xen_platform_pci_bar_uc", Neutral::All, DEVICE_MODEL),
    ignored("hvm_pirq", Neutral::Off, "there are no emulated interrupts to map to event channels"),
    ignored("max_grant_version", Neutral::These(&["1"]), "grant tables are of version 1"),
    ignored("on_soft_reset", Neutral::None, "domains cannot be soft-reset"),
    ignored("nomigrate", Neutral::All, "domains are not migrated"),
    ignored("xend_suspend_evtchn_compat", Neutral::Off, XEND),
    ignored("e820_host", Neutral::Off, PV),
    // Isolation.
    refused("seclabel", Neutral::Off, XSM),
    refused("init_seclabel", Neutral::Off, XSM),
    ignored("xenstore_quota", Neutral::Off, "all domains have the same quotas in XenStore"),
    ignored("xenstore_feature_mask", Neutral::Off, "all domains have the same features of XenStore"),
    ignored("driver_domain", Neutral::Off, "back ends run in Dom0"),
    // Devices of the machine.
    refused("pci", Neutral::Off, PASSTHROUGH),
    ignored("pci_permissive", Neutral::Off, PASSTHROUGH),
    ignored("pci_msitranslate", Neutral::Off, PASSTHROUGH),
    ignored("pci_seize", Neutral::Off, PASSTHROUGH),
    ignored("pci_power_mgmt", Neutral::Off, PASSTHROUGH),
    refused("passthrough", Neutral::These(&["", "disabled", "default"]), PASSTHROUGH),
    refused("gfx_passthru", Neutral::Off, PASSTHROUGH),
    ignored("rdm", Neutral::None, PASSTHROUGH),
    ignored("rdm_mem_boundary", Neutral::None, PASSTHROUGH),
    refused("dtdev", Neutral::Off, PASSTHROUGH),
    refused("ioports", Neutral::Off, PASSTHROUGH),
    refused("iomem", Neutral::Off, PASSTHROUGH),
    refused("irqs", Neutral::Off, PASSTHROUGH),
    refused("usbdev", Neutral::Off, PASSTHROUGH),
    refused("vscsi", Neutral::Off, PASSTHROUGH),
    // Split devices.
    ignored("p9", Neutral::Off, BACK_END),
    ignored("pvcalls", Neutral::Off, BACK_END),
    ignored("channel", Neutral::Off, BACK_END),
    ignored("vtpm", Neutral::Off, BACK_END),
    ignored("vdispl", Neutral::Off, BACK_END),
    ignored("vsnd", Neutral::Off, BACK_END),
    ignored("vkb", Neutral::Off, BACK_END),
    ignored("virtio", Neutral::Off, BACK_END),
    ignored("usbctrl", Neutral::Off, BACK_END),
    ignored("vif2", Neutral::Off, BACK_END),
    ignored("nics", Neutral::All, "vif= has the network interfaces"),
    // Emulated devices.
    ignored("device_model", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_version", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_override", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_stubdomain_override", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_stubdomain_seclabel", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_args", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_args_pv", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_args_hvm", Neutral::Off, DEVICE_MODEL),
    ignored("device_model_user", Neutral::Off, DEVICE_MODEL),
    ignored("dm_restrict", Neutral::Off, DEVICE_MODEL),
    ignored("stubdomain_kernel", Neutral::Off, DEVICE_MODEL),
    ignored("stubdomain_cmdline", Neutral::Off, DEVICE_MODEL),
    ignored("stubdomain_ramdisk", Neutral::Off, DEVICE_MODEL),
    ignored("stubdomain_memory", Neutral::Off, DEVICE_MODEL),
    ignored("hdtype", Neutral::Off, DEVICE_MODEL),
    ignored(
        "serial",
        Neutral::These(&["", "none"]),
        "there is no emulated serial port; xl console shows the console",
    ),
    ignored("parallel", Neutral::These(&["", "none"]), DEVICE_MODEL),
    ignored("soundhw", Neutral::Off, DEVICE_MODEL),
    ignored("usb", Neutral::Off, DEVICE_MODEL),
    ignored("usbversion", Neutral::Off, DEVICE_MODEL),
    ignored("usbdevice", Neutral::Off, DEVICE_MODEL),
    ignored("vkb_device", Neutral::Off, DEVICE_MODEL),
    ignored("vendor_device", Neutral::These(&["", "none"]), DEVICE_MODEL),
    ignored("ne2000", Neutral::Off, DEVICE_MODEL),
    ignored("enable-audio", Neutral::Off, DEVICE_MODEL),
    ignored("full-screen", Neutral::Off, DEVICE_MODEL),
    // Pictures.
    ignored("nographic", Neutral::On, DEVICE_MODEL),
    ignored("vga", Neutral::These(&["", "none"]), DEVICE_MODEL),
    ignored("stdvga", Neutral::Off, DEVICE_MODEL),
    ignored("videoram", Neutral::Off, DEVICE_MODEL),
    ignored("sdl", Neutral::Off, DEVICE_MODEL),
    ignored("opengl", Neutral::Off, DEVICE_MODEL),
    ignored("display", Neutral::Off, DEVICE_MODEL),
    ignored("xauthority", Neutral::Off, DEVICE_MODEL),
    ignored("vncviewer", Neutral::Off, DEVICE_MODEL),
    ignored("vncconsole", Neutral::Off, DEVICE_MODEL),
    ignored("monitor", Neutral::Off, DEVICE_MODEL),
    ignored("spice", Neutral::Off, DEVICE_MODEL),
    ignored("spicehost", Neutral::Off, DEVICE_MODEL),
    ignored("spiceport", Neutral::Off, DEVICE_MODEL),
    ignored("spicetls_port", Neutral::Off, DEVICE_MODEL),
    ignored("spicepasswd", Neutral::Off, DEVICE_MODEL),
    ignored("spicedisable_ticketing", Neutral::Off, DEVICE_MODEL),
    ignored("spiceagent_mouse", Neutral::Off, DEVICE_MODEL),
    ignored("spicevdagent", Neutral::Off, DEVICE_MODEL),
    ignored("spice_clipboard_sharing", Neutral::Off, DEVICE_MODEL),
    ignored("spiceusbredirection", Neutral::Off, DEVICE_MODEL),
    ignored("spice_image_compression", Neutral::Off, DEVICE_MODEL),
    ignored("spice_streaming_video", Neutral::Off, DEVICE_MODEL),
    // Other architectures and times.
    ignored("device_tree", Neutral::None, ARM),
    ignored("gic_version", Neutral::None, ARM),
    ignored("vuart", Neutral::None, ARM),
    ignored("sve", Neutral::None, ARM),
    ignored("tee", Neutral::These(&["", "none"]), ARM),
    ignored("nr_spis", Neutral::None, ARM),
    ignored("arm_sci", Neutral::None, ARM),
    ignored("trap_unmapped_accesses", Neutral::None, ARM),
    refused("llc_colors", Neutral::Off, "caches cannot be divided"),
    ignored(
        "restart",
        Neutral::None,
        "it was an option of xend; on_poweroff=, on_reboot= and on_crash= say it",
    ),
    ignored("vcpu_avail", Neutral::None, "it was an option of xend; vcpus= and maxvcpus= say it"),
];

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// Options of today's `xl.cfg`(5) for x86 and Arm, without those of single devices.
    const TODAY: &str = "acpi acpi_firmware acpi_laptop_slate acpi_s3 acpi_s4 altp2m altp2m_count altp2mhvm \
        apic arm_sci bios bios_path_override boot bootloader bootloader_args bootloader_restrict \
        bootloader_user builder cap channel cmdline cpu_weight cpuid cpus cpus_soft device_model \
        device_model_args device_model_args_hvm device_model_args_pv device_model_override \
        device_model_stubdomain_override device_model_stubdomain_seclabel device_model_user \
        device_model_version device_tree disk display dm_restrict driver_domain dtdev e820_host extra \
        extratime firmware firmware_override gfx_passthru gic_version hap hdtype hpet hvm_pirq \
        init_seclabel iomem ioports irqs kernel keymap latency llc_colors localtime max_event_channels \
        max_grant_frames max_grant_version max_maptrack_frames maxmem maxvcpus mca_caps memory mmio_hole \
        ms_vm_genid msr_relaxed name nestedhvm nographic nomigrate nr_spis nx on_crash on_poweroff \
        on_reboot on_soft_reset on_watchdog oos opengl p9 pae passthrough pci pci_msitranslate \
        pci_permissive pci_power_mgmt pci_seize period pool pvcalls pvshim pvshim_cmdline pvshim_extra \
        pvshim_path ramdisk rdm rdm_mem_boundary root rtc_timeoffset sdl seclabel serial shadow_memory \
        slice smbios smbios_firmware soundhw spice spice_clipboard_sharing spice_image_compression \
        spice_streaming_video spiceagent_mouse spicedisable_ticketing spicehost spicepasswd spiceport \
        spicetls_port spiceusbredirection spicevdagent stdvga stubdomain_cmdline stubdomain_kernel \
        stubdomain_memory stubdomain_ramdisk sve tee timer_mode trap_unmapped_accesses tsc_mode type usb \
        usbctrl usbdev usbdevice usbversion uuid vcpus vdispl vendor_device vfb vga videoram vif vif2 \
        viridian virtio vkb vkb_device vmtrace_buf_kb vnc vncdisplay vnclisten vncpasswd vncunused \
        vncviewer vnuma vpmu vpt_align vsnd vtpm vuart xauthority xen_platform_pci \
        xen_platform_pci_bar_uc xend_suspend_evtchn_compat xenstore_feature_mask xenstore_quota";

    /// CFG-01 to CFG-21 and the list after them.
    const REQUIRED: &str = "name uuid memory maxmem vcpus cpus cpu_weight cpu_cap disk vif vfb vnc vncunused \
        vncdisplay vncpasswd nographic on_crash localtime bootloader device_model keymap cpu nics nfs_server \
        nfs_root restart acpi apic pae boot sdl vncviewer ne2000 serial enable-audio full-screen usb \
        usbdevice on_poweroff on_reboot";

    #[test]
    fn all_are_known() {
        let missing: Vec<&str> =
            TODAY.split(' ').chain(REQUIRED.split(' ')).filter(|name| find(name.trim()).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn none_is_there_twice() {
        let unique: BTreeSet<&str> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
        assert_eq!(unique.len(), PARAMETERS.len());
    }

    #[test]
    fn the_documentation_has_them_all() {
        let documentation = include_str!("../../../docs/xl.cfg.md");
        let row = |parameter: &Parameter| match parameter.support {
            Support::Rule => format!("| `{}` | ", parameter.name),
            Support::Ignored(reason) => format!("| `{}` | ignored | {reason} |", parameter.name),
            Support::Refused(reason) => format!("| `{}` | refused | {reason} |", parameter.name),
        };
        let missing: Vec<String> =
            PARAMETERS.iter().map(row).filter(|row| !documentation.contains(row)).collect();
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn values_that_ask_for_nothing() {
        let atom = |text: &str| Kind::Atom(text.into());
        let says = |name: &str, value: &str| !find(name).unwrap().asks_for_nothing(&atom(value));
        assert!(says("usb", "1") && !says("usb", "0") && !says("usb", ""));
        assert!(says("hap", "0") && !says("hap", "1"));
        assert!(says("altp2m", "mixed") && !says("altp2m", "disabled"));
        assert!(!says("nomigrate", "1"));
        assert!(says("bios", "seabios"));
        assert!(find("pci").unwrap().asks_for_nothing(&Kind::List(Vec::new())));
    }
}
