//! What somebody wants to do with a backing.

use core::fmt;

/// Reading, which many may do, or writing, which one may do alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Access {
    /// It does not change as long.
    Read,
    /// Nobody else has it.
    Write,
}

impl Access {
    /// Whether both at once could corrupt data.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        self == Self::Write || other == Self::Write
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
        })
    }
}
