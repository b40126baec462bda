//! Subcommands and options.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;

/// Builds, boots and tests Kigumi.
///
/// Each command first checks for the programs that it needs and installs the missing ones (Debian, as
/// root), so a fresh clone needs no separate step.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// When to use colours; NO_COLOR is honoured too
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask run                              boot with a Debian guest; Ctrl-A x quits
  cargo xtask run --script tests/demo/debian.exp    the same without a person, each step checked
  cargo xtask run --cpus 4 --memory 1G --cmdline 'console=com1 loglvl=all'
  cargo xtask run --cpus 4 --script tests/boot/power-off.exp
  cargo xtask image -o kigumi.iso              hybrid ISO for BIOS, UEFI, CD and USB stick
  cargo xtask test --boot --filter '^pcpus'    boot scenarios whose names match
  cargo xtask check                            what CI checks besides the tests";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check for the programs that the other commands need; install the missing ones
    Setup,
    /// Build the hypervisor and Dom0's shim
    Build(BuildArgs),
    /// Make a hybrid ISO that boots by GRUB on BIOS and UEFI, from CD or USB stick
    Image(ImageArgs),
    /// Make the tar archive of configurations and kernels that dom0-shim creates domains from
    #[command(after_help = STORE_HELP)]
    Store(StoreArgs),
    /// Boot in an emulator, with the machine's COM1 on this terminal
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Run the tests of the host crates, the boot scenarios of tests/boot and the guest tests of tests/cases
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Run guest tests or boot scenarios by name
    GuestTest(GuestTestArgs),
    /// Measure boots and what operations cost guests; compare with the budgets in tests/bench.toml
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
    /// Run the scheduler in virtual time; compare what vcpus get with what they are entitled to
    #[command(after_help = SCHED_SIM_HELP)]
    SchedSim(SchedSimArgs),
    /// Check format, lints, layers, sources and the built image
    Check(CheckArgs),
    /// Boot under a debugger: gdb with QEMU, Bochs' own with Bochs
    Gdb(GdbArgs),
    /// Remove all that was built and all temporary files
    Clean,
}

const STORE_HELP: &str = "\
The folder's files keep their names: *.cfg are configurations in the format of xl.cfg, auto/*.cfg those of the
domains that start with Dom0. The demo guest's kernel is added as kernels/demo. GRUB loads the archive behind
dom0-shim:
  multiboot2 /boot/kigumi console=com1,vga com1=115200,8n1
  module2 /boot/dom0-shim dom0-shim
  module2 /boot/store.tar store";

const TEST_HELP: &str = "\
Scenarios are [[scenario]] tables in tests/boot/*.toml:
  name         lower-case letters, digits and dashes; unique
  description  one sentence
  covers       identifiers of requirements (optional)
  tests        names of the guest tests that report in it (optional)
  timeout      seconds that an `expect` without `within` waits (optional)
  script       the dialogue; `cargo xtask run --help` shows its language
  script_file  the dialogue in a file of its own, instead of `script`
  machine      platform, cpus, memory, cpu_model, firmware, cmdline, dom0_args (optional, as the options of
               `run`), dom0 = \"default\" | \"none\" | \"guest-tests\" | \"FILE\" | { text = \"...\" },
               initrd = \"FILE\", store = \"default\" | \"FOLDER\", debian = \"cloud\" | \"full\",
               nic = \"e1000\"
Files are named from the scenario's folder. A guest reports its tests on the console:
  TESTS planned: N
  TESTS plan: name name name ...
  TEST name: START
  TEST name: SUCCESS | SKIP reason | ERROR reason | FAILURE reason | CRASH reason
Guest tests run in four boots: with 1 and 4 processors, with and without APIC virtualization.";

const BENCH_HELP: &str = "\
tests/bench.toml has [[scenario]] tables as for `test`, and [[row]] tables:
  scenario, name, unit
  bench        name of a line `BENCH name: minimum median maximum` of the guest's; or
  pattern      a regular expression with one group, the figure
  must         budget: the minimum may not be above it (optional)
  binding      false: a minimum above `must` is shown but does not fail the command
  aim          what is to be reached (optional)
  xen, kvm     what they need for the same (optional)
Rows of `bench` come from the test kernel as Dom0 with the command line `bench [filter=NAME,...]`. In Bochs
a tick is an instruction: figures are the same on every host.";

const SCHED_SIM_HELP: &str = "\
A scenario is a TOML file, docs/sched-sim.md has all keys:
  pcpus = 2
  [[domain]]
  name = \"a\"
  weight = 512           1..65535 (256)
  cap = 50               percent of one pcpu (0: no limit)
  vcpus = 2              (1)
  cpus = \"0-1\"          also [\"0\", \"1\"], one for each vcpu; cpus_soft likewise
  run = \"busy\"          busy, idle, on 2s off 500ms [from 1s], run 100us sleep 1ms [random]
  [[change]]
  at = 2.5               seconds
  domain = \"a\"
  weight = 256           or cap, cpus, cpus_soft, action = \"pause\", \"unpause\", \"destroy\"
Examples:
  cargo xtask sched-sim tests/sched/weights.toml
  cargo xtask sched-sim tests/sched/mixed.toml --seconds 3600 --svg mixed.svg";

const RUN_HELP: &str = "\
Keys, without --script:
  Ctrl-A x   end the machine
  Ctrl-A a   send Ctrl-A to the machine
  Ctrl-A h   list these keys
All others go to the machine: Ctrl-C too, and Ctrl-], which leaves a console of `xl console`.

Script language, one directive per line, `#` begins a comment:
  expect /REGEX/ [within SECONDS] [silence SECONDS]
                                    wait for a match after the previous one; fail when the console is
                                    silent for longer
  send \"TEXT\"                       type; escapes: \\r \\n \\t \\e \\\\ \\\" \\xHH
  never /REGEX/                     fail when this is seen from here on
  sleep SECONDS
  stage \"NAME\"                        what follows is timed together, up to the next stage
  check SUM ==|!=|<|<=|>|>= SUM     compare figures: numbers and captured values, with + and - between
  expect-end poweroff|reboot|triple-fault|halt [within SECONDS]
(?<name>...) in an `expect` captures a value; ${name} stands for it in later patterns and texts. `cpus` is
there from the start.
Matching sees the console without carriage returns and escape sequences; `^` and `$` match at lines.
`expect-end reboot` waits for the machine's reset and goes on. `halt` means that the machine stays on
and writes nothing for 3 seconds. A script that ends without `expect-end` passes; the machine is ended.";

#[derive(Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
}

#[derive(Args, Clone, Copy)]
pub(crate) struct ProfileArgs {
    /// Build with the release profile (default)
    #[arg(long)]
    release: bool,
    /// Build with the dev profile: debug assertions, line tables
    #[arg(long, conflicts_with = "release")]
    debug: bool,
}

impl ProfileArgs {
    pub(crate) fn is_release(self) -> bool {
        self.release || !self.debug
    }
}

/// Command line given to the hypervisor when the caller names none.
pub(crate) const DEFAULT_CMDLINE: &str = "console=com1,vga com1=115200,8n1 loglvl=info dom0_mem=128M";

/// What goes on the boot medium.
#[derive(Args)]
pub(crate) struct BootArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Hypervisor command line. The default leaves most of the memory to domains: raise dom0_mem= for another Dom0
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_CMDLINE)]
    pub(crate) cmdline: String,

    /// Boot this multiboot2 ELF instead of building the hypervisor
    #[arg(long, value_name = "FILE")]
    pub(crate) hypervisor: Option<PathBuf>,

    /// Dom0 image instead of the built shim; `none` for no module
    #[arg(long, value_name = "FILE")]
    pub(crate) dom0: Option<PathBuf>,

    /// Dom0's own command line
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) dom0_args: String,

    /// Dom0's initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Files for dom0-shim, a folder or a tar archive; `none` for no such module [default: dom0-shim/files]
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "initrd")]
    pub(crate) store: Option<PathBuf>,

    /// One more module for Dom0, with its command line; may be given several times
    #[arg(long = "module", value_name = "FILE[=TEXT]", value_parser = parse_module)]
    pub(crate) modules: Vec<(PathBuf, String)>,
}

impl BootArgs {
    /// Whether Dom0 and its files are those that come with Kigumi.
    pub(crate) fn is_stock(&self) -> bool {
        self.hypervisor.is_none() && self.dom0.is_none() && self.initrd.is_none() && self.store.is_none()
    }
}

#[derive(Args)]
pub(crate) struct ImageArgs {
    #[command(flatten)]
    pub(crate) boot: BootArgs,

    /// Where to write the ISO [default: kigumi.iso in cargo's target folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Folder of the files [default: dom0-shim/files]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,

    /// Where to write the archive
    #[arg(short, long, value_name = "FILE", default_value = "store.tar")]
    pub(crate) output: PathBuf,
}

/// The machine to boot.
#[derive(Args)]
pub(crate) struct MachineArgs {
    /// Emulator; auto: QEMU with nested VMX where /dev/kvm offers it, else Bochs
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) platform: Platform,

    /// Number of processors [default: 1, with the Debian guest 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=255))]
    cpus: Option<u16>,

    /// RAM in MiB, or with a suffix: 512M, 1G [default: 512, with the Debian guest 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_mebibytes)]
    memory: Option<u32>,

    /// Bochs CPU model [default: corei7_haswell_4770]
    #[arg(long, value_name = "MODEL")]
    pub(crate) cpu_model: Option<String>,

    /// Firmware; uefi means QEMU with OVMF
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) firmware: Firmware,

    /// IDE disk with this image; three at most. `snapshot` leaves the file as it is: what the machine writes is gone when it ends
    #[arg(long = "disk", value_name = "FILE[,snapshot]", value_parser = parse_disk)]
    pub(crate) disks: Vec<Disk>,

    /// Network card, at a network of the emulator's own with DHCP and NAT
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) nic: Nic,

    /// Write the serial console to this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

/// Processors and RAM of a machine for which the user names none.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) cpus: u16,
    pub(crate) memory_mib: u32,
}

impl Size {
    pub(crate) const PLAIN: Self = Self { cpus: 1, memory_mib: 512 };
    pub(crate) const DEBIAN: Self = Self { cpus: 2, memory_mib: 1024 };
}

impl MachineArgs {
    /// What the user named, and the rest of `default`.
    pub(crate) fn size(&self, default: Size) -> Size {
        Size {
            cpus: self.cpus.unwrap_or(default.cpus),
            memory_mib: self.memory.unwrap_or(default.memory_mib),
        }
    }
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) boot: BootArgs,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// Kernel of the Debian guest, whose files and disk the machine then has; by default cloud, where Dom0 and its
    /// files are those that come with Kigumi. Packages are fetched by apt
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["store", "initrd", "dom0"])]
    pub(crate) debian: Option<DebianChoice>,

    /// Run this script instead of reading the terminal; exit status 0 when it passes
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,

    /// How long an `expect` without `within` waits; without --script, end the machine after this time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
}

/// How tests are run.
#[derive(Args)]
pub(crate) struct RunnerArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Test this multiboot2 ELF instead of building the hypervisor
    #[arg(long, value_name = "FILE")]
    pub(crate) hypervisor: Option<PathBuf>,

    /// Folder of the scenarios [default: tests/boot of the workspace]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scenarios: Option<PathBuf>,

    /// Write each scenario's serial console to NAME.log in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) log: Option<PathBuf>,

    /// Boots at the same time [default: the host's processors, at most 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,

    /// Emulator for the scenarios that name none
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) platform: Platform,

    /// How long an `expect` without `within` waits, for scenarios that name no time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Only the tests of the host crates
    #[arg(long)]
    pub(crate) host: bool,

    /// Only the boot scenarios
    #[arg(long, conflicts_with = "host")]
    pub(crate) boot: bool,

    /// Only the boot scenarios whose name matches
    #[arg(long, value_name = "REGEX", conflicts_with = "host")]
    pub(crate) filter: Option<Regex>,

    #[command(flatten)]
    pub(crate) runner: RunnerArgs,
}

#[derive(Args)]
pub(crate) struct GuestTestArgs {
    /// Guest tests, scenarios, or tests that scenarios declare
    #[arg(required_unless_present = "list", value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// List guest tests and scenarios
    #[arg(long)]
    pub(crate) list: bool,

    /// Processors of the machine in which guest tests run
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=15))]
    pub(crate) cpus: u16,

    /// Run guest tests without the CPU's APIC virtualization
    #[arg(long)]
    pub(crate) no_apicv: bool,

    #[command(flatten)]
    pub(crate) runner: RunnerArgs,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Measure this multiboot2 ELF instead of building the hypervisor
    #[arg(long, value_name = "FILE")]
    pub(crate) hypervisor: Option<PathBuf>,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SchedSimArgs {
    /// Scenarios [default: all of tests/sched]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Length, instead of the scenario's
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) seconds: Option<Duration>,

    /// Where random times begin, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Write a picture of pcpus and shares to this file; for one scenario
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Fail when a vcpu, or a domain where there are many, is further from the ideal
    #[arg(long, value_name = "PERCENT")]
    pub(crate) within: Option<f64>,

    /// Instead of scenarios: count what operations cost with 10 to 10,000 vcpus, by valgrind; fail when they grow
    /// by more than the logarithm
    #[arg(long, conflicts_with_all = ["files", "seconds", "seed", "svg", "within"])]
    pub(crate) scale: bool,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,

    /// Check this image instead of the built ones
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct GdbArgs {
    #[command(flatten)]
    pub(crate) boot: BootArgs,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Which emulator boots the machine.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Platform {
    #[default]
    Auto,
    Bochs,
    QemuKvm,
    QemuTcg,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Firmware {
    #[default]
    Bios,
    Uefi,
}

/// A stock kernel of Debian's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Debian {
    Cloud,
    Full,
}

impl Debian {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Full => "full",
        }
    }

    /// The package that stands for the newest kernel of the kind.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Full => "linux-image-amd64",
        }
    }
}

/// A word behind `--debian`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DebianChoice {
    /// linux-image-cloud-amd64
    Cloud,
    /// linux-image-amd64
    Full,
    /// No Debian guest
    None,
}

/// The machine's network card.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Nic {
    #[default]
    None,
    /// Intel 82540EM
    E1000,
}

/// A disk of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Disk {
    pub(crate) file: PathBuf,
    /// What the machine writes does not reach the file.
    pub(crate) snapshot: bool,
}

/// A file, and how it is used behind the last comma.
fn parse_disk(text: &str) -> Result<Disk, String> {
    let (file, snapshot) = match text.rsplit_once(',') {
        Some((file, "snapshot")) => (file, true),
        Some((_, word)) => return Err(format!("expected `snapshot` behind the comma, not `{word}`")),
        None => (text, false),
    };
    if file.is_empty() { Err("expected a file".to_owned()) } else { Ok(Disk { file: file.into(), snapshot }) }
}

/// Mebibytes from `512`, `512M` or `2G`.
pub(crate) fn parse_mebibytes(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(|| "expected a size such as 512, 512M or 2G".to_owned())
}

/// A file, and a command line behind the first `=`.
fn parse_module(text: &str) -> Result<(PathBuf, String), String> {
    let (file, command_line) = text.split_once('=').unwrap_or((text, ""));
    if file.is_empty() {
        Err("expected a file".to_owned())
    } else {
        Ok((file.into(), command_line.to_owned()))
    }
}

/// A positive number of seconds, fractions allowed.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "expected a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn declarations_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_mebibytes("512"), Ok(512));
        assert_eq!(parse_mebibytes("64M"), Ok(64));
        assert_eq!(parse_mebibytes("2G"), Ok(2048));
        for bad in ["", "0", "G", "1T", "-1", "5000000G"] {
            assert!(parse_mebibytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modules() {
        assert_eq!(parse_module("a.elf"), Ok(("a.elf".into(), String::new())));
        assert_eq!(parse_module("a.elf=x y=z"), Ok(("a.elf".into(), "x y=z".to_owned())));
        assert!(parse_module("=x").is_err());
    }

    #[test]
    fn disks() {
        let disk = |file: &str, snapshot| Ok(Disk { file: file.into(), snapshot });
        assert_eq!(parse_disk("a.img"), disk("a.img", false));
        assert_eq!(parse_disk("a.img,snapshot"), disk("a.img", true));
        assert!(parse_disk("a.img,ro").unwrap_err().contains("not `ro`"));
        assert!(parse_disk(",snapshot").is_err());
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "0", "-1", "inf", "NaN", "x"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
