//! `image`: boot media. One hybrid ISO made by grub-mkrescue boots on BIOS and UEFI, from CD and USB stick.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::build::{self, Built};
use crate::cli::{BootArgs, ImageArgs};
use crate::debian::Guest;
use crate::process;
use crate::setup::{self, Need};
use crate::store;
use crate::ui;
use crate::workspace;

/// Fixed date of the volume and of all files on it, unless SOURCE_DATE_EPOCH names another.
const EPOCH: &str = "1767225600";
/// The same in the form of ISO 9660 (2026-01-01); GRUB finds its volume by it.
const VOLUME_DATE: &str = "2026010100000000";

/// GRUB modules on the medium: what the boot needs, so that slow emulated drives read little. The partition
/// maps are those that GRUB for EFI looks for by itself.
const MODULES: &str = "normal multiboot2 serial all_video test echo configfile part_acorn part_amiga part_bsd \
                       part_dfly part_dvh part_plan part_sun part_sunpc";

/// What GRUB loads.
pub(crate) struct BootSet {
    pub(crate) hypervisor: PathBuf,
    pub(crate) cmdline: String,
    pub(crate) dom0: Option<PathBuf>,
    /// Dom0's own command line.
    pub(crate) dom0_args: String,
    pub(crate) initrd: Option<PathBuf>,
    /// The files that dom0-shim creates domains from.
    pub(crate) store: Option<PathBuf>,
    /// More modules, with their command lines.
    pub(crate) modules: Vec<(PathBuf, String)>,
}

/// Memory that GRUB and the hypervisor need beside the files.
const MEMORY_BESIDE_FILES: u64 = 48 << 20;

impl BootSet {
    /// Fails when `memory_mib` cannot hold the files: GRUB would stop with a message on the screen only.
    pub(crate) fn ensure_fits(&self, memory_mib: u32) -> Result<()> {
        let mut needed = MEMORY_BESIDE_FILES;
        for module in modules(self) {
            let size = fs::metadata(module.file).map(|file| file.len());
            needed += size.with_context(|| format!("cannot read {}", module.file.display()))?;
        }
        ensure!(
            needed <= u64::from(memory_mib) << 20,
            "Dom0's files need a machine of {} MiB, and this one has {memory_mib}: more with --memory",
            needed.div_ceil(1 << 20)
        );
        Ok(())
    }
}

/// Which Dom0 to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dom0 {
    /// The built shim, once the workspace has it.
    Default,
    None,
    File(PathBuf),
}

impl Dom0 {
    fn image(self, built: Option<PathBuf>) -> Option<PathBuf> {
        match self {
            Self::Default => built,
            Self::None => None,
            Self::File(path) => Some(path),
        }
    }
}

pub(crate) fn run(args: &ImageArgs) -> Result<()> {
    let work = workspace::scratch("image")?;
    let set = boot_set(&args.boot, None, work.path())?;
    let progress = ui::spinner("making the ISO image");
    let output = args.output.clone().unwrap_or_else(|| workspace::target_dir().join("kigumi.iso"));
    make(&set, work.path(), &output)?;
    drop(progress);
    ui::step("Wrote", &output.display().to_string());
    Ok(())
}

/// Builds what `args` ask for and names the files to boot. Those that are made for it go to `work`. A Debian guest
/// comes with the number of its vcpus.
pub(crate) fn boot_set(args: &BootArgs, debian: Option<(&Guest, u16)>, work: &Path) -> Result<BootSet> {
    let dom0 = match &args.dom0 {
        None => Dom0::Default,
        Some(path) if path.as_os_str() == "none" => Dom0::None,
        Some(path) => Dom0::File(path.clone()),
    };
    let built = build::build_or(args.hypervisor.as_deref(), args.profile)?;
    let store = match debian {
        Some((guest, cpus)) => Some(store::provide_debian(
            guest,
            cpus,
            &[(store::DEMO, &build::demo_guest(args.profile)?)],
            work,
        )?),
        None => store(args, &dom0, &built, work)?,
    };
    Ok(BootSet {
        hypervisor: built.hypervisor,
        cmdline: args.cmdline.clone(),
        dom0: dom0.image(built.dom0_shim),
        dom0_args: args.dom0_args.clone(),
        initrd: args.initrd.clone(),
        store,
        modules: args.modules.clone(),
    })
}

/// The store that `args` name; by default our own Dom0 gets the files that come with it.
fn store(args: &BootArgs, dom0: &Dom0, built: &Built, work: &Path) -> Result<Option<PathBuf>> {
    let source = match &args.store {
        Some(source) if source.as_os_str() == "none" => return Ok(None),
        Some(source) => source.clone(),
        None if *dom0 == Dom0::Default && built.dom0_shim.is_some() && args.initrd.is_none() => {
            store::default_folder()
        }
        None => return Ok(None),
    };
    store::provide(&source, &[(store::DEMO, &build::demo_guest(args.profile)?)], work).map(Some)
}

/// Writes the ISO to `output`; `work` is a folder for its tree.
pub(crate) fn make(set: &BootSet, work: &Path, output: &Path) -> Result<()> {
    setup::ensure_all(&[Need::Iso])?;
    let tree = work.join("iso");
    lay_out(set, &tree)?;
    let epoch = std::env::var_os("SOURCE_DATE_EPOCH").unwrap_or_else(|| OsString::from(EPOCH));
    let mut mkrescue = process::command("grub-mkrescue");
    mkrescue.arg("-o").arg(output).args(["--locales=", "--themes=", "--fonts="]);
    mkrescue.arg(format!("--install-modules={MODULES}")).arg(&tree);
    mkrescue.arg(format!("--modification-date={VOLUME_DATE}")).args(["-volid", "KIGUMI"]);
    process::run_quietly(mkrescue.env("SOURCE_DATE_EPOCH", epoch)).context("cannot make the ISO image")?;
    ensure!(output.exists(), "grub-mkrescue wrote no {}", output.display());
    Ok(())
}

/// The files of the medium below `tree`.
fn lay_out(set: &BootSet, tree: &Path) -> Result<()> {
    let grub = tree.join("boot/grub");
    fs::create_dir_all(&grub)?;
    fs::write(grub.join("grub.cfg"), grub_cfg(set))?;
    copy(&set.hypervisor, &tree.join("boot/kigumi"))?;
    for module in modules(set) {
        copy(module.file, &tree.join("boot").join(module.name))?;
    }
    Ok(())
}

fn copy(source: &Path, to: &Path) -> Result<()> {
    fs::copy(source, to).with_context(|| format!("cannot read {}", source.display()))?;
    Ok(())
}

/// A module on the medium.
struct Module<'a> {
    name: String,
    file: &'a Path,
    command_line: &'a str,
}

/// The modules in the order in which the hypervisor gets them.
fn modules(set: &BootSet) -> impl Iterator<Item = Module<'_>> {
    let named =
        [("dom0", &set.dom0, set.dom0_args.as_str()), ("initrd", &set.initrd, ""), ("store", &set.store, "")];
    let named = named.into_iter().filter_map(|(name, file, command_line)| {
        Some(Module { name: name.to_owned(), file: file.as_deref()?, command_line })
    });
    let others = set.modules.iter().enumerate().map(|(n, (file, command_line))| Module {
        name: format!("module{}", n + 1),
        file,
        command_line,
    });
    named.chain(others)
}

/// The menu's only entry boots at once. On BIOS the kernel starts in text mode, on UEFI in the
/// firmware's graphics mode. UEFI firmware shows its console on the serial line itself.
fn grub_cfg(set: &BootSet) -> String {
    let mut cfg = String::from(
        "set timeout=0\n\
         if [ \"$grub_platform\" = pc ]; then\n\
         \x20 set gfxpayload=text\n\
         \x20 if serial --unit=0 --speed=115200; then terminal_output console serial; fi\n\
         else\n\
         \x20 insmod all_video\n\
         \x20 set gfxpayload=keep\n\
         fi\n\
         menuentry Kigumi {\n",
    );
    cfg += &format!("  multiboot2 /boot/kigumi {}\n", quote(&set.cmdline));
    for Module { name, command_line, .. } in modules(set) {
        // The first word stands for the file, as in Xen's configurations.
        let words = [&name, command_line].join(" ");
        cfg += &format!("  module2 /boot/{name} {}\n", quote(&words));
    }
    cfg + "}\n"
}

/// Words of a command line as GRUB's shell must read them (GRUB manual, "Quoting").
fn quote(cmdline: &str) -> String {
    let words = cmdline.split_whitespace().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cmdline: &str, dom0: Option<&str>) -> BootSet {
        BootSet {
            hypervisor: "k".into(),
            cmdline: cmdline.into(),
            dom0: dom0.map(PathBuf::from),
            dom0_args: "filter=a,b x".into(),
            initrd: None,
            store: None,
            modules: vec![("m".into(), "role=disk".into())],
        }
    }

    #[test]
    fn configuration_names_the_files_and_the_command_line() {
        let cfg = grub_cfg(&set("console=com1,vga  loglvl=all", Some("d")));
        assert!(cfg.contains(
            "  multiboot2 /boot/kigumi 'console=com1,vga' 'loglvl=all'\n  module2 /boot/dom0 'dom0' 'filter=a,b' 'x'\n  \
             module2 /boot/module1 'module1' 'role=disk'\n}"
        ));
        assert!(!cfg.contains("initrd"));
    }

    #[test]
    fn store_follows_dom0() {
        let cfg = grub_cfg(&BootSet { store: Some("s.tar".into()), ..set("", Some("d")) });
        let modules: Vec<_> = cfg.lines().filter_map(|line| line.trim().strip_prefix("module2 ")).collect();
        assert_eq!(modules[1], "/boot/store 'store'");
    }

    #[test]
    fn files_larger_than_the_machine() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("store.tar");
        fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
        let set = BootSet { modules: Vec::new(), store: Some(file), ..set("", None) };
        assert!(set.ensure_fits(148).is_ok());
        let error = set.ensure_fits(147).unwrap_err().to_string();
        assert!(error.contains("a machine of 148 MiB, and this one has 147"), "{error}");
    }

    #[test]
    fn no_module_without_dom0() {
        let set = BootSet { modules: Vec::new(), ..set("", None) };
        assert!(!grub_cfg(&set).contains("module2"));
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quote("a=$b it's;x"), r"'a=$b' 'it'\''s;x'");
        assert_eq!(quote("  "), "");
    }

    #[test]
    fn choice_of_dom0() {
        let built = || Some(PathBuf::from("shim"));
        assert_eq!(Dom0::Default.image(built()), built());
        assert_eq!(Dom0::Default.image(None), None);
        assert_eq!(Dom0::None.image(built()), None);
        assert_eq!(Dom0::File("x".into()).image(built()), Some("x".into()));
    }
}
