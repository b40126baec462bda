//! Statements out of tokens. After an error it goes on with the next line that can be one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::lexer::{Lexer, Token};
use super::{Kind, Operator, Statement, Value};
use crate::report::Report;
use crate::source::Span;

/// Lists in lists, at most: no parameter has more than two.
const DEPTH: usize = 8;

/// The statements of one text.
pub fn parse(source: usize, text: &str, report: &mut Report) -> Vec<Statement> {
    let mut lexer = Lexer::new(text);
    let (token, start, end) = lexer.next();
    let span = Span { source, start, end };
    let parser = Parser { lexer, token, span, line_start: true, depth: 0, statements: Vec::new(), report };
    parser.file()
}

/// An error was reported.
struct Reported;

struct Parser<'t, 'r> {
    lexer: Lexer<'t>,
    /// The token that is looked at.
    token: Token<'t>,
    span: Span,
    /// Whether it is the first of its line.
    line_start: bool,
    /// Brackets that are open.
    depth: usize,
    statements: Vec<Statement>,
    report: &'r mut Report,
}

impl Parser<'_, '_> {
    fn file(mut self) -> Vec<Statement> {
        while self.token != Token::End {
            if self.statement().is_err() {
                self.recover();
            }
        }
        self.statements
    }

    fn statement(&mut self) -> Result<(), Reported> {
        match self.token.clone() {
            Token::Newline | Token::Semicolon => {
                self.advance();
                Ok(())
            }
            Token::Word(name) => {
                let name_span = self.advance();
                if name.contains(|c: char| c.is_ascii_uppercase()) {
                    let lower = name.to_ascii_lowercase();
                    let message = format!("expected the name of a parameter, found `{name}`");
                    self.report.error(name_span, message).help(format!("names are lower case: {lower}"));
                    return Err(Reported);
                }
                self.assignment(name.to_string(), name_span)
            }
            _ => Err(self.unexpected("the name of a parameter")),
        }
    }

    fn assignment(&mut self, name: String, name_span: Span) -> Result<(), Reported> {
        let operator = self.operator();
        let value = operator.and_then(|operator| self.value().map(|value| (operator, value)));
        let end = value.and_then(|value| self.end_of_statement().map(|()| value));
        let (operator, value, result) = match end {
            Ok((operator, value)) => (operator, Some(value), Ok(())),
            Err(Reported) => (Operator::Assign, None, Err(Reported)),
        };
        self.statements.push(Statement { name, name_span, operator, value });
        result
    }

    fn operator(&mut self) -> Result<Operator, Reported> {
        let operator = match self.token {
            Token::Assign => Operator::Assign,
            Token::Append => Operator::Append,
            _ => return Err(self.unexpected("`=`")),
        };
        self.advance();
        Ok(operator)
    }

    fn end_of_statement(&mut self) -> Result<(), Reported> {
        match self.token {
            Token::Newline | Token::Semicolon | Token::End => Ok(()),
            _ => Err(self.unexpected("the end of the line or `;`")),
        }
    }

    fn value(&mut self) -> Result<Value, Reported> {
        let atom = match self.token.clone() {
            Token::Quoted(text) => text,
            Token::Number(text) => text.to_string(),
            Token::Open => return self.list(),
            Token::Word(word) => return Err(self.unquoted(word)),
            _ => return Err(self.unexpected("a string, a number or `[`")),
        };
        Ok(Value { span: self.advance(), kind: Kind::Atom(atom) })
    }

    /// `[` value `,` value ... `]`, on as many lines as one likes.
    fn list(&mut self) -> Result<Value, Reported> {
        let open = self.span;
        if self.depth >= DEPTH {
            return Err(self.report_here(format!("lists in lists are at most {DEPTH} deep")));
        }
        self.depth += 1;
        self.advance();
        let mut values = Vec::new();
        self.newlines();
        while self.token != Token::Close {
            values.push(self.value()?);
            self.newlines();
            match self.token {
                Token::Comma => {
                    self.advance();
                    self.newlines();
                }
                Token::Close => {}
                _ => return Err(self.unclosed(open)),
            }
        }
        self.depth -= 1;
        let close = self.advance();
        Ok(Value { span: open.to(close), kind: Kind::List(values) })
    }

    fn newlines(&mut self) {
        while self.token == Token::Newline {
            self.advance();
        }
    }

    /// Goes to the next token; the place of the one that was looked at.
    fn advance(&mut self) -> Span {
        let span = self.span;
        self.line_start = self.token == Token::Newline;
        let (token, start, end) = self.lexer.next();
        self.token = token;
        self.span = Span { start, end, ..span };
        span
    }

    fn unexpected(&mut self, expected: &str) -> Reported {
        let message = format!("expected {expected}, found {}", self.token);
        let report = self.report.error(self.span, message);
        if let Token::Bad(_, help) = self.token {
            report.help(help);
        }
        Reported
    }

    fn unclosed(&mut self, open: Span) -> Reported {
        let reported = self.unexpected("`,` or `]`");
        if open.start != self.span.start && !matches!(self.token, Token::Bad(..)) {
            let text = "is the string before it complete, and has each list its `]`?";
            self.report.help(text);
        }
        reported
    }

    fn unquoted(&mut self, word: &str) -> Reported {
        let reported = self.unexpected("a string, a number or `[`");
        self.report.help(match word {
            "True" | "true" | "yes" | "on" => "yes is written 1".to_string(),
            "False" | "false" | "no" | "off" => "no is written 0".to_string(),
            "None" => "leave the line out".to_string(),
            word => format!("strings are in quotes: \"{word}\""),
        });
        reported
    }

    fn report_here(&mut self, message: String) -> Reported {
        self.report.error(self.span, message);
        Reported
    }

    /// Skips to the end of the line, or of the list that the error was in, or to a line that looks
    /// like a statement.
    fn recover(&mut self) {
        loop {
            match self.token {
                Token::End => break,
                Token::Newline if self.depth == 0 => break,
                _ if self.line_start && self.looks_like_statement() => break,
                Token::Open => self.depth = self.depth.saturating_add(1),
                Token::Close => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
        }
        self.depth = 0;
    }

    fn looks_like_statement(&self) -> bool {
        let mut ahead = self.lexer;
        matches!(self.token, Token::Word(_)) && matches!(ahead.next().0, Token::Assign | Token::Append)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::sources;

    /// The statements, and each error as `line:column: message`.
    fn parsed(text: &str) -> (Vec<Statement>, Vec<String>) {
        let mut report = Report::default();
        let statements = parse(0, text, &mut report);
        let found = report.finish(&sources("f", text.into(), &[]));
        let errors = found.iter().map(|it| {
            let place = it.place.as_ref().unwrap();
            format!("{}:{}: {}", place.line, place.column, it.message)
        });
        (statements, errors.collect())
    }

    fn good(text: &str) -> Vec<(String, Operator, Kind)> {
        let (statements, errors) = parsed(text);
        assert_eq!(errors, Vec::<String>::new());
        statements.into_iter().map(|it| (it.name, it.operator, it.value.unwrap().kind)).collect()
    }

    fn atom(text: &str) -> Kind {
        Kind::Atom(text.into())
    }

    fn list<const N: usize>(kinds: [Kind; N]) -> Kind {
        let span = Span { source: 0, start: 0, end: 0 };
        Kind::List(kinds.into_iter().map(|kind| Value { span, kind }).collect())
    }

    /// The same with all places zero.
    fn without_places(kind: Kind) -> Kind {
        match kind {
            Kind::List(values) => {
                let span = Span { source: 0, start: 0, end: 0 };
                let values = values.into_iter();
                Kind::List(values.map(|it| Value { span, kind: without_places(it.kind) }).collect())
            }
            atom @ Kind::Atom(_) => atom,
        }
    }

    #[test]
    fn statements_end_with_lines_and_semicolons() {
        let all = good("name=\"h0\"; type='hvm'\r\n\n;;vcpus = 0x2 # two\nextra+='x'");
        let expected = [
            ("name".into(), Operator::Assign, atom("h0")),
            ("type".into(), Operator::Assign, atom("hvm")),
            ("vcpus".into(), Operator::Assign, atom("0x2")),
            ("extra".into(), Operator::Append, atom("x")),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn lists_cross_lines() {
        let all = good("a = [\n 'x', # one\n\n 1\n ,\n ['y',], ]\nb=[]\n");
        let expected = list([atom("x"), atom("1"), list([atom("y")])]);
        assert_eq!(without_places(all[0].2.clone()), expected);
        assert_eq!(without_places(all[1].2.clone()), list([]));
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(good(""), []);
        assert_eq!(good("\n# only\n"), []);
    }

    #[test]
    fn values_have_places() {
        let (statements, _) = parsed("a = [ 'x', \"yy\" ]");
        let value = statements[0].value.as_ref().unwrap();
        assert_eq!((value.span.start, value.span.end), (4, 17));
        let Kind::List(values) = &value.kind else { panic!("{value:?}") };
        assert_eq!((values[1].span.start, values[1].span.end), (11, 15));
    }

    #[test]
    fn every_wrong_line_is_told() {
        let (statements, errors) = parsed("a = \nb = 1 2\nc = 3\nd 4\n= 5\ne = f\n");
        let expected = [
            "1:5: expected a string, a number or `[`, found the end of the line",
            "2:7: expected the end of the line or `;`, found `2`",
            "4:3: expected `=`, found `4`",
            "5:1: expected the name of a parameter, found `=`",
            "6:5: expected a string, a number or `[`, found `f`",
        ];
        assert_eq!(errors, expected);
        let readable: Vec<&str> =
            statements.iter().filter(|it| it.value.is_some()).map(|it| it.name.as_str()).collect();
        assert_eq!(readable, ["c"]);
    }

    #[test]
    fn an_open_list_swallows_no_statement() {
        let (statements, errors) = parsed("disk = [ 'a',\n 'b'\nvif = [ 'c' ]\nname = 'd'\n");
        assert_eq!(errors, ["3:1: expected `,` or `]`, found `vif`"]);
        let names: Vec<&str> = statements.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["disk", "vif", "name"]);
    }

    #[test]
    fn an_error_in_a_list_is_told_once() {
        let (statements, errors) = parsed("disk = [ 'a',\n (,\n 'b', 'c\n ]\nname = 'd'\n");
        assert_eq!(errors, ["2:2: expected a string, a number or `[`, found `(`"]);
        assert_eq!(statements.len(), 2);
    }

    #[test]
    fn lists_end() {
        assert_eq!(parsed("a = [").1, ["1:6: expected a string, a number or `[`, found the end of the text"]);
        assert_eq!(parsed("a = [,]").1, ["1:6: expected a string, a number or `[`, found `,`"]);
        assert_eq!(parsed("a = 1]").1, ["1:6: expected the end of the line or `;`, found `]`"]);
    }

    #[test]
    fn deep_lists_are_refused() {
        let deep = |n| format!("a = {}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(parsed(&deep(DEPTH)).1, Vec::<String>::new());
        assert_eq!(parsed(&deep(DEPTH + 1)).1, ["1:13: lists in lists are at most 8 deep"]);
        assert_eq!(parsed(&"a=[".repeat(100_000)).1.len(), 1);
    }

    #[test]
    fn upper_case_is_named() {
        assert_eq!(parsed("Name = 'a'\n").1, ["1:1: expected the name of a parameter, found `Name`"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_text(text in any::<String>()) {
            parsed(&text);
        }

        #[test]
        fn whatever_the_tokens(pieces in prop::collection::vec(
            prop::sample::select(alloc::vec![
                "a", "=", "+=", "[", "]", ",", ";", "\n", "'s'", "'", "\"", "\\", "1", "#", " ", "\r", "é",
            ]), 0..40)) {
            let text: String = pieces.concat();
            let (statements, errors) = parsed(&text);
            // Each statement that could not be read was reported.
            let unread = statements.iter().filter(|it| it.value.is_none()).count();
            prop_assert!(unread <= errors.len());
        }
    }
}
