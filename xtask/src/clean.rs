//! `clean`: all that was built, and xtask's own folders.

use std::fs;
use std::io;

use anyhow::{Context, Result};

use crate::build;
use crate::process;
use crate::workspace;

pub(crate) fn run() -> Result<()> {
    process::run(build::cargo().arg("clean"))?;
    let scratch = workspace::scratch_root();
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", scratch.display()))
        }
        _ => Ok(()),
    }
}
