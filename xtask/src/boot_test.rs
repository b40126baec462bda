//! `test` and `guest-test`: runs boot scenarios, several at a time, and the tests of the host crates.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use crate::boot::{self, Options};
use crate::build::{self, Built};
use crate::cli::{GuestTestArgs, RunnerArgs, TestArgs};
use crate::guest_tests;
use crate::machine::Emulator;
use crate::process::{self, Group};
use crate::report::{self, Outcome, Totals, Verdict};
use crate::run::indent;
use crate::scenario::{self, Scenario};
use crate::setup::{self, Need};
use crate::ui::Bar;
use crate::workspace;

/// Boots at the same time, unless the user says otherwise: emulated processors are threads that wait little.
const MOST_JOBS: usize = 2;

pub(crate) fn run_all(args: &TestArgs) -> Result<ExitCode> {
    // Mistakes in scenarios show before anything is built.
    let mut scenarios = read_scenarios(&args.runner)?;
    if args.runner.scenarios.is_none() {
        scenarios.extend(guest_tests::scenarios()?);
    }
    let boot_only = args.boot || args.filter.is_some();
    let host = if boot_only { Totals::default() } else { host_tests()? };
    let boot = if args.host {
        Totals::default()
    } else {
        let all = scenarios.len();
        let chosen = filter(scenarios, args.filter.as_ref())?;
        let filtered = all - chosen.len();
        run_scenarios(chosen, filtered, None, &args.runner)?
    };
    Ok(conclude(host.plus(boot)))
}

pub(crate) fn run_named(args: &GuestTestArgs) -> Result<ExitCode> {
    let mut scenarios = read_scenarios(&args.runner)?;
    let declared = guest_tests::declared()?;
    if args.list {
        list(&scenarios, &declared);
        return Ok(ExitCode::SUCCESS);
    }
    for name in &args.names {
        ensure_known(name, &scenarios, &declared)?;
    }
    let all = scenarios.len();
    scenarios.retain(|s| args.names.iter().any(|name| *name == s.name || s.tests.contains(name)));
    let filtered = all - scenarios.len();
    let is_guest_test = |name: &&String| declared.iter().any(|test| test.is_named(name));
    let guest_tests: Vec<_> = args.names.iter().filter(is_guest_test).map(String::as_str).collect();
    if !guest_tests.is_empty() {
        scenarios.push(guest_tests::scenario(args.cpus, !args.no_apicv, &guest_tests)?);
    }
    run_scenarios(scenarios, filtered, Some(&args.names), &args.runner).map(conclude)
}

fn list(scenarios: &[Scenario], declared: &[guest_tests::Declared]) {
    println!("guest tests:");
    for test in declared {
        println!("{test}");
    }
    println!("boot scenarios:");
    for scenario in scenarios {
        println!("  {}: {}", scenario.name, about(scenario));
    }
}

fn read_scenarios(args: &RunnerArgs) -> Result<Vec<Scenario>> {
    let default = || workspace::root().join("tests/boot");
    scenario::read_folder(&args.scenarios.clone().unwrap_or_else(default))
}

/// The last line of all, and an exit status that says the same.
fn conclude(totals: Totals) -> ExitCode {
    println!("{}", totals.short_line());
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The scenarios whose names match. A pattern that chooses none is a mistake: nothing run is nothing shown.
fn filter(scenarios: Vec<Scenario>, pattern: Option<&Regex>) -> Result<Vec<Scenario>> {
    let Some(pattern) = pattern else { return Ok(scenarios) };
    let chosen: Vec<_> = scenarios.into_iter().filter(|s| pattern.is_match(&s.name)).collect();
    ensure!(!chosen.is_empty(), "no boot scenario has a name that matches `{pattern}`");
    Ok(chosen)
}

fn ensure_known(name: &str, scenarios: &[Scenario], declared: &[guest_tests::Declared]) -> Result<()> {
    let in_scenarios = || scenarios.iter().flat_map(|s| s.tests.iter().chain([&s.name]));
    if in_scenarios().any(|k| k == name) || declared.iter().any(|test| test.is_named(name)) {
        return Ok(());
    }
    let known = in_scenarios().chain(declared.iter().map(|test| &test.name));
    let near = near_matches(name, known.map(String::as_str));
    match near.as_slice() {
        [] => bail!("there is no test named `{name}`"),
        near => bail!("there is no test named `{name}`; did you mean {}?", near.join(", ")),
    }
}

/// Names that look like `name`, the nearest first.
fn near_matches<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let score = |k: &str| if k.contains(name) { 1.0 } else { strsim::jaro_winkler(name, k) };
    let mut near: Vec<_> = known.map(|k| (score(k), k)).filter(|(score, _)| *score > 0.75).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(5).map(|(_, k)| k).collect()
}

/// `cargo test` of the default members, shown as it runs.
fn host_tests() -> Result<Totals> {
    setup::ensure_all(&[Need::HostTests])?;
    let mut command = build::cargo();
    let mut cargo = Group::spawn(command.args(["test", "--no-fail-fast"]).stdout(Stdio::piped()))?;
    let stdout = cargo.child().stdout.take().context("cargo has no stdout")?;
    let reader = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(io::Result::ok);
        let shown = lines.inspect(|line| println!("{line}"));
        shown.filter_map(|line| Totals::from_cargo(&line)).fold(Totals::default(), Totals::plus)
    });
    let status = cargo.wait()?;
    let mut totals = reader.join().unwrap_or_default();
    if !status.success() && totals.failed == 0 {
        // It did not compile, or a test program died.
        totals.failed = 1;
    }
    Ok(totals)
}

/// Runs `scenarios` and prints a verdict for each and for each guest test in them. With `only`, guest tests
/// with other names are not counted.
fn run_scenarios(
    scenarios: Vec<Scenario>,
    filtered: usize,
    only: Option<&[String]>,
    args: &RunnerArgs,
) -> Result<Totals> {
    let started = Instant::now();
    let built = if scenarios.is_empty() {
        None
    } else {
        let built = build::build_or(args.hypervisor.as_deref(), args.profile)?;
        let machines: Vec<_> = scenarios.iter().map(|scenario| &scenario.machine).collect();
        Some(built.with_guests(&machines, args.profile)?)
    };
    let mut outcomes = Vec::new();
    if let Some(built) = built {
        boot::prepare(&scenarios, args.platform)?;
        if let Some(folder) = &args.log {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        println!("\nrunning {} boot scenarios", scenarios.len());
        let runner = Runner { built, args };
        runner.run(scenarios, |group| {
            let kept = group.into_iter().filter(|outcome| is_wanted(outcome, only));
            for outcome in kept {
                println!("{}", outcome.line());
                outcomes.push(outcome);
            }
        })?;
    }
    print_failures(&outcomes);
    let totals = Totals::of(&outcomes);
    println!("\n{}", totals.cargo_line(filtered, started.elapsed()));
    Ok(totals)
}

/// Whether the user asked for this test: for it, for its scenario, or for anything that failed on the way.
fn is_wanted(outcome: &Outcome, only: Option<&[String]>) -> bool {
    let Some(only) = only else { return true };
    match outcome.name.split_once('/') {
        Some((scenario, test)) => {
            let test = guest_tests::plain_name(test);
            only.iter().any(|name| name == scenario || guest_tests::plain_name(name) == test)
        }
        None => only.contains(&outcome.name) || matches!(outcome.verdict, Verdict::Failed(_)),
    }
}

fn print_failures(outcomes: &[Outcome]) {
    let failures = outcomes.iter().filter_map(|outcome| match &outcome.verdict {
        Verdict::Failed(why) => Some((&outcome.name, why)),
        _ => None,
    });
    for (index, (name, why)) in failures.enumerate() {
        if index == 0 {
            println!("\nfailures:");
        }
        println!("\n---- {name} ----\n{why}");
    }
}

struct Runner<'a> {
    built: Built,
    args: &'a RunnerArgs,
}

impl Runner<'_> {
    /// Runs all `scenarios` and hands over the outcomes of each as it ends.
    fn run(&self, scenarios: Vec<Scenario>, mut done: impl FnMut(Vec<Outcome>)) -> Result<()> {
        let bar = Bar::new(scenarios.len());
        let jobs = self.jobs().min(scenarios.len());
        let queue = Mutex::new(VecDeque::from(scenarios));
        let (sender, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..jobs {
                let (sender, queue, bar) = (sender.clone(), &queue, &bar);
                scope.spawn(move || self.work(queue, bar, &sender));
            }
            drop(sender);
            for outcomes in results {
                bar.pause(|| done(outcomes));
            }
        });
        process::check_interrupted()
    }

    fn jobs(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        self.args.jobs.map_or(processors.min(MOST_JOBS), usize::from)
    }

    /// One worker: takes scenarios until there is none, or until a signal.
    fn work(&self, queue: &Mutex<VecDeque<Scenario>>, bar: &Bar, sender: &mpsc::Sender<Vec<Outcome>>) {
        while !process::interrupted() {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(scenario) = next else { return };
            bar.begin(&scenario.name);
            let outcomes = self.scenario(&scenario);
            bar.end(&scenario.name);
            if process::interrupted() || sender.send(outcomes).is_err() {
                return;
            }
        }
    }

    /// The verdict on a scenario, then those on the guest tests in it.
    fn scenario(&self, scenario: &Scenario) -> Vec<Outcome> {
        let started = Instant::now();
        let (verdict, console) = match self.emulator(scenario) {
            Err(reason) => (Verdict::Skipped(format!("{reason:#}")), None),
            Ok(emulator) => match self.verdict(scenario, emulator) {
                Ok((verdict, console)) => (verdict, Some(console)),
                Err(error) => (Verdict::Failed(format!("{error:#}")), None),
            },
        };
        let time = console.is_some().then(|| started.elapsed());
        let mut outcomes = vec![Outcome { name: scenario.name.clone(), verdict, time }];
        if let Some(console) = console {
            outcomes.extend(report::guest_tests(&scenario.name, &console, &scenario.tests));
        }
        outcomes
    }

    /// The emulator for a scenario of which all is here, or why it cannot run.
    fn emulator(&self, scenario: &Scenario) -> Result<Emulator> {
        let emulator = boot::emulator(scenario, self.args.platform)?;
        boot::fetch(scenario)?;
        Ok(emulator)
    }

    /// The verdict on a scenario that can run, and what the console showed.
    fn verdict(&self, scenario: &Scenario, emulator: Emulator) -> Result<(Verdict, String)> {
        let log = self.args.log.as_ref().map(|folder| folder.join(format!("{}.log", scenario.name)));
        let options = Options { built: &self.built, emulator, timeout: self.args.timeout, log };
        let booted = boot::boot(scenario, options)?;
        let verdict = match booted.result {
            Ok(()) => Verdict::Passed,
            Err(failure) => Verdict::Failed(format!(
                "{}\n{}: {failure}\nEnd of the emulator's log:\n{}",
                about(scenario),
                scenario.file.display(),
                indent(&booted.log)
            )),
        };
        Ok((verdict, booted.console))
    }
}

/// What a failed scenario was to show.
fn about(scenario: &Scenario) -> String {
    let covers =
        if scenario.covers.is_empty() { String::new() } else { format!(" [{}]", scenario.covers.join(", ")) };
    format!("{}{covers}", scenario.description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let known = ["boot-1-cpu", "boot-4-cpus", "no-dom0", "uefi-no-vmx"];
        assert_eq!(near_matches("boot-4-cpu", known.into_iter()).first(), Some(&"boot-4-cpus"));
        assert_eq!(near_matches("dom0", known.into_iter()), ["no-dom0"]);
        assert!(near_matches("zzz", known.into_iter()).is_empty());
    }

    #[test]
    fn wanted_tests() {
        let only = ["t1".to_owned(), "s2".to_owned()];
        let wanted = |name: &str, verdict| is_wanted(&Outcome::new(name, verdict), Some(&only));
        assert!(wanted("s1/t1", Verdict::Passed));
        assert!(!wanted("s1/t2", Verdict::Failed(String::new())));
        assert!(wanted("s2/t2", Verdict::Passed) && wanted("s2", Verdict::Passed));
        assert!(!wanted("s1", Verdict::Passed) && wanted("s1", Verdict::Failed(String::new())));
        assert!(is_wanted(&Outcome::new("any", Verdict::Passed), None));
    }
}
