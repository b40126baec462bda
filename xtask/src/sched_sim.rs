//! `cargo xtask sched-sim`: scenarios in, tables and a picture out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result, ensure};
use sched_sim::scenario::Scenario;
use sched_sim::simulation::simulate;
use sched_sim::{picture, table};

use crate::cli::SchedSimArgs;
use crate::{process, sched_scale, ui, workspace};

pub(crate) fn run(args: &SchedSimArgs) -> Result<ExitCode> {
    if args.scale {
        return sched_scale::run();
    }
    let files = if args.files.is_empty() { all_scenarios()? } else { args.files.clone() };
    ensure!(args.svg.is_none() || files.len() == 1, "--svg takes one scenario: name its file");
    let mut good = true;
    for file in &files {
        good &= run_one(file, args)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all_scenarios() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("tests/sched");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// Whether nobody was too far from the ideal, and no work was lost.
fn run_one(file: &Path, args: &SchedSimArgs) -> Result<bool> {
    let mut scenario = Scenario::read(file)?;
    if let Some(seconds) = args.seconds {
        scenario.length = u64::try_from(seconds.as_nanos()).context("--seconds: too long")?;
    }
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.check_times().with_context(|| file.display().to_string())?;
    let progress = ui::Progress::new(scenario.length, &file.display().to_string());
    let outcome = simulate(&scenario, &mut |now| {
        progress.reach(now);
        !process::interrupted()
    });
    drop(progress);
    process::check_interrupted()?;
    println!("{}: {}", file.display(), scenario.description);
    let rows = table::rows(&scenario, &outcome);
    println!("{}", table::render(&rows, &scenario, &outcome));
    if let Some(svg) = &args.svg {
        let picture = picture::draw(&scenario, &outcome)?;
        std::fs::write(svg, picture).with_context(|| format!("cannot write {}", svg.display()))?;
    }
    let near = args.within.is_none_or(|within| rows.iter().all(|row| (row.used - row.ideal).abs() <= within));
    Ok(near && outcome.lost_work.is_none())
}
