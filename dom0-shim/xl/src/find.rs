//! Domains by what the user calls them.

use alloc::format;
use alloc::vec::Vec;

use crate::problem::{Outcome, Problem};
use crate::toolstack::{DomId, Domain, Toolstack};

/// The domain of a name or an id; what is all digits is an id first.
pub(crate) fn find(tools: &impl Toolstack, word: &str) -> Outcome<Domain> {
    pick(tools.domains()?, word)
}

/// The domain of a name or an id among these.
pub(crate) fn pick(domains: Vec<Domain>, word: &str) -> Outcome<Domain> {
    let id = id(word).and_then(|id| domains.iter().position(|domain| domain.id == id));
    let named = || domains.iter().position(|domain| domain.name == word && !word.is_empty());
    let place = id.or_else(named);
    place.and_then(|place| domains.into_iter().nth(place)).ok_or_else(|| unknown(word))
}

/// The domains of some words, all of one moment; without words all domains.
pub(crate) fn find_all(tools: &impl Toolstack, words: &[&str]) -> Outcome<Vec<Domain>> {
    let domains = tools.domains()?;
    if words.is_empty() {
        return Ok(domains);
    }
    words.iter().map(|word| pick(domains.clone(), word)).collect()
}

/// The name of a domain, or what stands for it.
pub(crate) fn name(domain: &Domain) -> &str {
    if domain.name.is_empty() { "(null)" } else { &domain.name }
}

fn id(word: &str) -> Option<DomId> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

fn unknown(word: &str) -> Problem {
    Problem::Failed(format!("{word} is an invalid domain identifier: no domain has this name or id."))
}
