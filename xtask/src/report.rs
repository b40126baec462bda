//! Verdicts: of scenarios, of the guest tests that report in them, and their sum.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

/// The verdict on one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

/// A test that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) time: Option<Duration>,
}

impl Outcome {
    pub(crate) fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict, time: None }
    }

    /// The line of this test in cargo's form.
    pub(crate) fn line(&self) -> String {
        let verdict = match &self.verdict {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed(_) => "FAILED".to_owned(),
            Verdict::Skipped(why) => format!("ignored, {why}"),
        };
        let time = self.time.map(|time| format!(" <{:.1}s>", time.as_secs_f64())).unwrap_or_default();
        format!("test {} ... {verdict}{time}", self.name)
    }
}

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        outcomes.iter().fold(Self::default(), |sum, outcome| sum.plus(Self::one(&outcome.verdict)))
    }

    fn one(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self { passed: 1, ..Self::default() },
            Verdict::Failed(_) => Self { failed: 1, ..Self::default() },
            Verdict::Skipped(_) => Self { skipped: 1, ..Self::default() },
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// The counts in a closing line of a Rust test program, `None` for any other line.
    pub(crate) fn from_cargo(line: &str) -> Option<Self> {
        static LINE: LazyLock<Regex> =
            LazyLock::new(|| regex(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored;"));
        let counts = LINE.captures(line)?;
        let count = |index: usize| counts.get(index)?.as_str().parse().ok();
        Some(Self { passed: count(1)?, failed: count(2)?, skipped: count(3)? })
    }

    /// The closing line of a test program.
    pub(crate) fn cargo_line(&self, filtered: usize, time: Duration) -> String {
        let Self { passed, failed, skipped } = self;
        let result = if *failed == 0 { "ok" } else { "FAILED" };
        let time = time.as_secs_f64();
        format!(
            "test result: {result}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; \
             {filtered} filtered out; finished in {time:.2}s"
        )
    }

    pub(crate) fn short_line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The verdicts that guests wrote on the console of `scenario`, those that they owe, and those that nobody
/// declared in `declared` (which is not looked at when it is empty).
pub(crate) fn guest_tests(scenario: &str, console: &str, declared: &[String]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut reported = BTreeSet::new();
    for (name, verdict) in console.lines().filter_map(verdict_line) {
        let verdict = if !reported.insert(name.to_owned()) {
            Verdict::Failed("reported twice".to_owned())
        } else if !declared.is_empty() && !declared.iter().any(|d| d == name) {
            Verdict::Failed("not among the `tests` that the scenario declares".to_owned())
        } else {
            verdict
        };
        outcomes.push(Outcome::new(format!("{scenario}/{name}"), verdict));
    }
    let (plan, running) = (plan(console), running(console));
    let owed = declared.iter().map(String::as_str).chain(plan).collect::<BTreeSet<_>>();
    let silent = owed.into_iter().filter(|name| !reported.contains(*name));
    outcomes.extend(silent.map(|name| {
        let why = if running == Some(name) { RAN_LAST } else { NO_VERDICT };
        Outcome::new(format!("{scenario}/{name}"), Verdict::Failed(why.to_owned()))
    }));
    let planned = planned(console).max(declared.len());
    outcomes.extend(
        (outcomes.len()..planned).map(|n| no_verdict(format!("{scenario}/test-{}-of-{planned}", n + 1))),
    );
    outcomes
}

const NO_VERDICT: &str = "no verdict";
/// Of the test that had begun when the console ended.
const RAN_LAST: &str = "CRASH the machine ended, or hung, while it ran";

fn no_verdict(name: String) -> Outcome {
    Outcome::new(name, Verdict::Failed(NO_VERDICT.to_owned()))
}

/// The names that guests announced.
fn plan(console: &str) -> impl Iterator<Item = &str> {
    static LINE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^(?:\(\w+\) )*TESTS plan:((?: [a-z0-9-]+)+)\s*$"));
    let lists = console.lines().filter_map(|line| Some(LINE.captures(line)?.get(1)?.as_str()));
    lists.flat_map(str::split_whitespace)
}

/// The test that began last.
fn running(console: &str) -> Option<&str> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:\(\w+\) )*TEST ([a-z0-9-]+): START\s*$"));
    console.lines().filter_map(|line| Some(LINE.captures(line)?.get(1)?.as_str())).next_back()
}

/// `TEST name: VERDICT reason`, behind any prefixes such as `(XEN) ` and `(d1) `.
fn verdict_line(line: &str) -> Option<(&str, Verdict)> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^(?:\(\w+\) )*TEST ([a-z0-9-]+): (SUCCESS|SKIP|ERROR|FAILURE|CRASH)(?: (.*))?$")
    });
    let parts = LINE.captures(line.trim_end())?;
    let (name, word) = (parts.get(1)?.as_str(), parts.get(2)?.as_str());
    let reason = parts.get(3).map_or("no reason given", |reason| reason.as_str());
    Some((
        name,
        match word {
            "SUCCESS" => Verdict::Passed,
            "SKIP" => Verdict::Skipped(reason.to_owned()),
            _ => Verdict::Failed(format!("{word} {reason}")),
        },
    ))
}

/// Sum of what the guests announced.
fn planned(console: &str) -> usize {
    static LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:\(\w+\) )*TESTS planned: (\d{1,6})\s*$"));
    let counts =
        console.lines().filter_map(|line| LINE.captures(line)?.get(1)?.as_str().parse::<usize>().ok());
    counts.sum()
}

/// A pattern of this file.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("patterns in the source are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str, why: &str) -> Outcome {
        Outcome::new(name, Verdict::Failed(why.into()))
    }

    #[test]
    fn verdicts_on_the_console() {
        let console = "(XEN) boot\n(d1) TESTS planned: 5\n(d1) TEST a-1: SUCCESS\nTEST b: SKIP no APIC\n\
                       (XEN) (d2) TEST c: FAILURE 1 != 2\nTEST d: CRASH\nnot TEST e: SUCCESS\nTEST f: MAYBE\n";
        assert_eq!(
            guest_tests("s", console, &[]),
            [
                Outcome::new("s/a-1", Verdict::Passed),
                Outcome::new("s/b", Verdict::Skipped("no APIC".into())),
                failed("s/c", "FAILURE 1 != 2"),
                failed("s/d", "CRASH no reason given"),
                failed("s/test-5-of-5", "no verdict"),
            ]
        );
    }

    #[test]
    fn a_hang_has_a_verdict_for_each_test_of_the_plan() {
        let console = "(XEN) (d0) TESTS planned: 3\n(XEN) (d0) TESTS plan: a b\nTESTS plan: c\n\
                       TEST a: START\nTEST a: SUCCESS\nTEST b: START\n(XEN) Panic on CPU 0\n";
        assert_eq!(
            guest_tests("s", console, &[]),
            [Outcome::new("s/a", Verdict::Passed), failed("s/b", RAN_LAST), failed("s/c", NO_VERDICT)]
        );
    }

    #[test]
    fn no_guest_tests_at_all() {
        assert_eq!(guest_tests("s", "hello\n", &[]), []);
    }

    #[test]
    fn declared_tests_have_to_report_once() {
        let declared = ["a", "b"].map(String::from);
        let console = "TEST a: SUCCESS\nTEST a: SUCCESS\nTEST x: SUCCESS\n";
        assert_eq!(
            guest_tests("s", console, &declared),
            [
                Outcome::new("s/a", Verdict::Passed),
                failed("s/a", "reported twice"),
                failed("s/x", "not among the `tests` that the scenario declares"),
                failed("s/b", "no verdict"),
            ]
        );
    }

    #[test]
    fn plans_of_several_guests_add_up() {
        assert_eq!(planned("TESTS planned: 2\n(d2) TESTS planned: 3\n"), 5);
    }

    #[test]
    fn totals() {
        let outcomes = [
            Outcome::new("a", Verdict::Passed),
            failed("b", "x"),
            Outcome::new("c", Verdict::Skipped("y".into())),
        ];
        let totals = Totals::of(&outcomes);
        assert_eq!(totals.short_line(), "1 passed, 1 failed, 1 skipped");
        let line = totals.cargo_line(4, Duration::from_millis(1500));
        assert_eq!(
            line,
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.50s"
        );
        assert_eq!(Totals::from_cargo(&line), Some(totals));
        assert_eq!(Totals::from_cargo("running 3 tests"), None);
    }

    #[test]
    fn lines_in_cargos_form() {
        let mut outcome = Outcome::new("a", Verdict::Passed);
        assert_eq!(outcome.line(), "test a ... ok");
        outcome.time = Some(Duration::from_millis(2345));
        assert_eq!(outcome.line(), "test a ... ok <2.3s>");
        assert_eq!(Outcome::new("b", Verdict::Skipped("no KVM".into())).line(), "test b ... ignored, no KVM");
        assert_eq!(failed("c", "x").line(), "test c ... FAILED");
    }
}
