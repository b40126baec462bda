//! What vcpus do: `busy`, `idle`, `on 2s off 500ms`, `run 100us sleep 1ms random`.

use std::str::FromStr;

use super::{MICROSECOND, MILLISECOND, SECOND};

/// What a vcpu does. All times are ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// It always wants to run.
    Busy,
    /// It never wants to.
    Idle,
    /// It wants to run for `on`, then not for `off`, by the clock: whether it had a pcpu or not.
    Phases {
        /// For how long it wants to run.
        on: u64,
        /// For how long it does not.
        off: u64,
        /// When it begins.
        from: u64,
    },
    /// It runs for `run`, then sleeps for `sleep`.
    Bursts {
        /// How much time on a pcpu it takes each time.
        run: u64,
        /// For how long it sleeps.
        sleep: u64,
        /// Both are exponentially distributed with these means.
        random: bool,
    },
}

impl Behaviour {
    /// The part of its time in which it wants to run, as long as it never waits.
    pub(crate) fn appetite(self) -> f64 {
        match self {
            Self::Bursts { run, sleep, .. } => run as f64 / (run as f64 + sleep as f64),
            Self::Busy | Self::Phases { .. } => 1.0,
            Self::Idle => 0.0,
        }
    }
}

/// What is no behaviour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown(String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "expected `busy`, `idle`, `on TIME off TIME [from TIME]` or `run TIME sleep TIME [random]` with times \
             such as 1.5s, 30ms or 100us, found `{}`",
            self.0
        )
    }
}

impl std::error::Error for Unknown {}

impl FromStr for Behaviour {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let time = |word: &str| parse_time(word).filter(|&time| time > 0);
        let behaviour = match words[..] {
            ["busy"] => Some(Self::Busy),
            ["idle"] => Some(Self::Idle),
            ["on", on, "off", off] => phases(time(on), time(off), Some(0)),
            ["on", on, "off", off, "from", from] => phases(time(on), time(off), parse_time(from)),
            ["run", run, "sleep", sleep] => bursts(time(run), time(sleep), false),
            ["run", run, "sleep", sleep, "random"] => bursts(time(run), time(sleep), true),
            _ => None,
        };
        behaviour.ok_or_else(|| Unknown(text.to_owned()))
    }
}

fn phases(on: Option<u64>, off: Option<u64>, from: Option<u64>) -> Option<Behaviour> {
    Some(Behaviour::Phases { on: on?, off: off?, from: from? })
}

fn bursts(run: Option<u64>, sleep: Option<u64>, random: bool) -> Option<Behaviour> {
    Some(Behaviour::Bursts { run: run?, sleep: sleep?, random })
}

/// Nanoseconds from `2s`, `1.5ms`, `100us`; up to a day.
fn parse_time(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "s" => SECOND,
        "ms" => MILLISECOND,
        "us" => MICROSECOND,
        _ => return None,
    };
    nanoseconds(digits.parse().ok()?, unit)
}

/// `value` times `unit`, up to a day.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
pub(super) fn nanoseconds(value: f64, unit: u64) -> Option<u64> {
    let ns = (value * unit as f64).round();
    (0.0..=86_400e9).contains(&ns).then_some(ns as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_read() {
        assert_eq!("busy".parse(), Ok(Behaviour::Busy));
        assert_eq!(" idle ".parse(), Ok(Behaviour::Idle));
        let phases = Behaviour::Phases { on: 2 * SECOND, off: 500 * MILLISECOND, from: 0 };
        assert_eq!("on 2s off 0.5s".parse(), Ok(phases));
        let later = Behaviour::Phases { on: SECOND, off: SECOND, from: 3 * SECOND };
        assert_eq!("on 1s off 1s from 3s".parse(), Ok(later));
        let bursts = Behaviour::Bursts { run: 100_000, sleep: MILLISECOND, random: true };
        assert_eq!("run 100us sleep 1ms random".parse(), Ok(bursts));
    }

    #[test]
    fn what_is_no_behaviour_is_named() {
        for text in [
            "",
            "bussy",
            "on 1s",
            "on 1s off",
            "on 0s off 1s",
            "run 5 sleep 5",
            "run -1s sleep 1s",
            "on 1s off 90000s",
        ] {
            let error = text.parse::<Behaviour>().unwrap_err();
            assert!(error.to_string().ends_with(&format!("found `{text}`")), "{error}");
        }
    }
}
