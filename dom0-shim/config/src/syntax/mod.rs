//! The grammar of `xl.cfg`(5), "SYNTAX", as `libxlu` reads it.
//!
//! ```text
//! file      = { [ statement ] ( NEWLINE | ";" ) }
//! statement = NAME ( "=" | "+=" ) value
//! value     = STRING | NUMBER | "[" [ value { "," value } [ "," ] ] "]"
//! ```
//!
//! Lines may end inside of brackets, `#` begins a comment. Kigumi reads some things more than
//! `libxlu`: negative numbers without quotes, lines that end with CR LF, a comment without a line
//! feed after it.

mod lexer;
mod parser;
mod quoted;

use alloc::string::String;
use alloc::vec::Vec;

use crate::report::Report;
use crate::source::{Source, Span};

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// Where it stands, with quotes or brackets.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string without its quotes, or a number as it is written: in `xl.cfg` these are one.
    Atom(String),
    /// A list.
    List(Vec<Value>),
}

/// How a statement changes its parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `=`: replaces what was there.
    Assign,
    /// `+=`: goes after what was there.
    Append,
}

/// `name = value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The parameter's name.
    pub name: String,
    /// Where that stands.
    pub name_span: Span,
    /// `=` or `+=`.
    pub operator: Operator,
    /// The value; `None` where it could not be read, which was reported.
    pub value: Option<Value>,
}

/// The statements of all sources, in their order; errors go to the report.
pub fn parse(sources: &[Source], report: &mut Report) -> Vec<Statement> {
    let all = sources.iter().enumerate();
    all.flat_map(|(index, source)| parser::parse(index, &source.text, report)).collect()
}
