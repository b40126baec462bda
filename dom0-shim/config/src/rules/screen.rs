//! The graphical console (CFG-11 to CFG-15): its parameters are checked, then a warning says that it
//! needs a device model.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use super::reader::Reader;
use crate::number;
use crate::source::Span;

/// Port of display 0.
const FIRST_PORT: i64 = 5900;
/// Displays whose ports exist (T-57).
const LAST_DISPLAY: i64 = 59_635;
/// Characters of the longest password (CON-07).
const PASSWORD: usize = 8;
/// Parameters of their own, and keys of `vfb=`.
const KEYS: [&str; 6] = ["vnc", "vnclisten", "vncdisplay", "vncunused", "vncpasswd", "keymap"];
/// Other keys of `vfb=`.
const OTHER_KEYS: [&str; 5] = ["type", "sdl", "opengl", "display", "xauthority"];

/// Values by their names, and where they stand.
type Values = BTreeMap<String, (String, Span)>;

pub fn check(reader: &mut Reader<'_>) {
    let mut values = Values::new();
    for key in KEYS {
        if let Some(found) = reader.text(key) {
            values.insert(key.to_string(), found);
        }
    }
    let wanted = values.get("vnc").filter(|(text, _)| number::integer(text) != Ok(0)).map(|(_, span)| *span);
    check_console(reader, &values, wanted);
    for (text, span) in reader.strings("vfb") {
        let values = fields(reader, &text, span);
        check_console(reader, &values, Some(span));
    }
}

/// `vnc=1,vncdisplay=10`.
fn fields(reader: &mut Reader<'_>, text: &str, span: Span) -> Values {
    let mut values = Values::new();
    for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        if !KEYS.contains(&key) && !OTHER_KEYS.contains(&key) {
            reader.report.error(span, format!("unknown key `{key}`"));
        }
        values.insert(key.to_string(), (value.to_string(), span));
    }
    values
}

fn check_console(reader: &mut Reader<'_>, values: &Values, wanted: Option<Span>) {
    let display = integer(reader, values, "vncdisplay", 1..=LAST_DISPLAY);
    let unused = integer(reader, values, "vncunused", i64::MIN..=i64::MAX).is_none_or(|number| number != 0);
    if let Some((password, span)) = values.get("vncpasswd") {
        check_password(reader, password, *span);
    }
    if let Some(span) = wanted {
        let port = port(display, unused);
        let message = format!("the graphical console ({port}) needs a device model, which Kigumi has not");
        reader.report.warning(span, message).help("`xl console` shows the text console");
    }
}

/// CON-06: a number counts only where no free port is looked for.
fn port(display: Option<i64>, unused: bool) -> String {
    match display.and_then(|display| FIRST_PORT.checked_add(display)) {
        Some(port) if !unused => format!("TCP port {port}"),
        _ => format!("a free TCP port from {FIRST_PORT}"),
    }
}

fn integer(
    reader: &mut Reader<'_>,
    values: &Values,
    key: &str,
    bounds: core::ops::RangeInclusive<i64>,
) -> Option<i64> {
    let (text, span) = values.get(key)?;
    let number = number::integer(text).ok().filter(|number| bounds.contains(number));
    if number.is_none() {
        let expected = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
        reader.report.error(*span, format!("{expected} for `{key}`, found `{text}`"));
    }
    number
}

/// Letters, digits and the marks that CON-07 names.
fn check_password(reader: &mut Reader<'_>, password: &str, span: Span) {
    let good = |c: char| c.is_ascii_alphanumeric() || ".$%=&~|!?_^-@:/".contains(c);
    if password.len() > PASSWORD {
        reader.report.error(span, format!("`vncpasswd` has {PASSWORD} characters at most"));
    } else if !password.chars().all(good) {
        reader.report.error(span, "`vncpasswd` has letters, digits and . $ % = & ~ | ! ? _ ^ - @ : / only");
    }
}
