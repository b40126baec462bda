//! Rules on source text: where `unsafe` may stand, and that no test is switched off. Sources are read as tokens,
//! so that comments and strings do not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use cargo_metadata::{Metadata, Package, TargetKind};
use comfy_table::{CellAlignment, Table, presets};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::layers::{self, Unsafe};

/// What stands in the sources of one package.
#[derive(Debug, Default)]
struct Findings {
    files: usize,
    lines: usize,
    unsafe_tokens: usize,
    complaints: Vec<String>,
}

pub(super) fn check(metadata: &Metadata) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["package", "files", "lines", "unsafe"]);
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let findings = examine(package)?;
        let numbers = [findings.files, findings.lines, findings.unsafe_tokens].map(|n| n.to_string());
        table.add_row([package.name.to_string()].into_iter().chain(numbers));
        complaints.extend(findings.complaints);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

fn examine(package: &Package) -> Result<Findings> {
    let rule = layers::layer(&package.name).map_or(Unsafe::Forbidden, |layer| layer.unsafe_code);
    let mut findings = Findings::default();
    for file in source_files(package)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let marks = Marks::of(&text).with_context(|| format!("cannot read {}", file.display()))?;
        findings.add(&file, &text, &marks, rule);
    }
    if rule == Unsafe::Forbidden {
        findings.complaints.extend(permissive_roots(package)?);
    }
    Ok(findings)
}

impl Findings {
    fn add(&mut self, file: &Path, text: &str, marks: &Marks, rule: Unsafe) {
        self.files += 1;
        self.lines += text.lines().count();
        self.unsafe_tokens += marks.unsafe_lines.len();
        let at = |line: &usize, what: &str| format!("{}:{line}: {what}", file.display());
        if rule == Unsafe::Forbidden {
            self.complaints
                .extend(marks.unsafe_lines.iter().map(|line| at(line, "unsafe code in this package")));
        }
        self.complaints.extend(marks.ignored_lines.iter().map(|line| at(line, "a test is switched off")));
    }
}

/// The Rust files of a package: all below the folders of its targets, without packages inside.
fn source_files(package: &Package) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for target in &package.targets {
        let root = target.src_path.as_std_path();
        match root.parent() {
            // A build script stands in the package's own folder, among the folders of other packages.
            Some(folder) if !target.is_custom_build() => collect(folder, &mut files)?,
            _ => drop(files.insert(root.to_owned())),
        }
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.join("Cargo.toml").exists() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
    Ok(())
}

/// Libraries and programs of `package` that do not forbid unsafe code.
fn permissive_roots(package: &Package) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for target in &package.targets {
        let root = target.src_path.as_std_path();
        let shipped = target.kind.iter().any(|kind| matches!(kind, TargetKind::Lib | TargetKind::Bin));
        if shipped && !forbids_unsafe(&fs::read_to_string(root)?) {
            complaints.push(format!("{}: no #![forbid(unsafe_code)]", root.display()));
        }
    }
    Ok(complaints)
}

fn forbids_unsafe(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "#![forbid(unsafe_code)]")
}

/// Lines with something to count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Marks {
    unsafe_lines: Vec<usize>,
    /// `#[ignore]`.
    ignored_lines: Vec<usize>,
}

impl Marks {
    fn of(text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust: {error}"))?;
        let mut marks = Self::default();
        marks.walk(tokens);
        Ok(marks)
    }

    fn walk(&mut self, tokens: TokenStream) {
        let mut after_hash = false;
        for token in tokens {
            let hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
            match token {
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    self.unsafe_lines.push(ident.span().start().line)
                }
                TokenTree::Group(group) => {
                    if after_hash && group.delimiter() == Delimiter::Bracket && names_ignore(group.stream()) {
                        self.ignored_lines.push(group.span_open().start().line);
                    }
                    self.walk(group.stream());
                }
                _ => {}
            }
            after_hash = hash;
        }
    }
}

fn names_ignore(attribute: TokenStream) -> bool {
    matches!(attribute.into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "ignore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_do_not_count() {
        let text = "//! unsafe\n// unsafe\nfn f() { let s = \"unsafe #[ignore]\"; }\n#![forbid(unsafe_code)]";
        assert_eq!(Marks::of(text).unwrap(), Marks::default());
    }

    #[test]
    fn tokens_are_found_at_their_lines() {
        let text = "fn f() {\n    unsafe { g() }\n}\n#[test]\n#[ignore = \"slow\"]\nfn t() {}\nunsafe impl A for B {}\n";
        let marks = Marks::of(text).unwrap();
        assert_eq!((marks.unsafe_lines, marks.ignored_lines), (vec![2, 7], vec![5]));
    }

    #[test]
    fn rule_decides_what_is_a_complaint() {
        let marks = Marks { unsafe_lines: vec![3], ignored_lines: vec![9] };
        let complaints = |rule| {
            let mut findings = Findings::default();
            findings.add(Path::new("a.rs"), "", &marks, rule);
            findings.complaints
        };
        assert_eq!(complaints(Unsafe::Allowed), ["a.rs:9: a test is switched off"]);
        assert_eq!(complaints(Unsafe::Forbidden)[0], "a.rs:3: unsafe code in this package");
    }

    #[test]
    fn forbidding_is_an_attribute_of_the_root() {
        assert!(forbids_unsafe("//! Doc.\n\n#![forbid(unsafe_code)]\n"));
        assert!(!forbids_unsafe("// #![forbid(unsafe_code)]\n"));
    }

    #[test]
    fn unreadable_source_is_an_error() {
        assert!(Marks::of("fn f( {").is_err());
    }
}
