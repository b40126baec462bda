//! `check`: everything that must hold besides the tests. All parts run, whatever the first ones find.

pub(crate) mod image;
mod layers;
mod sources;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

use hv_core::image::KernelImage;

use crate::build;
use crate::cli::CheckArgs;
use crate::guest_tests;
use crate::process;
use crate::report::{Outcome, Totals, Verdict};
use crate::setup::{self, Need};
use crate::ui;
use crate::workspace::{self, BARE_METAL};

/// Texts of the licences that the packages name.
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
const LICENCE_EXPRESSION: &str = "MIT OR Apache-2.0";

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    setup::ensure_all(&[Need::Target])?;
    let metadata = metadata()?;
    let parts: [(&str, &dyn Fn() -> Result<()>); 8] = [
        ("format", &format),
        ("clippy, host", &|| clippy_host(&metadata)),
        ("clippy, bare metal", &|| clippy_bare_metal(&metadata)),
        ("layers", &|| layers::check(&metadata)),
        ("sources", &|| sources::check(&metadata)),
        ("guest tests", &guest_tests::check),
        ("licences", &|| licences(&metadata)),
        ("image", &|| images(args)),
    ];
    let mut outcomes = Vec::new();
    for (name, part) in parts {
        ui::step("Checking", name);
        let result = part();
        process::check_interrupted()?;
        let verdict = result.map_or_else(|error| Verdict::Failed(format!("{error:#}")), |()| Verdict::Passed);
        if let Verdict::Failed(why) = &verdict {
            println!("{why}");
        }
        outcomes.push(Outcome::new(name, verdict));
    }
    Ok(conclude(&outcomes))
}

fn conclude(outcomes: &[Outcome]) -> ExitCode {
    println!();
    for outcome in outcomes {
        let verdict = if outcome.verdict == Verdict::Passed { "ok" } else { "FAILED" };
        println!("check {} ... {verdict}", outcome.name);
    }
    let totals = Totals::of(outcomes);
    println!("{}", totals.short_line());
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(workspace::root()).no_deps().exec().context("cannot read the workspace")
}

fn format() -> Result<()> {
    process::run(build::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy_host(metadata: &Metadata) -> Result<()> {
    let hosts = metadata.workspace_default_packages().into_iter().map(|package| package.name.to_string());
    clippy(hosts.collect(), &["--all-targets"])
}

/// The members that are no host crates; their unit tests cannot run on bare metal.
fn clippy_bare_metal(metadata: &Metadata) -> Result<()> {
    let hosts = metadata.workspace_default_packages();
    let others =
        metadata.workspace_packages().into_iter().filter(|p| hosts.iter().all(|host| host.id != p.id));
    clippy(others.map(|package| package.name.to_string()).collect(), &["--target", BARE_METAL])
}

fn clippy(packages: Vec<String>, options: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut command = build::cargo();
    command.arg("clippy").args(options);
    for package in packages {
        command.args(["--package", &package]);
    }
    process::run(command.args(["--", "-D", "warnings"]))
}

fn licences(metadata: &Metadata) -> Result<()> {
    for name in LICENCES {
        ensure!(workspace::root().join(name).is_file(), "{name} is missing");
    }
    for package in metadata.workspace_packages() {
        let licence = package.license.as_deref();
        ensure!(licence == Some(LICENCE_EXPRESSION), "{} is licensed as {licence:?}", package.name);
    }
    Ok(())
}

fn images(args: &CheckArgs) -> Result<()> {
    if let Some(file) = &args.image {
        return image(file, |_, image| image.header());
    }
    let built = build::build(args.profile)?.with_guest_tests(args.profile)?;
    let built = built.with_demo_guest(args.profile)?.with_front_guest(args.profile)?;
    let hypervisor = image(&built.hypervisor, |_, image| image.header());
    let guests =
        [built.dom0_shim, built.guest_tests, built.demo_guest, built.front_guest].into_iter().flatten();
    let guests = guests.map(|file| image(&file, |bytes, _| pvh(bytes)));
    let results = [hypervisor].into_iter().chain(guests);
    let complaints: Vec<_> = results.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if complaints.is_empty() { Ok(()) } else { bail!("{}", complaints.join("\n")) }
}

/// Whether the hypervisor would take the file as Dom0's kernel.
fn pvh(bytes: &[u8]) -> Vec<String> {
    KernelImage::parse(bytes).err().map(|error| error.to_string()).into_iter().collect()
}

/// Checks an image by the common rules and by those of its `start`: how it is found and entered.
fn image(file: &Path, start: impl FnOnce(&[u8], &image::Image) -> Vec<String>) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let image =
        image::Image::parse(&bytes).with_context(|| format!("{} is no usable ELF", file.display()))?;
    println!("{}: {}", file.display(), image.sizes());
    let complaints = [image.complaints(), start(&bytes, &image)].concat();
    ensure!(complaints.is_empty(), "{}:\n  {}", file.display(), complaints.join("\n  "));
    Ok(())
}
