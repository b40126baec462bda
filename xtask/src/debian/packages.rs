//! Debian packages: fetched by apt, which checks the archive's signatures, and never changed.
//!
//! They are kept in cargo's target folder, so that they are fetched once; `cargo xtask clean` forgets them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tar::Archive;

use crate::process::{self, Group};
use crate::setup;
use crate::ui;
use crate::workspace;

/// The packages' files of the set `name`: those of `wanted` and of what they cannot do without (see [`closure`]).
pub(crate) fn fetch(name: &str, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = workspace::scratch_root().join("debian").join(name);
    if !folder.exists() {
        fetch_to(&folder, wanted).with_context(|| format!("cannot fetch {}", wanted.join(", ")))?;
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty: `cargo xtask clean` has them fetched again", folder.display());
    Ok(files)
}

/// Fetches into a folder beside `folder`, which then takes its place: it is never there in part.
fn fetch_to(folder: &Path, wanted: &[&str]) -> Result<()> {
    ensure!(
        setup::program("apt-get").is_some() && setup::program("dpkg-deb").is_some(),
        "Debian's packages are fetched by apt-get and unpacked by dpkg-deb, which this system does not have; \
         `--debian none` boots without a Debian guest"
    );
    let work = workspace::scratch("packages")?;
    if let Err(error) = download(wanted, work.path()) {
        process::check_interrupted()?;
        // Lists of packages that are missing or old.
        setup::refresh_package_lists().with_context(|| format!("{error:#}"))?;
        download(wanted, work.path())?;
    }
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    match fs::rename(work.path(), folder) {
        // Somebody else was faster.
        Err(_) if folder.exists() => Ok(()),
        result => result.with_context(|| format!("cannot write {}", folder.display())),
    }
}

fn download(wanted: &[&str], work: &Path) -> Result<()> {
    let mut ask = process::command("apt-cache");
    ask.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"]);
    ask.args(["--no-replaces", "--no-enhances"]).args(wanted);
    let names = closure(&process::run_quietly(&mut ask)?, wanted);
    for name in wanted {
        ensure!(
            names.contains(*name),
            "apt knows no package {name}; `apt-get update` tells whether there is a network"
        );
    }
    ui::step("Fetching", &format!("{} from Debian", names.iter().cloned().collect::<Vec<_>>().join(" ")));
    let _progress = ui::spinner("apt-get download");
    let mut apt = process::command("apt-get");
    apt.args(["download", "-q"]).args(&names).current_dir(work);
    process::run_quietly(&mut apt).map(drop)
}

/// `wanted`, and of what they depend on the shared libraries, and the kernel that the name of a kernel stands for.
/// Scripts of packages are never run, so what only these need is left out. `answer` is of `apt-cache depends`.
fn closure(answer: &str, wanted: &[&str]) -> BTreeSet<String> {
    let depends = dependencies(answer);
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = wanted.to_vec();
    while let Some(name) = open.pop() {
        if let Some(needs) = depends.get(name)
            && found.insert(name.to_owned())
        {
            open.extend(needs.iter().copied().filter(|name| is_followed(name)));
        }
    }
    found
}

fn is_followed(name: &str) -> bool {
    name.starts_with("linux-image-") || name.starts_with("lib") && !name.ends_with("-bin")
}

/// Packages and what they depend on; of alternatives the first.
///
/// ```text
/// bash
///   PreDepends: libc6
///  |Depends: this
///   Depends: or-that
/// ```
fn dependencies(answer: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut package, mut first_taken) = ("", false);
    for line in answer.lines() {
        if !line.starts_with(' ') {
            (package, first_taken) = (line, false);
            all.entry(line).or_default();
        } else if let Some((kind, name)) = line.split_once("Depends: ")
            && !std::mem::replace(&mut first_taken, kind.starts_with(" |"))
        {
            all.entry(package).or_default().push(name);
        }
    }
    all
}

/// Gives `take` the contents of a package, as a tar archive.
pub(crate) fn unpack(
    package: &Path,
    take: impl FnOnce(&mut Archive<std::process::ChildStdout>) -> Result<()>,
) -> Result<()> {
    let mut command = process::command("dpkg-deb");
    let mut group = Group::spawn(command.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()))?;
    let stdout = group.child().stdout.take().context("dpkg-deb has no stdout")?;
    let mut archive = Archive::new(stdout);
    take(&mut archive).with_context(|| format!("cannot unpack {}", package.display()))?;
    // To the end, or dpkg-deb would fail to write.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    let status = group.wait()?;
    if !status.success() {
        bail!("{} is no whole Debian package ({status}): `cargo xtask clean`, then again", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
linux-image-cloud-amd64
  Depends: linux-image-6.1.0-9-cloud-amd64
linux-image-6.1.0-9-cloud-amd64
  Depends: kmod
 |Depends: initramfs-tools
  Depends: <linux-initramfs-tool>
    dracut
bash
  PreDepends: libc6
 |Depends: libtinfo6
  Depends: libother
  Depends: base-files
libc6
  Depends: libgcc-s1
libgcc-s1
  Depends: libc6
  Depends: libcap2-bin
libtinfo6
libother
libcap2-bin
kmod
";

    #[test]
    fn libraries_and_the_kernel_behind_its_name_come_along() {
        let names = |wanted: &[&str]| closure(ANSWER, wanted).into_iter().collect::<Vec<_>>();
        assert_eq!(names(&["bash"]), ["bash", "libc6", "libgcc-s1", "libtinfo6"]);
        assert_eq!(
            names(&["linux-image-cloud-amd64"]),
            ["linux-image-6.1.0-9-cloud-amd64", "linux-image-cloud-amd64"]
        );
        assert_eq!(names(&["nothing"]), Vec::<String>::new());
    }
}
