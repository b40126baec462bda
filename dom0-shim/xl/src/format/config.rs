//! A domain's configuration as JSON, with the names of `libxl`'s types (`libxl_domain_config`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use xl_config::domain::{Action, Disk, DiskFormat, DomainConfig, Vif};

use super::uuid;
use crate::toolstack::{DomId, Domain};

/// A domain and what is known of its configuration.
#[derive(Serialize)]
pub(crate) struct Described {
    domid: Option<DomId>,
    config: Config,
}

#[derive(Serialize)]
struct Config {
    c_info: CreateInfo,
    b_info: BuildInfo,
    disks: Vec<DiskInfo>,
    nics: Vec<NicInfo>,
    #[serde(flatten)]
    actions: Option<Actions>,
}

#[derive(Serialize)]
struct CreateInfo {
    r#type: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
}

#[derive(Serialize)]
struct BuildInfo {
    max_vcpus: u32,
    avail_vcpus: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_memkb: Option<u64>,
    target_memkb: u64,
    #[serde(flatten)]
    boot: Option<Boot>,
}

#[derive(Serialize)]
struct Boot {
    rtc_timeoffset: i32,
    localtime: bool,
    event_channels: u32,
    kernel: String,
    cmdline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramdisk: Option<String>,
    max_grant_frames: u32,
    max_maptrack_frames: u32,
    sched_params: SchedParams,
}

#[derive(Serialize)]
struct SchedParams {
    weight: u16,
    cap: u16,
}

#[derive(Serialize)]
struct DiskInfo {
    pdev_path: String,
    vdev: String,
    format: &'static str,
    removable: u8,
    readwrite: u8,
    is_cdrom: u8,
}

#[derive(Serialize)]
struct NicInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_bytes_per_s: Option<u64>,
}

#[derive(Serialize)]
struct Actions {
    on_poweroff: &'static str,
    on_reboot: &'static str,
    on_watchdog: &'static str,
    on_crash: &'static str,
}

/// A domain that has this configuration; `domain` is `None` before it is made.
pub(crate) fn configured(domain: Option<&Domain>, config: &DomainConfig) -> Described {
    let uuid_bytes = domain.map(|domain| domain.uuid).or(config.uuid);
    let c_info = CreateInfo { r#type: "pvh", name: config.name.clone(), uuid: uuid_bytes.as_ref().map(uuid) };
    let config = Config {
        c_info,
        b_info: build_info(config),
        disks: config.disks.iter().map(disk).collect(),
        nics: config.vifs.iter().map(nic).collect(),
        actions: Some(actions(config)),
    };
    Described { domid: domain.map(|domain| domain.id), config }
}

/// A domain whose configuration nobody has: what the hypervisor knows of it.
pub(crate) fn unconfigured(domain: &Domain) -> Described {
    let c_info = CreateInfo { r#type: "pvh", name: domain.name.clone(), uuid: Some(uuid(&domain.uuid)) };
    let b_info = BuildInfo {
        max_vcpus: domain.max_vcpu.saturating_add(1),
        avail_vcpus: (0..domain.online_vcpus).collect(),
        max_memkb: domain.max_memory_kib,
        target_memkb: domain.memory_kib,
        boot: None,
    };
    let config = Config { c_info, b_info, disks: Vec::new(), nics: Vec::new(), actions: None };
    Described { domid: Some(domain.id), config }
}

/// JSON, indented as `xl` indents it.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{error}"))
}

fn build_info(config: &DomainConfig) -> BuildInfo {
    BuildInfo {
        max_vcpus: config.max_vcpus,
        avail_vcpus: (0..config.vcpus).collect(),
        max_memkb: Some(config.max_memory_kib),
        target_memkb: config.memory_kib,
        boot: Some(Boot {
            rtc_timeoffset: config.rtc_timeoffset,
            localtime: config.localtime,
            event_channels: config.max_event_channels,
            kernel: config.kernel.clone(),
            cmdline: config.command_line.clone(),
            ramdisk: config.ramdisk.clone(),
            max_grant_frames: config.max_grant_frames,
            max_maptrack_frames: config.max_maptrack_frames,
            sched_params: SchedParams { weight: config.weight, cap: config.cap },
        }),
    }
}

fn disk(disk: &Disk) -> DiskInfo {
    let format = match disk.format {
        DiskFormat::Physical | DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Empty => "empty",
    };
    DiskInfo {
        pdev_path: disk.target.clone(),
        vdev: disk.vdev.clone(),
        format,
        removable: disk.cdrom.into(),
        readwrite: (!disk.read_only).into(),
        is_cdrom: disk.cdrom.into(),
    }
}

fn nic(vif: &Vif) -> NicInfo {
    let mac = vif.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
    NicInfo { mac, bridge: vif.bridge.clone(), ifname: vif.name.clone(), rate_bytes_per_s: vif.rate }
}

fn actions(config: &DomainConfig) -> Actions {
    Actions {
        on_poweroff: action(config.on_poweroff),
        on_reboot: action(config.on_reboot),
        on_watchdog: action(config.on_watchdog),
        on_crash: action(config.on_crash),
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Destroy => "destroy",
        Action::Restart => "restart",
        Action::RenameRestart => "rename_restart",
        Action::Preserve => "preserve",
        Action::CoredumpDestroy => "coredump_destroy",
        Action::CoredumpRestart => "coredump_restart",
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::{config, domain};

    #[test]
    fn a_configuration_has_libxls_names() {
        let mut config = config("guest");
        config.disks = vec![Disk {
            target: "/dev/sda6".into(),
            format: DiskFormat::Physical,
            vdev: "xvda".into(),
            read_only: true,
            cdrom: false,
        }];
        config.vifs = vec![Vif { mac: Some([0, 0x16, 0x3e, 1, 2, 3]), bridge: None, name: None, rate: None }];
        assert_eq!(
            json(&configured(None, &config)),
            r#"{
  "domid": null,
  "config": {
    "c_info": {
      "type": "pvh",
      "name": "guest"
    },
    "b_info": {
      "max_vcpus": 2,
      "avail_vcpus": [
        0
      ],
      "max_memkb": 131072,
      "target_memkb": 65536,
      "rtc_timeoffset": 0,
      "localtime": false,
      "event_channels": 1023,
      "kernel": "kernel",
      "cmdline": "say \"hello\"",
      "max_grant_frames": 64,
      "max_maptrack_frames": 1024,
      "sched_params": {
        "weight": 256,
        "cap": 0
      }
    },
    "disks": [
      {
        "pdev_path": "/dev/sda6",
        "vdev": "xvda",
        "format": "raw",
        "removable": 0,
        "readwrite": 0,
        "is_cdrom": 0
      }
    ],
    "nics": [
      {
        "mac": "00:16:3e:01:02:03"
      }
    ],
    "on_poweroff": "destroy",
    "on_reboot": "restart",
    "on_watchdog": "destroy",
    "on_crash": "destroy"
  }
}"#
        );
    }

    #[test]
    fn what_nobody_configured_is_described_too() {
        assert_eq!(
            json(&[unconfigured(&domain(0, "Domain-0"))]),
            r#"[
  {
    "domid": 0,
    "config": {
      "c_info": {
        "type": "pvh",
        "name": "Domain-0",
        "uuid": "00000000-0000-0000-0000-000000000000"
      },
      "b_info": {
        "max_vcpus": 2,
        "avail_vcpus": [
          0,
          1
        ],
        "max_memkb": 262144,
        "target_memkb": 262144
      },
      "disks": [],
      "nics": []
    }
  }
]"#
        );
    }
}
