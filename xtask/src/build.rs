//! `build`: the images that boot.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

use crate::check::image::Image;
use crate::cli::{BuildArgs, ProfileArgs};
use crate::process::{self, Group};
use crate::scenario::Setup;
use crate::setup::{self, Need};
use crate::ui;
use crate::workspace::{self, BARE_METAL};

/// What `build` made.
pub(crate) struct Built {
    pub(crate) hypervisor: PathBuf,
    /// `None` as long as the workspace has no such package.
    pub(crate) dom0_shim: Option<PathBuf>,
    /// `None` where nothing asked for it.
    pub(crate) guest_tests: Option<PathBuf>,
    /// `None` where nothing asked for it.
    pub(crate) demo_guest: Option<PathBuf>,
    /// `None` where nothing asked for it.
    pub(crate) front_guest: Option<PathBuf>,
}

impl Built {
    /// Without guests' kernels.
    pub(crate) fn of(hypervisor: PathBuf, dom0_shim: Option<PathBuf>) -> Self {
        Self { hypervisor, dom0_shim, guest_tests: None, demo_guest: None, front_guest: None }
    }

    /// The same, with the kernel of the guest tests.
    pub(crate) fn with_guest_tests(self, profile: ProfileArgs) -> Result<Self> {
        Ok(Self { guest_tests: Some(binary("guest-tests", "guest-tests", profile)?), ..self })
    }

    /// The same, with the demo guest's kernel.
    pub(crate) fn with_demo_guest(self, profile: ProfileArgs) -> Result<Self> {
        Ok(Self { demo_guest: Some(demo_guest(profile)?), ..self })
    }

    /// The same, with the kernel of the guest of front ends.
    pub(crate) fn with_front_guest(self, profile: ProfileArgs) -> Result<Self> {
        Ok(Self { front_guest: Some(binary("front-guest", "front-guest", profile)?), ..self })
    }

    /// The same, with the kernels that stores of `machines` need.
    pub(crate) fn with_guests(self, machines: &[&Setup], profile: ProfileArgs) -> Result<Self> {
        let demo = machines.iter().any(|machine| machine.store.is_some() || machine.debian.is_some());
        let front = machines.iter().any(|machine| machine.front_guest);
        let tests = machines.iter().any(|machine| machine.dom0.is_guest_tests());
        let built = if tests { self.with_guest_tests(profile)? } else { self };
        let built = if demo { built.with_demo_guest(profile)? } else { built };
        if front { built.with_front_guest(profile) } else { Ok(built) }
    }
}

pub(crate) fn run(args: &BuildArgs) -> Result<()> {
    let built = build_or(None, args.profile)?;
    for image in [Some(built.hypervisor), built.dom0_shim].into_iter().flatten() {
        ui::step("Built", &image.display().to_string());
    }
    Ok(())
}

/// The hypervisor in the caller's file, alone, or else what the workspace builds.
pub(crate) fn build_or(hypervisor: Option<&Path>, profile: ProfileArgs) -> Result<Built> {
    let built = match hypervisor {
        Some(file) => Built::of(file.to_owned(), None),
        None => build(profile)?,
    };
    ensure_bootable(&built.hypervisor)?;
    Ok(built)
}

/// Fails for a file that GRUB would refuse: the machine would wait for a key.
fn ensure_bootable(hypervisor: &Path) -> Result<()> {
    let bytes = fs::read(hypervisor).with_context(|| format!("cannot read {}", hypervisor.display()))?;
    let image = Image::parse(&bytes).with_context(|| format!("{} is no usable ELF", hypervisor.display()))?;
    let complaints = image.header();
    ensure!(complaints.is_empty(), "{}: {}", hypervisor.display(), complaints.join(", "));
    Ok(())
}

pub(crate) fn build(profile: ProfileArgs) -> Result<Built> {
    setup::ensure_all(&[Need::Target])?;
    let hypervisor = binary("hypervisor", "kigumi", profile)?;
    let dom0_shim =
        has_package("dom0-shim").then(|| binary("dom0-shim", "dom0-shim", profile)).transpose()?;
    Ok(Built::of(hypervisor, dom0_shim))
}

/// The demo guest's kernel.
pub(crate) fn demo_guest(profile: ProfileArgs) -> Result<PathBuf> {
    setup::ensure_all(&[Need::Target])?;
    binary("demo-guest", "demo-guest", profile)
}

pub(crate) fn has_package(folder: &str) -> bool {
    workspace::root().join(folder).join("Cargo.toml").exists()
}

/// The cargo that runs us.
pub(crate) fn cargo() -> std::process::Command {
    let mut command = process::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()).envs(ui::cargo_color().map(|when| ("CARGO_TERM_COLOR", when)));
    command
}

/// Builds one bare-metal binary and tells where cargo put it.
fn binary(package: &str, name: &str, profile: ProfileArgs) -> Result<PathBuf> {
    let release: &[&str] = if profile.is_release() { &["--release"] } else { &[] };
    executable_of(package, &[&["--target", BARE_METAL, "--bin", name], release].concat())
}

/// Builds an example for the host, optimized as the image is, and tells where cargo put it.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    executable_of(package, &["--release", "--example", name])
}

fn executable_of(package: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics", "--package", package]);
    command.args(arguments);
    let mut cargo = Group::spawn(command.stdout(Stdio::piped()))?;
    let messages = cargo.child().stdout.take().context("cargo has no stdout")?;
    let reader = std::thread::spawn(move || executable(messages));
    let status = cargo.wait()?;
    ensure!(status.success(), "cannot build {package}");
    let found = reader.join().ok().flatten();
    found.with_context(|| format!("cargo built {package} but named no executable"))
}

/// The executable among cargo's messages.
fn executable(messages: impl Read) -> Option<PathBuf> {
    // To the end of the stream in any case: cargo would block on a full pipe.
    Message::parse_stream(BufReader::new(messages))
        .filter_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
            _ => None,
        })
        .last()
        .map(PathBuf::from)
}
