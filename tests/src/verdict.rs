//! What comes of a test.

use alloc::string::{String, ToString};
use core::fmt;

use guest_rt::trap::Fault;
use xen_abi::errno::Errno;

/// Why a test does not end in SUCCESS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// It cannot run here.
    Skip(String),
    /// It is broken, or what it stands on is.
    Error(String),
    /// The hypervisor did not do as it should.
    Failure(String),
    /// The guest, or the hypervisor, ended in the middle.
    Crash(String),
}

/// The end of a test, or of a step of it.
pub type Check<T = ()> = Result<T, Problem>;

impl Problem {
    /// The word in a verdict's line, and the reason.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Skip(reason) => ("SKIP", reason),
            Self::Error(reason) => ("ERROR", reason),
            Self::Failure(reason) => ("FAILURE", reason),
            Self::Crash(reason) => ("CRASH", reason),
        }
    }

    /// The problem that such a line states; `None` for SUCCESS.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, reason) = line.split_once(' ').unwrap_or((line, ""));
        let reason = reason.to_string();
        match word {
            "SUCCESS" => None,
            "SKIP" => Some(Self::Skip(reason)),
            "ERROR" => Some(Self::Error(reason)),
            "CRASH" => Some(Self::Crash(reason)),
            _ => Some(Self::Failure(reason)),
        }
    }
}

/// What follows the colon of a verdict's line.
pub struct Line<'a>(pub &'a Check);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(()) => f.write_str("SUCCESS"),
            Err(problem) => {
                let (word, reason) = problem.parts();
                write!(f, "{word} {reason}")
            }
        }
    }
}

impl From<xen_control::Error> for Problem {
    fn from(error: xen_control::Error) -> Self {
        Self::Failure(error.to_string())
    }
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        Self::Failure(alloc::format!("hypercall refused: {errno:?}"))
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Failure(fault.to_string())
    }
}

/// Fails the test, with a formatted reason, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::verdict::Problem::Failure(::alloc::format!($($reason)+)));
        }
    };
}

/// Fails the test unless both are equal; says both.
macro_rules! ensure_eq {
    ($actual:expr, $expected:expr, $($what:tt)+) => {{
        let (actual, expected) = (&$actual, &$expected);
        if actual != expected {
            let what = ::alloc::format!($($what)+);
            return Err($crate::verdict::Problem::Failure(
                ::alloc::format!("{what}: {actual:x?}, expected {expected:x?}"),
            ));
        }
    }};
}

/// Fails the test.
macro_rules! fail {
    ($($reason:tt)+) => { return Err($crate::verdict::Problem::Failure(::alloc::format!($($reason)+))) };
}

/// Ends the test without a verdict on the hypervisor.
macro_rules! skip {
    ($($reason:tt)+) => { return Err($crate::verdict::Problem::Skip(::alloc::format!($($reason)+))) };
}
