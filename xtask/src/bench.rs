//! `bench`: figures that boots print, against the budgets in `tests/bench.toml`.
//!
//! The file has `[[scenario]]` tables as in `tests/boot`, and `[[row]]` tables: `scenario`, `name`, `unit`,
//! `pattern` (one group, the figure), `budget`, and `xen`, what Xen needs for the same.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, ensure};
use comfy_table::{CellAlignment, Table, presets};
use regex::Regex;
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
    row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    scenario: String,
    name: String,
    unit: String,
    #[serde(deserialize_with = "pattern")]
    pattern: Regex,
    budget: u64,
    xen: Option<u64>,
}

#[derive(Debug)]
struct Plan {
    scenarios: Vec<Scenario>,
    rows: Vec<Row>,
}

/// A row and what was measured.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Figure {
    name: String,
    unit: String,
    value: u64,
    budget: u64,
    xen: Option<u64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let file = workspace::root().join("tests/bench.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let plan = Plan::parse(&text, &file)?;
    let mut built = build::build_or(args.hypervisor.as_deref(), args.profile)?;
    if plan.scenarios.iter().any(|scenario| scenario.machine.dom0.is_guest_tests()) {
        built = built.with_guest_tests(args.profile)?;
    }
    let mut figures = Vec::new();
    for scenario in &plan.scenarios {
        let console = measure(scenario, &built)?;
        figures.extend(plan.figures(&scenario.name, &console)?);
    }
    println!("{}", table(&figures));
    if let Some(path) = &args.save {
        let json = serde_json::to_string_pretty(&figures)?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(verdict(&figures))
}

/// Boots `scenario`; what its console showed.
fn measure(scenario: &Scenario, built: &Built) -> Result<String> {
    let _progress = ui::spinner(&format!("measuring {}", scenario.name));
    let emulator = boot::emulator(scenario, Platform::Auto)?;
    let booted = boot::boot(scenario, Options { built, emulator, timeout: None, log: None })?;
    booted.result.map_err(|failure| {
        let log = indent(&booted.log);
        anyhow!("{}: {failure}\nEnd of the emulator's log:\n{log}", scenario.file.display())
    })?;
    Ok(booted.console)
}

fn verdict(figures: &[Figure]) -> ExitCode {
    let over: Vec<_> = figures.iter().filter(|f| f.value > f.budget).map(|f| f.name.as_str()).collect();
    if over.is_empty() {
        println!("all within budget");
        return ExitCode::SUCCESS;
    }
    println!("over budget: {}", over.join(", "));
    ExitCode::FAILURE
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["figure", "unit", "value", "budget", "Xen", "of Xen's"]);
    table.add_rows(figures.iter().map(Figure::cells));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl Figure {
    fn cells(&self) -> [String; 6] {
        [
            self.name.clone(),
            self.unit.clone(),
            grouped(self.value),
            grouped(self.budget),
            self.xen.map(grouped).unwrap_or_default(),
            self.xen.map(|xen| share(self.value, xen)).unwrap_or_default(),
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
        for row in &raw.row {
            ensure!(
                scenarios.iter().any(|s| s.name == row.scenario),
                "{}: row `{}` names no scenario of the file",
                file.display(),
                row.name
            );
        }
        Ok(Self { scenarios, rows: raw.row })
    }

    /// The figures on the console of `scenario`.
    fn figures(&self, scenario: &str, console: &str) -> Result<Vec<Figure>> {
        self.rows.iter().filter(|row| row.scenario == scenario).map(|row| row.figure(console)).collect()
    }
}

impl Row {
    fn figure(&self, console: &str) -> Result<Figure> {
        let value = self.pattern.captures(console).and_then(|groups| groups.get(1)?.as_str().parse().ok());
        let value = value.with_context(|| format!("`{}` found no figure for {}", self.pattern, self.name))?;
        let (name, unit) = (self.name.clone(), self.unit.clone());
        Ok(Figure { name, unit, value, budget: self.budget, xen: self.xen })
    }
}

fn pattern<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    let regex = Regex::new(&format!("(?m){text}")).map_err(serde::de::Error::custom)?;
    // Group 0 is the whole match.
    if regex.captures_len() == 2 { Ok(regex) } else { Err(serde::de::Error::custom("expected one group")) }
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
budget = 100
xen = 1000
"#;

    fn parse(text: &str) -> Result<Plan> {
        Plan::parse(text, Path::new("b.toml"))
    }

    #[test]
    fn figure_from_the_console() {
        let plan = parse(TEXT).unwrap();
        let figures = plan.figures("boot", "a\nAll 4 CPUs: 123 ticks\nb").unwrap();
        assert_eq!((figures[0].value, figures[0].xen), (123, Some(1000)));
        assert_eq!(figures[0].cells()[2..], ["123", "100", "1,000", "12.3 %"]);
        assert!(plan.figures("boot", "nothing").unwrap_err().to_string().contains("VMX root"));
        assert!(plan.figures("other", "nothing").unwrap().is_empty());
    }

    #[test]
    fn over_budget_is_a_failure() {
        let figure = |value| Figure { name: "n".into(), unit: "u".into(), value, budget: 10, xen: None };
        assert_eq!(verdict(&[figure(10)]), ExitCode::SUCCESS);
        assert_eq!(verdict(&[figure(10), figure(11)]), ExitCode::FAILURE);
    }

    #[test]
    fn mistakes_in_the_file() {
        let error = |from: &str, to: &str| parse(&TEXT.replace(from, to)).unwrap_err().to_string();
        assert!(error("(\\d+) ticks", "\\d+ ticks").contains("expected one group"));
        assert!(error("scenario = \"boot\"", "scenario = \"boat\"").contains("`VMX root` names no scenario"));
        assert!(error("unit =", "units =").contains("unknown field `units`"));
    }

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(share(1, 0), "");
    }
}
