//! What a script remembers: values that patterns captured, `${name}` for them in later patterns and texts, and
//! comparisons of figures.

use std::collections::BTreeMap;
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Values by name.
pub(crate) type Values = BTreeMap<String, String>;

/// A regular expression in which `${name}` stands for a value, letter by letter.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: String,
    /// What it captures itself.
    pub(super) captures: Vec<String>,
}

impl Pattern {
    /// Checks `source`; the error says what the regular expression lacks.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        // Any value does for a check, since values are quoted.
        let any = names(source.as_bytes())?.into_iter().map(|name| (name, String::new())).collect();
        let regex = compile(source, &any)?;
        let captures = regex.capture_names().flatten().map(str::to_owned).collect();
        Ok(Self { source: source.to_owned(), captures })
    }

    pub(crate) fn regex(&self, values: &Values) -> Result<Regex, String> {
        compile(&self.source, values)
    }

    pub(super) fn names(&self) -> Vec<String> {
        names(self.source.as_bytes()).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> &str {
        &self.source
    }
}

fn compile(source: &str, values: &Values) -> Result<Regex, String> {
    let filled = fill(source.as_bytes(), values, regex::escape)?;
    let built = RegexBuilder::new(&String::from_utf8_lossy(&filled)).multi_line(true).build();
    built.map_err(|error| format!("expected a valid regular expression: {}", last_line(&error)))
}

/// The line of a regex error that says what is wrong; those before it draw the place.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// A text in which `${name}` stands for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    pub(super) fn parse(text: Vec<u8>) -> Result<Self, String> {
        names(&text).map(|_| Self(text))
    }

    pub(crate) fn bytes(&self, values: &Values) -> Result<Vec<u8>, String> {
        fill(&self.0, values, str::to_owned)
    }

    pub(super) fn names(&self) -> Vec<String> {
        names(&self.0).unwrap_or_default()
    }
}

/// The names in `text`.
fn names(mut text: &[u8]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    while let Some((_, name, rest)) = reference(text)? {
        names.push(name.to_owned());
        text = rest;
    }
    Ok(names)
}

/// `text` with its names replaced by their values, each passed through `quote`.
fn fill(mut text: &[u8], values: &Values, quote: impl Fn(&str) -> String) -> Result<Vec<u8>, String> {
    let mut filled = Vec::new();
    while let Some((before, name, rest)) = reference(text)? {
        filled.extend_from_slice(before);
        filled.extend(quote(value(values, name)?).bytes());
        text = rest;
    }
    filled.extend_from_slice(text);
    Ok(filled)
}

fn value<'a>(values: &'a Values, name: &str) -> Result<&'a str, String> {
    values.get(name).map(String::as_str).ok_or_else(|| format!("nothing captured `{name}`"))
}

/// A `${name}`: what is before it, the name, what is behind it.
type Reference<'a> = (&'a [u8], &'a str, &'a [u8]);

/// The first one in `text`.
fn reference(text: &[u8]) -> Result<Option<Reference<'_>>, String> {
    let Some(start) = text.windows(2).position(|pair| pair == b"${") else { return Ok(None) };
    let (before, rest) = text.split_at(start);
    let rest = rest.get(2..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'}');
    let name = end.and_then(|end| rest.get(..end)).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.filter(|name| is_name(name)).ok_or("expected a name and a brace behind ${")?;
    Ok(Some((before, name, rest.get(name.len() + 1..).unwrap_or_default())))
}

fn is_name(word: &str) -> bool {
    let begins = word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    begins && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Two sums and what has to hold between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    left: Sum,
    relation: Relation,
    right: Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Terms with their signs.
#[derive(Clone, Debug, PartialEq)]
struct Sum(Vec<(f64, Term)>);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Number(f64),
    Name(String),
}

impl Comparison {
    /// Reads words such as `free + 16 == total`; an error names the word and what was expected there.
    pub(super) fn parse<'a>(words: &[&'a str]) -> Result<Self, (Option<&'a str>, &'static str)> {
        let place = words.iter().position(|word| relation(word).is_some());
        let Some((place, relation)) = place.and_then(|place| Some((place, relation(words.get(place)?)?)))
        else {
            return Err((None, "expected one of == != < <= > >= between two figures"));
        };
        let (left, right) = (words.get(..place), words.get(place + 1..));
        Ok(Self { left: sum(left.unwrap_or_default())?, relation, right: sum(right.unwrap_or_default())? })
    }

    pub(super) fn names(&self) -> Vec<String> {
        let terms = self.left.0.iter().chain(&self.right.0);
        terms
            .filter_map(|(_, term)| if let Term::Name(name) = term { Some(name.clone()) } else { None })
            .collect()
    }

    /// An error with all figures unless it holds.
    pub(crate) fn check(&self, values: &Values) -> Result<(), String> {
        let (left, right) = (self.left.value(values)?, self.right.value(values)?);
        let holds = match self.relation {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::AtMost => left <= right,
            Relation::Greater => left > right,
            Relation::AtLeast => left >= right,
        };
        if holds {
            return Ok(());
        }
        let figures: Vec<_> = self.names().iter().map(|name| format!("{name} is {}", values[name])).collect();
        Err(format!("{left} {} {right} does not hold: {}", self.relation, figures.join(", ")))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

fn relation(word: &str) -> Option<Relation> {
    use Relation::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
    [Equal, NotEqual, Less, AtMost, Greater, AtLeast]
        .into_iter()
        .find(|relation| relation.to_string() == word)
}

const FIGURE_EXPECTED: &str = "expected a number or the name of a value";

/// `a + b - 1`.
fn sum<'a>(words: &[&'a str]) -> Result<Sum, (Option<&'a str>, &'static str)> {
    let (mut terms, mut sign) = (Vec::new(), 1.0);
    for (index, word) in words.iter().enumerate() {
        if index % 2 == 0 {
            terms.push((sign, term(word).ok_or((Some(*word), FIGURE_EXPECTED))?));
            continue;
        }
        sign = match *word {
            "+" => 1.0,
            "-" => -1.0,
            _ => return Err((Some(word), "expected + or -")),
        };
    }
    // An even number of words is a sum that a sign ends, or none.
    if words.len() % 2 == 1 { Ok(Sum(terms)) } else { Err((words.last().copied(), FIGURE_EXPECTED)) }
}

fn term(word: &str) -> Option<Term> {
    match word.parse() {
        Ok(number) if f64::is_finite(number) => Some(Term::Number(number)),
        _ => is_name(word).then(|| Term::Name(word.to_owned())),
    }
}

impl Sum {
    fn value(&self, values: &Values) -> Result<f64, String> {
        self.0.iter().try_fold(0.0, |sum, (sign, term)| {
            let number = match term {
                Term::Number(number) => *number,
                Term::Name(name) => {
                    let text = value(values, name)?;
                    text.parse().map_err(|_| format!("`{name}` is `{text}`, which is no number"))?
                }
            };
            Ok(sum + sign * number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn compare(text: &str, pairs: &[(&str, &str)]) -> Result<(), String> {
        let words: Vec<_> = text.split(' ').collect();
        Comparison::parse(&words).unwrap().check(&values(pairs))
    }

    #[test]
    fn values_in_a_pattern_are_quoted() {
        let pattern = Pattern::parse(r"^${name} +(?<id>\d+)$").unwrap();
        assert_eq!((pattern.names(), pattern.captures.as_slice()), (vec!["name".into()], &["id".into()][..]));
        let regex = pattern.regex(&values(&[("name", "a.b")])).unwrap();
        assert!(regex.is_match(b"a.b  7") && !regex.is_match(b"axb  7"));
        assert!(pattern.regex(&Values::new()).unwrap_err().contains("nothing captured `name`"));
    }

    #[test]
    fn values_in_a_text() {
        let text = Text::parse(b"xl destroy ${id}\r\xff$".to_vec()).unwrap();
        assert_eq!(text.bytes(&values(&[("id", "3")])).unwrap(), b"xl destroy 3\r\xff$");
        for bad in ["${", "${}", "${A}", "${1}", "${a b}", "${a"] {
            assert!(Text::parse(bad.into()).unwrap_err().contains("expected a name"), "{bad}");
        }
    }

    #[test]
    fn figures() {
        let free = [("before", "400"), ("after", "384.5")];
        assert!(compare("before == 400", &free).is_ok());
        assert!(compare("before - after >= 15 + 0.5", &free).is_ok());
        assert!(compare("before - 10 - 10 == 380", &free).is_ok());
        assert!(compare("after < before", &free).is_ok() && compare("before != after", &free).is_ok());
        assert!(compare("after <= before", &free).is_ok() && compare("before > after", &free).is_ok());
        assert_eq!(
            compare("after == before", &free).unwrap_err(),
            "384.5 == 400 does not hold: after is 384.5, before is 400"
        );
        assert!(compare("a == 1", &[("a", "x")]).unwrap_err().contains("no number"));
    }

    #[test]
    fn mistakes_in_comparisons() {
        let wrong = |text: &'static str| {
            let words: Vec<_> = text.split(' ').collect();
            Comparison::parse(&words).unwrap_err()
        };
        assert!(wrong("a").1.contains("one of =="));
        assert_eq!(wrong("a == B").0, Some("B"));
        assert_eq!(wrong("a * 2 == 1"), (Some("*"), "expected + or -"));
        assert_eq!(wrong("a + == 1").0, Some("+"));
        assert_eq!(wrong("a ==").0, None);
    }
}
