//! Why a command did not do what it was asked for.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::toolstack::Failure;

/// Exit status of a command that did what it was asked for.
pub(crate) const SUCCESS: u8 = 0;
/// Exit status of a command that failed.
pub(crate) const FAILURE: u8 = 1;
/// Exit status of a command that was written wrongly.
pub(crate) const USAGE: u8 = 2;

/// Why a command did not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// It could not; the words say why.
    Failed(String),
    /// It was written wrongly; its usage is shown with the words.
    Usage(String),
}

/// What became of a command.
pub(crate) type Outcome<R = ()> = Result<R, Problem>;

impl Problem {
    /// It could not.
    pub(crate) fn failed(words: impl fmt::Display) -> Self {
        Self::Failed(format!("{words}"))
    }

    /// It was written wrongly.
    pub(crate) fn usage(words: impl fmt::Display) -> Self {
        Self::Usage(format!("{words}"))
    }

    /// What failed, before the toolstack's words.
    pub(crate) fn because(what: impl fmt::Display, failure: &Failure) -> Self {
        Self::Failed(format!("{what}: {failure}"))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.0)
    }
}
