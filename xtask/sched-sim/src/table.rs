//! What was measured beside the ideal, as a table: a row for each vcpu, or for each domain where there are many.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use hv_core::pcpu_set::PcpuSet;

use crate::expected::entitlements;
use crate::measure::{Measured, Outcome};
use crate::scenario::{Domain, Scenario};

/// Most vcpus that have a row each.
const MOST_ROWS: usize = 48;
const COLUMNS: [&str; 13] = [
    "vcpu",
    "weight",
    "cap",
    "cpus",
    "used %",
    "ideal %",
    "diff",
    "worst wait",
    "wake median",
    "p99",
    "max",
    "moves",
    "stays",
];

/// One row of figures.
#[derive(Clone, Debug)]
pub struct Row {
    /// `DOMAIN/VCPU`, or the domain's name.
    pub name: String,
    /// Use in percent of one pcpu.
    pub used: f64,
    /// Fair use in percent of one pcpu.
    pub ideal: f64,
    weight: u16,
    cap: u16,
    pcpus: String,
    measured: Measured,
}

/// The rows of `outcome`.
pub fn rows(scenario: &Scenario, outcome: &Outcome) -> Vec<Row> {
    let ideal = entitlements(scenario);
    let measured = outcome.measured.max(1) as f64;
    let single = outcome.vcpus.len() <= MOST_ROWS;
    let mut rows: Vec<Row> = Vec::new();
    let mut vcpus = outcome.vcpus.iter().zip(&ideal);
    for domain in &scenario.domains {
        let own =
            domain.vcpus.iter().zip(vcpus.by_ref()).enumerate().map(|(number, (vcpu, (found, ideal)))| Row {
                name: format!("{}/{number}", domain.name),
                used: found.ran as f64 / measured * 100.0,
                ideal: ideal * 1e9 / measured * 100.0,
                weight: domain.weight,
                cap: domain.cap,
                pcpus: list(&vcpu.hard, scenario.pcpus),
                measured: found.clone(),
            });
        let own: Vec<Row> = own.collect();
        if single { rows.extend(own) } else { rows.extend(together(domain, own)) }
    }
    rows
}

/// The rows of one domain's vcpus as one.
fn together(domain: &Domain, rows: Vec<Row>) -> Option<Row> {
    let all = rows.into_iter().reduce(|mut all, row| {
        all.used += row.used;
        all.ideal += row.ideal;
        if all.pcpus != row.pcpus {
            all.pcpus = "(several)".to_owned();
        }
        let measured = &mut all.measured;
        measured.worst_wait = measured.worst_wait.max(row.measured.worst_wait);
        measured.latencies.extend(row.measured.latencies);
        measured.migrations += row.measured.migrations;
        measured.stays += row.measured.stays;
        all
    });
    all.map(|mut all| {
        all.name.clone_from(&domain.name);
        all.measured.latencies.sort_unstable();
        all
    })
}

/// The table of `rows`, and what is to be said about the whole.
pub fn render(rows: &[Row], scenario: &Scenario, outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let latency = |of| row.measured.latency(of).map_or("-".to_owned(), milliseconds);
        table.add_row([
            row.name.clone(),
            row.weight.to_string(),
            if row.cap == 0 { "-".to_owned() } else { row.cap.to_string() },
            row.pcpus.clone(),
            format!("{:.2}", row.used),
            format!("{:.2}", row.ideal),
            format!("{:+.2}", row.used - row.ideal),
            milliseconds(row.measured.worst_wait),
            latency(0.5),
            latency(0.99),
            latency(1.0),
            row.measured.migrations.to_string(),
            row.measured.stays.to_string(),
        ]);
    }
    let mut text = format!("{table}\n");
    let furthest = rows.iter().max_by(|a, b| (a.used - a.ideal).abs().total_cmp(&(b.used - b.ideal).abs()));
    if let Some(row) = furthest {
        let _ = writeln!(
            text,
            "furthest from the ideal: {} by {:+.2} % of a pcpu",
            row.name,
            row.used - row.ideal
        );
    }
    let _ = match outcome.lost_work {
        None if scenario.migration_delay > 0 => Ok(()),
        None => writeln!(text, "no pcpu idled while a vcpu waited that may run there"),
        Some(lost) => {
            let at = lost.at as f64 / 1e9;
            writeln!(text, "pcpu {} idled at {at:.6} s while vcpu {} waited", lost.pcpu, lost.vcpu)
        }
    };
    text
}

fn milliseconds(ns: u64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

/// `0-2,5`, or `all`.
fn list(set: &PcpuSet, pcpus: usize) -> String {
    let numbers: Vec<usize> = set.iter().map(|pcpu| pcpu.index()).filter(|&number| number < pcpus).collect();
    if numbers.len() == pcpus {
        return "all".to_owned();
    }
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(usize::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Behaviour, MILLISECOND};
    use crate::simulation::simulate;

    #[test]
    fn rows_are_vcpus_or_domains() {
        let scenario = Scenario::new(2).with(256, 2).with(256, 1).on(&[1]);
        let outcome = simulate(&scenario, &mut |_| true);
        let found = rows(&scenario, &outcome);
        let names: Vec<&str> = found.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["d1/0", "d1/1", "d2/0"]);
        let text = render(&found, &scenario, &outcome);
        assert!(text.contains("d2/0") && text.contains("no pcpu idled"), "{text}");
        let many = Scenario { length: 2_000 * MILLISECOND, ..Scenario::new(2).with(256, 50) };
        let many = Scenario { seed: 2, ..many }.with(256, 1).doing(Behaviour::Idle);
        let outcome = simulate(&many, &mut |_| true);
        let found = rows(&many, &outcome);
        assert_eq!(found.len(), 2);
        assert!((found[0].used - 200.0).abs() < 0.01, "{}", found[0].used);
    }

    #[test]
    fn lists() {
        let set = |numbers: &[usize]| {
            numbers.iter().filter_map(|&number| hv_core::id::PcpuId::new(number)).collect()
        };
        assert_eq!(list(&set(&[0, 1, 2, 5]), 8), "0-2,5");
        assert_eq!(list(&set(&[1, 3]), 4), "1,3");
        assert_eq!(list(&PcpuSet::ALL, 4), "all");
    }
}
