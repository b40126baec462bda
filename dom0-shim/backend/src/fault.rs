//! Why a front end is not served.

use alloc::borrow::Cow;
use core::fmt;

use xen_abi::errno::Errno;
use xen_abi::grant_table::GrantResult;

use crate::ring::Broken;

/// What was wrong; it stands in the device's `error` node as number and words, as drivers
/// write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Of which kind.
    pub errno: Errno,
    /// What, and where.
    pub words: Cow<'static, str>,
}

impl Fault {
    /// A fault in words.
    pub fn new(errno: Errno, words: impl Into<Cow<'static, str>>) -> Self {
        Self { errno, words: words.into() }
    }

    /// The hypervisor refused to map pages.
    #[must_use]
    pub fn unmapped(what: &str, result: GrantResult) -> Self {
        Self::new(Errno::EINVAL, alloc::format!("mapping {what}: {result:?}"))
    }

    /// The hypervisor refused to connect to a port.
    #[must_use]
    pub fn unbound(port: u32, errno: Errno) -> Self {
        Self::new(errno, alloc::format!("binding event channel {port}: {errno:?}"))
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::new(Errno::EIO, alloc::format!("broken ring: {broken}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.errno.get(), self.words)
    }
}
