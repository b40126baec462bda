//! What the statements of all sources come to: one value for each parameter.
//!
//! The last `=` counts; `+=` puts a string after a string, a list after a list.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::parameters::{self, Support};
use crate::report::Report;
use crate::source::Span;
use crate::suggest;
use crate::syntax::{Kind, Operator, Statement, Value};

/// A parameter that is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Where its name stands, the last time.
    pub name_span: Span,
    /// Its value; the place is that of the last statement.
    pub value: Value,
    /// Whether the last statement was `+=`.
    pub appended: bool,
}

/// All parameters that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    all: BTreeMap<String, Setting>,
    /// Names whose value could not be read, which was reported.
    unreadable: BTreeSet<String>,
}

impl Settings {
    /// The settings of these statements. Warns of parameters that do not exist or do nothing;
    /// those that are refused are errors.
    pub fn of(statements: Vec<Statement>, report: &mut Report) -> Self {
        let mut settings = Self::default();
        for statement in statements {
            settings.add(statement, report);
        }
        settings.check_support(report);
        settings
    }

    /// The setting of a parameter.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.all.get(name)
    }

    /// Whether the file tries to set it, but not in a way that can be read.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    fn add(&mut self, statement: Statement, report: &mut Report) {
        let Statement { name, name_span, operator, value } = statement;
        let Some(value) = value else {
            self.unreadable.insert(name);
            return;
        };
        let appended = operator == Operator::Append;
        let earlier = self.all.remove(&name);
        let value = match earlier {
            Some(earlier) if appended => joined(earlier.value, value, &name, report),
            Some(earlier) => {
                warn_of_replaced(&name, earlier.name_span, name_span, report);
                value
            }
            None => value,
        };
        self.all.insert(name, Setting { name_span, value, appended });
    }

    fn check_support(&self, report: &mut Report) {
        for (name, setting) in &self.all {
            let span = setting.name_span;
            match parameters::find(name) {
                None => warn_of_unknown(name, span, report),
                Some(known) if known.asks_for_nothing(&setting.value.kind) => {}
                Some(known) => match known.support {
                    Support::Rule => {}
                    Support::Ignored(reason) => {
                        report.warning(span, format!("`{name}` is ignored: {reason}"));
                    }
                    Support::Refused(reason) => {
                        report.error(span, format!("`{name}` cannot be had: {reason}"));
                    }
                },
            }
        }
    }
}

/// A value and what `+=` puts after it.
fn joined(earlier: Value, later: Value, name: &str, report: &mut Report) -> Value {
    let span = later.span;
    let kind = match (earlier.kind, later.kind) {
        (Kind::Atom(one), Kind::Atom(two)) => Kind::Atom(one + &two),
        (Kind::List(mut one), Kind::List(two)) => {
            one.extend(two);
            Kind::List(one)
        }
        (Kind::Atom(_), later) => mixed("a string", "a list", later, span, name, report),
        (Kind::List(_), later) => mixed("a list", "a string", later, span, name, report),
    };
    Value { span, kind }
}

fn mixed(one: &str, two: &str, later: Kind, span: Span, name: &str, report: &mut Report) -> Kind {
    report.error(span, format!("expected {one} to add to `{name}`, found {two}"));
    later
}

/// On the command line a value is replaced on purpose.
fn warn_of_replaced(name: &str, earlier: Span, later: Span, report: &mut Report) {
    if earlier.source == later.source {
        report.warning(later, format!("`{name}` is set twice: the last value counts"));
    }
}

fn warn_of_unknown(name: &str, span: Span, report: &mut Report) {
    let warning = report.warning(span, format!("unknown parameter `{name}`: it is ignored"));
    if let Some(near) = suggest::nearest(name, parameters::useful_names()) {
        warning.help(format!("did you mean `{near}`?"));
    }
}
