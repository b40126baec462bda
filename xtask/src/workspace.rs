//! Places in the source tree, and temporary folders that never outlive their process for long.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Target triple of everything that boots.
pub(crate) const BARE_METAL: &str = "x86_64-unknown-none";

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Folder of all that xtask itself writes below cargo's target folder.
pub(crate) fn scratch_root() -> PathBuf {
    target_dir().join("xtask")
}

/// A folder for this process, removed on drop. Those of processes that were killed are removed here.
pub(crate) fn scratch(purpose: &str) -> Result<TempDir> {
    let root = scratch_root();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    sweep(&root);
    tempfile::Builder::new()
        .prefix(&format!("{}-{purpose}-", process::id()))
        .tempdir_in(&root)
        .with_context(|| format!("cannot make a folder in {}", root.display()))
}

/// Removes the folders `PID-*` whose process is gone.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(pid) = owner(&name.to_string_lossy())
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            // A process that sweeps at the same time may have been faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(folder: &str) -> Option<u32> {
    folder.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_the_leading_pid() {
        assert_eq!(owner("123-run-x7"), Some(123));
        assert_eq!(owner("cache"), None);
        assert_eq!(owner("cache-1"), None);
    }

    #[test]
    fn sweep_keeps_folders_of_the_living() {
        let root = tempfile::tempdir().unwrap();
        let (mine, dead) =
            (root.path().join(format!("{}-a", process::id())), root.path().join("999999999-a"));
        fs::create_dir(&mine).unwrap();
        fs::create_dir(&dead).unwrap();
        sweep(root.path());
        assert!(mine.exists() && !dead.exists());
    }
}
