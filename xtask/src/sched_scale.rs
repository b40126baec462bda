//! `cargo xtask sched-sim --scale`: what the scheduler's operations cost, in instructions, with ever more vcpus.
//!
//! The example `scale` of `sched-sim` does them, callgrind counts inside of its function `counted`: the
//! same figures on a busy host and on an idle one. [`Growth`] says whether they grow too fast.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};

use crate::setup::{self, Need};
use crate::{build, process, ui};

const VCPUS: [usize; 4] = [10, 100, 1_000, 10_000];
const PCPUS: [usize; 5] = [1, 4, 16, 64, 256];
/// Rounds that count.
const ROUNDS: usize = 1000;
/// Fewer vcpus for each pcpu would leave pcpus idle.
const LEAST_VCPUS: usize = 2;
/// What is compared: with fewer vcpus, what does not grow is most of the cost.
const COMPARED_FROM: usize = 100;
/// By how much a cost may grow from 100 to 10,000 vcpus. Twice the logarithm is a factor of 2.
const MOST_GROWTH: f64 = 2.5;

/// An operation, as the example and the user know it.
struct Operation {
    name: &'static str,
    what: &'static str,
}

const OPERATIONS: [Operation; 5] = [
    Operation { name: "wake", what: "ready of a vcpu that has slept, among busy ones" },
    Operation { name: "sleep", what: "stop, sleep" },
    Operation { name: "turn", what: "tick at the end of a turn, stop, ready" },
    Operation { name: "pick", what: "pick the next vcpu" },
    Operation { name: "idle", what: "pick on a pcpu where no vcpu may run" },
];

/// Where vcpus may run.
#[derive(Clone, Copy)]
struct Pins {
    what: &'static str,
    /// Pcpus in a group, 0 for no groups.
    group: usize,
}

const PINS: [Pins; 2] = [
    Pins { what: "vcpus not pinned", group: 0 },
    Pins { what: "vcpus pinned to groups of 4 pcpus", group: 4 },
];

/// A cost that grows too fast.
#[derive(Debug, PartialEq)]
struct Growth {
    pcpus: usize,
    from: (usize, u64),
    to: (usize, u64),
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((few, least), (many, most)) = (self.from, self.to);
        let pcpus = self.pcpus;
        write!(f, "{pcpus} pcpus: {least} instructions with {few} vcpus, {most} with {many}")
    }
}

/// Costs by vcpus and pcpus; `None` where there is nothing to count.
type Costs = [[Option<u64>; PCPUS.len()]; VCPUS.len()];

pub(crate) fn run() -> Result<ExitCode> {
    setup::ensure_all(&[Need::Valgrind])?;
    let example = build::example("sched-sim", "scale")?;
    let mut good = true;
    for pins in PINS {
        for operation in &OPERATIONS {
            let costs = measure(&example, operation, pins)?;
            println!("{}: {}; {}", operation.name, operation.what, pins.what);
            println!("{}\n", table(&costs));
            for growth in too_fast(&costs) {
                println!("{} grows by more than {MOST_GROWTH}: {growth}", operation.name);
                good = false;
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(example: &Path, operation: &Operation, pins: Pins) -> Result<Costs> {
    let title = format!("{}, {}", operation.name, pins.what);
    let progress = ui::Progress::new((VCPUS.len() * PCPUS.len()) as u64, &title);
    let mut costs = Costs::default();
    let mut done = 0;
    for (row, vcpus) in costs.iter_mut().zip(VCPUS) {
        for (cost, pcpus) in row.iter_mut().zip(PCPUS) {
            if makes_sense(operation, pins, vcpus, pcpus) {
                *cost = Some(count(example, operation, pins, vcpus, pcpus)?);
            }
            done += 1;
            progress.reach(done);
        }
    }
    Ok(costs)
}

/// Whether pcpus have work, there is a group, and one may be left out.
fn makes_sense(operation: &Operation, pins: Pins, vcpus: usize, pcpus: usize) -> bool {
    vcpus >= LEAST_VCPUS * pcpus && pcpus >= pins.group && (pcpus > 1 || operation.name != "idle")
}

/// Instructions of one operation.
fn count(example: &Path, operation: &Operation, pins: Pins, vcpus: usize, pcpus: usize) -> Result<u64> {
    let mut command = process::command("valgrind");
    command.args(["--tool=callgrind", "--toggle-collect=scale::counted", "--callgrind-out-file=/dev/null"]);
    command.arg("--log-fd=1").arg(example).arg(operation.name);
    command.args([vcpus, pcpus, pins.group, ROUNDS].map(|number| number.to_string()));
    let output = process::run_quietly(&mut command)?;
    let (instructions, times) = (number(&output, "Collected :")?, number(&output, "performed")?);
    let name = operation.name;
    ensure!(times > 0, "{name} was never done with {vcpus} vcpus on {pcpus} pcpus");
    ensure!(instructions > 0, "callgrind found no function `scale::counted` in {}", example.display());
    Ok(instructions / times)
}

/// The number behind `label`.
fn number(output: &str, label: &str) -> Result<u64> {
    let behind = output.lines().find_map(|line| line.split_once(label)).map(|(_, behind)| behind.trim());
    let number = behind.and_then(|text| text.parse().ok());
    number.with_context(|| format!("expected a number behind `{label}` in:\n{}", output.trim()))
}

fn table(costs: &Costs) -> Table {
    let mut table = Table::new();
    let header = PCPUS.map(|pcpus| if pcpus == 1 { "1 pcpu".to_owned() } else { format!("{pcpus} pcpus") });
    table.load_style(presets::NOTHING).set_header(["vcpus".to_owned()].into_iter().chain(header));
    for (vcpus, row) in VCPUS.iter().zip(costs) {
        let cells = row.map(|cost| cost.map_or("-".to_owned(), |cost| cost.to_string()));
        table.add_row([vcpus.to_string()].into_iter().chain(cells));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Numbers of pcpus with which the cost grows by more than the logarithm of the vcpus.
fn too_fast(costs: &Costs) -> Vec<Growth> {
    let columns = PCPUS.into_iter().enumerate();
    let growths = columns.filter_map(|(column, pcpus)| {
        let rows = VCPUS.into_iter().zip(costs).filter(|&(vcpus, _)| vcpus >= COMPARED_FROM);
        let mut known = rows.filter_map(|(vcpus, row)| Some((vcpus, row[column]?)));
        let from = known.next()?;
        Some(Growth { pcpus, from, to: known.next_back()? })
    });
    growths.filter(|growth| growth.to.1 as f64 > growth.from.1 as f64 * MOST_GROWTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_their_labels() {
        let output = "==7== Callgrind\nperformed 250\n==7== Collected : 51000\n";
        assert_eq!(number(output, "performed").unwrap(), 250);
        assert_eq!(number(output, "Collected :").unwrap(), 51_000);
        let error = number(output, "Events :").unwrap_err().to_string();
        assert!(error.contains("Events :") && error.contains("performed 250"), "{error}");
    }

    #[test]
    fn logarithmic_costs_pass_and_linear_ones_do_not() {
        let costs = |cost: fn(usize) -> u64| VCPUS.map(|vcpus| PCPUS.map(|_| Some(cost(vcpus))));
        assert_eq!(too_fast(&costs(|vcpus| 500 + 20 * u64::from(vcpus.ilog2()))), []);
        assert_eq!(too_fast(&costs(|vcpus| 500 + 3 * vcpus as u64)).len(), PCPUS.len());
    }

    #[test]
    fn the_least_that_was_counted_is_compared() {
        let mut costs = Costs::default();
        (costs[2][4], costs[3][4]) = (Some(1000), Some(2501));
        (costs[0][1], costs[1][1], costs[3][1]) = (Some(1), Some(1000), Some(2500));
        assert_eq!(too_fast(&costs), [Growth { pcpus: 256, from: (1_000, 1000), to: (10_000, 2501) }]);
    }
}
