//! Configuration files of the store.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xl_config::diagnostic::Diagnostic;
use xl_config::domain::DomainConfig;

use crate::problem::{Outcome, Problem};
use crate::toolstack::Toolstack;

/// How the names of configuration files end.
const SUFFIX: &str = ".cfg";
/// Where those are that are started with the host (AUT-02).
const AUTO: &str = "auto/";

/// The domain that a file describes, with `name=value` words that add to it; and what is to be
/// said about the file.
pub(crate) fn load(tools: &impl Toolstack, file: &str, words: &[&str]) -> Outcome<(DomainConfig, String)> {
    let read = tools.read_file(file);
    let bytes = read.map_err(|failure| Problem::because("Failed to read config file", &failure))?;
    match xl_config::load(file, &bytes, words) {
        Ok((config, warnings)) => Ok((config, shown(&warnings))),
        Err(errors) => Err(Problem::Failed(format!("{}Failed to parse config: {file}", shown(&errors)))),
    }
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{}\n", format!("{diagnostic}").trim_end())).collect()
}

/// The domains that files describe, with the files. Those that describe none are left out; of
/// several that describe the same domain, one is named that is not there for the start of the host.
pub(crate) fn stored(tools: &impl Toolstack) -> Vec<(String, DomainConfig)> {
    let files = tools.files().into_iter().map(|(name, _)| name).filter(|name| name.ends_with(SUFFIX));
    let (auto, own): (Vec<String>, Vec<String>) = files.partition(|name| name.starts_with(AUTO));
    let mut stored: Vec<(String, DomainConfig)> = Vec::new();
    for (file, config) in loaded(tools, own.into_iter().chain(auto)) {
        if stored.iter().all(|(_, other)| other.name != config.name) {
            stored.push((file, config));
        }
    }
    stored
}

/// Whether a domain of this name is started with the host.
pub(crate) fn is_autostarted(tools: &impl Toolstack, name: &str) -> bool {
    let files = tools.files().into_iter().map(|(name, _)| name);
    loaded(tools, files.filter(|name| name.starts_with(AUTO))).iter().any(|(_, config)| config.name == name)
}

/// The file of that name, or that describes the domain of that name.
pub(crate) fn file_of(tools: &impl Toolstack, word: &str) -> Option<String> {
    let files = tools.files();
    let with_suffix = format!("{word}{SUFFIX}");
    let exact = [word, &with_suffix].into_iter().find(|name| files.iter().any(|(file, _)| file == name));
    let described =
        || stored(tools).into_iter().find(|(_, config)| config.name == word).map(|(file, _)| file);
    exact.map(String::from).or_else(described)
}

fn loaded(tools: &impl Toolstack, files: impl Iterator<Item = String>) -> Vec<(String, DomainConfig)> {
    files.filter_map(|file| load(tools, &file, &[]).ok().map(|(config, _)| (file, config))).collect()
}
