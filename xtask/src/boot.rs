//! Boots a scenario: medium, machine, dialogue.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::Built;
use crate::cli::Platform;
use crate::debian::{self, Guest};
use crate::iso::{self, BootSet};
use crate::machine::{Config, Emulator, Machine, Pace};
use crate::scenario::{Payload, Scenario, Setup};
use crate::script::{self, Values};
use crate::session::{DEFAULT_TIMEOUT, Failure, Session};
use crate::setup::{self, Need};
use crate::store;
use crate::workspace;

/// What came of a boot.
pub(crate) struct Booted {
    /// Whether the script passed.
    pub(crate) result: Result<(), Failure>,
    /// All that the console showed, without carriage returns and escape sequences.
    pub(crate) console: String,
    /// End of the emulator's log.
    pub(crate) log: String,
}

/// Fetches the packages of the scenario's guest; an error says why it cannot run here.
pub(crate) fn fetch(scenario: &Scenario) -> Result<()> {
    scenario.machine.debian.map_or(Ok(()), debian::fetch)
}

/// The emulator for `scenario`, or why it cannot run here. `default` is for scenarios that name none.
pub(crate) fn emulator(scenario: &Scenario, default: Platform) -> Result<Emulator> {
    let machine = &scenario.machine;
    let platform = match machine.platform {
        Platform::Auto => default,
        platform => platform,
    };
    Emulator::choose(platform, machine.firmware, machine.cpu_model.is_some())
}

/// Installs what is missing for all of `scenarios`, before several of them boot at the same time.
pub(crate) fn prepare(scenarios: &[Scenario], default: Platform) -> Result<()> {
    let emulators = scenarios.iter().filter_map(|s| Some((emulator(s, default).ok()?, s.machine.firmware)));
    let needs: Vec<Need> =
        emulators.flat_map(|(emulator, firmware)| emulator.needs(firmware)).copied().collect();
    setup::ensure_all(&[&needs[..], &[Need::Iso]].concat())
}

/// How to boot a scenario.
pub(crate) struct Options<'a> {
    pub(crate) built: &'a Built,
    pub(crate) emulator: Emulator,
    /// For an `expect` without `within` in a scenario that names no time.
    pub(crate) timeout: Option<Duration>,
    /// Where to copy the console to.
    pub(crate) log: Option<PathBuf>,
}

/// Boots `scenario` and follows its script. The machine is gone when this returns.
pub(crate) fn boot(scenario: &Scenario, options: Options<'_>) -> Result<Booted> {
    let Options { built, emulator, timeout, log } = options;
    let work = workspace::scratch("boot")?;
    let iso = work.path().join("kigumi.iso");
    let debian = scenario.machine.debian.map(|kernel| debian::provide(kernel, work.path())).transpose()?;
    let set = boot_set(scenario, debian.as_ref(), built, work.path())?;
    iso::make(&set, work.path(), &iso)?;
    let disks = debian.iter().map(Guest::disk).collect();
    let mut machine = Machine::start(&Config { log, disks, ..config(scenario, emulator, iso) })?;
    let timeout = scenario.timeout.or(timeout).unwrap_or(DEFAULT_TIMEOUT);
    let mut sink = io::sink();
    let mut session = Session::new(&mut machine, &mut sink, timeout, values(scenario.machine.cpus));
    let result = session.run(&scenario.script);
    let console = session.console();
    Ok(Booted { result, console, log: machine.end() })
}

/// What scripts know of the machine.
pub(crate) fn values(cpus: u16) -> Values {
    Values::from([(script::CPUS.to_owned(), cpus.to_string())])
}

fn config(scenario: &Scenario, emulator: Emulator, iso: PathBuf) -> Config {
    let machine = &scenario.machine;
    Config {
        emulator,
        cpus: machine.cpus,
        memory_mib: machine.memory,
        cpu_model: machine.cpu_model.clone(),
        firmware: machine.firmware,
        iso,
        disks: Vec::new(),
        nic: machine.nic,
        log: None,
        pace: Pace::Fastest,
        gdb: None,
    }
}

fn boot_set(scenario: &Scenario, debian: Option<&Guest>, built: &Built, work: &Path) -> Result<BootSet> {
    let folder = scenario.file.parent().unwrap_or(Path::new("."));
    let machine = &scenario.machine;
    let initrd = machine.initrd.as_ref().map(|file| folder.join(file));
    Ok(BootSet {
        hypervisor: built.hypervisor.clone(),
        cmdline: machine.cmdline.clone(),
        dom0: dom0(&machine.dom0, built, folder, work)?,
        dom0_args: machine.dom0_args.clone(),
        store: match debian {
            Some(guest) => Some(store::provide_debian(guest, machine.cpus, &kernels(machine, built)?, work)?),
            None => store(machine, built, folder, work)?,
        },
        initrd: if machine.dom0.is_guest_tests() { built.guest_tests.clone() } else { initrd },
        modules: Vec::new(),
    })
}

/// The archive of the scenario's files, made in `work`.
fn store(machine: &Setup, built: &Built, folder: &Path, work: &Path) -> Result<Option<PathBuf>> {
    let Some(store) = &machine.store else { return Ok(None) };
    let source = if store.as_os_str() == "default" { store::default_folder() } else { folder.join(store) };
    store::provide(&source, &kernels(machine, built)?, work).map(Some)
}

/// The kernels that are in the store in any case.
fn kernels<'a>(machine: &Setup, built: &'a Built) -> Result<Vec<store::Kernel<'a>>> {
    let demo = built.demo_guest.as_deref().context("the demo guest was not built")?;
    let mut kernels = vec![(store::DEMO, demo)];
    if machine.front_guest {
        kernels.push((store::FRONT, built.front_guest.as_deref().context("the front guest was not built")?));
    }
    Ok(kernels)
}

/// Dom0's image. A text goes into a file in `work`; files are named from the scenario's `folder`.
fn dom0(payload: &Payload, built: &Built, folder: &Path, work: &Path) -> Result<Option<PathBuf>> {
    Ok(match payload {
        Payload::Named(name) if name == "default" => built.dom0_shim.clone(),
        Payload::Named(name) if name == "none" => None,
        payload if payload.is_guest_tests() => built.guest_tests.clone(),
        Payload::Named(file) => Some(folder.join(file)),
        Payload::Text(text) => {
            let file = work.join("dom0");
            fs::write(&file, &text.text)?;
            Some(file)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Text;

    #[test]
    fn dom0_of_a_scenario() {
        let built = Built {
            hypervisor: "k".into(),
            dom0_shim: Some("shim".into()),
            guest_tests: Some("tests".into()),
            demo_guest: None,
            front_guest: None,
        };
        let work = tempfile::tempdir().unwrap();
        let image = |payload| dom0(&payload, &built, Path::new("tests/boot"), work.path()).unwrap();
        assert_eq!(image(Payload::Named("default".into())), Some("shim".into()));
        assert_eq!(image(Payload::Named("none".into())), None);
        assert_eq!(image(Payload::Named("guest-tests".into())), Some("tests".into()));
        assert_eq!(image(Payload::Named("a.elf".into())), Some("tests/boot/a.elf".into()));
        let garbage = image(Payload::Text(Text { text: "x".into() })).unwrap();
        assert_eq!(fs::read_to_string(garbage).unwrap(), "x");
    }
}
