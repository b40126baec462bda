//! The command line taken apart into words.
//!
//! Xen splits at spaces and knows no quoting. GRUB puts an argument that has a
//! space in it between double quotes, so these are read as GRUB means them.

/// The words of a line.
pub(super) struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    pub(super) const fn new(line: &'a str) -> Self {
        Self(line)
    }

    /// What no word was taken from yet.
    pub(super) fn rest(&self) -> &'a str {
        self.0.trim_matches(is_space)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let line = self.0.trim_start_matches(is_space);
        let (word, rest) = line.split_at_checked(word_len(line)).unwrap_or((line, ""));
        self.0 = rest;
        (!word.is_empty()).then(|| unquoted(word))
    }
}

/// Splits `name=value`; a word without `=` has no value.
pub(super) fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value))),
        None => (word, None),
    }
}

/// Bytes up to the first space outside of quotes. A quote that is never closed is a letter.
fn word_len(line: &str) -> usize {
    let mut closing = None;
    for (at, letter) in line.char_indices() {
        match closing {
            Some(end) if at < end => {}
            Some(end) if at == end => closing = None,
            _ if is_space(letter) => return at,
            _ if letter == '"' => {
                closing = line.get(at + 1..).and_then(|rest| rest.find('"')).map(|len| at + 1 + len)
            }
            _ => {}
        }
    }
    line.len()
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

const fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\0'
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn words(line: &str) -> Vec<&str> {
        Words::new(line).collect()
    }

    #[test]
    fn words_are_split_at_spaces() {
        assert_eq!(words("  a b=1\tc\n"), ["a", "b=1", "c"]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words(" \0 "), [""; 0]);
    }

    #[test]
    fn quotes_keep_a_word_together_as_grub_means_them() {
        assert_eq!(words(r#""a=b c" d"#), ["a=b c", "d"]);
        assert_eq!(words(r#"a="b c"d e"#), [r#"a="b c"d"#, "e"]);
        assert_eq!(split(r#"a="b c""#), ("a", Some("b c")));
        assert_eq!(split("a=b=c"), ("a", Some("b=c")));
        assert_eq!(split("a="), ("a", Some("")));
        assert_eq!(split("a"), ("a", None));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_a_letter() {
        assert_eq!(words(r#"a" b c"#), [r#"a""#, "b", "c"]);
        assert_eq!(words(r#"" "" x"#), [r#" ""#, "x"]);
        assert_eq!(words(r#"""#), [r#"""#]);
        assert_eq!(words("\"\" é\" z"), ["", "é\"", "z"]);
    }

    #[test]
    fn the_rest_is_what_no_word_was_taken_from() {
        let mut words = Words::new("a --  quiet  ro ");
        assert_eq!((words.next(), words.next()), (Some("a"), Some("--")));
        assert_eq!(words.rest(), "quiet  ro");
    }
}
