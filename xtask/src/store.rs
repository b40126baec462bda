//! `store`: the files that dom0-shim creates domains from, as one tar archive that GRUB loads behind it.
//!
//! ```text
//! *.cfg         configurations, in the format of xl.cfg
//! auto/*.cfg    those of the domains that start with Dom0, by name
//! kernels/demo  the demo guest, unless the folder has such a file itself
//! ```
//!
//! The same files give the same bytes: they are sorted, and have neither dates nor owners. Links are followed:
//! the archive has files only.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tar::{Archive, Builder, EntryType, Header};

use crate::build;
use crate::cli::StoreArgs;
use crate::debian::Guest;
use crate::ui;
use crate::workspace;

/// Name of the demo guest's kernel in every store.
pub(crate) const DEMO: &str = "kernels/demo";
/// Name of the kernel of front ends in stores of tests.
pub(crate) const FRONT: &str = "kernels/front";
/// Folders in folders: more than anybody needs, so that a link to a folder above itself is an error.
const MOST_LEVELS: u32 = 16;
/// First bytes of what GRUB and dom0-shim would have to unpack first, with what does it.
const PACKED: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "gunzip"), (b"BZh", "bunzip2"), (b"\xfd7zXZ", "unxz"), (b"\x28\xb5\x2f\xfd", "unzstd")];

/// A kernel's name in the store, and where it is.
pub(crate) type Kernel<'a> = (&'a str, &'a Path);

pub(crate) fn run(args: &StoreArgs) -> Result<()> {
    let demo = build::demo_guest(args.profile)?;
    let folder = args.folder.clone().unwrap_or_else(default_folder);
    let files = Files::read(&folder, &[(DEMO, &demo)])?;
    let archive = files.archive()?;
    fs::write(&args.output, &archive).with_context(|| format!("cannot write {}", args.output.display()))?;
    let (count, kib) = (files.0.len(), archive.len() / 1024);
    ui::step("Wrote", &format!("{}: {count} files, {kib} KiB", args.output.display()));
    Ok(())
}

/// The folder whose files come with Kigumi.
pub(crate) fn default_folder() -> PathBuf {
    workspace::root().join("dom0-shim/files")
}

/// The archive of `source`: an archive, as it is, or a folder, packed into `work` with `kernels`.
pub(crate) fn provide(source: &Path, kernels: &[Kernel<'_>], work: &Path) -> Result<PathBuf> {
    let kind = fs::metadata(source).with_context(|| format!("store: cannot read {}", source.display()))?;
    if kind.is_file() {
        check(source).with_context(|| format!("store: {}", source.display()))?;
        return Ok(source.to_owned());
    }
    Files::read(source, kernels)?.write(work)
}

/// Fails unless `archive` is a tar archive with a file in it.
fn check(archive: &Path) -> Result<()> {
    let mut start = [0; 8];
    let length = File::open(archive)?.read(&mut start)?;
    let start = start.get(..length).unwrap_or_default();
    if let Some((_, tool)) = PACKED.iter().find(|(magic, _)| start.starts_with(magic)) {
        bail!("is compressed; unpack it with {tool} first");
    }
    let mut archive = Archive::new(BufReader::new(File::open(archive)?));
    let entries = archive.entries()?.collect::<Result<Vec<_>, _>>().context("is no tar archive")?;
    ensure!(entries.iter().any(|entry| entry.header().entry_type().is_file()), "has no file in it");
    Ok(())
}

/// The archive of what comes with Kigumi and of `guest`, whose domains have `cpus` vcpus, in `work`.
pub(crate) fn provide_debian(
    guest: &Guest,
    cpus: u16,
    kernels: &[Kernel<'_>],
    work: &Path,
) -> Result<PathBuf> {
    let mut files = Files::read(&default_folder(), kernels)?;
    guest.add_to(&mut files, cpus, work)?;
    files.write(work)
}

/// The files of a store: names in the archive, and where they are.
#[derive(Debug)]
pub(crate) struct Files(BTreeMap<String, PathBuf>);

impl Files {
    /// Adds a file, in place of one of that name.
    pub(crate) fn put(&mut self, name: &str, file: &Path) {
        self.0.insert(name.to_owned(), file.to_owned());
    }

    /// Removes all files whose names begin with `folder`.
    pub(crate) fn remove_folder(&mut self, folder: &str) {
        self.0.retain(|name, _| !name.starts_with(folder));
    }

    /// Makes the archive, a file in `work`.
    fn write(&self, work: &Path) -> Result<PathBuf> {
        let file = work.join("store.tar");
        fs::write(&file, self.archive()?).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Files of `folder` that are named as one of `kernels` come before it.
    fn read(folder: &Path, kernels: &[Kernel<'_>]) -> Result<Self> {
        let mut files = Self(BTreeMap::new());
        files.add(folder, "", MOST_LEVELS)?;
        ensure!(!files.0.is_empty(), "store: {} has no files", folder.display());
        for (name, file) in kernels {
            files.0.entry((*name).to_owned()).or_insert_with(|| (*file).to_owned());
        }
        Ok(files)
    }

    /// Adds what is in `folder`; `prefix` is its name in the archive. What begins with a dot is left out: editors
    /// and version control leave such files.
    fn add(&mut self, folder: &Path, prefix: &str, levels: u32) -> Result<()> {
        let levels = levels.checked_sub(1).ok_or_else(|| {
            anyhow!(
                "store: {} is {MOST_LEVELS} folders deep; does a link lead to a folder above?",
                folder.display()
            )
        })?;
        let entries =
            fs::read_dir(folder).with_context(|| format!("store: cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_plain(name));
            let name =
                name.with_context(|| format!("store: {}: its name is not plain text", path.display()))?;
            if name.starts_with('.') {
                continue;
            }
            let kind =
                fs::metadata(&path).with_context(|| format!("store: cannot read {}", path.display()))?;
            if kind.is_dir() {
                self.add(&path, &format!("{prefix}{name}/"), levels)?;
            } else if kind.is_file() {
                self.0.insert(format!("{prefix}{name}"), path);
            } else {
                bail!("store: {} is neither a file nor a folder", path.display());
            }
        }
        Ok(())
    }

    fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (name, path) in &self.0 {
            let bytes = fs::read(path).with_context(|| format!("store: cannot read {}", path.display()))?;
            let header = header(name, bytes.len() as u64)
                .with_context(|| format!("store: {}: its name is too long", path.display()))?;
            archive.append(&header, bytes.as_slice())?;
        }
        Ok(archive.into_inner()?)
    }
}

fn is_plain(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

/// The header of a file that anybody may read, of no date and owner.
fn header(name: &str, size: u64) -> Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o444);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A folder with a configuration, a link to it, and a kernel for `demo`.
    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir_all(files.join("auto")).unwrap();
        fs::write(files.join("b.cfg"), "name='b'\n").unwrap();
        fs::write(files.join(".b.cfg.swp"), "x").unwrap();
        symlink("../b.cfg", files.join("auto/b.cfg")).unwrap();
        fs::write(folder.path().join("demo"), "kernel").unwrap();
        (folder, files)
    }

    fn pack(folder: &TempDir) -> Result<Vec<u8>> {
        Files::read(&folder.path().join("files"), &[(DEMO, &folder.path().join("demo"))])?.archive()
    }

    fn why(result: Result<impl std::fmt::Debug>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    /// Names and texts, as the reader that dom0-shim uses sees them.
    fn contents(archive: &[u8]) -> Vec<(String, String)> {
        let archive = tar_no_std::TarArchiveRef::new(archive).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        archive
            .entries()
            .map(|file| (file.filename().as_str().unwrap().to_owned(), text(file.data())))
            .collect()
    }

    #[test]
    fn archive_has_the_files_in_order() {
        let (folder, _) = folder();
        let archive = pack(&folder).unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected =
            [file("auto/b.cfg", "name='b'\n"), file("b.cfg", "name='b'\n"), file("kernels/demo", "kernel")];
        assert_eq!(contents(&archive), expected);
    }

    #[test]
    fn same_files_same_bytes() {
        let ((one, files), (two, _)) = (folder(), folder());
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        File::options().append(true).open(files.join("b.cfg")).unwrap().set_modified(epoch).unwrap();
        assert_eq!(pack(&one).unwrap(), pack(&two).unwrap());
    }

    #[test]
    fn own_demo_kernel_comes_first() {
        let (folder, files) = folder();
        fs::create_dir(files.join("kernels")).unwrap();
        fs::write(files.join("kernels/demo"), "mine").unwrap();
        assert!(contents(&pack(&folder).unwrap()).contains(&("kernels/demo".into(), "mine".into())));
    }

    #[test]
    fn names_of_two_hundred_letters_fit() {
        let (folder, files) = folder();
        let long = files.join("d".repeat(120));
        fs::create_dir(&long).unwrap();
        fs::write(long.join("f".repeat(90)), "x").unwrap();
        let name = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        assert!(contents(&pack(&folder).unwrap()).iter().any(|(file, _)| *file == name));
        fs::write(long.join("f".repeat(140)), "x").unwrap();
        assert!(why(pack(&folder)).contains("its name is too long"));
    }

    #[test]
    fn mistakes_are_named() {
        let (folder, files) = folder();
        let demo = folder.path().join("demo");
        let missing = provide(&folder.path().join("nothing"), &[(DEMO, &demo)], folder.path());
        assert!(why(missing).contains("cannot read"));
        symlink("nowhere", files.join("dangling")).unwrap();
        assert!(why(pack(&folder)).contains("dangling"));
        fs::remove_file(files.join("dangling")).unwrap();
        symlink("..", files.join("auto/up")).unwrap();
        assert!(why(pack(&folder)).contains("does a link lead to a folder above?"));
        fs::remove_dir_all(&files).unwrap();
        fs::create_dir(&files).unwrap();
        assert!(why(pack(&folder)).contains("has no files"));
    }

    #[test]
    fn archives_are_looked_at() {
        let (folder, _) = folder();
        let demo = folder.path().join("demo");
        let file = folder.path().join("a.tar");
        let given = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            provide(&file, &[(DEMO, &demo)], folder.path())
        };
        assert!(why(given(b"\x1f\x8b\x08")).contains("unpack it with gunzip"));
        assert!(why(given(&[b'x'; 1024])).contains("is no tar archive"));
        assert!(why(given(&[0; 1024])).contains("has no file in it"));
        let good = pack(&folder).unwrap();
        assert_eq!(given(&good).unwrap(), folder.path().join("a.tar"));
    }

    #[test]
    fn what_comes_with_kigumi_is_a_store() {
        let demo = default_folder().join("demo.cfg");
        let names: Vec<_> = Files::read(&default_folder(), &[(DEMO, &demo)]).unwrap().0.into_keys().collect();
        assert!(names.iter().any(|name| name == "auto/demo.cfg"), "{names:?}");
    }
}
