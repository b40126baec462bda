//! What the texts of `disk=` and `vif=` have in common.

use alloc::string::String;

/// Why such a text is refused, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to do, where that can be said.
    pub help: Option<&'static str>,
}

impl Wrong {
    /// Without help.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// With help.
    pub fn with(message: impl Into<String>, help: &'static str) -> Self {
        Self { message: message.into(), help: Some(help) }
    }
}

/// Whether a back end's domain is Dom0, where all of them run.
pub fn is_dom0(backend: &str) -> bool {
    matches!(backend, "" | "0" | "Domain-0" | "dom0")
}
