//! How long the stages of a script took: on the wall, and in ticks of the machine where its emulator counts them.

use std::fmt;
use std::time::{Duration, Instant};

/// The stages so far, the last one perhaps not over.
#[derive(Default)]
pub(crate) struct Stages {
    begun: Vec<Stage>,
    ended: Option<Instant>,
    /// What the machine told last.
    last_ticks: Option<u64>,
}

struct Stage {
    name: String,
    begun: Instant,
    /// Ticks of the machine at the time; told a moment later.
    ticks: Option<u64>,
}

impl Stages {
    pub(crate) fn begin(&mut self, name: &str) {
        self.begun.push(Stage { name: name.to_owned(), begun: Instant::now(), ticks: None });
    }

    /// Takes the ticks that the machine has run until now.
    pub(crate) fn tick(&mut self, ticks: u64) {
        if let Some(stage) = self.begun.last_mut() {
            stage.ticks.get_or_insert(ticks);
        }
        self.last_ticks = Some(ticks);
    }

    /// The last stage is over.
    pub(crate) fn end(&mut self) {
        self.ended = Some(Instant::now());
    }

    /// Name, time on the wall and ticks of each stage.
    fn lines(&self) -> impl Iterator<Item = (&str, Duration, Option<u64>)> {
        let ended = self.ended.unwrap_or_else(Instant::now);
        let ends = self.begun.iter().skip(1).map(|next| (next.begun, next.ticks));
        self.begun.iter().zip(ends.chain([(ended, self.last_ticks)])).map(|(stage, (end, ticks))| {
            // None have passed where nobody told the end.
            let ticks = ticks.zip(stage.ticks).and_then(|(end, begun)| end.checked_sub(begun));
            let ticks = ticks.filter(|ticks| *ticks > 0);
            (stage.name.as_str(), end.saturating_duration_since(stage.begun), ticks)
        })
    }
}

impl fmt::Display for Stages {
    /// A table; nothing where no stage has begun. The last line is the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.begun.first() else { return Ok(()) };
        writeln!(f, "{:>8}  {:>14}  stage", "seconds", "million ticks")?;
        for (name, wall, ticks) in self.lines() {
            row(f, name, wall, ticks)?;
        }
        let wall = self.ended.unwrap_or_else(Instant::now).saturating_duration_since(first.begun);
        let ticks = self.last_ticks.zip(first.ticks).map(|(end, begun)| end.saturating_sub(begun));
        row(f, "all of it", wall, ticks)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, wall: Duration, ticks: Option<u64>) -> fmt::Result {
    let ticks = ticks.map_or_else(|| "-".to_owned(), |ticks| (ticks / 1_000_000).to_string());
    writeln!(f, "{:>8.1}  {ticks:>14}  {name}", wall.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        let mut stages = Stages::default();
        assert_eq!(stages.to_string(), "");
        stages.begin("boot");
        stages.tick(5_000_000);
        stages.begin("guest");
        stages.tick(65_000_000);
        // The machine's end.
        stages.tick(165_000_000);
        stages.end();
        let lines: Vec<_> = stages.lines().map(|(name, _, ticks)| (name, ticks)).collect();
        assert_eq!(lines, [("boot", Some(60_000_000)), ("guest", Some(100_000_000))]);
        let table = stages.to_string();
        let last = table.lines().last().unwrap();
        assert!(last.contains("160") && last.ends_with("all of it"), "{table}");
    }

    #[test]
    fn ticks_that_nobody_counts_are_left_open() {
        let mut stages = Stages::default();
        stages.begin("boot");
        stages.end();
        assert!(stages.lines().all(|(_, _, ticks)| ticks.is_none()));
        assert!(stages.to_string().contains(" -  boot"));
        stages.begin("end");
        stages.tick(9_000_000);
        assert_eq!(
            stages.lines().last(),
            stages.lines().find(|(name, _, ticks)| *name == "end" && ticks.is_none())
        );
    }
}
