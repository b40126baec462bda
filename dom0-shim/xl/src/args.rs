//! The options and arguments of a command, by what its verb declares.

use alloc::format;
use alloc::vec::Vec;
use core::str::FromStr;

use getargs::{Arg, Options};

use crate::problem::{Outcome, Problem};
use crate::verbs::{Opt, Verb};

/// Options and arguments of a command.
#[derive(Debug, Default)]
pub(crate) struct Args<'a> {
    options: Vec<(&'static Opt, &'a str)>,
    /// The arguments that are no options.
    pub(crate) positionals: Vec<&'a str>,
    /// `-h` or `--help` is among the options.
    pub(crate) help: bool,
}

impl<'a> Args<'a> {
    /// Sorts the words after the verb.
    pub(crate) fn parse(verb: &'static Verb, words: &[&'a str]) -> Outcome<Self> {
        let mut args = Self::default();
        let mut options = Options::new(words.iter().copied());
        loop {
            let found = match options.next_arg().map_err(Problem::usage)? {
                None => return args.checked(verb),
                Some(Arg::Positional(word)) => {
                    args.positionals.push(word);
                    continue;
                }
                Some(Arg::Short(letter)) => (verb.short(letter), format!("-{letter}")),
                Some(Arg::Long(word)) => (verb.long(word), format!("--{word}")),
            };
            match found {
                (Some(option), _) if option.value.is_empty() => args.options.push((option, "")),
                (Some(option), _) => {
                    args.options.push((option, options.value().map_err(Problem::usage)?));
                }
                (None, word) if matches!(word.as_str(), "-h" | "--help") => {
                    args.help = true;
                    return Ok(args);
                }
                (None, word) => return Err(Problem::Usage(format!("option '{word}' is not known"))),
            }
        }
    }

    fn checked(self, verb: &Verb) -> Outcome<Self> {
        let given = self.positionals.len();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let name = format!("{}{}", verb.family.prefix(), verb.name);
        if given < verb.least {
            let least = verb.least;
            let words = format!("'{name}' requires at least {least} argument{}.", plural(least));
            return Err(Problem::Usage(words));
        }
        if given > verb.most {
            let most = verb.most;
            let words = format!("'{name}' takes at most {most} argument{}.", plural(most));
            return Err(Problem::Usage(words));
        }
        Ok(self)
    }

    /// Whether an option is given, by its letter or its long name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option; the last one counts.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|(_, value)| *value)
    }

    /// The value of an option as a number.
    pub(crate) fn number<N: FromStr>(&self, name: &str) -> Outcome<Option<N>> {
        let Some((option, value)) = self.find(name) else { return Ok(None) };
        let what = if option.long.is_empty() { option.short } else { option.long };
        number(value, what).map(Some)
    }

    fn find(&self, name: &str) -> Option<&(&'static Opt, &'a str)> {
        self.options.iter().rev().find(|(option, _)| option.short == name || option.long == name)
    }

    /// An argument by its place; empty where it is not given, which [`Args::parse`] has refused
    /// for those that the verb requires.
    pub(crate) fn get(&self, place: usize) -> &'a str {
        self.positionals.get(place).copied().unwrap_or_default()
    }

    /// An argument that need not be given.
    pub(crate) fn optional(&self, place: usize) -> Option<&'a str> {
        self.positionals.get(place).copied()
    }
}

/// A word as a number; `what` it is the number of.
pub(crate) fn number<N: FromStr>(word: &str, what: &str) -> Outcome<N> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = word.parse().ok().filter(|_| digits);
    parsed.ok_or_else(|| Problem::Failed(format!("Invalid {what}: '{word}' is not a number in its range.")))
}
