//! Texts that a configuration is read from, and places in them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A text with the name that messages call it by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// A file's name, or `<argument 1>` for a word of the command line.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A part of a [`Source`], in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// The source's index.
    pub source: usize,
    /// Where it begins.
    pub start: usize,
    /// Where it ends, exclusively.
    pub end: usize,
}

impl Span {
    /// From the beginning of one part to the end of another of the same source.
    pub fn to(self, last: Self) -> Self {
        Self { end: last.end.max(self.start), ..self }
    }
}

/// The file and the words of the command line that add to it.
pub fn sources(file_name: &str, text: String, overrides: &[&str]) -> Vec<Source> {
    let file = Source { name: file_name.to_string(), text };
    let words = overrides.iter().zip(1..);
    let words = words.map(|(word, n)| Source { name: format!("<argument {n}>"), text: (*word).to_string() });
    core::iter::once(file).chain(words).collect()
}
