//! Parameters by name, as the kind of value that a rule wants; errors are reported.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::number::{self, NumberError};
use crate::report::Report;
use crate::settings::{Setting, Settings};
use crate::source::Span;
use crate::spec::Wrong;
use crate::syntax::{Kind, Value};

/// Settings, and the report on them.
pub struct Reader<'r> {
    /// The settings.
    pub settings: &'r Settings,
    /// Where errors and warnings go.
    pub report: &'r mut Report,
}

impl Reader<'_> {
    /// A string, or a number as it is written, and where it stands.
    pub fn text(&mut self, name: &str) -> Option<(String, Span)> {
        let Setting { value, .. } = self.settings.get(name)?;
        match &value.kind {
            Kind::Atom(text) => Some((text.clone(), value.span)),
            Kind::List(_) => {
                self.report.error(value.span, format!("expected one value for `{name}`, found a list"));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let (text, span) = self.text(name)?;
        if self.settings.get(name)?.appended {
            self.report.error(span, format!("`+=` cannot be used with the number `{name}`"));
            return None;
        }
        let found = number::integer(&text);
        if let Ok(number) = found
            && bounds.contains(&number)
        {
            return Some(number);
        }
        let expected = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
        let found = if found == Err(NumberError::Digits) { format!("`{text}`") } else { text };
        self.report.error(span, format!("{expected} for `{name}`, found {found}"));
        None
    }

    /// Such a number as `u32`, for bounds that fit.
    pub fn count(&mut self, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let bounds = i64::from(*bounds.start())..=i64::from(*bounds.end());
        self.integer(name, bounds).and_then(|number| u32::try_from(number).ok())
    }

    /// 0 or another number.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.integer(name, i64::MIN..=i64::MAX).map(|number| number != 0)
    }

    /// The strings of a list, and where they stand; none if it is not set.
    pub fn strings(&mut self, name: &str) -> Vec<(String, Span)> {
        match self.settings.get(name).map(|setting| &setting.value) {
            None => Vec::new(),
            Some(Value { kind: Kind::List(values), .. }) => {
                values.iter().filter_map(|value| self.item(name, value)).collect()
            }
            Some(Value { span, kind: Kind::Atom(_) }) => {
                let message = format!("expected a list for `{name}`, found one value");
                self.report.error(*span, message).help(format!("lists are in brackets: {name} = [ ... ]"));
                Vec::new()
            }
        }
    }

    /// Where a parameter's value stands.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.settings.get(name).map(|setting| setting.value.span)
    }

    /// Whether a parameter is absent, not only broken.
    pub fn is_missing(&self, name: &str) -> bool {
        self.settings.get(name).is_none() && !self.settings.is_unreadable(name)
    }

    /// Tells what a device's text has wrong.
    pub fn wrong(&mut self, span: Span, wrong: Wrong) {
        let error = self.report.error(span, wrong.message);
        if let Some(help) = wrong.help {
            error.help(help);
        }
    }

    fn item(&mut self, name: &str, value: &Value) -> Option<(String, Span)> {
        match &value.kind {
            Kind::Atom(text) => Some((text.clone(), value.span)),
            Kind::List(_) => {
                self.report.error(value.span, format!("expected a string in `{name}`, found a list"));
                None
            }
        }
    }
}
