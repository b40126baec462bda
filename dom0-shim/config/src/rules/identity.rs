//! Name and UUID (CFG-01, CFG-02).

use alloc::string::{String, ToString};

use super::reader::Reader;
use crate::{name as names, uuid as uuids};

pub fn name(reader: &mut Reader<'_>) -> String {
    if reader.is_missing("name") {
        let error = reader.report.error(None, "expected the domain's name, found none");
        error.help("add a line: name = \"...\"");
    }
    let Some((name, span)) = reader.text("name") else { return String::new() };
    if let Err(error) = names::check(&name) {
        reader.report.error(span, error.to_string());
    }
    name
}

pub fn uuid(reader: &mut Reader<'_>) -> Option<[u8; 16]> {
    let (text, span) = reader.text("uuid")?;
    let uuid = uuids::parse(&text);
    if let Err(error) = uuid {
        reader.report.error(span, error.to_string());
    }
    uuid.ok()
}
