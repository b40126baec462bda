//! Collects what is wrong while a configuration is read.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::source::{Source, Span};

/// Errors, and warnings, that are told in full.
const TOLD: usize = 100;
/// Characters of the longest message: it may name what a file holds.
const LONGEST: usize = 300;

/// What was found so far.
#[derive(Default, Debug)]
pub struct Report {
    found: Vec<Finding>,
    errors: usize,
    warnings: usize,
    /// Whether the last one is among those that are told.
    last_told: bool,
}

#[derive(Debug)]
struct Finding {
    severity: Severity,
    span: Option<Span>,
    message: String,
    help: Option<String>,
}

impl Report {
    /// The domain cannot be made because of this.
    pub fn error(&mut self, span: impl Into<Option<Span>>, message: impl Into<String>) -> &mut Self {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, span.into(), message.into(), self.errors);
        self
    }

    /// The domain may be other than its author thinks.
    pub fn warning(&mut self, span: impl Into<Option<Span>>, message: impl Into<String>) -> &mut Self {
        self.warnings = self.warnings.saturating_add(1);
        self.add(Severity::Warning, span.into(), message.into(), self.warnings);
        self
    }

    /// Says what to do about the last one.
    pub fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.found.last_mut().filter(|_| self.last_told) {
            last.help = Some(help.into());
        }
    }

    /// Whether there were errors.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// What was found, in the order of the text.
    pub fn finish(mut self, sources: &[Source]) -> Vec<Diagnostic> {
        self.found
            .sort_by_key(|finding| finding.span.map_or((true, 0, 0), |it| (false, it.source, it.start)));
        let more = [(Severity::Error, self.errors), (Severity::Warning, self.warnings)];
        let found = self.found.into_iter().map(|finding| finding.diagnostic(sources));
        let mut found: Vec<Diagnostic> = found.collect();
        let name = sources.first().map(|source| source.name.clone()).unwrap_or_default();
        found.extend(more.into_iter().filter(|&(_, count)| count > TOLD).map(|(severity, count)| {
            Diagnostic {
                severity,
                message: format!("{} more {severity}s are not shown", count - TOLD),
                help: None,
                source: name.clone(),
                place: None,
            }
        }));
        found
    }

    fn add(&mut self, severity: Severity, span: Option<Span>, message: String, count: usize) {
        self.last_told = count <= TOLD;
        if self.last_told {
            self.found.push(Finding { severity, span, message: shortened(message), help: None });
        }
    }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
        message.push_str("...");
    }
    message
}

impl Finding {
    fn diagnostic(self, sources: &[Source]) -> Diagnostic {
        let source = sources.get(self.span.map_or(0, |span| span.source));
        Diagnostic {
            severity: self.severity,
            message: self.message,
            help: self.help,
            source: source.map(|source| source.name.clone()).unwrap_or_default(),
            place: self.span.zip(source).map(|(span, source)| Place::of(source, span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sources;

    #[test]
    fn in_the_order_of_the_text() {
        let sources = sources("a", "0123456789".into(), &["b"]);
        let mut report = Report::default();
        report.error(None, "missing");
        report.error(Span { source: 1, start: 0, end: 1 }, "word");
        report.warning(Span { source: 0, start: 5, end: 6 }, "late");
        report.error(Span { source: 0, start: 2, end: 6 }, "early").help("do");
        let found = report.finish(&sources);
        let messages: Vec<&str> = found.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(messages, ["early", "late", "word", "missing"]);
        assert_eq!(found[0].help.as_deref(), Some("do"));
        assert_eq!(found[2].source, "<argument 1>");
    }

    #[test]
    fn a_message_has_an_end() {
        let mut report = Report::default();
        report.warning(None, "\u{e9}".repeat(100_000));
        let found = report.finish(&sources("a", String::new(), &[]));
        assert_eq!(found[0].message, "\u{e9}".repeat(300) + "...");
    }

    #[test]
    fn a_flood_is_counted() {
        let mut report = Report::default();
        for n in 0..250 {
            report.error(None, "x").help(format!("help {n}"));
        }
        let found = report.finish(&sources("a", String::new(), &[]));
        assert_eq!(found.len(), 101);
        assert_eq!(found[99].help.as_deref(), Some("help 99"));
        assert_eq!(found[100].message, "150 more errors are not shown");
    }
}
