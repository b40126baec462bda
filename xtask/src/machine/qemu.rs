//! QEMU, with KVM where it offers nested VMX, else as plain emulation (which has no VMX).
//!
//! QMP on the standard streams tells resets and power-off (QEMU's `qapi/run-state.json`: events `RESET`,
//! `SHUTDOWN`). Plain emulation also logs a triple fault before the reset that follows; under KVM it cannot
//! be told from a reset.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Backend, Config, Emulator, Ended, Kept, MOST_DISKS, Sign, Started, last_lines, serial};
use crate::cli::{Disk, Firmware, Nic};
use crate::process::{self, Group};

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Where disks are; the boot medium is the third drive.
const DISKS: [u8; MOST_DISKS] = [0, 1, 3];

pub(super) fn start(config: &Config, work: &Path, com1: &Path) -> Result<Started> {
    let log = work.join("qemu.log");
    let mut qemu = process::command("qemu-system-x86_64");
    qemu.args(arguments(config, com1, &log)).current_dir(work);
    if config.firmware == Firmware::Uefi {
        add_ovmf(&mut qemu, work)?;
    }
    let errors = File::create(work.join("qemu.err"))?;
    let mut group = Group::spawn(qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors))?;
    let mut monitor = group.child().stdin.take().context("QEMU has no stdin")?;
    monitor.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").context("QEMU does not start")?;
    let output = OwnedFd::from(group.child().stdout.take().context("QEMU has no stdout")?);
    serial::set_nonblocking(&output)?;
    let backend = Box::new(Qemu {
        log,
        errors: work.join("qemu.err"),
        pending: Vec::new(),
        output: Kept::default(),
        _monitor: monitor,
    });
    Ok(Started { group, output, backend })
}

fn arguments(config: &Config, com1: &Path, log: &Path) -> Vec<String> {
    let (accelerator, cpu) = match config.emulator {
        Emulator::QemuKvm => ("kvm", "host"),
        Emulator::QemuTcg | Emulator::Bochs => ("tcg", "max"),
    };
    // The newer one has no IDE.
    let chipset = if config.disks.is_empty() { "q35" } else { "pc" };
    let mut arguments: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"].map(String::from).into();
    let pairs = [
        ("-machine", format!("{chipset},accel={accelerator}")),
        ("-cpu", cpu.to_owned()),
        ("-smp", config.cpus.to_string()),
        ("-m", config.memory_mib.to_string()),
        // Not a disk that looks as if it could be booted.
        ("-boot", "order=d".to_owned()),
        ("-cdrom", config.iso.display().to_string()),
        ("-chardev", format!("serial,id=com1,path={}", com1.display())),
        ("-serial", "chardev:com1".to_owned()),
        ("-qmp", "stdio".to_owned()),
        ("-d", "guest_errors,cpu_reset".to_owned()),
        ("-D", log.display().to_string()),
    ];
    if let Some(socket) = &config.gdb {
        let listen = format!("unix:{},server=on,wait=off", socket.display());
        arguments.extend(["-S".to_owned(), "-gdb".to_owned(), listen]);
    }
    arguments.extend(pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
    for (index, disk) in DISKS.iter().zip(&config.disks) {
        arguments.extend(["-drive".to_owned(), drive(*index, disk)]);
    }
    if config.nic == Nic::E1000 {
        arguments.extend(["-nic", "user,model=e1000,mac=52:54:00:12:34:56"].map(String::from));
    }
    arguments
}

fn drive(index: u8, Disk { file, snapshot }: &Disk) -> String {
    // A comma in a name is written twice.
    let file = file.display().to_string().replace(',', ",,");
    let snapshot = if *snapshot { "on" } else { "off" };
    format!("if=ide,index={index},media=disk,format=raw,snapshot={snapshot},file={file}")
}

/// The firmware's code, and its variables in a copy that it may write.
fn add_ovmf(qemu: &mut Command, work: &Path) -> Result<()> {
    let vars = work.join("ovmf-vars.fd");
    fs::copy(OVMF_VARS, &vars).with_context(|| format!("cannot copy {OVMF_VARS}"))?;
    qemu.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={OVMF_CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,format=raw,file={}", vars.display())]);
    Ok(())
}

struct Qemu {
    log: PathBuf,
    errors: PathBuf,
    /// A line of QMP that is not complete yet.
    pending: Vec<u8>,
    output: Kept,
    /// QEMU keeps its monitor as long as this is open.
    _monitor: std::process::ChildStdin,
}

impl Backend for Qemu {
    fn signs(&mut self, output: &[u8]) -> Vec<Sign> {
        self.output.push(output);
        self.pending.extend_from_slice(output);
        let complete = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.pending.drain(..complete).collect();
        let signs = lines.split(|byte| *byte == b'\n').filter_map(sign);
        signs.map(|sign| if sign == Sign::Reset { self.after_reset() } else { sign }).collect()
    }

    fn excerpt(&self) -> String {
        let errors = fs::read(&self.errors).unwrap_or_default();
        last_lines(&[String::from_utf8_lossy(&errors), self.output.text().into()].join("\n"), 10)
    }
}

impl Qemu {
    fn after_reset(&self) -> Sign {
        let log = fs::read(&self.log).unwrap_or_default();
        let triple_fault = String::from_utf8_lossy(&log).contains("Triple fault");
        if triple_fault { Sign::Ended(Ended::TripleFault) } else { Sign::Reset }
    }
}

/// What a QMP message tells.
fn sign(line: &[u8]) -> Option<Sign> {
    let message: Value = serde_json::from_slice(line).ok()?;
    let reason = message["data"]["reason"].as_str().unwrap_or_default();
    match message["event"].as_str()? {
        "RESET" if message["data"]["guest"] == true => Some(Sign::Reset),
        "SHUTDOWN" if reason == "guest-shutdown" => Some(Sign::Ended(Ended::PoweredOff)),
        "SHUTDOWN" => Some(Sign::Ended(Ended::Failed(reason.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Pace;

    #[test]
    fn qmp_events() {
        let shutdown = |reason| {
            sign(format!(r#"{{"event":"SHUTDOWN","data":{{"guest":true,"reason":"{reason}"}}}}"#).as_bytes())
        };
        assert_eq!(shutdown("guest-shutdown"), Some(Sign::Ended(Ended::PoweredOff)));
        assert_eq!(shutdown("guest-panic"), Some(Sign::Ended(Ended::Failed("guest-panic".into()))));
        assert_eq!(
            sign(br#"{"event":"RESET","data":{"guest":true,"reason":"guest-reset"}}"#),
            Some(Sign::Reset)
        );
        assert_eq!(
            sign(br#"{"event":"RESET","data":{"guest":false,"reason":"host-qmp-system-reset"}}"#),
            None
        );
        assert_eq!(sign(br#"{"return":{}}"#), None);
        assert_eq!(sign(b"not json"), None);
    }

    #[test]
    fn machine_in_arguments() {
        let config = Config {
            emulator: Emulator::QemuTcg,
            cpus: 2,
            memory_mib: 256,
            cpu_model: None,
            firmware: Firmware::Bios,
            iso: "x.iso".into(),
            disks: vec![Disk { file: "a,b.img".into(), snapshot: true }],
            nic: Nic::E1000,
            log: None,
            pace: Pace::Fastest,
            gdb: Some("/w/gdb".into()),
        };
        let line = arguments(&config, Path::new("/dev/pts/3"), Path::new("l")).join(" ");
        for part in [
            "pc,accel=tcg",
            "-drive if=ide,index=0,media=disk,format=raw,snapshot=on,file=a,,b.img",
            "-nic user,model=e1000",
            "-cpu max",
            "-smp 2",
            "-m 256",
            "-boot order=d -cdrom x.iso",
            "path=/dev/pts/3",
            "-S -gdb unix:/w/gdb",
        ] {
            assert!(line.contains(part), "{part} not in {line}");
        }
    }
}
