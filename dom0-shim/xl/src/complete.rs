//! Completion of verbs, options, domains and files.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::toolstack::Toolstack;
use crate::verbs::{self, Family, Kind, Verb};
use crate::words::{Word, quote, split};

/// What the word before the cursor may become.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// Characters of the word as it is written.
    pub(crate) written: usize,
    /// What it may become, as it is to be written.
    pub(crate) candidates: Vec<String>,
}

impl Completion {
    /// What all candidates start with.
    pub(crate) fn common(&self) -> String {
        let Some((first, rest)) = self.candidates.split_first() else { return String::new() };
        let shared = |common: usize, other: &String| {
            let same = first.chars().zip(other.chars()).take(common);
            same.take_while(|(a, b)| a == b).count()
        };
        let length = rest.iter().fold(first.chars().count(), shared);
        first.chars().take(length).collect()
    }
}

/// Completes the word that ends `before`, which is the line up to the cursor.
pub(crate) fn complete(tools: &impl Toolstack, before: &str) -> Completion {
    let mut pieces = split(before);
    let mut words = pieces.commands.pop().unwrap_or_default();
    let last = if pieces.in_word { words.pop() } else { None };
    let last = last.unwrap_or(Word { text: String::new(), start: before.len() });
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let mut candidates = candidates(tools, &words, &last.text);
    // What a terminal would obey cannot be typed either.
    candidates.retain(|candidate| candidate.starts_with(&last.text) && !candidate.contains(char::is_control));
    candidates.sort_unstable();
    candidates.dedup();
    let written = before.get(last.start..).unwrap_or_default().chars().count();
    Completion { written, candidates: candidates.iter().map(|candidate| quote(candidate)).collect() }
}

fn candidates(tools: &impl Toolstack, words: &[&str], last: &str) -> Vec<String> {
    let (family, words) = match words.split_first() {
        Some((first, rest)) if verbs::family(first).is_some() => (verbs::family(first), rest),
        _ => (None, words),
    };
    let Some((verb, arguments)) = words.split_first() else { return names(family) };
    match verbs::lookup(family, verb) {
        Some(verb) if last.starts_with('-') => options(verb),
        Some(verb) => of_kind(tools, expected(verb, arguments)),
        None => Vec::new(),
    }
}

/// Verbs, and where none stands yet the prefixes that choose their family.
fn names(family: Option<Family>) -> Vec<String> {
    let prefixes = ["xl", "virsh"].into_iter().filter(|_| family.is_none());
    verbs::of(family).map(|verb| verb.name).chain(prefixes).map(String::from).collect()
}

fn options(verb: &Verb) -> Vec<String> {
    let short = verb.options.iter().map(|option| ("-", option.short));
    let long = verb.options.iter().map(|option| ("--", option.long));
    let named = short.chain(long).filter(|(_, name)| !name.is_empty());
    named.map(|(dashes, name)| format!("{dashes}{name}")).collect()
}

/// What is expected after these words.
fn expected(verb: &Verb, arguments: &[&str]) -> Kind {
    let option = arguments.last().and_then(|word| option_of(verb, word));
    if let Some(kind) = option {
        return kind;
    }
    let mut place: usize = 0;
    let mut after_option = false;
    for word in arguments {
        if after_option {
            after_option = false;
        } else if word.starts_with('-') {
            after_option = option_of(verb, word).is_some();
        } else {
            place = place.saturating_add(1);
        }
    }
    if place >= verb.most {
        return Kind::Other;
    }
    verb.kinds.get(place).or(verb.kinds.last()).copied().unwrap_or(Kind::Other)
}

/// What the option takes that a word ends with, if it takes something.
fn option_of(verb: &Verb, word: &str) -> Option<Kind> {
    let option = match word.strip_prefix("--") {
        Some(name) => verb.long(name),
        None => word.strip_prefix('-').and_then(|letters| verb.short(letters.chars().next_back()?)),
    };
    option.filter(|option| !option.value.is_empty()).map(|option| option.kind)
}

fn of_kind(tools: &impl Toolstack, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Domain => {
            let domains = tools.domains().unwrap_or_default();
            domains.into_iter().map(|domain| domain.name).filter(|name| !name.is_empty()).collect()
        }
        Kind::File => tools.files().into_iter().map(|(name, _)| name).collect(),
        Kind::Verb => verbs::of(None).map(|verb| verb.name.into()).collect(),
        Kind::Other => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn completed(before: &str) -> Vec<String> {
        complete(&Fake::new(), before).candidates
    }

    #[test]
    fn verbs_of_the_family() {
        assert_eq!(completed("vcpu-"), ["vcpu-list", "vcpu-pin", "vcpu-set"]);
        assert_eq!(completed("xl vcpu-"), ["vcpu-list", "vcpu-pin", "vcpu-set"]);
        assert_eq!(completed("virsh dom"), ["domid", "dominfo", "domname", "domstate"]);
        assert_eq!(completed("list; virs"), ["virsh"]);
        assert_eq!(completed("help unp"), ["unpause"]);
        assert_eq!(completed("nonsense "), [""; 0]);
    }

    #[test]
    fn domains_and_files() {
        assert_eq!(completed("pause "), ["Domain-0", "one", "two"]);
        assert_eq!(completed("pause o"), ["one"]);
        // One argument is all that it takes.
        assert_eq!(completed("pause one "), [""; 0]);
        assert_eq!(completed("shutdown -w one t"), ["two"]);
        assert_eq!(completed("create -c g"), ["guest.cfg"]);
        assert_eq!(completed("config-update one gu"), ["guest.cfg"]);
        assert_eq!(completed("cat a\\ "), ["a\\ text"]);
    }

    #[test]
    fn options_and_their_values() {
        assert_eq!(completed("shutdown -"), ["--all", "--wait", "-F", "-a", "-w"]);
        assert_eq!(completed("shutdown --w"), ["--wait"]);
        assert_eq!(completed("sched-credit -d o"), ["one"]);
        assert_eq!(completed("sched-credit --domain o"), ["one"]);
        assert_eq!(completed("sched-credit -w "), [""; 0]);
        assert_eq!(completed("create -f gu"), ["guest.cfg"]);
    }

    #[test]
    fn the_written_word_is_measured_with_its_quotes() {
        let completion = complete(&Fake::new(), "cat 'a te");
        assert_eq!(completion, Completion { written: 5, candidates: ["a\\ text".into()].into() });
        assert_eq!(complete(&Fake::new(), "pause ").written, 0);
    }

    #[test]
    fn names_that_a_terminal_obeys_are_left_out() {
        let tools = Fake::new();
        tools.change(1, |domain| domain.name = "o\x1b[2J".into());
        assert_eq!(complete(&tools, "pause ").candidates, ["Domain-0", "two"]);
    }

    #[test]
    fn what_is_common() {
        let common = |words: &[&str]| {
            let candidates = words.iter().map(|word| String::from(*word)).collect();
            Completion { written: 0, candidates }.common()
        };
        assert_eq!(common(&["vcpu-list", "vcpu-pin"]), "vcpu-");
        assert_eq!(common(&["abc", "ab", "abd"]), "ab");
        assert_eq!(common(&["abx", "aby", "a"]), "a");
        assert_eq!(common(&["é1", "è1"]), "");
        assert_eq!(common(&["one"]), "one");
        assert_eq!(common(&[]), "");
    }
}
