//! A domain as the text of a configuration file that [`load`](crate::load) reads back as the same.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use crate::domain::{Affinity, Disk, DiskFormat, DomainConfig, Vif};
use crate::{mac, uuid};

/// The configuration file of a domain.
pub fn write(config: &DomainConfig) -> String {
    let mut lines = Lines(String::new());
    lines.text("type", "pvh");
    lines.text("name", &config.name);
    if let Some(id) = config.uuid {
        lines.text("uuid", &uuid::Shown(id).to_string());
    }
    lines.text("kernel", &config.kernel);
    if let Some(ramdisk) = &config.ramdisk {
        lines.text("ramdisk", ramdisk);
    }
    lines.text("cmdline", &config.command_line);
    lines.number("memory", config.memory_kib / 1024);
    lines.number("maxmem", config.max_memory_kib / 1024);
    lines.number("vcpus", config.vcpus);
    lines.number("maxvcpus", config.max_vcpus);
    lines.affinity("cpus", &config.cpus);
    lines.affinity("cpus_soft", &config.cpus_soft);
    lines.number("cpu_weight", config.weight);
    lines.number("cap", config.cap);
    lines.text("on_poweroff", config.on_poweroff.name());
    lines.text("on_reboot", config.on_reboot.name());
    lines.text("on_crash", config.on_crash.name());
    lines.text("on_watchdog", config.on_watchdog.name());
    lines.list("disk", &config.disks.iter().map(disk).collect::<Vec<_>>());
    lines.list("vif", &config.vifs.iter().map(vif).collect::<Vec<_>>());
    lines.number("max_grant_frames", config.max_grant_frames);
    lines.number("max_maptrack_frames", config.max_maptrack_frames);
    lines.number("max_event_channels", config.max_event_channels);
    lines.number("localtime", u8::from(config.localtime));
    // libxlu reads a negative number in quotes only.
    lines.text("rtc_timeoffset", &config.rtc_timeoffset.to_string());
    lines.0
}

fn disk(disk: &Disk) -> String {
    let (format, backend) = match disk.format {
        DiskFormat::Physical => ("raw", ",backendtype=phy"),
        DiskFormat::Raw => ("raw", ",backendtype=qdisk"),
        DiskFormat::Qcow2 => ("qcow2", ""),
        DiskFormat::Empty => ("empty", ""),
    };
    let access = if disk.read_only { "ro" } else { "rw" };
    let kind = if disk.cdrom { ",devtype=cdrom" } else { "" };
    let target = if disk.target.is_empty() { String::new() } else { format!(",target={}", disk.target) };
    format!("format={format},vdev={},access={access}{kind}{backend}{target}", disk.vdev)
}

fn vif(vif: &Vif) -> String {
    let fields = [
        vif.mac.map(|mac| format!("mac={}", mac::Shown(mac))),
        vif.bridge.as_ref().map(|bridge| format!("bridge={bridge}")),
        vif.name.as_ref().map(|name| format!("vifname={name}")),
        vif.rate.map(|rate| format!("rate={rate}B/s")),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// Lines of a file.
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, value: &str) {
        self.0.push_str(&format!("{name} = {value}\n"));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.line(name, &quoted(text));
    }

    fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.line(name, &number.into().to_string());
    }

    fn list(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            self.line(name, &format!("[ {} ]", texts.join(", ")));
        }
    }

    fn affinity(&mut self, name: &str, affinity: &Affinity) {
        match affinity {
            Affinity::Any => {}
            Affinity::All(spec) => self.text(name, &spec.to_string()),
            Affinity::Each(specs) => {
                self.list(name, &specs.iter().map(ToString::to_string).collect::<Vec<_>>());
            }
        }
    }
}

/// A string in quotes, with escapes for what cannot stand there.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_ascii_control() => {
                // Writing to a string does not fail.
                let _written = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
