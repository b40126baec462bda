//! The guest of the demonstration: a stock Debian kernel, an initial RAM disk that loads its drivers, and a small
//! system of Debian's own programs on a disk.
//!
//! ```text
//!  packages ──┬── vmlinuz, unchanged ───────────────┐
//!             ├── modules ──┐                       ├── store, a boot module: Dom0 makes the domains of it
//!             ├── busybox ──┴── initrd ─────────────┘
//!             └── tools ── ext4 ── partitions ──────── disk of the machine
//! ```
//!
//! What is not from packages, the scripts and configurations, is in `dom0-shim/debian`.

mod modules;
mod packages;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cli::{Debian, Disk};
use crate::disk_image::{self, Partition};
use crate::process;
use crate::setup::{self, Need};
use crate::store::Files;
use crate::ui;
use crate::workspace;
use modules::Modules;
use tree::Tree;

/// What goes on the file system beside the shared libraries that these need.
const TOOLS: [&str; 5] = ["busybox-static", "bash", "coreutils", "e2fsprogs", "iputils-ping"];
/// What the kernel needs for its disk, the file system on it, and its network. The checksum of ext4 comes first:
/// nothing says that it depends on it.
const DRIVERS: [&str; 5] = ["crc32c_generic", "crc32c-intel", "ext4", "xen-blkfront", "xen-netfront"];
/// Folders of a kernel's modules in which these, and what they depend on, are.
const DRIVER_FOLDERS: [&str; 7] =
    ["arch/x86/crypto/", "crypto/", "lib/", "fs/", "drivers/block/", "drivers/net/xen-", "net/core/"];
const BUSYBOX: &str = "usr/bin/busybox";

/// MiB of each guest's file system, and of the one of images.
const ROOT_MIB: u32 = 96;
const IMAGES_MIB: u32 = 32;

/// A guest that is ready.
pub(crate) struct Guest {
    kernel: PathBuf,
    initrd: PathBuf,
    disk: PathBuf,
}

/// Fetches what is not here yet, so that nothing is left that could fail for want of a network.
pub(crate) fn fetch(debian: Debian) -> Result<()> {
    packages::fetch("tools", &TOOLS)?;
    packages::fetch(debian.name(), &[debian.package()]).map(drop)
}

/// Makes the guest with the kernel of `debian` in `work`.
pub(crate) fn provide(debian: Debian, work: &Path) -> Result<Guest> {
    setup::ensure_all(&[Need::FileSystems])?;
    let tools = packages::fetch("tools", &TOOLS)?;
    let kernel = packages::fetch(debian.name(), &[debian.package()])?;
    let _progress = ui::spinner("making the Debian guest");
    let work = work.join("debian");
    fs::create_dir(&work)?;
    let guest =
        Guest { kernel: work.join("vmlinuz"), initrd: work.join("initrd"), disk: work.join("disk.img") };
    let modules = unpack_kernel(&kernel, &guest.kernel)?;
    let tools = unpack_tools(&tools)?;
    let busybox = tools.read(BUSYBOX).context("busybox is not among the tools")?;
    fs::write(&guest.initrd, initrd(&modules, busybox)?.cpio()?)?;
    let root = work.join("root.img");
    system(tools, &work)?.ext4(ROOT_MIB, &root, &work)?;
    let images = work.join("images.img");
    make_fat(&images, IMAGES_MIB)?;
    let partitions = [Partition::fat(&images), Partition::linux(&root), Partition::linux(&root)];
    disk_image::write(&guest.disk, &partitions)?;
    Ok(guest)
}

impl Guest {
    /// Adds kernel, initial RAM disk and configurations to a store; the guests have `cpus` vcpus. Of the guests that
    /// start with Dom0 only `debian` is left.
    pub(crate) fn add_to(&self, files: &mut Files, cpus: u16, work: &Path) -> Result<()> {
        files.remove_folder("auto/");
        files.put("motd", &sources().join("store/motd"));
        files.put("debian/vmlinuz", &self.kernel);
        files.put("debian/initrd", &self.initrd);
        for name in ["debian", "peer"] {
            let text = fs::read_to_string(sources().join(format!("store/{name}.cfg")))?;
            let file = work.join(format!("{name}.cfg"));
            fs::write(&file, with_vcpus(&text, cpus))?;
            files.put(&format!("{name}.cfg"), &file);
        }
        files.put("auto/debian.cfg", &work.join("debian.cfg"));
        Ok(())
    }

    /// The machine's disk.
    pub(crate) fn disk(&self) -> Disk {
        Disk { file: self.disk.clone(), snapshot: false }
    }
}

/// A configuration with one vcpu for each of `cpus`, up to four.
fn with_vcpus(text: &str, cpus: u16) -> String {
    let line = |line: &str| {
        let is_ours = line.split('=').next().is_some_and(|name| name.trim() == "vcpus");
        if is_ours { format!("vcpus   = {}\n", cpus.clamp(1, 4)) } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// Scripts and configurations of the guest.
fn sources() -> PathBuf {
    workspace::root().join("dom0-shim/debian")
}

/// Writes the kernel among `packages` to `kernel` and returns the modules that it might need.
fn unpack_kernel(packages: &[PathBuf], kernel: &Path) -> Result<Modules> {
    let mut modules = Modules::default();
    let mut found = false;
    for package in packages {
        packages::unpack(package, |archive| {
            for entry in archive.entries()? {
                let mut entry = entry?;
                let path = entry.path()?.to_string_lossy().into_owned();
                if path.starts_with("./boot/vmlinuz-") {
                    std::io::copy(&mut entry, &mut fs::File::create(kernel)?)?;
                    found = true;
                } else if path.ends_with("/modules.builtin") {
                    modules.add_builtin(&std::io::read_to_string(entry)?);
                } else if is_driver(&path) {
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut entry, &mut bytes)?;
                    modules.add(&path, bytes);
                }
            }
            Ok(())
        })?;
    }
    ensure!(found, "no kernel in {packages:?}");
    Ok(modules)
}

/// Whether a path `./lib/modules/VERSION/kernel/...` is worth a look.
fn is_driver(path: &str) -> bool {
    let inside = path.split_once("/kernel/").map_or("", |(_, inside)| inside);
    inside.ends_with(".ko") && DRIVER_FOLDERS.iter().any(|folder| inside.starts_with(folder))
}

/// Programs and libraries of `packages`, without documentation and what belongs to the packages' scripts.
fn unpack_tools(packages: &[PathBuf]) -> Result<Tree> {
    let mut tree = Tree::default();
    for package in packages {
        packages::unpack(package, |archive| tree.add_package(archive, place))?;
    }
    Ok(tree)
}

/// Where a package's file goes: everything is below `usr`, as on Debian systems.
fn place(path: &str) -> Option<String> {
    let merged = ["bin", "sbin", "lib", "lib64"].contains(&path.split('/').next().unwrap_or_default());
    let path = if merged { format!("usr/{path}") } else { path.to_owned() };
    let kept = ["usr/bin/", "usr/sbin/", "usr/lib/", "usr/lib64/", "etc/mke2fs.conf"];
    let unused = ["/gconv/", "/systemd/", "/locale/", "/e2fsprogs/", "/mime/"];
    let is_kept = kept.iter().any(|kept| path.starts_with(kept)) && !unused.iter().any(|u| path.contains(u));
    is_kept.then_some(path)
}

/// The first file system: busybox, the drivers and the script that goes on to the disk.
fn initrd(modules: &Modules, busybox: &[u8]) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.add_folder(&sources().join("initrd"), "")?;
    tree.file("bin/busybox", busybox.to_vec(), true);
    for (number, (name, bytes)) in modules.in_order(&DRIVERS)?.into_iter().enumerate() {
        // Loaded in the order of their names.
        tree.file(&format!("modules/{number:02}-{name}.ko"), bytes.to_vec(), false);
    }
    for folder in ["dev", "proc", "root"] {
        tree.folder(folder);
    }
    Ok(tree)
}

/// The system on the disk: `tools`, what busybox has of which there is no tool, and our scripts.
fn system(mut tools: Tree, work: &Path) -> Result<Tree> {
    for applet in applets(&tools, work)?.lines() {
        let name = applet.rsplit('/').next().unwrap_or(applet);
        if !["usr/bin/", "usr/sbin/"].iter().any(|folder| tools.contains(&format!("{folder}{name}"))) {
            let folder = if applet.contains("sbin/") { "usr/sbin" } else { "usr/bin" };
            tools.link(&format!("{folder}/{name}"), "/usr/bin/busybox");
        }
    }
    for folder in ["bin", "sbin", "lib", "lib64"] {
        tools.link(folder, &format!("usr/{folder}"));
    }
    for folder in ["dev", "mnt", "proc", "root", "run", "sys", "tmp", "var"] {
        tools.folder(folder);
    }
    tools.add_folder(&sources().join("root"), "")?;
    Ok(tools)
}

/// Paths of the programs that busybox is, by its own word.
fn applets(tools: &Tree, work: &Path) -> Result<String> {
    let busybox = work.join("busybox");
    fs::write(&busybox, tools.read(BUSYBOX).context("busybox is not among the tools")?)?;
    fs::set_permissions(&busybox, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    process::run_quietly(process::command(&busybox).arg("--list-full"))
}

/// An empty FAT file system of `mib` MiB.
fn make_fat(image: &Path, mib: u32) -> Result<()> {
    fs::File::create(image)?.set_len(u64::from(mib) << 20)?;
    let mut mformat = process::command("mformat");
    mformat.arg("-i").arg(image).args([
        "-T",
        &(mib * 2048).to_string(),
        "-v",
        "IMAGES",
        "-N",
        "4b494741",
        "::",
    ]);
    process::run_quietly(&mut mformat).map(drop).context("cannot make a FAT file system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_packages_files() {
        assert_eq!(place("bin/bash").as_deref(), Some("usr/bin/bash"));
        assert_eq!(place("lib64/ld-linux-x86-64.so.2").as_deref(), Some("usr/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(place("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"), None);
        assert_eq!(place("usr/share/doc/bash/copyright"), None);
        assert_eq!(place("etc/mke2fs.conf").as_deref(), Some("etc/mke2fs.conf"));
    }

    #[test]
    fn drivers_are_looked_for_where_they_are() {
        assert!(is_driver("./lib/modules/6.1/kernel/drivers/net/xen-netfront.ko"));
        assert!(is_driver("./lib/modules/6.1/kernel/fs/jbd2/jbd2.ko"));
        assert!(!is_driver("./lib/modules/6.1/kernel/drivers/gpu/drm/drm.ko"));
        assert!(!is_driver("./lib/modules/6.1/modules.builtin"));
    }

    #[test]
    fn vcpus_follow_the_machine() {
        assert_eq!(with_vcpus("a = 1\nvcpus = 2\nb = 'vcpus'", 3), "a = 1\nvcpus   = 3\nb = 'vcpus'\n");
        assert!(with_vcpus("vcpus=1", 32).ends_with("= 4\n"));
    }

    #[test]
    fn both_configurations_have_a_line_of_vcpus() {
        for name in ["debian", "peer"] {
            let text = fs::read_to_string(sources().join(format!("store/{name}.cfg"))).unwrap();
            assert_ne!(with_vcpus(&text, 1), with_vcpus(&text, 2), "{name}");
        }
    }
}
