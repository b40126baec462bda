//! `setup`: programs that the other commands need, and how to get them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::ui;
use crate::workspace::BARE_METAL;

/// What a command needs from the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compiler support for the bare-metal target.
    Target,
    /// Making ISO images.
    Iso,
    Bochs,
    Qemu,
    /// UEFI firmware for QEMU.
    Ovmf,
    /// A C compiler and Xen's headers, with which the host tests compare.
    HostTests,
    Gdb,
    /// Making file systems.
    FileSystems,
    /// Counting instructions.
    Valgrind,
}

/// A Debian package and a file that only an installation of it provides.
struct Package {
    name: &'static str,
    need: Need,
    probe: Probe,
}

enum Probe {
    Program(&'static str),
    File(&'static str),
    /// A file in a folder below each architecture's library folder.
    Library(&'static str),
}

const PACKAGES: &[Package] = &[
    Package { name: "bochs", need: Need::Bochs, probe: Probe::Program("bochs") },
    Package {
        name: "bochs-term",
        need: Need::Bochs,
        probe: Probe::Library("bochs/plugins/libbx_term_gui.so"),
    },
    Package {
        name: "bochsbios",
        need: Need::Bochs,
        probe: Probe::File("/usr/share/bochs/BIOS-bochs-latest"),
    },
    Package { name: "vgabios", need: Need::Bochs, probe: Probe::File("/usr/share/vgabios/vgabios.bin") },
    Package {
        name: "grub-pc-bin",
        need: Need::Iso,
        probe: Probe::File("/usr/lib/grub/i386-pc/multiboot2.mod"),
    },
    Package {
        name: "grub-efi-amd64-bin",
        need: Need::Iso,
        probe: Probe::File("/usr/lib/grub/x86_64-efi/multiboot2.mod"),
    },
    Package { name: "grub-common", need: Need::Iso, probe: Probe::Program("grub-mkrescue") },
    Package { name: "xorriso", need: Need::Iso, probe: Probe::Program("xorriso") },
    Package { name: "mtools", need: Need::Iso, probe: Probe::Program("mformat") },
    Package { name: "qemu-system-x86", need: Need::Qemu, probe: Probe::Program("qemu-system-x86_64") },
    Package { name: "ovmf", need: Need::Ovmf, probe: Probe::File("/usr/share/OVMF/OVMF_CODE_4M.fd") },
    Package { name: "gcc", need: Need::HostTests, probe: Probe::Program("cc") },
    Package { name: "libc6-dev", need: Need::HostTests, probe: Probe::File("/usr/include/stdio.h") },
    Package { name: "libxen-dev", need: Need::HostTests, probe: Probe::File("/usr/include/xen/xen.h") },
    Package { name: "mtools", need: Need::FileSystems, probe: Probe::Program("mformat") },
    Package { name: "e2fsprogs", need: Need::FileSystems, probe: Probe::File("/usr/sbin/mke2fs") },
    Package { name: "e2fsprogs", need: Need::FileSystems, probe: Probe::File("/usr/sbin/debugfs") },
    Package { name: "gdb", need: Need::Gdb, probe: Probe::Program("gdb") },
    Package { name: "valgrind", need: Need::Valgrind, probe: Probe::Program("valgrind") },
];

/// Everything but what only `gdb` and `sched-sim --scale` need.
pub(crate) fn run() -> Result<()> {
    ensure_all(&[
        Need::Target,
        Need::Iso,
        Need::Bochs,
        Need::Qemu,
        Need::Ovmf,
        Need::HostTests,
        Need::FileSystems,
    ])?;
    ui::step("Ready", "all that the build, the emulators and the tests need is installed");
    Ok(())
}

/// Installs what is missing for `needs`; silent and fast when nothing is.
pub(crate) fn ensure_all(needs: &[Need]) -> Result<()> {
    if needs.contains(&Need::Target) {
        ensure_target()?;
    }
    let missing = missing_packages(needs, Probe::found);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let still_missing = missing_packages(needs, Probe::found);
    ensure!(still_missing.is_empty(), "installed, but files were not found: {}", still_missing.join(", "));
    Ok(())
}

fn missing_packages(needs: &[Need], found: impl Fn(&Probe) -> bool) -> Vec<&'static str> {
    PACKAGES.iter().filter(|p| needs.contains(&p.need) && !found(&p.probe)).map(|p| p.name).collect()
}

impl Probe {
    fn found(&self) -> bool {
        match self {
            Self::Program(name) => program(name).is_some(),
            Self::File(path) => Path::new(path).exists(),
            Self::Library(path) => library_folders().iter().any(|folder| folder.join(path).exists()),
        }
    }
}

/// Full path of a program on the search path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `/usr/lib` and the folders of one architecture in it.
fn library_folders() -> Vec<PathBuf> {
    let lib = PathBuf::from("/usr/lib");
    let inner = fs::read_dir(&lib).into_iter().flatten().flatten().map(|entry| entry.path());
    inner.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).chain([lib.clone()]).collect()
}

fn ensure_target() -> Result<()> {
    let sysroot = process::run_quietly(process::command("rustc").args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(BARE_METAL).join("lib");
    if libraries.exists() {
        return Ok(());
    }
    ensure!(
        program("rustup").is_some(),
        "the Rust target {BARE_METAL} is missing and there is no rustup to install it"
    );
    ui::step("Installing", &format!("Rust target {BARE_METAL}"));
    process::run(process::command("rustup").args(["target", "add", BARE_METAL]))
}

fn install(missing: &[&str]) -> Result<()> {
    let command = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !Path::new("/etc/debian_version").exists() {
        bail!(
            "missing programs. On Debian they come with:\n  {command}\nInstall the same with your system's tools."
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing programs. As root run:\n  apt-get update && {command}");
    }
    ui::step("Installing", &missing.join(" "));
    refresh_package_lists()?;
    let arguments = ["install", "-q", "-y", "--no-install-recommends"];
    apt_get(&[&arguments[..], missing].concat())
        .with_context(|| format!("cannot install {}", missing.join(" ")))
}

/// Learns which packages there are today, as root.
pub(crate) fn refresh_package_lists() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the lists of packages are missing or old. As root run:\n  apt-get update"
    );
    apt_get(&["update", "-q"]).context("cannot refresh the package lists")
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let _progress = ui::spinner(&format!("apt-get {}", arguments.join(" ")));
    let mut command = process::command("apt-get");
    process::run_quietly(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_needs_only_its_own_packages() {
        let nothing = |_: &Probe| false;
        assert_eq!(missing_packages(&[Need::Target], nothing), Vec::<&str>::new());
        assert_eq!(missing_packages(&[Need::Gdb], nothing), ["gdb"]);
        assert_eq!(missing_packages(&[Need::Valgrind], nothing), ["valgrind"]);
        assert_eq!(
            missing_packages(&[Need::Bochs], nothing),
            ["bochs", "bochs-term", "bochsbios", "vgabios"]
        );
        assert_eq!(missing_packages(&[Need::Iso], |_| true), Vec::<&str>::new());
    }

    #[test]
    fn finds_programs_on_the_path() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-here").is_none());
    }
}
