//! The guest tests: what `tests/cases` declares, and the boots in which they run.
//!
//! One kernel is both the controller, as Dom0, and every test guest; the controller's command line chooses the
//! tests (`filter=NAME,...`). Declarations are read from the sources, so that a list needs no build.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use regex::Regex;

use crate::scenario::{Payload, Scenario, Setup};
use crate::script::Script;
use crate::workspace;

/// Suffix of a test's second run, in a domain of its own.
const IN_DOMU: &str = "-in-domu";
/// Memory of the machine in MiB, as much as Bochs gives: for a domain of 1 GiB.
const MEMORY: u32 = 2048;
const CMDLINE: &str = "console=com1 com1=115200,8n1 loglvl=info noreboot dom0_mem=128M dom0_max_vcpus=1";
const ALL: &[&str] = &[];
/// Those that are a SKIP with four pcpus.
const FOR_8_PCPUS: &[&str] = &["domains-60-busy"];
/// A hang of the hypervisor is silence; single tests have time limits of their own.
const SCRIPT: &str = "\
never /Panic on CPU/
expect /TESTS planned: \\d+/ within 120
expect /TESTS done/ within 3600 silence 300
expect-end poweroff within 60
";

/// A test as its source declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    description: String,
    covers: Vec<String>,
    kind: String,
}

impl Declared {
    /// Whether `name` names it or its second run.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == plain_name(name)
    }

    fn parse(source: &str) -> Option<Self> {
        static FIELDS: LazyLock<Regex> = LazyLock::new(|| {
            let pattern = r#"(?s)pub const TEST: Test = Test \{\s*name: "([a-z0-9-]+)",\s*description:\s*"([^"]+)",\s*covers: &\[(.*?)\],.*?kind: Kind::(\w+)"#;
            Regex::new(pattern).expect("patterns in the source are valid")
        });
        let fields = FIELDS.captures(source)?;
        let field = |index: usize| fields.get(index).map_or("", |field| field.as_str()).to_owned();
        let covers = field(3);
        let covers = covers.split(',').map(|id| id.trim().trim_matches('"')).filter(|id| !id.is_empty());
        Some(Self {
            name: field(1),
            description: field(2),
            covers: covers.map(str::to_owned).collect(),
            kind: field(4),
        })
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} ({}): {}", self.name, self.kind, self.description)?;
        if self.covers.is_empty() { Ok(()) } else { write!(f, " [{}]", self.covers.join(", ")) }
    }
}

/// The test of which `run` is the only or the second run.
pub(crate) fn plain_name(run: &str) -> &str {
    run.strip_suffix(IN_DOMU).unwrap_or(run)
}

/// All tests, by name.
pub(crate) fn declared() -> Result<Vec<Declared>> {
    let folder = workspace::root().join("tests/cases");
    let mut tests = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            tests.push(read(&path)?);
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

fn read(folder: &Path) -> Result<Declared> {
    let file = folder.join("mod.rs");
    let source = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let test = Declared::parse(&source)
        .with_context(|| format!("{}: no `pub const TEST: Test` in the usual form", file.display()))?;
    let expected = folder.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
    ensure!(test.name == expected, "{}: its name is `{}`, not `{expected}`", file.display(), test.name);
    Ok(test)
}

/// Every test's folder has its line in the list.
pub(crate) fn check() -> Result<()> {
    let file = workspace::root().join("tests/cases/mod.rs");
    let list = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let listed: BTreeSet<&str> =
        list.lines().filter_map(|line| line.trim().strip_suffix("::TEST,")).collect();
    let tests = declared()?;
    println!("{} guest tests", tests.len());
    let folders: BTreeSet<String> = tests.iter().map(|test| test.name.replace('-', "_")).collect();
    let missing: Vec<_> = folders.iter().filter(|folder| !listed.contains(folder.as_str())).collect();
    ensure!(missing.is_empty(), "{}: ALL has no line for {missing:?}", file.display());
    Ok(())
}

/// The boots of `cargo xtask test`.
pub(crate) fn scenarios() -> Result<Vec<Scenario>> {
    [(1, true, ALL), (1, false, ALL), (4, true, ALL), (4, false, ALL), (8, true, FOR_8_PCPUS)]
        .into_iter()
        .map(|(cpus, apicv, names)| scenario(cpus, apicv, names))
        .collect()
}

/// A boot of the guest tests with these names, or of all if there is none.
pub(crate) fn scenario(cpus: u16, apicv: bool, names: &[&str]) -> Result<Scenario> {
    let script = Script::parse(SCRIPT, 1).map_err(|error| anyhow!("script of the guest tests: {error}"))?;
    let apicv_off = if apicv { "" } else { "-no-apicv" };
    let plural = if cpus == 1 { "" } else { "s" };
    let filter = if names.is_empty() { String::new() } else { format!("filter={}", names.join(",")) };
    Ok(Scenario {
        name: format!("guests-{cpus}cpu{plural}{apicv_off}"),
        description: "Guest tests run in domains of their own.".to_owned(),
        covers: Vec::new(),
        tests: Vec::new(),
        timeout: None,
        machine: Setup {
            cpus,
            memory: MEMORY,
            cmdline: format!("{CMDLINE}{}", if apicv { "" } else { " no-apicv" }),
            dom0: Payload::Named("guest-tests".to_owned()),
            dom0_args: filter,
            ..Setup::default()
        },
        script,
        file: workspace::root().join("xtask/src/guest_tests.rs"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
//! Doc.
pub const TEST: Test = Test {
    name: "a-b",
    description:
        "One sentence.",
    covers: &["LIF-01", "CPU-02"],
    needs: &[],
    kind: Kind::DomU(Shape::SMALL, run),
};
"#;

    #[test]
    fn declarations_are_read() {
        let test = Declared::parse(SOURCE).unwrap();
        assert_eq!(test.to_string(), "  a-b (DomU): One sentence. [LIF-01, CPU-02]");
        assert!(test.is_named("a-b") && test.is_named("a-b-in-domu") && !test.is_named("a"));
        assert_eq!(Declared::parse("fn run() {}"), None);
    }

    #[test]
    fn all_tests_are_in_the_usual_form() {
        let tests = declared().unwrap();
        assert!(FOR_8_PCPUS.iter().all(|name| tests.iter().any(|test| test.is_named(name))));
        check().unwrap();
    }

    #[test]
    fn boots_differ_in_what_they_are_named_for() {
        let boots = scenarios().unwrap();
        let names: Vec<_> = boots.iter().map(|boot| boot.name.as_str()).collect();
        let expected =
            ["guests-1cpu", "guests-1cpu-no-apicv", "guests-4cpus", "guests-4cpus-no-apicv", "guests-8cpus"];
        assert_eq!(names, expected);
        assert!(boots[1].machine.cmdline.ends_with("no-apicv") && boots[2].machine.cpus == 4);
        let one = scenario(1, true, &["a", "b"]).unwrap();
        assert_eq!(one.machine.dom0_args, "filter=a,b");
    }
}
