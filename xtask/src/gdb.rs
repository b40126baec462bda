//! `gdb`: a machine under a debugger on the user's terminal, its console in a file.
//!
//! QEMU serves gdb, on a socket of this process alone. Bochs as Debian builds it has a debugger of its own
//! instead, which learns the image's names.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::check::image::Image;
use crate::cli::{GdbArgs, Size};
use crate::iso;
use crate::machine::{self, Config, Emulator, Machine};
use crate::setup::{self, Need};
use crate::ui;
use crate::workspace;

/// How long QEMU may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &GdbArgs) -> Result<()> {
    let work = workspace::scratch("gdb")?;
    let set = iso::boot_set(&args.boot, None, work.path())?;
    let medium = work.path().join("kigumi.iso");
    iso::make(&set, work.path(), &medium)?;
    let log = args.machine.log.clone().unwrap_or_else(|| workspace::scratch_root().join("gdb-console.log"));
    let config = Config { log: Some(log.clone()), ..Config::new(&args.machine, Size::PLAIN, medium)? };
    ui::note(&format!("the serial console goes to {}", log.display()));
    match config.emulator {
        Emulator::Bochs => in_bochs(&config, &set.hypervisor, work.path(), &log),
        Emulator::QemuKvm | Emulator::QemuTcg => in_gdb(config, &set.hypervisor, work.path()),
    }
}

fn in_gdb(mut config: Config, image: &Path, work: &Path) -> Result<()> {
    setup::ensure_all(&[Need::Gdb])?;
    let socket = work.join("gdb");
    config.gdb = Some(socket.clone());
    let machine = Machine::start(&config)?;
    wait_for(&socket)?;
    // In our process group, so that it may read the terminal.
    let mut gdb = Command::new("gdb");
    gdb.arg("-q").arg("-ex").arg(format!("target remote {}", socket.display())).arg(image);
    gdb.status().context("cannot start gdb")?;
    drop(machine);
    Ok(())
}

fn wait_for(socket: &Path) -> Result<()> {
    const STEP: Duration = Duration::from_millis(50);
    let mut left = PATIENCE;
    while !socket.exists() {
        ensure!(!left.is_zero(), "QEMU does not listen for gdb");
        thread::sleep(STEP);
        left = left.saturating_sub(STEP);
    }
    Ok(())
}

fn in_bochs(config: &Config, image: &Path, work: &Path, log: &Path) -> Result<()> {
    ui::note("this is Bochs' debugger: `help` lists its commands, `c` continues, `q` quits");
    let symbols: PathBuf = work.join("symbols");
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    fs::write(&symbols, symbol_file(&Image::parse(&bytes)?))?;
    machine::debug_in_bochs(config, &symbols, log)
}

/// One line for each symbol: address in hexadecimal, name.
fn symbol_file(image: &Image) -> String {
    image.symbols.iter().fold(String::new(), |mut text, symbol| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:x} {}", symbol.address, symbol.name);
        text
    })
}
