//! `bench`: figures that boots print, against the budgets in `tests/bench.toml`.
//!
//! The file has `[[scenario]]` tables as in `tests/boot`, and `[[row]]` tables:
//!
//! | key | |
//! |---|---|
//! | `scenario`, `name`, `unit` | |
//! | `bench` | name of the guest's line `BENCH name: minimum median maximum` |
//! | `pattern` | instead of `bench`: a regular expression with one group, the figure |
//! | `must` | budget: the minimum may not be above it (optional) |
//! | `binding` | whether the command fails above it; true if not given |
//! | `aim` | what we want to reach (optional) |
//! | `xen`, `kvm` | what they need for the same (optional) |

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, ensure};
use comfy_table::{CellAlignment, Table, presets};
use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use crate::boot::{self, Options};
use crate::build::{self, Built};
use crate::cli::{BenchArgs, Platform};
use crate::run::indent;
use crate::scenario::{self, Scenario};
use crate::ui;
use crate::workspace;

/// `tests/bench.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<scenario::Raw>,
    row: Vec<RawRow>,
}

/// A row as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    scenario: String,
    name: String,
    unit: String,
    bench: Option<String>,
    pattern: Option<String>,
    must: Option<u64>,
    #[serde(default = "yes")]
    binding: bool,
    aim: Option<u64>,
    xen: Option<u64>,
    kvm: Option<u64>,
}

/// What a row says whatever is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Budget {
    name: String,
    unit: String,
    must: Option<u64>,
    binding: bool,
    aim: Option<u64>,
    xen: Option<u64>,
    kvm: Option<u64>,
}

fn yes() -> bool {
    true
}

#[derive(Debug)]
struct Row {
    scenario: String,
    pattern: Regex,
    budget: Budget,
}

#[derive(Debug)]
struct Plan {
    scenarios: Vec<Scenario>,
    rows: Vec<Row>,
}

/// A row and what was measured.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Figure {
    #[serde(flatten)]
    budget: Budget,
    /// `None` where the console showed no figure.
    #[serde(flatten)]
    measured: Option<Measured>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Measured {
    minimum: u64,
    /// Of one figure, the same.
    median: u64,
}

/// How a figure stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Missing,
    /// Above a budget that is binding.
    Failed,
    /// Above one that is not.
    OverMust,
    WithinMust,
    WithinAim,
    NoBudget,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "NO FIGURE",
            Self::Failed => "OVER MUST",
            Self::OverMust => "over must",
            Self::WithinMust => "ok",
            Self::WithinAim => "aim reached",
            Self::NoBudget => "",
        })
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let file = workspace::root().join("tests/bench.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan = Plan::parse(&text, &file)?;
    let built = build::build_or(args.hypervisor.as_deref(), args.profile)?;
    let machines: Vec<_> = plan.scenarios.iter().map(|scenario| &scenario.machine).collect();
    let built = built.with_guests(&machines, args.profile)?;
    let mut figures = Vec::new();
    for scenario in &plan.scenarios {
        let console = measure(scenario, &built)?;
        complaints(&console).for_each(|line| println!("{line}"));
        figures.extend(plan.figures(&scenario.name, &console));
    }
    println!("{}", table(&figures));
    if let Some(path) = &args.save {
        let json = serde_json::to_string_pretty(&figures)?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(verdict(&figures))
}

/// Boots `scenario`; what its console showed. A boot that fails is reported: figures that came before are
/// good, the others are missing.
fn measure(scenario: &Scenario, built: &Built) -> Result<String> {
    let _progress = ui::spinner(&format!("measuring {}", scenario.name));
    let emulator = boot::emulator(scenario, Platform::Auto)?;
    let booted = boot::boot(scenario, Options { built, emulator, timeout: None, log: None })?;
    if let Err(failure) = booted.result {
        let log = indent(&booted.log);
        println!("{}: {failure}\nEnd of the emulator's log:\n{log}", scenario.name);
    }
    Ok(booted.console)
}

/// Names what is over its budget; success where nothing that is binding is.
fn verdict(figures: &[Figure]) -> ExitCode {
    let of = |verdict| -> Vec<&str> {
        let those = figures.iter().filter(|figure| figure.verdict() == verdict);
        those.map(|figure| figure.budget.name.as_str()).collect()
    };
    let list = |what: &str, names: &[&str]| {
        if !names.is_empty() {
            println!("{what}: {}", names.join(", "));
        }
    };
    let (missing, failed) = (of(Verdict::Missing), of(Verdict::Failed));
    list("over must, not binding yet", &of(Verdict::OverMust));
    list("no figure", &missing);
    list("over budget", &failed);
    if missing.is_empty() && failed.is_empty() {
        println!("all that is binding is within budget");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "figure", "unit", "minimum", "median", "must", "aim", "verdict", "Xen", "KVM", "of Xen's",
    ]);
    table.add_rows(figures.iter().map(Figure::cells));
    const WORDS: [usize; 3] = [0, 1, 6];
    for (index, column) in table.column_iter_mut().enumerate() {
        if !WORDS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

impl Figure {
    fn verdict(&self) -> Verdict {
        let Some(Measured { minimum, .. }) = self.measured else { return Verdict::Missing };
        let Budget { must, aim, binding, .. } = self.budget;
        match (must, aim) {
            (Some(must), _) if minimum > must && binding => Verdict::Failed,
            (Some(must), _) if minimum > must => Verdict::OverMust,
            (_, Some(aim)) if minimum <= aim => Verdict::WithinAim,
            (Some(_), _) => Verdict::WithinMust,
            (None, _) => Verdict::NoBudget,
        }
    }

    fn cells(&self) -> [String; 10] {
        let Budget { name, unit, must, aim, xen, kvm, .. } = &self.budget;
        let number = |value: Option<u64>| value.map(grouped).unwrap_or_default();
        let median = self.measured.map(|measured| measured.median);
        [
            name.clone(),
            unit.clone(),
            number(self.measured.map(|measured| measured.minimum)),
            number(median),
            number(*must),
            number(*aim),
            self.verdict().to_string(),
            number(*xen),
            number(*kvm),
            median.zip(*xen).map(|(ours, xen)| share(ours, xen)).unwrap_or_default(),
        ]
    }
}

/// `value` in per cent of `whole`.
fn share(value: u64, whole: u64) -> String {
    match (u128::from(value) * 1000).checked_div(whole.into()) {
        Some(mille) => format!("{}.{} %", mille / 10, mille % 10),
        None => String::new(),
    }
}

/// Digits in groups of three.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

impl Plan {
    fn parse(text: &str, file: &Path) -> Result<Self> {
        let raw: File = toml::from_str(text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let scenarios =
            raw.scenario.into_iter().map(|s| scenario::check(s, text, file)).collect::<Result<Vec<_>>>()?;
        let rows = raw.row.into_iter().map(|row| {
            let name = row.name.clone();
            Row::check(row, &scenarios).with_context(|| format!("{}: row `{name}`", file.display()))
        });
        Ok(Self { rows: rows.collect::<Result<_>>()?, scenarios })
    }

    /// The figures on the console of `scenario`.
    fn figures(&self, scenario: &str, console: &str) -> Vec<Figure> {
        self.rows.iter().filter(|row| row.scenario == scenario).map(|row| row.figure(console)).collect()
    }
}

impl Row {
    fn check(raw: RawRow, scenarios: &[Scenario]) -> Result<Self> {
        let RawRow { scenario, name, unit, bench, pattern, must, binding, aim, xen, kvm } = raw;
        ensure!(scenarios.iter().any(|s| s.name == scenario), "no scenario `{scenario}` in the file");
        let pattern = match (bench, pattern) {
            (Some(bench), None) => format!(r"BENCH {}: (\d+) (\d+) \d+$", regex::escape(&bench)),
            (None, Some(pattern)) => pattern,
            _ => return Err(anyhow!("expected `bench` or `pattern`")),
        };
        let pattern = Regex::new(&format!("(?m){pattern}"))?;
        // Group 0 is the whole match.
        ensure!(pattern.captures_len() >= 2, "expected one group in `{pattern}`");
        Ok(Self { scenario, pattern, budget: Budget { name, unit, must, binding, aim, xen, kvm } })
    }

    fn figure(&self, console: &str) -> Figure {
        let measured = self.pattern.captures(console).and_then(|groups| measured(&groups));
        Figure { budget: self.budget.clone(), measured }
    }
}

/// What the first group holds, and the second one if there is one.
fn measured(groups: &Captures<'_>) -> Option<Measured> {
    let number = |index: usize| groups.get(index)?.as_str().parse().ok();
    let minimum = number(1)?;
    Some(Measured { minimum, median: if groups.len() > 2 { number(2)? } else { minimum } })
}

/// The lines in which a guest says why it could not measure.
fn complaints(console: &str) -> impl Iterator<Item = &str> {
    let reason = |line: &&str| {
        line.split_once("BENCH ")
            .and_then(|(_, rest)| rest.split_once(": "))
            .is_some_and(|(_, result)| result.starts_with(|first: char| first.is_ascii_uppercase()))
    };
    console.lines().filter(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[scenario]]
name = "boot"
description = "d"
script = "expect /x/"
[[row]]
scenario = "boot"
name = "VMX root"
unit = "ticks"
pattern = '^All \d+ CPUs: (\d+) ticks$'
must = 200
aim = 100
xen = 1000
[[row]]
scenario = "boot"
name = "CPUID"
unit = "ticks"
bench = "cpuid"
must = 200
binding = false
"#;

    fn parse(text: &str) -> Result<Plan> {
        Plan::parse(text, Path::new("b.toml"))
    }

    /// How both rows stand, with this console.
    fn verdicts(console: &str) -> Vec<Verdict> {
        let figures = parse(TEXT).unwrap().figures("boot", console);
        figures.iter().map(Figure::verdict).collect()
    }

    #[test]
    fn figure_from_the_console() {
        let plan = parse(TEXT).unwrap();
        let figures = plan.figures("boot", "a\nAll 4 CPUs: 123 ticks\n(d0) BENCH cpuid: 90 91 4000\nb");
        assert_eq!(figures[0].measured, Some(Measured { minimum: 123, median: 123 }));
        assert_eq!(figures[0].cells()[2..], ["123", "123", "200", "100", "ok", "1,000", "", "12.3 %"]);
        assert_eq!(figures[1].measured, Some(Measured { minimum: 90, median: 91 }));
        assert!(plan.figures("other", "nothing").is_empty());
    }

    #[test]
    fn only_what_is_binding_fails() {
        let console = |all, cpuid| format!("All 4 CPUs: {all} ticks\nBENCH cpuid: {cpuid} 300 300");
        assert_eq!(verdicts(&console(100, 200)), [Verdict::WithinAim, Verdict::WithinMust]);
        assert_eq!(verdicts(&console(101, 201)), [Verdict::WithinMust, Verdict::OverMust]);
        assert_eq!(verdicts(&console(201, 201)), [Verdict::Failed, Verdict::OverMust]);
        assert_eq!(verdicts("BENCH cpuid: FAILURE why"), [Verdict::Missing, Verdict::Missing]);
        let exit = |text: &str| verdict(&parse(TEXT).unwrap().figures("boot", text));
        assert_eq!(exit(&console(200, 201)), ExitCode::SUCCESS);
        assert_eq!(exit(&console(201, 200)), ExitCode::FAILURE);
        assert_eq!(exit("nothing"), ExitCode::FAILURE);
    }

    #[test]
    fn reasons_are_shown() {
        let console = "(d0) BENCH a: 1 2 3\n(d0) BENCH b: FAILURE why\n(d0) BENCH done";
        assert_eq!(complaints(console).collect::<Vec<_>>(), ["(d0) BENCH b: FAILURE why"]);
    }

    #[test]
    fn mistakes_in_the_file() {
        let error = |from: &str, to: &str| format!("{:#}", parse(&TEXT.replace(from, to)).unwrap_err());
        assert!(error("(\\d+) ticks", "\\d+ ticks").contains("`VMX root`: expected one group"));
        assert!(error("scenario = \"boot\"", "scenario = \"boat\"").contains("no scenario `boat`"));
        assert!(error("bench = \"cpuid\"\n", "").contains("`CPUID`: expected `bench` or `pattern`"));
        assert!(error("unit =", "units =").contains("b.toml"));
        assert!(error("binding", "biding").contains("unknown field"));
    }

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(share(1, 0), "");
    }
}
