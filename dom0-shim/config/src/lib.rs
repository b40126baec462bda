//! Domain configuration files (`xl.cfg`): what a domain is to be.
//!
//! ```text
//! file, words of the command line
//!   └─ syntax ──> statements ── settings ──> one value for each parameter
//!                                └─ rules ──> DomainConfig, warnings   or   errors
//! ```
//!
//! | module | |
//! |---|---|
//! | [`domain`] | the domain that a file describes |
//! | [`diagnostic`] | what is wrong with a file, with line and column |
//! | [`admission`] | whether a domain can be beside those that there are |
//! | [`cpus`] | lists of pcpus |
//! | [`placement`] | whether domains get in each other's way on the pcpus |
//! | [`mod@disk`], [`vif`], [`spec`] | one disk, one network interface |
//! | [`name`], [`mac`], [`uuid`], [`vdev`] | names and addresses |
//! | [`mod@write`] | a domain as a file |
//! | [`suggest`] | "did you mean" |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod admission;
pub mod cpus;
pub mod diagnostic;
pub mod disk;
pub mod domain;
pub mod mac;
pub mod name;
mod number;
mod parameters;
pub mod placement;
mod report;
mod rules;
mod settings;
mod source;
pub mod spec;
pub mod suggest;
mod syntax;
pub mod uuid;
pub mod vdev;
pub mod vif;
pub mod write;

#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

use diagnostic::Diagnostic;
use domain::DomainConfig;
use report::Report;
use settings::Settings;
use source::{Source, Span};

/// A domain with warnings, or errors with warnings; in the order of the file.
pub type Loaded = Result<(DomainConfig, Vec<Diagnostic>), Vec<Diagnostic>>;

/// The domain that a file describes. `file_name` is for messages. The `overrides` are read as lines
/// after the file's last: words `name=value` as `xl create` takes them.
///
/// # Errors
///
/// All that is wrong, and the warnings.
pub fn load<W: AsRef<str>>(file_name: &str, text: impl AsRef<[u8]>, overrides: &[W]) -> Loaded {
    let words: Vec<&str> = overrides.iter().map(AsRef::as_ref).collect();
    load_bytes(file_name, text.as_ref(), &words)
}

fn load_bytes(file_name: &str, bytes: &[u8], overrides: &[&str]) -> Loaded {
    let mut report = Report::default();
    let sources = source::sources(file_name, decode(bytes, &mut report), overrides);
    let config = read(&sources, &mut report);
    let failed = report.has_errors();
    let found = report.finish(&sources);
    if failed { Err(found) } else { Ok((config, found)) }
}

fn read(sources: &[Source], report: &mut Report) -> DomainConfig {
    let statements = syntax::parse(sources, report);
    let settings = Settings::of(statements, report);
    rules::domain(&settings, report)
}

fn decode(bytes: &[u8], report: &mut Report) -> String {
    if let Err(error) = core::str::from_utf8(bytes) {
        let start = error.valid_up_to();
        let span = Span { source: 0, start, end: start.saturating_add(1) };
        report.error(span, "expected UTF-8, found other bytes").help("save the file as UTF-8");
    }
    String::from_utf8_lossy(bytes).into_owned()
}
