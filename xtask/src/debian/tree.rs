//! Files of a guest, packed as its initial RAM disk or as its ext4 file system.
//!
//! The same files give the same bytes: all of them are root's and of one date.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cpio::newc;
use tar::Archive;

use crate::process::{self, Group};

/// Seconds since 1970 of all files.
const DATE: u32 = 1_767_225_600;
/// Of the file system and of its directories' hashes.
const UUID: &str = "6b696775-6d69-4465-6269-616e00000001";

/// By path, without a slash at the beginning. Folders are there before what is in them.
#[derive(Default)]
pub(crate) struct Tree(BTreeMap<String, Node>);

enum Node {
    Folder,
    File { bytes: Vec<u8>, executable: bool },
    Link(String),
}

impl Node {
    /// Type and permissions as in `st_mode`.
    fn mode(&self) -> u32 {
        match self {
            Self::Folder => 0o040_755,
            Self::File { executable: true, .. } => 0o100_755,
            Self::File { executable: false, .. } => 0o100_644,
            Self::Link(_) => 0o120_777,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Folder => &[],
            Self::File { bytes, .. } => bytes,
            Self::Link(target) => target.as_bytes(),
        }
    }
}

impl Tree {
    pub(crate) fn folder(&mut self, path: &str) {
        self.put(path, Node::Folder);
    }

    pub(crate) fn file(&mut self, path: &str, bytes: Vec<u8>, executable: bool) {
        self.put(path, Node::File { bytes, executable });
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.put(path, Node::Link(target.to_owned()));
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(path)? {
            Node::File { bytes, .. } => Some(bytes),
            Node::Folder | Node::Link(_) => None,
        }
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn put(&mut self, path: &str, node: Node) {
        for (slash, _) in path.match_indices('/') {
            let folder = path.get(..slash).unwrap_or_default();
            self.0.entry(folder.to_owned()).or_insert(Node::Folder);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// Adds what is in `folder` of the host; `prefix` comes before the paths.
    pub(crate) fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).context("a name is not plain text")?;
            let name = format!("{prefix}{name}");
            if path.is_dir() {
                self.add_folder(&path, &format!("{name}/"))?;
            } else {
                let executable = fs::metadata(&path)?.permissions().mode() & 0o100 != 0;
                self.file(&name, fs::read(&path)?, executable);
            }
        }
        Ok(())
    }

    /// Adds of a package what `place` has a path for, given its own.
    pub(crate) fn add_package<R: Read>(
        &mut self,
        package: &mut Archive<R>,
        place: impl Fn(&str) -> Option<String>,
    ) -> Result<()> {
        for entry in package.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8(entry.path_bytes().into_owned()).context("a name is not UTF-8")?;
            let Some(path) = place(name.trim_start_matches("./").trim_end_matches('/')) else { continue };
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                self.folder(&path);
            } else if kind.is_symlink() {
                let target = entry.link_name()?.context("a link without a target")?;
                self.link(&path, target.to_str().context("a link's target is not UTF-8")?);
            } else if kind.is_file() {
                let executable = entry.header().mode()? & 0o100 != 0;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                self.file(&path, bytes, executable);
            } else {
                bail!("{name} is neither a file, a folder nor a symbolic link");
            }
        }
        Ok(())
    }

    /// An archive that Linux unpacks into its first file system (Linux, `driver-api/early-userspace`): newc.
    pub(crate) fn cpio(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (number, (path, node)) in (1..).zip(&self.0) {
            let entry = newc::Builder::new(path).ino(number).nlink(1).mode(node.mode()).mtime(DATE);
            let mut writer = entry.write(archive, node.bytes().len().try_into()?);
            std::io::Write::write_all(&mut writer, node.bytes())?;
            archive = writer.finish()?;
        }
        Ok(newc::trailer(archive)?)
    }

    /// Writes an ext4 file system of `mib` MiB to `image`; `work` is a folder for what is on the way.
    pub(crate) fn ext4(&self, mib: u32, image: &Path, work: &Path) -> Result<()> {
        let staging = work.join("root");
        self.write_to(&staging)?;
        let mut mke2fs = process::command(program("mke2fs"));
        mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-N", "4096", "-J", "size=4"]);
        mke2fs.args(["-U", UUID, "-L", "debian", "-M", "/"]);
        mke2fs.args(["-E", &format!("hash_seed={UUID},root_owner=0:0,lazy_itable_init=0")]);
        mke2fs.arg("-d").arg(&staging).arg(image).arg(format!("{mib}M"));
        process::run_quietly(mke2fs.env("E2FSPROGS_FAKE_TIME", DATE.to_string()))
            .context("cannot make the guest's file system")?;
        self.settle(image, work)
    }

    fn write_to(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        for (path, node) in &self.0 {
            let place = folder.join(path);
            match node {
                Node::Folder => fs::create_dir(&place),
                Node::File { bytes, .. } => fs::write(&place, bytes)
                    .and_then(|()| fs::set_permissions(&place, PermissionsExt::from_mode(node.mode()))),
                Node::Link(target) => symlink(target, &place),
            }
            .with_context(|| format!("cannot write {}", place.display()))?;
        }
        Ok(())
    }

    /// Owner and dates of all files: on the host they are somebody else's, and of today.
    fn settle(&self, image: &Path, work: &Path) -> Result<()> {
        const FIELDS: [(&str, &str); 6] =
            [("uid", "0"), ("gid", "0"), ("atime", "@"), ("mtime", "@"), ("ctime", "@"), ("crtime", "@")];
        let mut commands = String::new();
        for path in self.0.keys().map(String::as_str).chain(["", "lost+found"]) {
            ensure!(!path.contains(['"', '\n']), "{path}: debugfs cannot be told of such a name");
            for (field, value) in FIELDS {
                let value = if value == "@" { format!("@{DATE}") } else { value.to_owned() };
                commands += &format!("set_inode_field \"/{path}\" {field} {value}\n");
            }
        }
        let (script, errors) = (work.join("settle"), work.join("settle.err"));
        fs::write(&script, commands)?;
        let mut debugfs = process::command(program("debugfs"));
        debugfs.arg("-w").arg("-f").arg(&script).arg(image).env("E2FSPROGS_FAKE_TIME", DATE.to_string());
        debugfs.stdout(File::create(work.join("settle.out"))?).stderr(File::create(&errors)?);
        let status = Group::spawn(&mut debugfs)?.wait()?;
        // It goes on after errors. The first line is its version.
        let said = fs::read_to_string(&errors)?;
        let wrong = said.lines().find(|line| !line.starts_with("debugfs "));
        ensure!(status.success() && wrong.is_none(), "debugfs: {}", wrong.unwrap_or("failed"));
        Ok(())
    }
}

/// A program of e2fsprogs, which are for the system's administrator and need not be on the path of others.
fn program(name: &str) -> PathBuf {
    crate::setup::program(name).unwrap_or_else(|| Path::new("/usr/sbin").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.file("usr/bin/tool", b"#!".to_vec(), true);
        tree.file("etc/motd", b"hello".to_vec(), false);
        tree.link("bin", "usr/bin");
        tree.folder("proc");
        tree
    }

    #[test]
    fn archive_has_folders_before_files() {
        let archive = tree().cpio().unwrap();
        let mut rest = archive.as_slice();
        let mut seen = Vec::new();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            seen.push((reader.entry().name().to_owned(), reader.entry().mode()));
            rest = reader.finish().unwrap();
        }
        let entry = |name: &str, mode| (name.to_owned(), mode);
        assert_eq!(
            seen,
            [
                entry("bin", 0o120_777),
                entry("etc", 0o040_755),
                entry("etc/motd", 0o100_644),
                entry("proc", 0o040_755),
                entry("usr", 0o040_755),
                entry("usr/bin", 0o040_755),
                entry("usr/bin/tool", 0o100_755),
            ]
        );
        assert_eq!(archive, tree().cpio().unwrap());
    }

    #[test]
    fn packages_are_merged_where_they_are_wanted() {
        let mut package = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o755);
        header.set_cksum();
        package.append_data(&mut header, "./bin/tool", &b"#!"[..]).unwrap();
        package.append_data(&mut header, "./usr/share/doc", &b"no"[..]).unwrap();
        let package = package.into_inner().unwrap();
        let mut tree = Tree::default();
        let place = |path: &str| path.strip_prefix("bin/").map(|name| format!("usr/bin/{name}"));
        tree.add_package(&mut Archive::new(package.as_slice()), place).unwrap();
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["usr", "usr/bin", "usr/bin/tool"]);
        assert_eq!(tree.0["usr/bin/tool"].mode(), 0o100_755);
    }
}
