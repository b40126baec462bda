//! Boot scenarios: what to boot, what to say at the console, what has to happen. Read from TOML.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use crate::cli::{DEFAULT_CMDLINE, Debian, Firmware, Nic, Platform, parse_mebibytes};
use crate::script::Script;

/// A checked scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Identifiers of the requirements that it shows to be met.
    pub(crate) covers: Vec<String>,
    /// Guest tests that have to report in it; empty for "as many as the guest announces".
    pub(crate) tests: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) machine: Setup,
    pub(crate) script: Script,
    /// Where it was read.
    pub(crate) file: PathBuf,
}

/// The machine of a scenario and what boots on it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Setup {
    pub(crate) platform: Platform,
    pub(crate) cpus: u16,
    #[serde(deserialize_with = "mebibytes")]
    pub(crate) memory: u32,
    pub(crate) cpu_model: Option<String>,
    pub(crate) firmware: Firmware,
    pub(crate) cmdline: String,
    pub(crate) dom0: Payload,
    pub(crate) dom0_args: String,
    pub(crate) initrd: Option<PathBuf>,
    /// Files for dom0-shim: `default`, or a folder or an archive.
    pub(crate) store: Option<PathBuf>,
    /// The store has the kernel of front ends as well, `kernels/front`.
    pub(crate) front_guest: bool,
    /// A Debian guest with this kernel: its store, and its disk as the first.
    pub(crate) debian: Option<Debian>,
    pub(crate) nic: Nic,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            platform: Platform::Auto,
            cpus: 1,
            memory: 512,
            cpu_model: None,
            firmware: Firmware::Bios,
            cmdline: DEFAULT_CMDLINE.to_owned(),
            dom0: Payload::Named("default".to_owned()),
            dom0_args: String::new(),
            initrd: None,
            store: None,
            front_guest: false,
            debian: None,
            nic: Nic::None,
        }
    }
}

/// Dom0 in a scenario.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(
    untagged,
    expecting = "expected \"default\", \"none\", \"guest-tests\", a file name or { text = \"...\" }"
)]
pub(crate) enum Payload {
    /// `default`, `none`, `guest-tests`, or a file.
    Named(String),
    Text(Text),
}

impl Payload {
    /// The kernel of the guest tests, which is also its own first module.
    pub(crate) fn is_guest_tests(&self) -> bool {
        matches!(self, Self::Named(name) if name == "guest-tests")
    }
}

/// A module that holds just this text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Raw>,
}

/// A scenario as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    name: String,
    description: String,
    #[serde(default)]
    covers: Vec<String>,
    #[serde(default)]
    tests: Vec<String>,
    timeout: Option<u32>,
    #[serde(default)]
    machine: Setup,
    script: Option<Spanned<String>>,
    /// The script is in a file of its own, which several scenarios may share.
    script_file: Option<PathBuf>,
}

/// All scenarios of the TOML files in `folder`, by file and place in it.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<Scenario>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut scenarios = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        scenarios.extend(parse(&text, &file)?);
    }
    ensure_unique(&scenarios)?;
    Ok(scenarios)
}

/// The scenarios of one file.
fn parse(text: &str, file: &Path) -> Result<Vec<Scenario>> {
    let parsed: File = toml::from_str(text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    parsed.scenario.into_iter().map(|raw| check(raw, text, file)).collect()
}

/// Checks what serde could not: names and the script. `text` is all of `file`.
pub(crate) fn check(raw: Raw, text: &str, file: &Path) -> Result<Scenario> {
    let valid = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    for name in raw.tests.iter().chain([&raw.name]) {
        ensure!(valid(name), "{}: `{name}` is no name: lower-case letters, digits, dashes", file.display());
    }
    let script = script(&raw, text, file)?;
    ensure!(
        raw.machine.store.is_none() || raw.machine.debian.is_none(),
        "{}: `{}` has either a store or a Debian guest, which brings its own",
        file.display(),
        raw.name
    );
    Ok(Scenario {
        name: raw.name,
        description: raw.description,
        covers: raw.covers,
        tests: raw.tests,
        timeout: raw.timeout.map(|seconds| Duration::from_secs(seconds.into())),
        machine: raw.machine,
        script,
        file: file.to_owned(),
    })
}

/// The script, in the scenario or beside it.
fn script(raw: &Raw, text: &str, file: &Path) -> Result<Script> {
    match (&raw.script, &raw.script_file) {
        (Some(script), None) => Script::parse(script.get_ref(), first_line(text, &script.span()))
            .map_err(|error| anyhow!("{}: script of `{}`, {error}", file.display(), raw.name)),
        (None, Some(script)) => read_script(&file.parent().unwrap_or(Path::new(".")).join(script)),
        _ => bail!("{}: `{}` needs either script or script_file", file.display(), raw.name),
    }
}

/// Reads and checks a script.
pub(crate) fn read_script(path: &Path) -> Result<Script> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Script::parse(&text, 1).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// Line of the file on which the text of the string at `span` begins. A newline right behind the opening
/// quotes of a multi-line string is not part of it (TOML specification, "String").
fn first_line(file: &str, span: &Range<usize>) -> usize {
    let before = file.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
    let string = file.get(span.clone()).unwrap_or_default();
    let body = string.strip_prefix("'''").or_else(|| string.strip_prefix("\"\"\""));
    let trimmed = body.is_some_and(|body| body.starts_with('\n') || body.starts_with("\r\n"));
    before + usize::from(trimmed)
}

fn ensure_unique(scenarios: &[Scenario]) -> Result<()> {
    let mut files = BTreeMap::new();
    for Scenario { name, tests, file, .. } in scenarios {
        for name in tests.iter().chain([name]) {
            let earlier = files.insert(name, file);
            ensure!(
                earlier.is_none(),
                "two tests are named `{name}`: in {} and {}",
                file.display(),
                earlier.unwrap_or(file).display()
            );
        }
    }
    Ok(())
}

fn mebibytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a size such as 512 or \"1G\"")]
    enum Size {
        Number(u32),
        Text(String),
    }
    let text = match Size::deserialize(deserializer)? {
        Size::Number(number) => number.to_string(),
        Size::Text(text) => text,
    };
    parse_mebibytes(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
[[scenario]]
name = "no-dom0"
description = "A boot without modules halts."
covers = ["BOOT-1"]
timeout = 20
script = '''
expect /No Dom0/
expect-end halt
'''
[scenario.machine]
cpus = 4
memory = "1G"
cpu_model = "core2_penryn_t9600"
platform = "bochs"
debian = "cloud"
front_guest = true
nic = "e1000"
cmdline = "loglvl=all"
dom0 = { text = "garbage" }

[[scenario]]
name = "second"
description = "Defaults."
script = "expect /x/"
"#;

    fn parse_text(text: &str) -> Result<Vec<Scenario>> {
        parse(text, Path::new("t.toml"))
    }

    fn error(text: &str) -> String {
        parse_text(text).unwrap_err().to_string()
    }

    #[test]
    fn every_key() {
        let scenarios = parse_text(FULL).unwrap();
        let [first, second] = scenarios.as_slice() else { panic!("two scenarios") };
        assert_eq!((first.name.as_str(), first.timeout), ("no-dom0", Some(Duration::from_secs(20))));
        assert_eq!((first.machine.cpus, first.machine.memory), (4, 1024));
        assert_eq!((first.machine.debian, first.machine.nic), (Some(Debian::Cloud), Nic::E1000));
        assert_eq!(first.machine.dom0, Payload::Text(Text { text: "garbage".into() }));
        assert!(first.machine.front_guest);
        assert_eq!(first.script.steps.len(), 2);
        assert_eq!(second.machine, Setup::default());
    }

    #[test]
    fn script_lines_are_those_of_the_file() {
        let scenarios = parse_text(FULL).unwrap();
        assert_eq!(scenarios[0].script.steps[0].line, 8);
        assert_eq!(scenarios[1].script.steps[0].line, 25);
        let wrong = FULL.replace("expect-end halt", "expect-end stop");
        assert!(error(&wrong).starts_with("t.toml: script of `no-dom0`, line 9, column 12: expected"));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_rejected() {
        let scenario = |extra: &str| format!("[[scenario]]\nname='a'\ndescription='b'\nscript=''\n{extra}");
        assert!(parse_text(&scenario("")).is_ok());
        assert!(error(&scenario("colour = 1")).contains("unknown field `colour`"));
        assert!(error(&scenario("[scenario.machine]\nmips = 1")).contains("unknown field `mips`"));
        assert!(error(&scenario("[scenario.machine]\nmemory = '1X'")).contains("expected a size"));
        assert!(error(&scenario("[scenario.machine]\nmemory = true")).contains("expected a size"));
        assert!(error(&scenario("[scenario.machine]\nfirmware = 'efi'")).contains("unknown variant `efi`"));
        assert!(error(&scenario("[scenario.machine]\ndom0 = 3")).contains("expected \"default\""));
        assert!(error(&scenario("[scenario.machine]\ndebian = 'tiny'")).contains("unknown variant `tiny`"));
        let both = "[scenario.machine]\ndebian = 'full'\nstore = 'default'";
        assert!(error(&scenario(both)).contains("either a store or a Debian guest"));
        assert!(error("[[scenario]]\nname='A b'\ndescription=''\nscript=''").contains("`A b` is no name"));
        assert!(error("[[scenario]]\nname='a'").contains("missing field"));
    }

    #[test]
    fn a_script_may_be_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s.exp"), "expect /x/\nfoo").unwrap();
        let scenario = |keys: &str| {
            let text = format!("[[scenario]]\nname='a'\ndescription='b'\n{keys}");
            parse(&text, &folder.path().join("t.toml")).map_err(|error| format!("{error:#}"))
        };
        let error = scenario("script_file='s.exp'").unwrap_err();
        assert!(error.contains("s.exp: line 2, column 1: expected one of"), "{error}");
        fs::write(folder.path().join("s.exp"), "expect /x/\n").unwrap();
        assert_eq!(scenario("script_file='s.exp'").unwrap()[0].script.steps.len(), 1);
        assert!(scenario("script_file='none.exp'").unwrap_err().contains("cannot read"));
        assert!(scenario("script_file='s.exp'\nscript=''").unwrap_err().contains("either script or"));
        assert!(scenario("").unwrap_err().contains("either script or"));
    }

    #[test]
    fn names_are_unique() {
        let twice = FULL.replace("second", "no-dom0");
        assert!(
            ensure_unique(&parse_text(&twice).unwrap()).unwrap_err().to_string().contains("named `no-dom0`")
        );
        assert!(ensure_unique(&parse_text(FULL).unwrap()).is_ok());
    }
}
