//! Finds items of the crate that [`tables`](crate::tables) does not list.

use std::fs;
use std::path::{Path, PathBuf};

/// Constants that the tables cannot list, with the reason.
const OURS: &[(&str, &str)] = &[
    ("OWNER", "a string, in elfnote.h's text only"),
    ("ABI_X86_64", "a string, compared by strcmp"),
    ("ABI_X86_32", "a string, compared by strcmp"),
];

#[test]
fn every_public_item_is_in_the_tables() {
    let tables = include_str!("tables.rs");
    let missing: Vec<String> = sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"))
        .iter()
        .flat_map(|file| items(&fs::read_to_string(file).expect("sources are readable")))
        .filter(|item| !OURS.iter().any(|(name, _)| name == item) && !tables.contains(&format!("::{item} ")))
        .collect();
    assert!(missing.is_empty(), "not in tests/layout/tables.rs: {missing:?}");
}

/// All Rust files under `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(dir).expect("sources are readable").map(|entry| entry.expect("readable").path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(dirs.iter().flat_map(|dir| sources(dir))).collect()
}

/// Names of the structures, enumerations, flag sets and module constants in `text`.
fn items(text: &str) -> Vec<String> {
    text.lines().filter_map(item).map(str::to_owned).collect()
}

fn item(line: &str) -> Option<&str> {
    let from_macro = |keyword| line.strip_prefix("    pub ")?.strip_prefix(keyword)?.split_once([',', ':']);
    let constant =
        || line.strip_prefix("pub const ").filter(|rest| !rest.starts_with("fn "))?.split_once(':');
    let (name, _) = from_macro("struct ").or_else(|| from_macro("enum ")).or_else(constant)?;
    Some(name).filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}
